"""Calibration: plausible constants, stored and used, on a machine that may be busy."""

import dataclasses
import warnings

import numpy as np
import pytest

import numbasep
from numbasep.api.repeated_calls import shortcuts
from numbasep.calibration import calibrate, trials
from numbasep.planning import machine as machines
from numbasep.system import storage


@pytest.fixture
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.DIRECTORY_VARIABLE, str(tmp_path))
    monkeypatch.setattr(trials, "REPEATS", 2)
    monkeypatch.setattr(calibrate, "SHAPES", ((64, 64),))
    monkeypatch.setattr(calibrate, "LARGE_SIDES", (512,))
    monkeypatch.setattr(calibrate, "TILES", (32, 64, 128))
    monkeypatch.setattr(calibrate.os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    machines.forget()
    yield tmp_path
    machines.forget()


def test_constants_are_positive_stored_and_used(quick):
    measured = calibrate.calibrate()
    assert min(measured.steps[0] + measured.steps[1] + measured.recursion_seconds) > 0
    assert min(units.column_taps for units in measured.steps) > 1e-13
    assert dataclasses.replace(measured, steps=machines.REFERENCE.steps) != measured
    assert [points for points, _ in measured.fft_seconds[0]] == [32.0**2, 64.0**2, 128.0**2]
    assert machines.current(measured.threads) == measured
    planned = numbasep.plan(np.ones((3, 3)), (64, 64), np.float32)
    assert measured.name in str(planned)


def test_plans_made_before_are_forgotten(quick):
    def planned():
        return numbasep.plan(np.ones((3, 3)), (64, 64), np.float32)

    x = np.ones((64, 64), np.float32)
    assert planned() is planned()
    numbasep.uniform_filter(x, 3)
    before = planned()
    assert shortcuts._plans
    measured = calibrate.calibrate()
    assert not shortcuts._plans
    assert before.machine != planned().machine == measured.name


def test_without_storing_nothing_changes(quick):
    before = machines.current()
    calibrate.calibrate(store=False)
    assert machines.current() == before
    assert not list(quick.glob("machine-*"))


def test_a_busy_machine_is_reported(monkeypatch):
    monkeypatch.setattr(calibrate.os, "getloadavg", lambda: (64.0, 0.0, 0.0), raising=False)
    with pytest.warns(RuntimeWarning, match="busy"):
        calibrate._warn_if_busy(2)
    monkeypatch.setattr(calibrate.os, "getloadavg", lambda: (0.1, 0.0, 0.0), raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibrate._warn_if_busy(2)


@pytest.mark.slow
@pytest.mark.parametrize("vector_bytes", [64, 16])
def test_constants_that_ship_are_written_as_they_are_read(vector_bytes, tmp_path, monkeypatch):
    """The entry of one vector width is replaced, and no other."""
    pytest.importorskip("ruff", reason="formats the module that is written; CI has it")
    from benchmarks import reference as written
    from numbasep.planning import reference

    found = machines.shipped(vector_bytes)
    found = dataclasses.replace(found, steps=written._rounded(found.steps))
    module = tmp_path / "made.py"
    module.write_text(written.source(dataclasses.replace(found, threads=7), vector_bytes))
    made: dict = {}
    exec(module.read_text(), made)
    assert set(made["CONSTANTS"]) == {*reference.CONSTANTS, vector_bytes}
    for width, entry in reference.CONSTANTS.items():
        assert width == vector_bytes or made["CONSTANTS"][width] == entry
    monkeypatch.setattr(reference, "CONSTANTS", made["CONSTANTS"])
    assert machines.shipped(vector_bytes) == dataclasses.replace(found, threads=7)
    unchanged = written.source(machines.shipped(64), 64)
    assert "AVX-512" in unchanged
    assert written.middle([found] * 3).registers == found.registers
