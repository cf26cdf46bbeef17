"""Measured plans: the route that proves fastest, remembered as long as it holds."""

import numpy as np
import pytest

import numbasep
from numbasep.planning import machine as machines
from numbasep.plans import measure
from numbasep.system import storage


@pytest.fixture(autouse=True)
def wisdom(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.DIRECTORY_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(measure, "_known", None)
    return tmp_path


@pytest.fixture
def gauss():
    taps = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)
    return np.outer(taps, taps)


def times(monkeypatch, **seconds):
    calls = []

    def measured(plan, candidates, budget):
        calls.append([candidate.method for candidate in candidates])
        return dict(seconds)

    monkeypatch.setattr(measure, "_measure", measured)
    return calls


def test_the_measured_route_is_really_measured(gauss):
    estimated = numbasep.plan(gauss, (200, 300), np.float32)
    plan = numbasep.plan(gauss, (200, 300), np.float32, effort="measure")
    measured = [c for c in plan.candidates if c.seconds not in {d.seconds for d in estimated.candidates}]
    assert len(measured) >= 2
    assert plan.seconds == min(c.seconds for c in measured)
    assert "measured" in str(plan)
    x = np.random.default_rng(0).random((200, 300), np.float32)
    np.testing.assert_allclose(plan(x), estimated(x), rtol=1e-5)


def test_the_fastest_wins_and_is_remembered(gauss, monkeypatch):
    calls = times(monkeypatch, direct=1e-3, separable=5e-3)
    for _ in range(2):
        plan = numbasep.plan(gauss, (512, 512), np.float32, effort="measure")
        assert (plan.method, plan.seconds) == ("direct", 1e-3)
    assert len(calls) == 1
    assert {"direct", "separable"} <= set(calls[0])
    monkeypatch.setattr(measure, "_known", None)  # as in a new process
    assert numbasep.plan(gauss, (512, 512), np.float32, effort="measure").method == "direct"
    assert len(calls) == 1
    numbasep.plan(gauss, (512, 513), np.float32, effort="measure")
    numbasep.plan(gauss + 1, (512, 512), np.float32, effort="measure")
    assert len(calls) == 3


def test_a_measured_fft_keeps_a_fallback(monkeypatch):
    times(monkeypatch, fft=1e-6, direct=1.0)
    plan = numbasep.plan(np.random.default_rng(0).random((31, 31)), (256, 256), np.float32, effort="measure")
    assert plan.method == "fft"
    assert plan.choice.fallback.method == "direct"


def test_a_forced_or_only_route_is_left_alone(gauss, monkeypatch):
    calls = times(monkeypatch, direct=1e-9)
    assert numbasep.plan(gauss, (64, 64), method="separable", effort="measure").method == "separable"
    assert numbasep.plan(gauss, (0, 64), effort="measure").method == "separable"
    assert not calls


def test_wisdom_is_forgotten(gauss, monkeypatch, wisdom):
    calls = times(monkeypatch, direct=1e-3, separable=5e-3)
    for _ in range(2):
        numbasep.plan(gauss, (512, 512), np.float32, effort="measure")
        measure.forget_wisdom()
        assert not list((wisdom / "cache").glob("wisdom-*"))
    assert len(calls) == 2


@pytest.mark.parametrize("content", [[1], {"a": {}}, {"a": {"fft": "fast"}}, {"a": {"fft": -1.0}}])
def test_broken_wisdom_is_ignored(content):
    machines.store("wisdom", measure._key(), content)
    with pytest.warns(RuntimeWarning, match="ignoring the file"):
        assert measure._remembered() == {}


def test_a_spoilt_wisdom_file_only_warns(gauss, monkeypatch):
    times(monkeypatch, direct=1e-3, separable=5e-3)
    path = machines.stored_path("wisdom", measure._key())
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.warns(RuntimeWarning, match="ignoring the file"):
        assert numbasep.plan(gauss, (512, 512), np.float32, effort="measure").method == "direct"


def test_an_unwritable_directory_is_no_error(gauss, monkeypatch, wisdom):
    (wisdom / "cache").write_text("a file in the way")
    times(monkeypatch, direct=1e-3, separable=5e-3)
    assert numbasep.plan(gauss, (512, 512), np.float32, effort="measure").method == "direct"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"key": 1e999999}', '{"key": ' + "9" * 5000 + "}", "", "\x00", "null"]
)
def test_hostile_files_only_warn(tmp_path, text):
    path = tmp_path / "stored.json"
    path.write_text(text)
    with pytest.warns(RuntimeWarning, match="ignoring the file"):
        assert machines.read_stored(path, "key", dict) is None


@pytest.mark.parametrize("known", [{}, {"structured": 1e-9}, {"direct": 1e-3, "structured": 1e-9}])
def test_wisdom_that_names_an_unusable_route_is_measured_anew(gauss, monkeypatch, known):
    plan = numbasep.plan(gauss, (512, 512), np.float32)
    assert not next(c for c in plan.candidates if c.method == "structured").feasible
    calls = times(monkeypatch, direct=1e-3, separable=5e-3)
    monkeypatch.setattr(measure, "_remembered", lambda: {measure._digest(plan): known})
    assert measure.fastest(plan).method == "direct"
    assert len(calls) == 1
