"""Plans measured pass by pass, and the order of memory that they are made for."""

import re

import numpy as np
import pytest

import numbasep
from tests.support import oracle

RNG = np.random.default_rng(5)
TAPS = np.exp(-0.5 * np.linspace(-3, 3, 9) ** 2)
SQUARE = np.outer(TAPS, TAPS)
WIDE = np.exp(-0.5 * (np.arange(-40, 41) / 10) ** 2)
KERNELS = {
    "separable": (SQUARE, {}),
    "dense": (RNG.random((5, 5)), {"method": "direct"}),
    "two terms": (RNG.random((7, 2)) @ RNG.random((2, 7)), {"method": "separable"}),
    "transform": (RNG.random((9, 9)), {"method": "fft"}),
    "recursive": (np.outer(WIDE, WIDE), {"rtol": 1e-3, "method": "structured"}),
    "complex": (RNG.random((3, 3)) + 1j * RNG.random((3, 3)), {"method": "direct"}),
    "stride": (SQUARE, {"stride": 2}),
}  # fmt: skip


def array(shape, dtype=np.float32, order="C"):
    return np.asarray(RNG.random(shape) * 100, dtype, order=order)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("shape", [(300, 200), (60, 70, 3)])
def test_every_pass_is_measured(name, shape):
    kernel, options = KERNELS[name]
    plan = numbasep.plan(kernel, shape, np.float32, axes=(0, 1), **options)
    analysis = plan.analyze(array(shape), repeats=2)
    shown = [(one.kernel, one.axes) for one in plan.passes]
    assert [(one.kernel, one.axes) for one in analysis.passes] == shown
    assert all(one.measured > 0 for one in analysis.passes)
    assert [one.predicted for one in analysis.passes] == pytest.approx([one.seconds for one in plan.passes])
    assert analysis.predicted == pytest.approx(plan.seconds)
    assert [one.bytes for one in analysis.passes] == [one.bytes for one in plan.passes]
    lines = str(analysis).splitlines()
    assert len([line for line in lines if re.match(r"  (call|total) ", line)]) == 2
    for one in plan.passes:
        assert any(line.lstrip().startswith(f"{one.kernel}") for line in lines), one.kernel
    assert "<table" in analysis._repr_html_()


def test_passes_of_a_volume():
    """All axes piece by piece in one pass; or an outer axis slab by slab, then rows and columns."""
    kernel = np.multiply.outer(SQUARE, TAPS)
    plan = numbasep.plan(kernel, (30, 40, 250), np.float32, method="separable")
    (joined,) = plan.passes
    assert joined.axes == (0, 1, 2)
    assert joined.operations == 27 * 30 * 40 * 250
    plan = numbasep.plan(kernel, (30, 40, 250), np.float32, method="separable", mode="constant")
    outer, inner = plan.passes
    assert (outer.axes, inner.axes) == ((0,), (1, 2))
    assert outer.operations == 9 * 30 * 40 * 250
    assert inner.operations == 18 * 30 * 40 * 250
    assert outer.bytes >= 2 * 4 * 30 * 40 * 250
    assert sum(one.seconds for one in plan.passes) < plan.seconds


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("method", ["separable", "direct", "fft"])
def test_plans_for_an_order_filter_arrays_of_both(order, method):
    shape = (210, 12, 220)
    kernel = np.multiply.outer(SQUARE[:5], TAPS[:3])
    plan = numbasep.plan(kernel, shape, np.float64, order=order, method=method, operation="correlate")
    assert plan.order == order
    x = array(shape, np.float64)
    expected = oracle.correlate(x, kernel)
    for other in ("C", "F"):
        got = plan(np.asarray(x, order=other))
        np.testing.assert_allclose(got, expected, rtol=1e-9)
        assert plan.analyze(np.asarray(x, order=other), repeats=1).passes
    first = plan.passes[-1]
    if method == "separable":
        assert set(first.axes) == {0, 1, 2}


def test_a_short_axis_has_a_pass_of_its_own():
    plan = numbasep.plan(np.multiply.outer(SQUARE, TAPS[:3]), (200, 300, 3), np.float32, method="separable")
    assert [(one.kernel, one.axes) for one in plan.passes] == [("separable", (0, 1)), ("short rows", (2,))]
    assert all(one.measured > 0 for one in plan.analyze(repeats=1).passes)


def test_an_order_is_planned_for():
    """The innermost axis in memory is never that of the slabs."""
    kernel = np.multiply.outer(SQUARE, TAPS)
    call = {"method": "separable", "mode": "constant"}
    slabs = {
        order: numbasep.plan(kernel, (200, 70, 200), order=order, **call).passes[0].axes
        for order in ("C", "F")
    }
    assert slabs == {"C": (0,), "F": (2,)}


def test_measured_plans_of_fortran_arrays(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBASEP_CACHE_DIR", str(tmp_path))
    plan = numbasep.plan(SQUARE, (50, 60), order="F", effort="measure")
    assert "measured" in str(plan)
    x = array((50, 60), np.float64, "F")
    np.testing.assert_allclose(plan(x), oracle.convolve(x, SQUARE), rtol=1e-9)


def test_gaps_show_what_really_ran():
    plan = numbasep.plan(RNG.random((31, 31)), (200, 200), np.float64, method="auto")
    x = array((200, 200), np.float64)
    x[100, 100] = np.nan
    analysis = plan.analyze(x, repeats=1)
    assert analysis.passes
    assert all(one.measured > 0 for one in analysis.passes)


def test_nothing_to_filter():
    assert numbasep.plan(np.array(2.0), ()).analyze(np.array(3.0)).passes == ()
    assert numbasep.plan(SQUARE, (0, 5)).passes == ()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (((np.zeros((3, 3)),), {}), ValueError, "shape"),
        (((), {"repeats": 0}), ValueError, "repeats"),
        (((), {"repeats": 1.5}), TypeError, "repeats"),
    ],
)
def test_bad_arguments(arguments, error, match):
    plan = numbasep.plan(SQUARE, (20, 20))
    with pytest.raises(error, match=match):
        plan.analyze(*arguments[0], **arguments[1])
    with pytest.raises(ValueError, match="order"):
        numbasep.plan(SQUARE, (20, 20), order="K")
