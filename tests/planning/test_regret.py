"""The programs that judge the planner: medians beside a probe, records in pieces, constants as a module."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import calm, common, reference, regret
from numbasep.lowering.target import host_target
from numbasep.planning import machine
from numbasep.planning.machine import REFERENCE


class Clockwork:
    """A machine on which calls take what they are told to, and everything `slow` times as long."""

    def __init__(self):
        self.now = 0.0
        self.slow = 1.0

    def call(self, seconds):
        def run():
            self.now += seconds * self.slow

        return run


@pytest.fixture
def clockwork(monkeypatch):
    works = Clockwork()
    probe = calm.Probe.__new__(calm.Probe)
    probe.clock, probe._call = (lambda: works.now), works.call(1e-4)
    probe.others, probe.usual, probe._recent = np.inf, 1e-4, []
    monkeypatch.setattr(calm.time, "perf_counter", lambda: works.now)
    return works, probe


def test_times_do_not_depend_on_how_slow_the_machine_is(clockwork):
    works, probe = clockwork
    calls = {"a": works.call(2e-3), "b": works.call(3e-3)}
    for works.slow in (1.0, 2.0):
        found, slowness = calm.take_turns(calls, probe)
        assert slowness == pytest.approx(works.slow)
        assert found == {"a": pytest.approx(2e-3), "b": pytest.approx(3e-3)}


def test_what_was_disturbed_does_not_count(clockwork):
    works, probe = clockwork
    state = {"n": 0}

    def disturbed():
        works.now += 1e-3
        state["n"] += 1
        works.slow = 1.5 if state["n"] % 4 == 2 else 1.0  # the probe behind every other sample is slower

    assert calm.take_turns({"a": disturbed}, probe)[0]["a"] == pytest.approx(1e-3)
    works.slow = 2 * calm.SLOWEST
    assert calm.take_turns({"a": works.call(1e-3)}, probe) == ({}, np.inf)


def test_what_is_no_alternative_is_not_timed_often(clockwork):
    works, probe = clockwork
    counts = {"fast": 0, "slow": 0}

    def counted(name, seconds):
        run = works.call(seconds)

        def call():
            counts[name] += 1
            run()

        return call

    found, _ = calm.take_turns(
        {"fast": counted("fast", 0.03), "slow": counted("slow", 0.2)}, probe, seconds=0.0
    )
    assert found["slow"] == pytest.approx(0.2)
    assert counts["slow"] < counts["fast"]


def test_the_grid_is_measured_in_pieces(tmp_path, capsys):
    options = ["--workers", "1", "--sides", "24", "--kernels", "sobel3", "box 7", "--results", str(tmp_path)]
    regret.main([*options, "--dtypes", "float32", "--budget", "60"])
    first = json.loads((tmp_path / "regret.json").read_text(encoding="utf-8"))
    regret.main([*options, "--dtypes", "float32", "float64", "--budget", "60", "--resume"])
    second = json.loads((tmp_path / "regret.json").read_text(encoding="utf-8"))
    for record in first["records"]:
        assert record in second["records"]
    assert len(second["records"]) + len(second["alone"]) <= 4
    regret.main([*options, "--budget", "0"])
    text = (tmp_path / "regret.md").read_text(encoding="utf-8")
    assert f"of {len(common.zoo()) * 12} problems of the grid" in text or not second["records"]
    assert text in capsys.readouterr().out


def test_the_table_counts_what_it_is_given():
    times = {"direct": 1.0, "separable": 0.5}
    record = {
        "kernel": "k", "side": 64, "shape": [64, 64], "dtype": "float32", "threads": 1, "chosen": "direct",
        "regret": 2.0, "measured": times, "predicted": {"direct": 1.2, "separable": 1.0},
        "slowness": 1.0,
        "again": {"direct": 1.1, "separable": 0.9},
    }  # fmt: skip
    content = {
        "machine": "this", "constants": "mine", "versions": {}, "grid": 7, "records": [record], "alone": [],
    }  # fmt: skip
    text = regret.report(content, "practice")
    assert "1 of 7 problems of the grid measured" in text
    assert "| all | 1 | 2.000 | 2.00 | 2.00 |" in text
    assert "| all | 2 | 50% | 1.28 | 1.60 | 1.92 | 50% of 2 |" in text


def test_shipped_constants_are_what_the_program_writes():
    pytest.importorskip("ruff", reason="the module is formatted")
    made, width = reference.middle([REFERENCE, REFERENCE, REFERENCE]), host_target().vector_bytes
    assert dataclasses.replace(made, name=REFERENCE.name) == REFERENCE
    assert made.name == REFERENCE.name or width not in machine.reference.CONSTANTS
    shipped = machine.shipped(64)
    with open(machine.reference.__file__, encoding="utf-8") as file:
        assert file.read() == reference.source(shipped, 64)


def test_the_median_of_runs_counts():
    runs = [
        dataclasses.replace(REFERENCE, call_seconds=seconds, fft_seconds=(((64.0, seconds),), ((64.0, 1.0),)))
        for seconds in (1.0, 9.0, 2.0)
    ]
    found = reference.middle(runs)
    assert found.call_seconds == found.fft_seconds[0][0][1] == 2.0
    assert found.steps == REFERENCE.steps
    assert "-" in reference.spread([run.name for run in runs])
