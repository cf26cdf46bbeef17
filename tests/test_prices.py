"""Prices follow the backend: what `passes` counts is what the prepared passes will do."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from numbasep import calibration, cost, machine, passes, trials
from numbasep.backends import prepare
from numbasep.execute import run_plan
from numbasep.kernels import correlate, dense_words, horizontal, simd, vertical
from numbasep.kernels import geometry as g
from numbasep.operators import Operator
from numbasep.planner import Plan, choose
from numbasep.problem import Options, make_problem, make_windows
from numbasep.target import block_rows

HERE = dataclasses.replace(
    machine.REFERENCE, registers=simd.REGISTERS, lanes=(simd.VECTOR_BYTES / 4, simd.VECTOR_BYTES / 8)
)
FAMILIES = {"dense", "array", "packed", "boxes"}
"""Weights without structure; separable terms on rows of the array, and on packed ones; long boxes."""


def test_sizes_are_those_of_the_kernels():
    assert block_rows(simd.REGISTERS) == vertical.ROWS
    assert passes.BLOCK_WIDTH == vertical.VECTORS
    assert passes.LINE_WIDTH == horizontal.LINE_VECTORS
    assert passes.STEP_ROWS == simd.STEP_ROWS
    assert passes.SQUARE_TAPS == correlate.SQUARE_TAPS
    assert passes.DENSE_ROWS == 14
    assert (14 if simd.REGISTERS == 32 else 7) == dense_words.DENSE_ROWS
    if simd.REGISTERS == 32:  # otherwise none are written out
        assert passes.FEW_ROWS == dense_words.FEW_ROWS
        assert passes.FEW_TAPS == dense_words.FEW_TAPS
        assert passes.MOST_WRITTEN_OUT == dense_words.MOST_WRITTEN_OUT


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
    found, facts = trials._taken_apart(weights.tobytes(), weights.shape)
    return Plan(problem, choose(problem, facts, HERE), Operator(found, None, weights), HERE.name)


def family_of(steps):
    """The kernel that is priced."""
    if steps.vertical and not steps.dense_runs:
        return "packed" if steps.packed else "array"
    return "boxes" if steps.calls and not steps.dense else "dense"


def up(n, step):
    return math.ceil(n / step) * step


@pytest.fixture
def requests(monkeypatch):
    """What was asked for, by the function that prepared it."""
    seen = []
    for name in ("_prepare_dense", "_prepare_boxes", "prepare_separable"):
        own = getattr(prepare, name)

        def note(p, name=name, own=own):
            made = own(p)
            family = {"_prepare_dense": "dense", "_prepare_boxes": "boxes"}.get(name)
            if family is None:
                family = "packed" if made.geometry[g.PACKED] else "array"
                family = "dense" if not p.program.separable else family
            seen.append((family, p, made))
            return made

        monkeypatch.setattr(prepare, name, note)
    return seen


STORAGES = [
    ("float32", "float32"), ("float64", "float64"), ("uint8", "uint8"), ("float16", "float16"),
    ("float32", "float64"), ("uint8", "float32"), ("float16", "float32"),
]  # fmt: skip


@pytest.mark.parametrize(("stored", "output"), STORAGES)
def test_the_kernel_that_is_priced_is_the_one_that_runs(stored, output, requests):
    seen = set()
    for shape in ((64, 192), (200, 301), (40, 1100), (50, 3), (5, 90), (730, 731)):
        for method, weights, cval in calibration._samples():
            if weights.ndim > 2 or (shape == (730, 731) and weights.size < 45):
                continue
            plan = planned(shape, weights, stored, output, method, cval)
            _, steps = trials.facts_and_steps(plan, HERE)
            requests.clear()
            run_plan(plan, np.ones(shape, stored), np.ones(shape, output))
            ((family, asked, made),) = requests
            about = f"{method} {weights.shape} {shape} {cval}"
            assert family_of(steps) == family, about
            converts = asked.converted or asked.storage_in != prepare.storage_of(asked.compute)
            assert (steps.converted > 0) == converts, about
            check_counts(family, asked, made, steps, about)
            seen.add(family)
    assert seen == FAMILIES, FAMILIES - seen


def check_counts(family, asked, made, steps, about):
    """Blocks, rows and multiply-adds against the tables that the kernels walk."""
    rows, columns, inner = asked.planes.rows, asked.planes.columns, asked.planes.inner
    lanes, terms, runs = simd.VECTOR_BYTES // asked.compute.itemsize, made.program.terms, made.program.runs
    width, span = columns.size_out * inner, (asked.planes.columns.window.taps - 1) * inner
    down = rows.window.taps if rows.window else 1
    taken = asked.count * asked.sources * (rows.size_out + down - 1)
    if family in ("packed", "boxes"):
        assert steps.packed == taken * (width + span), about
        assert steps.rows == taken + asked.count * rows.size_out, about
    else:
        assert family == "dense" or (steps.packed, steps.rows) == (0, 0), about
    if family == "dense" and steps.dense:
        height = made.geometry[g.STRIPE_ROWS]
        blocks = asked.count * math.ceil(rows.size_out / height)
        assert steps.calls == blocks, about
        assert bool(made.geometry[g.DIRECT]) == (steps.packed == 0), about
    elif family == "dense":
        assert steps.blocks == asked.count * math.ceil(rows.size_out / vertical.ROWS), about
        assert bool(made.geometry[g.PACKED]) == (steps.packed > 0), about
    elif family != "boxes":
        strips = asked.count * math.ceil(rows.size_out / vertical.ROWS)
        numbers = strips * vertical.ROWS * up(width + span, vertical.VECTORS * lanes)
        assert steps.vertical == numbers * len(terms), about
        lengths = sum(int(runs[t[g.FIRST_RUN] : t[g.RUN_STOP], g.RUN_LENGTH].sum()) for t in terms)
        assert steps.vertical_taps == numbers * lengths, about
        along = columns.window.taps > 1
        written = asked.count * rows.size_out * up(width, horizontal.LINE_VECTORS * lanes) * along
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
        assert cost._plane(problem).stored != converts, (stored, output)
