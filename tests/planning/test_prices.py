"""Prices follow the backend: the passes that are priced are those that are bound, step by step."""

import dataclasses
import math

import numpy as np
import pytest

import numbasep
from numbasep.api import build
from numbasep.api.repeated_calls import shortcuts
from numbasep.arguments.problem import Options, make_problem, make_windows
from numbasep.calibration import trials
from numbasep.cpu import bind, prepare
from numbasep.cpu.intrinsics import vectors
from numbasep.cpu.kernels import table_entries as g
from numbasep.cpu.kernels import vertical
from numbasep.execution import execute
from numbasep.execution.execute import run_plan
from numbasep.lowering.kernels import KERNELS
from numbasep.lowering.lower import lower
from numbasep.lowering.spec import in_order
from numbasep.lowering.target import LINE_VECTORS, VECTORS
from numbasep.planning import machine
from numbasep.planning.facts import kernel_facts
from numbasep.planning.planner import PlannedFilter, choose
from tests.support import strategies

HERE = dataclasses.replace(
    machine.REFERENCE, registers=vectors.REGISTERS, lanes=(vectors.VECTOR_BYTES / 4, vectors.VECTOR_BYTES / 8)
)


def planned(shape, weights, stored, output, method, cval):
    """As `trials.plan_call`, with a type of its own for the results."""
    windows = make_windows(
        shape, tuple(range(weights.ndim)), weights.shape, "constant" if cval else "reflect", 0, flip=False
    )
    problem = make_problem(
        shape, np.dtype(stored), np.dtype(output), windows, cval=cval, footprint="support",
        options=Options(method=method, workers=1, rtol=1e-3), operation="correlate", complex_kernel=False,
        integer_l1=None,
    )  # fmt: skip
    operator, facts = trials._taken_apart(weights.tobytes(), weights.shape)
    return PlannedFilter(problem, choose(problem, facts, HERE), dataclasses.replace(operator), HERE.name)


def specs_of(plan):
    """The passes of a plan."""
    return [one.spec for one in plan.choice.chosen.passes if one.spec]


def up(n, step):
    return math.ceil(n / step) * step


@pytest.fixture
def bound(monkeypatch):
    """What was bound, by the name of its kernel."""
    seen = []
    for name, own in dict(prepare.BINDERS).items():

        def note(p, name=name, own=own):
            seen.append((name, p, own(p)))
            return seen[-1][-1]

        monkeypatch.setitem(prepare.BINDERS, name, note)
    return seen


STORAGES = [
    ("float32", "float32"), ("float64", "float64"), ("uint8", "uint8"), ("float16", "float16"),
    ("float32", "float64"), ("uint8", "float32"), ("float16", "float32"),
]  # fmt: skip


@pytest.mark.parametrize(("stored", "output"), STORAGES)
def test_the_kernel_that_is_priced_is_the_one_that_runs(stored, output, bound):
    seen = set()
    for shape in ((64, 192), (200, 301), (40, 1100), (50, 3), (5, 90), (730, 731)):
        for method, weights, cval in trials.samples():
            if weights.ndim > 2 or method == "structured" or (shape == (730, 731) and weights.size < 45):
                continue
            plan = planned(shape, weights, stored, output, method, cval)
            (spec,) = specs_of(plan)
            bound.clear()
            run_plan(plan, np.ones(shape, stored), np.ones(shape, output))
            ((name, asked, made),) = bound
            about = f"{method} {weights.shape} {shape} {cval}"
            assert spec.kernel == name, about
            converts = asked.converted or asked.storage_in != prepare.storage_of(asked.compute)
            steps = spec.steps
            assert (steps.converted + steps.widened + steps.rounded > 0) == converts, about
            check_counts(name, asked, made, spec.steps, about)
            seen.add(name)
    expected = set(KERNELS) - {"short rows"}  # whose tables are others: `test_short_rows.py`
    if vectors.VECTOR_BYTES == 64:
        expected.remove("dense sums")  # wide vectors need none
    assert seen == expected, expected ^ seen


CALLS = (
    ("gaussian_filter", {"sigma": 1.5}), ("uniform_filter", {"size": 5}), ("sobel", {}), ("laplace", {}),
    ("gaussian_laplace", {"sigma": 1.0}), ("convolve", {"weights": "dense"}),
    ("convolve", {"weights": "separable"}), ("convolve", {"weights": "sparse"}),
    ("correlate", {"weights": "two terms"}), ("correlate", {"weights": "folded"}),
    ("gaussian_filter", {"sigma": 2.0, "stride": 2}),
)  # fmt: skip


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64", "float16", ">f4"])
@pytest.mark.parametrize("shape", [(4001,), (33, 70), (300, 310), (20, 30, 3), (40, 30, 50), (5, 6, 7, 30)])
@pytest.mark.parametrize(("function", "arguments"), CALLS)
def test_the_passes_of_a_plan_are_those_that_are_bound(function, arguments, shape, dtype, monkeypatch):
    """The planner lowers the facts about a kernel, the backend its arrays: to the same passes."""
    found = []
    own = bind.lower
    monkeypatch.setattr(bind, "lower", lambda *a, **k: found.append(own(*a, **k)) or found[-1])
    plans = []
    run = execute._run
    monkeypatch.setattr(execute, "_run", lambda plan, *a: (plans.append(plan), run(plan, *a))[1])
    build.plans.clear()
    shortcuts.clear()
    x = strategies.samples(dtype, shape, 1)
    keywords = dict(arguments)
    if "weights" in keywords:
        folded = keywords["weights"] == "folded"
        taps = (3,) * (len(shape) - 1) + (7,)
        weights = strategies.kernel("dense" if folded else keywords["weights"], taps, 3)
        keywords["weights"] = weights + weights[..., ::-1] if folded else weights
    getattr(numbasep, function)(x, **keywords)
    over_planes = [plan for plan in plans if plan.choice.chosen.runner == "planes"]
    assert found or not over_planes
    for plan, passes in zip(over_planes, found, strict=True):
        assert tuple(one.spec for one in plan.choice.chosen.passes if one.spec) == in_order(passes)


def check_counts(family, asked, made, steps, about):
    """Blocks, rows and multiply-adds against the tables that the kernels walk."""
    task = asked.task
    rows, columns, inner = task.planes.rows, task.planes.columns, task.planes.inner
    lanes, terms, runs = vectors.VECTOR_BYTES // task.item, made.program.terms, made.program.runs
    width, span = columns.size_out * inner, (columns.window.taps - 1) * inner
    down = rows.window.taps if rows.window else 1
    taken = task.count * task.sources * (rows.size_out + down - 1)
    if family == "box" or (family == "separable" and made.geometry[g.PACKED]):
        assert steps.packed == taken * (width + span), about
        assert steps.rows == taken + task.count * rows.size_out, about
    else:
        assert family.startswith("dense") or (steps.packed, steps.rows) == (0, 0), about
    if family == "dense":
        height = made.geometry[g.STRIPE_ROWS]
        blocks = task.count * math.ceil(rows.size_out / height)
        assert steps.dense_blocks == blocks, about
        assert bool(made.geometry[g.DIRECT]) == (steps.packed == 0), about
    elif family == "dense sums":
        assert steps.blocks == task.count * math.ceil(rows.size_out / vertical.ROWS), about
        assert bool(made.geometry[g.PACKED]) == (steps.packed > 0), about
    elif family == "separable":
        strips = task.count * math.ceil(rows.size_out / vertical.ROWS)
        numbers = strips * vertical.ROWS * up(width + span, VECTORS * lanes)
        assert steps.vertical == numbers * len(terms), about
        lengths = sum(int(runs[t[g.FIRST_RUN] : t[g.RUN_STOP], g.RUN_LENGTH].sum()) for t in terms)
        assert steps.vertical_taps == numbers * lengths, about
        along = columns.window.taps > 1
        written = task.count * rows.size_out * up(width, LINE_VECTORS * lanes) * along
        assert steps.horizontal == written, about
        lines = made.program.lines
        lengths = sum(int(lines[t[g.FIRST_LINE] : t[g.LAST_LINE], g.RUN_LENGTH].sum()) for t in terms)
        assert steps.horizontal_taps == written * lengths, about
        segments = made.geometry[g.TILES] * math.ceil(made.geometry[g.TILE] / made.geometry[g.SEGMENT])
        assert strips <= steps.blocks <= 2 * strips * segments, about
        assert steps.blocks >= strips * segments / 2, about


def test_what_is_converted_is_told_by_storage():
    """Of the type that sums are taken in, or not: float16 never is, float32 is not in sums of float64."""
    for stored, output, converts in (
        ("float32", "float32", False), ("float64", "float64", False), ("complex64", "complex64", False),
        ("float16", "float16", True), ("float16", "float32", True), ("float32", "float64", True),
        ("uint8", "float32", True), ("float32", "uint8", True), ("complex64", "complex128", True),
        ("float32", "complex64", False),
    ):  # fmt: skip
        windows = make_windows((40, 50), (0, 1), (3, 3), "reflect", 0, flip=False)
        problem = make_problem(
            (40, 50), np.dtype(stored), np.dtype(output), windows, cval=0.0, footprint="support",
            options=Options(), operation="correlate", complex_kernel=False, integer_l1=None,
        )  # fmt: skip
        (spec,) = lower(kernel_facts(np.ones((3, 3))).weights("support"), problem, HERE.target)
        assert spec.task.converted == converts, (stored, output)
