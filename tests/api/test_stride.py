"""Strides: every filter returns the slice of its full result, and computes no more than it has to."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numbasep as nsp
from numbasep.arguments import axes
from numbasep.cpu import prepare, separable, tiles
from numbasep.cpu.intrinsics import vectors
from numbasep.cpu.kernels import table_entries as g
from numbasep.cpu.kernels import vertical
from numbasep.lowering import access, target
from numbasep.lowering.steps import total
from tests.support import oracle, referee, strategies
from tests.support.strategies import Call, samples

RNG = np.random.default_rng(24)
MODES = ("reflect", "mirror", "nearest", "wrap", "constant", "valid", "full")
X = RNG.random((13, 17)).astype(np.float32)
BYTES = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
GAPS = np.where(RNG.random(X.shape) < 0.1, np.float32(np.nan), X)
MASK = RNG.random(X.shape) < 0.2
POSITIVE = RNG.random((5, 4)) + 0.1

# Every function with a stride: the call, and the axes that a sequence of strides belongs to, in its order.
FUNCTIONS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "convolve": (lambda x, **o: nsp.convolve(x, POSITIVE, **o), (0, 1)),
    "correlate": (lambda x, **o: nsp.correlate(x, np.outer([1, 2, 1], [1, 4, 6, 4, 1]), **o), (0, 1)),
    "correlate, axes turned": (lambda x, **o: nsp.correlate(x, POSITIVE, axes=(1, 0), **o), (1, 0)),
    "correlate, one axis": (lambda x, **o: nsp.correlate(x, [1, 2, 3, 4], axes=0, **o), (0,)),
    "separable_convolve": (lambda x, **o: nsp.separable_convolve(x, {1: [1, 2, 3, 4], 0: [1, 1]}, **o), (1, 0)),
    "separable_correlate": (
        lambda x, **o: nsp.separable_correlate(x, [[1, 5], [2, 1, 1]], axes=(1, 0), **o), (1, 0),
    ),
    "convolve1d": (lambda x, **o: nsp.convolve1d(x, [1, 2, 3.0], axis=0, **o), (0,)),
    "correlate1d": (lambda x, **o: nsp.correlate1d(x, [1, 2, 3.0, 1], **o), (1,)),
    "gaussian_filter": (lambda x, **o: nsp.gaussian_filter(x, (1, 0.7), **o), (0, 1)),
    "gaussian_filter, one axis left alone": (lambda x, **o: nsp.gaussian_filter(x, (1, 0), **o), (0, 1)),
    "gaussian_filter, all left alone": (lambda x, **o: nsp.gaussian_filter(x, 0, axes=(1, 0), **o), (1, 0)),
    "gaussian_filter, spacing": (
        lambda x, **o: nsp.gaussian_filter(x, 1, spacing=(2, 0.5), axes=(1, 0), **o), (1, 0),
    ),
    "gaussian_filter1d": (lambda x, **o: nsp.gaussian_filter1d(x, 2, **o), (1,)),
    "gaussian_filter1d, left alone": (lambda x, **o: nsp.gaussian_filter1d(x, 0, 0, **o), (0,)),
    "uniform_filter": (lambda x, **o: nsp.uniform_filter(x, (4, 5), **o), (0, 1)),
    "uniform_filter, one axis left alone": (lambda x, **o: nsp.uniform_filter(x, (1, 3), **o), (0, 1)),
    "uniform_filter1d": (lambda x, **o: nsp.uniform_filter1d(x, 4, axis=0, **o), (0,)),
}  # fmt: skip
BITS = 24 * np.finfo(np.float32).eps  # of two sums of up to 24 roundings of half a unit each


def up(n: int, step: int) -> int:
    return -(-n // step) * step


def every(strides: Any, named: tuple[int, ...], ndim: int = 2) -> tuple[slice, ...]:
    """The slice that strides stand for."""
    along = dict(zip(named, oracle.per_axis(strides, len(named)), strict=True))
    return tuple(slice(None, None, along.get(axis, 1)) for axis in range(ndim))


def compare(got: np.ndarray, full: np.ndarray, kept: tuple[slice, ...], slack: Any = 1.0) -> None:
    """The slice of the full result, of integers to the last bit."""
    __tracebackhide__ = True
    expected = full[kept]
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    if got.dtype.kind in "iu":
        np.testing.assert_array_equal(got, expected)
        return
    scale = float(np.nanmax(np.abs(expected), initial=1.0))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    assert np.nanmax(np.abs(got - expected) / slack, initial=0.0) <= BITS * scale


def slack_of(function: Any, missing: np.ndarray, mode: str) -> np.ndarray:
    """By how much rounding grows where sums are divided by the share of the weights that fell on valid samples."""
    share, whole = (
        function(x, mode=mode, cval=1.0) for x in ((~missing).astype(float), np.ones(missing.shape))
    )
    return 2 * whole / np.maximum(share, 1e-30)


# --------------------------------------------------------------------------- against the oracle


def strides_for(call: Call) -> st.SearchStrategy[Any]:
    """One stride, or one for each filtered axis; some longer than the axis."""
    count = call.x.ndim if call.axes is None else len(call.axes)
    one = st.sampled_from([1, 2, 2, 3, 4, 5, 7, 50])
    return st.one_of(one, st.tuples(*[one] * count))


def named(call: Call) -> tuple[int, ...]:
    return tuple(range(call.x.ndim)) if call.axes is None else tuple(a % call.x.ndim for a in call.axes)


def judge(call: Call, stride: Any, **options: Any) -> None:
    """The slice of the oracle's full result within the plan's bound; exactly, where the plan says so."""
    __tracebackhide__ = True
    plan = referee.plan_of(call, stride=stride, **options)
    got = referee.run(call, stride=stride, **options)
    kept = every(stride, named(call), call.x.ndim)
    whole = plan.exact and float(call.cval).is_integer()
    full = referee.expected(call, exact=whole)
    if whole and got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, oracle.store(full[kept], got.dtype))
        return
    full = full.astype(np.float64) if whole else full
    oracle.assert_close(got, full[kept], referee.slack(call, plan.error_bound))


@given(st.data())
def test_any_call(data: st.DataObject) -> None:
    dtypes = ("uint8", "int16", "float32", "float64", "complex64", "float16")
    call = data.draw(strategies.calls(dtypes=dtypes, layouts=tuple(strategies.LAYOUTS), max_dims=4))
    judge(call, data.draw(strides_for(call)))


@given(st.data())
def test_integers_with_integer_kernels_are_exact(data: st.DataObject) -> None:
    kinds = ("integer", "integer separable", "box", "integer two terms")
    call = data.draw(strategies.calls(dtypes=("uint8", "int16", "uint32"), kinds=kinds, max_dims=3))
    judge(call, data.draw(strides_for(call)))


@pytest.mark.parametrize("method", strategies.METHODS)
@given(data=st.data())
def test_every_method_forced(method: str, data: st.DataObject) -> None:
    kinds = ("separable", "two terms", "integer separable", "box", "dense")
    call = data.draw(strategies.calls(dtypes=("uint8", "float32", "complex64"), kinds=kinds, max_dims=3))
    stride = data.draw(strides_for(call))
    candidate = next(c for c in referee.plan_of(call, stride=stride).candidates if c.method == method)
    if candidate.seconds < np.inf:
        judge(call, stride, method=method)


SHAPES = ((40, 70), (9, 257), (70, 6), (21, 90, 3), (300,), (5, 12, 70), (2, 3, 9, 40))


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stride", [2, 3, 4, 5, 9])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["separable", "dense"])
def test_rows_of_many_vectors(kind: str, shape: tuple[int, ...], stride: int, mode: str) -> None:
    """From the array and packed, in segments; colour and volumes."""
    filtered = (0, 1) if shape[-1] == 3 else tuple(range(len(shape)))
    taps = (5, 4, 3, 3)[: len(filtered)] if len(filtered) > 1 else (9,)
    for dtype in ("float32", "uint8", "complex64"):
        weights = strategies.kernel(kind, taps, 3)
        call = Call("correlate", samples(dtype, shape, 5), weights, mode, 2.5, 0, filtered)
        judge(call, stride)
        judge(call, (*[1] * (len(filtered) - 1), stride))
        judge(call, (stride, *[1] * (len(filtered) - 1)))


@pytest.mark.slow
@pytest.mark.parametrize("stride", [2, 3, (1, 4)])
@pytest.mark.parametrize("dtype", [*strategies.INTEGERS, *strategies.FLOATS, "bool"])
def test_every_type_and_layout(dtype: str, stride: Any) -> None:
    for layout, arrange in strategies.LAYOUTS.items():
        for kind in ("integer separable", "integer"):
            x = arrange(samples(dtype, (31, 75), 2))
            weights = strategies.kernel(kind, (3, 5), 1)
            for mode in ("reflect", "constant", "valid"):
                if dtype not in ("int64", "uint64"):
                    judge(Call("convolve", x, weights, mode, 1.0, 0, None), stride)
        assert layout in strategies.LAYOUTS


@pytest.mark.jitoff
@pytest.mark.parametrize("stride", [2, 3, 4, 6, (1, 2), (3, 1)])
@pytest.mark.parametrize("mode", ["wrap", "constant", "valid"])
def test_word_by_word(mode: str, stride: Any) -> None:
    """Vectors begin, and end, inside the memory that they are for: without the compiler, too far is an error."""
    for kind, shape in (
        ("separable", (9, 70)),
        ("dense", (9, 70)),
        ("separable", (7, 20, 3)),
        ("two terms", (9, 67)),
    ):
        call = Call(
            "correlate",
            samples("float32", shape, 1),
            strategies.kernel(kind, (3, 5), 2),
            mode,
            1.5,
            0,
            (0, 1),
        )
        judge(call, stride)
        judge(Call(call.operation, call.x, call.weights[:, :1], mode, 1.5, 0, (0, 1)), stride)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments and tiles of few columns."""
    monkeypatch.setattr(access, "BUFFER_BYTES", 1)
    monkeypatch.setattr(tiles, "CACHE_BYTES", 1)
    monkeypatch.setattr(separable, "FETCH_BYTES", 1)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("stride", [2, 3, (1, 4), (4, 1)])
def test_segments_of_few_columns(stride: Any, dtype: str) -> None:
    for taps in ((3, 5), (9, 2)):
        for mode in ("mirror", "constant"):
            for kind in ("separable", "two terms", "dense"):
                weights = strategies.kernel(kind, taps, 4)
                judge(Call("correlate", samples(dtype, (25, 1900), 3), weights, mode, 1.5, 0, None), stride)


@pytest.mark.parametrize("stride", [(2, 1), (3, 1), (1, 2), 2])
@pytest.mark.parametrize("mode", ["wrap", "valid", "constant"])
def test_long_rows_of_dense_kernels(mode: str, stride: Any) -> None:
    """Straight from the array, but for the ends of rows."""
    for dtype in ("float32", "uint8"):
        for shape in ((20, 1300), (3, 2100)):
            weights = strategies.kernel("dense", (3, 4), 7)
            judge(Call("correlate", samples(dtype, shape, 3), weights, mode, 1.5, 0, None), stride)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    x = RNG.random((1100, 1300)).astype(np.float32)
    for weights in (np.outer([1, 2, 3, 2.0, 1], [1, 5, 2.0]), POSITIVE):
        full = nsp.convolve(x, weights)
        for stride in (2, 3, (4, 1)):
            one, two = (nsp.convolve(x, weights, stride=stride, workers=n) for n in (1, 2))
            np.testing.assert_array_equal(one, two)
            compare(one, full, every(stride, (0, 1)))


# --------------------------------------------------------------------------- every function


@pytest.mark.parametrize("name", FUNCTIONS)
def test_is_the_slice_of_the_full_result(name: str) -> None:
    function, filtered = FUNCTIONS[name]
    per_axis = ((2, 3), (1, 4)) if len(filtered) == 2 else ((3,),)
    for mode in MODES:
        for x, options in (
            (X, {}),
            (BYTES, {}),
            (np.asfortranarray(X), {}),
            (GAPS, {"nan_policy": "omit"}),
            (X, {"mask": MASK}),
        ):
            call = {"mode": mode, "cval": 1.5, **options}
            full, missing = function(x, **call), MASK if "mask" in options else np.isnan(x)
            slack = slack_of(function, missing, mode) if options else np.ones(full.shape)
            for stride in (2, 5, 20, *per_axis):
                kept = every(stride, filtered)
                compare(function(x, stride=stride, **call), full, kept, slack[kept])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_output_array_has_the_strided_shape(name: str) -> None:
    function, filtered = FUNCTIONS[name]
    full = function(X, output=np.float64)
    kept = every(2, filtered)
    out = np.full((2 * full[kept].shape[0], full[kept].shape[1]), 7.0)[::2]
    assert function(X, output=out, stride=2) is out
    compare(out, full, kept)
    with pytest.raises(ValueError, match="output shape not correct"):
        function(X, output=np.zeros(full.shape), stride=2)
    compare(
        function(X, output=np.uint8, cast="saturate", stride=2),
        function(X, output=np.uint8, cast="saturate"),
        kept,
    )


def test_output_may_be_a_part_of_the_input() -> None:
    x = X.copy()
    full = nsp.gaussian_filter(X, 1)
    nsp.gaussian_filter(x, 1, stride=2, output=x[:7, :9])
    compare(x[:7, :9], full, every(2, (0, 1)))


def test_banks() -> None:
    bank = [POSITIVE, POSITIVE[::-1]]
    for stride in (2, (3, 1)):
        full = nsp.filter_bank(X, bank)
        compare(nsp.filter_bank(X, bank, stride=stride), full, (slice(None), *every(stride, (0, 1))))


def test_missing_samples_where_none_are_returned() -> None:
    """A NaN that no returned result sees changes nothing; with "raise" it is an error all the same."""
    x = X.copy()
    x[1, 1] = np.nan
    compare(nsp.uniform_filter(x, 1, stride=2), X, every(2, (0, 1)))
    with pytest.raises(ValueError, match="nan_policy='raise'"):
        nsp.uniform_filter(x, 1, stride=2, nan_policy="raise")
    with pytest.raises(ValueError, match="mask must have the shape"):
        nsp.uniform_filter(x, 1, stride=2, mask=MASK[::2, ::2])


def test_nan_and_infinity_spread_as_in_the_slice() -> None:
    x = RNG.random((30, 90)).astype(np.float32)
    x[7, 20], x[15, 60] = np.nan, np.inf
    for weights in (POSITIVE, np.outer([1, 2, 1], [1, 0, 1.0])):
        full = oracle.correlate(x, weights)
        for stride in (2, 3, (1, 4)):
            got = nsp.correlate(x, weights, stride=stride)
            np.testing.assert_array_equal(np.isfinite(got), np.isfinite(full[every(stride, (0, 1))]))


def test_recursive_gaussians() -> None:
    x = RNG.random((150, 170))
    for mode in ("reflect", "constant", "full"):
        for out in (None, np.empty((75, 57)) if mode != "full" else None):
            call = {"mode": mode, "cval": 1.0, "rtol": 1e-3, "method": "structured"}
            full = nsp.gaussian_filter(x, 20, mode=mode, cval=1.0)
            got = nsp.gaussian_filter(x, 20, stride=(2, 3), output=out, **call)
            np.testing.assert_allclose(got, full[::2, ::3], atol=1e-3)


def test_fortran_arrays_keep_their_order() -> None:
    x = np.asfortranarray(RNG.random((64, 80)))
    got = nsp.gaussian_filter(x, 1, stride=2)
    assert got.flags.f_contiguous
    compare(got, nsp.gaussian_filter(x, 1), every(2, (0, 1)))


def test_repeated_calls_are_told_apart() -> None:
    for _ in range(2):
        for stride, shape in ((1, (13, 17)), (2, (7, 9)), ((2, 1), (7, 17)), ((1, 2), (13, 9))):
            assert nsp.gaussian_filter(X, 1, stride=stride).shape == shape
            assert nsp.gaussian_filter(X, (0, 1), stride=stride).shape == shape
            assert nsp.convolve(X, POSITIVE, stride=stride).shape == shape


def test_all_filters_that_should_have_a_stride_have_one() -> None:
    names = {name.partition(",")[0] for name in FUNCTIONS} | {"filter_bank", "plan"}
    for name in names:
        parameter = inspect.signature(getattr(nsp, name)).parameters["stride"]
        assert (parameter.default, parameter.kind) == (1, inspect.Parameter.KEYWORD_ONLY)


# --------------------------------------------------------------------------- plans


@pytest.mark.parametrize("stride", [2, 4, (1, 3), (5, 1)])
def test_plans(stride: Any) -> None:
    taps = np.array([1, 4, 6, 4, 1])
    for weights in (np.outer(taps, taps), POSITIVE):
        plan = nsp.plan(weights, (70, 90), np.float32, stride=stride)
        x = RNG.random((70, 90)).astype(np.float32)
        compare(plan(x), nsp.convolve(x, weights), every(stride, (0, 1)))
        assert plan.verify() <= plan.error_bound + np.finfo(np.float32).eps
        assert f"stride {'x'.join(map(str, oracle.per_axis(stride, 2)))}" in str(plan)
    assert "stride" not in str(nsp.plan(POSITIVE, (70, 90), stride=1))


def test_a_stride_beyond_the_axis_is_none() -> None:
    (window,) = nsp.plan(np.ones(3), (9,), stride=9).problem.windows
    assert (window.out_size, window.step) == (1, 1)
    assert nsp.convolve(np.arange(9.0), np.ones(3), stride=2**70).tolist() == [1.0]
    assert nsp.convolve(np.zeros((0, 4)), np.ones((1, 3)), stride=2).shape == (0, 2)
    assert nsp.convolve(np.ones(2), np.ones(3), mode="valid", stride=2).shape == (0,)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64"])
@pytest.mark.parametrize(
    ("method", "taps"),
    [("separable", (5, 5)), ("separable", (3, 9)), ("separable", (3, 3, 3)), ("direct", (11, 11))],
)
def test_prices_fall_with_the_stride(method: str, taps: tuple[int, ...], dtype: str) -> None:
    shape = (2000, 2000) if len(taps) == 2 else (120, 160, 200)
    weights = strategies.kernel("positive" if method == "direct" else "separable", taps, 1)
    found = [nsp.plan(weights, shape, dtype, stride=stride, method=method) for stride in (1, 2, 4)]
    seconds = [plan.seconds for plan in found]
    assert seconds[0] > seconds[1] > seconds[2] > 0
    pixels = [np.prod([-(-n // stride) for n in shape]) for stride in (1, 2, 4)]
    assert [plan.problem.pixels for plan in found] == pixels


def test_operations_are_those_of_what_is_computed() -> None:
    weights = np.outer([1, 2, 3, 4.0, 5], [1, 5, 2.0])
    for stride, executed in ((1, 8), (2, 13), ((2, 1), 8), ((1, 4), 23)):
        plan = nsp.plan(weights, (100, 100), stride=stride, method="separable")
        assert plan.choice.chosen.executed == plan.choice.chosen.operations == executed
    volume = oracle.outer([[1, 2, 3.0], [1, 3, 4, 2, 1.0], [1, 1, 2, 2.0]])
    plan = nsp.plan(volume, (20, 30, 40), stride=2, method="separable")
    assert plan.choice.chosen.executed == 3 * 4 + 5 * 2 + 4
    assert nsp.plan(POSITIVE, (100, 100), stride=3).choice.chosen.operations == POSITIVE.size


@pytest.mark.parametrize("stride", [1, 2, 3, 4, (1, 2), (5, 1)])
@pytest.mark.parametrize("kind", ["separable", "dense"])
def test_what_is_priced_is_what_is_prepared(kind: str, stride: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions of both passes, counted from the tables that the kernels walk."""
    made: list[Any] = []

    def note(p: Any) -> Any:
        made.append((p, separable.prepare_separable(p)))
        return made[-1][1]

    for name in ("separable", "dense sums"):
        monkeypatch.setitem(prepare.BINDERS, name, note)
    shape, taps = (53, 301), (5, 7)
    weights = strategies.kernel(kind, taps, 6)
    plan = nsp.plan(
        weights,
        shape,
        stride=stride,
        operation="correlate",
        method="direct" if kind == "dense" else "separable",
    )
    plan(RNG.random(shape))
    if not made:
        assert stride == 1  # `cpu.kernels.dense`
        return
    ((_, prepared),) = made
    down, along = plan.problem.steps
    rows, columns = plan.problem.out_shape
    sizes, runs, lines = prepared.geometry, prepared.program.runs, prepared.program.lines
    assert (sizes[g.ROW_STEP], sizes[g.COLUMN_STEP]) == (down, along)
    assert (sizes[g.ROWS_OUT], sizes[g.COLUMNS_OUT]) == (rows, columns)
    assert sizes[g.WINDOW] == min(down, taps[0]) * (vertical.ROWS + -(-taps[0] // down) - 1)
    assert runs[:, g.RUN_LENGTH].sum() == (taps[0] if kind == "separable" else taps[0] * taps[1])
    steps = total(*(one.spec.steps for one in plan.choice.chosen.passes if one.spec))
    width = target.VECTORS * vectors.VECTOR_BYTES // 8
    strips = up(rows, vertical.ROWS)
    if kind == "dense":
        assert steps.vertical_taps == strips * up(columns, width) * taps[0] * taps[1]
        assert (steps.packed > 0) == bool(sizes[g.PACKED])
        return
    reach = (columns - 1) * along + taps[1]
    assert steps.vertical_taps == strips * up(reach, width) * taps[0]
    assert lines[:, g.RUN_LENGTH].sum() == taps[1]
    line = target.LINE_VECTORS * vectors.VECTOR_BYTES // 8
    assert steps.horizontal_taps == rows * up(columns, line) * taps[1]


@pytest.mark.parametrize("stride", [2, 7, 64])
@pytest.mark.parametrize("shape", [(300, 400), (64, 3000), (20, 30, 70)], ids=str)
def test_workspaces_stay_within_what_is_stated(shape: tuple[int, ...], stride: int) -> None:
    for kind in ("separable", "dense"):
        for dtype in ("float32", "uint8", "complex64"):
            weights = strategies.kernel(kind, (9,) * len(shape), 1)
            plan = nsp.plan(
                weights,
                shape,
                dtype,
                stride=stride,
                workers=1,
                method="direct" if kind == "dense" else "separable",
            )
            plan(np.ones(shape, dtype))
            (launch,) = plan.kernel.launches.values()
            assert launch.workspace <= plan.workspace


# --------------------------------------------------------------------------- what is refused


BAD = {
    "zero": (0, ValueError, r"stride must be at least 1.*got 0"),
    "negative": ((2, -1), ValueError, r"stride must be at least 1.*got \(2, -1\)"),
    "a fraction": (2.5, TypeError, "stride must be a positive integer.*got 2.5"),
    "a whole number in floating point": (2.0, TypeError, "stride must be a positive integer.*got 2.0"),
    "a truth value": (True, TypeError, "stride must be a positive integer.*got True"),
    "a truth value among others": ((2, np.True_), TypeError, "stride must be a positive integer"),
    "text": ("2", TypeError, "stride must be a positive integer.*got '2'"),
    "nothing": (None, TypeError, "stride must be a positive integer.*got None"),
    "too few": ((2,), ValueError, "stride must be one value or a sequence of 2.*got 1"),
    "too many": ((2, 2, 2), ValueError, "stride must be one value or a sequence of 2.*got 3"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize(
    "name", ["convolve", "separable_correlate", "gaussian_filter", "uniform_filter", "bank", "plan"]
)
def test_bad_strides(name: str, case: str) -> None:
    stride, error, words = BAD[case]
    calls = {
        "bank": lambda **o: nsp.filter_bank(X, [POSITIVE], **o),
        "plan": lambda **o: nsp.plan(POSITIVE, X.shape, **o),
    }
    call = calls.get(name) or (lambda **o: FUNCTIONS[name][0](X, **o))
    call(stride=1)
    call(stride=(1, 2))  # neither is taken for what equals it
    with pytest.raises(error, match=words):
        call(stride=stride)


@pytest.mark.parametrize("name", ["convolve1d", "gaussian_filter1d", "uniform_filter1d"])
def test_bad_strides_of_one_axis(name: str) -> None:
    for stride, error, words in [
        *(BAD[case] for case in ("zero", "a fraction", "a truth value", "text", "nothing")),
        ((2, 2), ValueError, "stride must be one value or a sequence of 1"),
    ]:
        with pytest.raises(error, match=words):
            FUNCTIONS[name][0](X, stride=stride)


def test_strides_are_integers_of_any_kind() -> None:
    full = nsp.convolve(X, POSITIVE)
    for stride in (np.int8(2), np.uint64(2), np.array(2), [2, 2], np.array([2, 2]), iter([2, 2])):
        compare(nsp.convolve(X, POSITIVE, stride=stride), full, every(2, (0, 1)))
    assert axes.axis_strides([3, np.int64(1)], 2) == (3, 1)


def test_not_on_a_gpu() -> None:
    with pytest.raises(ValueError, match=r"strides have not been written for the GPU.*\[::stride\]"):
        nsp.plan(POSITIVE, (40, 50), np.float32, stride=2, device="cuda")
    for stride in (2, (1, 2)):
        with pytest.raises(
            ValueError, match=r"stride=.* with arrays on the GPU: strides have not been written"
        ):
            nsp.gaussian_filter(X, (1, 0), stride=stride, device="cuda")


# --------------------------------------------------------------------------- arrays of other libraries


CHUNKS = {
    "uneven": ((6, 6, 1), (9, 8)),
    "ones": ((1,) * 13, (17,)),
    "small": ((2,) * 6 + (1,), (7, 1, 0, 6, 3)),
}


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_dask(name: str, joined: bool, chunks: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    da = pytest.importorskip("dask.array", reason="needs dask: pip install numbasep[dask]")
    from numbasep.adapters import dask_blocks

    if not joined:  # chunks that are smaller than the kernel are filtered as they are
        monkeypatch.setattr(dask_blocks, "MERGED_BYTES", 0)
    function, filtered = FUNCTIONS[name]
    for x, options in ((X, {}), (BYTES, {}), (X, {"mask": MASK})):
        call = {"mode": mode, "cval": 1.5, **options}
        full = function(x, **call)
        slack = slack_of(function, MASK, mode) if options else np.ones(full.shape)
        for stride in (2, 3, 6, 20, tuple(range(1, 1 + len(filtered)))):
            lazy = function(da.from_array(x, chunks=CHUNKS[chunks]), stride=stride, **call)
            kept = every(stride, filtered)
            assert (lazy.shape, lazy.dtype) == (full[kept].shape, full.dtype)
            compare(lazy.compute(scheduler="synchronous"), full, kept, slack[kept])


def test_chunks_of_a_lazy_result_follow_those_of_the_input() -> None:
    da = pytest.importorskip("dask.array", reason="needs dask: pip install numbasep[dask]")
    x = da.zeros((100, 90), chunks=((40, 60), 30))
    assert nsp.gaussian_filter(x, 1, stride=2).chunks == ((20, 30), (15, 15, 15))
    assert nsp.gaussian_filter(x, 1, stride=(3, 1)).chunks == ((14, 20), (30, 30, 30))
    thin = da.zeros((10,), chunks=((1, 1, 3, 5),))
    assert nsp.gaussian_filter(thin, 1, stride=4).chunks == ((1, 1, 1),)
    bank = nsp.filter_bank(x, [POSITIVE, POSITIVE], stride=2)
    assert bank.chunks == ((1, 1), (20, 30), (15, 15, 15))


def test_large_blocks_in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    da = pytest.importorskip("dask.array", reason="needs dask: pip install numbasep[dask]")
    from numbasep.adapters import grid

    monkeypatch.setattr(grid, "SLAB_BYTES", 1000)
    x = RNG.random((70, 60)).astype(np.float32)
    for chunks in ((35, 20), (20, 60)):
        for stride in (2, 3, (1, 5), (7, 1)):
            for mode in ("reflect", "constant", "valid"):
                lazy = nsp.convolve(da.from_array(x, chunks=chunks), POSITIVE, mode=mode, stride=stride)
                full = nsp.convolve(x, POSITIVE, mode=mode)
                compare(lazy.compute(scheduler="synchronous"), full, every(stride, (0, 1)))


def test_bad_strides_of_lazy_arrays() -> None:
    da = pytest.importorskip("dask.array", reason="needs dask: pip install numbasep[dask]")
    for stride, error, words in BAD.values():
        with pytest.raises(error, match=words):
            nsp.gaussian_filter(da.from_array(X, chunks=5), (1, 0), stride=stride)


def test_xarray_coordinates_are_sliced() -> None:
    xr = pytest.importorskip("xarray", reason="needs xarray: pip install numbasep[xarray]")
    x = xr.DataArray(
        X, dims=("y", "x"), name="t", attrs={"units": "K"},
        coords={"y": np.linspace(50, 49, 13), "x": np.arange(17), "h": (("y", "x"), X + 1), "where": "north"},
    )  # fmt: skip
    for function, named_axes in (
        (lambda x, **o: nsp.convolve(x, POSITIVE, **o), ("x", "y")),
        (lambda x, **o: nsp.gaussian_filter(x, (1, 0), **o), ("x", "y")),
        (lambda x, **o: nsp.uniform_filter(x, 3, **o), ("y",)),
    ):
        for stride in (2, (3,) if len(named_axes) == 1 else (3, 1)):
            for mode in ("reflect", "valid"):
                full = function(x, axes=named_axes, mode=mode)
                got = function(x, axes=named_axes, mode=mode, stride=stride)
                along = dict(zip(named_axes, oracle.per_axis(stride, len(named_axes)), strict=True))
                expected = full.isel({dim: slice(None, None, n) for dim, n in along.items()})
                xr.testing.assert_allclose(got, expected)
                assert (got.attrs, got.name, set(got.coords)) == (x.attrs, "t", set(x.coords))
    full = nsp.convolve1d(x, np.ones(4), "y", mode="full", stride=2)
    assert (full.sizes["y"], set(full.coords)) == (8, {"x", "where"})
    same_size = nsp.convolve1d(x[:3], np.ones(4), "y", mode="full", stride=2)
    assert (same_size.sizes["y"], "y" in same_size.coords) == (3, False)
    bank = nsp.filter_bank(x, [POSITIVE, POSITIVE], stride=(1, 2))
    np.testing.assert_array_equal(bank.x, x.x[::2])
    line = nsp.gaussian_filter1d(x, 1, "y", stride=3)
    np.testing.assert_array_equal(line.y, x.y[::3])
