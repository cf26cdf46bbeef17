"""Constants fitted to what passes took: those that times were made of come back, from calls and from records."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import prices, reference
from numbasep.calibration import fitting, trials
from numbasep.planning import machine
from numbasep.planning.machine import REFERENCE

SHAPES = ((64, 64), (256, 200), (96, 1000), (700, 64), (100, 60, 8), (900, 900), (2000, 1500))


def passes(shared):
    """What calls of all kinds take, in steps."""
    found = []
    for code in ("f4", "f8"):
        for shape in SHAPES:
            for method, weights, cval in trials.samples():
                if weights.ndim == 2:
                    workers = None if shared else 1
                    planned = trials.plan_call(shape, weights, np.dtype(code), workers, method, cval)
                    works = trials.works_of(planned, REFERENCE)
                    if not shared or all(work.shared for work in works):
                        found.append((code == "f8", works, planned.problem))
    return found


def slower(factor):
    """A machine on which everything takes so many times as long."""
    steps = tuple(type(units)(*(factor * seconds for seconds in units)) for units in REFERENCE.steps)
    rates = {
        name: tuple(factor * seconds for seconds in getattr(REFERENCE, name))
        for name in ("memory_seconds", "stream_seconds")
    }
    return dataclasses.replace(REFERENCE, steps=steps, **rates)


def test_the_constants_behind_times_are_found():
    true = slower(1.7)
    units = true.steps[0]._replace(dense_taps=3 * true.steps[0].dense_taps, blocks=0.6 * true.steps[0].blocks)
    true = dataclasses.replace(true, steps=(units, true.steps[1]))
    samples = 2 * passes(
        shared=False
    )  # each timed twice: constants far from the usual ones take more samples
    seconds = [sum(work.seconds(problem, true) for work in works) for _, works, problem in samples]
    found = fitting.fit_alone([sample[:2] for sample in samples], seconds, 0.0, REFERENCE)
    assert found.steps[0].dense_taps == pytest.approx(units.dense_taps, rel=0.1)
    predicted = [sum(work.seconds(problem, found) for work in works) for _, works, problem in samples]
    off = np.abs(np.log(np.array(predicted) / seconds))
    assert np.quantile(off, 0.95) < 0.1
    disturbed = [t * (4 if i % 9 == 0 else 1) for i, t in enumerate(seconds)]
    again = fitting.fit_alone([sample[:2] for sample in samples], disturbed, 0.0, REFERENCE)
    predicted = [sum(work.seconds(problem, again) for work in works) for _, works, problem in samples]
    assert np.median(np.abs(np.log(np.array(predicted) / seconds))) < 0.1


def test_what_threads_take_is_found():
    true = dataclasses.replace(
        REFERENCE,
        thread_share=1.4,
        thread_seconds=4e-5,
        memory_seconds=(4e-11, 3e-11),
        stream_seconds=(3e-11, 2e-11),
    )
    samples = passes(shared=True)
    seconds = [sum(work.seconds(problem, true) for work in works) for _, works, problem in samples]
    found = fitting.fit_shared([sample[:2] for sample in samples], seconds, 0.0, true)
    assert found.thread_share == pytest.approx(1.4, rel=0.1)
    assert found.memory_seconds[0] == true.memory_seconds[0]
    assert found.memory_seconds[1] == pytest.approx(3e-11, rel=0.3)
    disturbed = fitting.fit_shared([sample[:2] for sample in samples], [20 * t for t in seconds], 0.0, true)
    assert disturbed.thread_share <= true.threads
    assert disturbed.memory_seconds[1] <= disturbed.memory_seconds[0]


CASES = (
    prices.Case("sobel3", (300, 200), (0, 1), "C", "float32", 1),
    prices.Case("disk r=7", (200, 300), (0, 1), "F", "uint8", None),
    prices.Case("gauss s=3", (40, 300, 200), (1, 2), "F", "float64", None),
)


def measure(monkeypatch):
    """Records of a few cases, of a machine that is never disturbed."""
    monkeypatch.setattr(prices, "_slowness", lambda _probe: 1.0)
    monkeypatch.setattr(prices.calm, "foreign_seconds", lambda: 0.0)
    return [json.loads(json.dumps(record)) for record in prices.measured(CASES, 60.0, 1)]


def test_records_are_priced_anew(monkeypatch, tmp_path):
    records = measure(monkeypatch)
    assert [tuple(record["case"][0] for record in records)] == [tuple(case.kernel for case in CASES)]
    machine.use(slower(2.0))
    try:
        for before, case in zip(records, CASES, strict=True):
            now = prices.repriced(before)
            assert prices.case_of(before) == case
            assert now["routes"], case
            for method, route in now["routes"].items():
                for new, old in zip(route["passes"], before["routes"][method]["passes"], strict=True):
                    assert new[3:] == old[3:]
                    if old[0] in ("dense", "separable"):
                        assert new[2] == pytest.approx(2 * old[2], rel=0.2), (case, method)
    finally:
        machine.forget()
    text = prices.report(records)
    assert "| dense |" in text
    assert f"Regret of {sum(len(record['routes']) > 1 for record in records)} choices" in text
    stored = tmp_path / "records.jsonl"
    disturbed = records[0] | {"slowness": prices.BUSY}
    stored.write_text(
        "".join(json.dumps(record) + "\n" for record in [*records, disturbed]), encoding="utf-8"
    )
    assert prices.load(stored) == records


def test_constants_are_fitted_to_records(monkeypatch, tmp_path):
    stored = tmp_path / "records.jsonl"
    records = measure(monkeypatch)
    for record in records:
        for route in record["routes"].values():
            for one in route["passes"]:
                one[3:] = [3 * one[2]] * 2  # as if everything took three times what is predicted
    stored.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    monkeypatch.setattr(prices, "SMALLEST", 0.0)
    found = reference.fit(stored, REFERENCE)
    assert found.steps[0].dense_taps == pytest.approx(3 * REFERENCE.steps[0].dense_taps, rel=0.3)
    assert found.steps[1].vertical_taps == pytest.approx(3 * REFERENCE.steps[1].vertical_taps, rel=0.3)


def test_samples_share_no_kernel_and_no_shape():
    fitted, judged = (prices.cases(sample, 0) for sample in ("fitted", "judged"))
    assert {case.kernel for case in fitted}.isdisjoint(case.kernel for case in judged)
    assert {case.shape for case in fitted} - {case.shape for case in judged} == {
        case.shape for case in fitted
    }
    assert prices.cases("judged", 0) == judged != prices.cases("judged", 1)


def test_examples_name_every_pass():
    plan = prices.plan_of(prices.Case("gauss s=3", (64, 64), (0, 1), "C", "float32", None))
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(prices, "EXAMPLES", ("gauss s=3",))
        patch.setattr(prices, "LAYOUTS", (((64, 64), (0, 1), "C"),))
        text = prices.examples(1)
    assert f"| gauss s=3 | 64x64 | 0,1 | C | {plan.method} |" in text
