"""Every public filter drawn at random, all its arguments too, against SciPy or the oracle in float64.

The tolerance is what the plans that were run certify, no more: `certified`.  A short fixed run is part of the suite;
``HYPOTHESIS_PROFILE=long python -m pytest tests/test_fuzz.py`` draws 10,000 new calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import nn_oracle
import numpy as np
import oracle
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import numbasep as nsp
from numbasep import execute, nn

METHODS = ("auto", *strategies.METHODS)
OUTPUTS = (*strategies.INTEGERS, *strategies.FLOATS)


@dataclass
class Case:
    """A call, what it should give in float64 or complex128, and how the result is stored."""

    name: str
    x: np.ndarray
    run: Callable[..., np.ndarray]
    """Takes output, method, cast, workers."""
    expected: Callable[[], np.ndarray]
    cval: float = 0.0
    slack: float | None = None
    """Absolute; None: what the plans certify."""
    methods: tuple[str, ...] = METHODS

    def __repr__(self) -> str:
        return f"{self.name} on {self.x.dtype.str}{self.x.shape} strides {self.x.strides}"


@contextlib.contextmanager
def certified(cval: float) -> Iterator[list[float]]:
    """Collect the absolute error bound of every plan that is run."""
    bounds: list[float] = []
    run = execute._run

    def recorded(plan: Any, x: np.ndarray, out: np.ndarray, normal: Any) -> None:
        if plan.problem.windows and x.size:
            largest = oracle.largest(x, max(abs(cval), abs(plan.problem.cval)))
            applied = execute._applicable(plan, x, ignore_nan=normal is not None)
            bounds.append(applied.error_bound * oracle.norm(plan.kernel.weights) * largest)
        run(plan, x, out, normal)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "_run", recorded)
        yield bounds


def check(case: Case, output: Any, method: str, cast: str, workers: int) -> None:
    """Run a case and compare; a method that refuses is replaced by "auto"."""
    __tracebackhide__ = True
    expected = case.expected()
    before = case.x.copy()
    with certified(case.cval) as bounds, np.errstate(invalid="ignore", over="ignore"):
        try:
            got = case.run(output=output, method=method, cast=cast, workers=workers)
        except ValueError as error:
            if "cannot compute this" not in str(error):
                raise
            bounds.clear()
            got = case.run(output=output, method="auto", cast=cast, workers=workers)
    np.testing.assert_array_equal(case.x, before, err_msg="the input was written to")
    if got.dtype == bool:
        return
    slack = sum(bounds) if case.slack is None else case.slack
    compute = np.float32 if np.result_type(case.x.dtype, got.dtype).itemsize <= 4 else np.float64
    scale = oracle.largest(expected)
    slack += (
        4 * float(np.finfo(compute).eps) * scale
    )  # the reference's rounding, and that of roots and quotients
    if compute == np.float64:
        slack *= 2  # the reference sums in float64, too, within the same bound
    oracle.assert_close(got, expected, slack, cast)


# --------------------------------------------------------------------------- what is drawn


@st.composite
def arrays(draw: st.DrawFn, *, dtypes: tuple[str, ...] = strategies.DTYPES, max_dims: int = 3) -> np.ndarray:
    """Samples of any type and layout, sometimes with NaN and infinities."""
    shape = draw(strategies.shapes(max_dims=max_dims))
    x = strategies.samples(draw(st.sampled_from(dtypes)), shape, draw(st.integers(0, 999)))
    if x.dtype.kind == "f" and draw(st.integers(0, 3)) == 0:
        flat = x.reshape(-1)
        flat[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return strategies.LAYOUTS[draw(st.sampled_from(sorted(strategies.LAYOUTS)))](x)


def wide(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, np.complex128 if x.dtype.kind == "c" else np.float64)


@st.composite
def dense(draw: st.DrawFn) -> Case:
    call = draw(strategies.calls(dtypes=strategies.DTYPES, layouts=tuple(strategies.LAYOUTS)))
    axes = range(call.x.ndim) if call.axes is None else call.axes
    operation = draw(st.sampled_from(["call", "plan", "bank"])) if call.x.dtype.kind != "c" else "call"

    def run(output: Any, method: str, cast: str, workers: int) -> np.ndarray:
        if operation == "plan":
            dtype = (
                None
                if output is None
                else np.asarray(output).dtype
                if isinstance(output, np.ndarray)
                else output
            )
            plan = nsp.plan(
                call.weights, call.x.shape, call.x.dtype, operation=call.operation, output=dtype, method=method,
                cast=cast, workers=workers, **call.arguments,
            )  # fmt: skip
            return plan(call.x, output if isinstance(output, np.ndarray) else None)
        options = {"method": method, "cast": cast, "workers": workers, **call.arguments}
        if operation == "bank":
            dtype = output.dtype if isinstance(output, np.ndarray) else output
            kernels = [call.weights, call.weights]
            both = nsp.filter_bank(call.x, kernels, dtype, operation=call.operation, **options)
            np.testing.assert_array_equal(both[0], both[1])
            return both[1]
        return getattr(nsp, call.operation)(call.x, call.weights, output, **options)

    name = f"{call.operation} ({operation}) {call.arguments} of {len(axes)} axes by {call.weights.shape}"
    return Case(
        name,
        call.x,
        run,
        lambda: getattr(oracle, call.operation)(call.x, call.weights, **call.arguments),
        call.cval,
    )


@st.composite
def by_axes(draw: st.DrawFn) -> Case:
    x = draw(arrays())
    axes = tuple(draw(st.permutations(range(x.ndim)))[: draw(st.integers(1, x.ndim))])
    longest = {1: 24, 2: 9, 3: 5}[len(axes)]
    seed, whole = draw(st.integers(0, 999)), draw(st.booleans())
    taps = draw(st.tuples(*[st.integers(1, longest)] * len(axes)))
    kernels = [strategies.kernel("integer" if whole else "dense", (n,), seed + i) for i, n in enumerate(taps)]
    operation = draw(st.sampled_from(["separable_convolve", "separable_correlate"]))
    arguments = {
        "mode": draw(st.sampled_from((*strategies.MODES, "valid", "full"))),
        "cval": draw(st.sampled_from([0.0, 1.5])),
        "axes": axes,
    }
    return Case(
        f"{operation} {arguments} by {taps}",
        x,
        lambda **o: getattr(nsp, operation)(x, kernels, **arguments, **o),
        lambda: getattr(oracle, operation)(x, kernels, **arguments),
        arguments["cval"],
    )


FAMILY = (
    "convolve1d", "correlate1d", "uniform_filter1d", "uniform_filter", "sobel", "prewitt", "laplace",
    "gaussian_filter1d", "gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude", "generic_laplace",
    "generic_gradient_magnitude",
)  # fmt: skip


CONTINUED_BETWEEN = (
    "sobel", "prewitt", "gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude",
    "generic_gradient_magnitude",
)  # fmt: skip
"""Where SciPy continues what is between its passes with cval, and numbasep the input, as a dense kernel does."""


def second(module: Any) -> Any:
    return lambda x, axis, output, mode, cval: module.correlate1d(x, [1, -2, 1], axis, output, mode, cval, 0)


def first(module: Any) -> Any:
    return lambda x, axis, output, mode, cval: module.sobel(x, axis, output, mode, cval)


@st.composite
def family(draw: st.DrawFn) -> Case:
    name = draw(st.sampled_from(FAMILY))
    roots = name.endswith("magnitude")
    real = (
        ("float32", "float64") if roots or "generic" in name else (*strategies.INTEGERS, *strategies.FLOATS)
    )
    # SciPy's complex filters do their real and imaginary parts one after the other, as wholes: no NaN there
    x = draw(arrays(dtypes=real))
    mode = draw(st.sampled_from(strategies.MODES))
    cval = draw(st.sampled_from([0.0, -2.0]))
    if name in CONTINUED_BETWEEN:
        cval = 0.0
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    sigma = draw(st.sampled_from([0.4, 1.0, 2.3]))
    size = draw(st.integers(1, 9))
    weights = strategies.kernel(
        draw(st.sampled_from(["dense", "integer"])), (size,), draw(st.integers(0, 99))
    )
    origin = draw(st.integers(-((size - 1) // 2), (size - 1) // 2))
    order = draw(st.integers(0, 3))
    arguments: dict[str, Any] = {
        "convolve1d": {"weights": weights, "axis": axis, "origin": origin},
        "correlate1d": {"weights": weights, "axis": axis, "origin": origin},
        "uniform_filter1d": {"size": size, "axis": axis, "origin": origin},
        "uniform_filter": {"size": size, "origin": origin},
        "sobel": {"axis": axis},
        "prewitt": {"axis": axis},
        "laplace": {},
        "gaussian_filter1d": {"sigma": sigma, "axis": axis, "order": order},
        "gaussian_filter": {"sigma": sigma, "order": order},
        "gaussian_laplace": {"sigma": sigma},
        "gaussian_gradient_magnitude": {"sigma": sigma},
        "generic_laplace": {},
        "generic_gradient_magnitude": {},
    }[name] | {"mode": mode, "cval": cval}
    position = {"generic_laplace": second, "generic_gradient_magnitude": first}.get(name)

    def run(output: Any, **options: Any) -> np.ndarray:
        if position:
            return getattr(nsp, name)(x, position(nsp), output, mode, cval)
        return getattr(nsp, name)(x, output=output, **arguments, **options)

    def expected() -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):
            if position:
                return getattr(ndimage, name)(wide(x), position(ndimage), np.float64, mode, cval)
            return getattr(ndimage, name)(wide(x), output=np.float64, **arguments)

    return Case(f"{name} {arguments}", x, run, expected, cval)


@st.composite
def over_channels(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    dtype = draw(st.sampled_from(["float16", "float32", "float64"]))
    channels, multiplier, outputs = (draw(st.integers(1, n)) for n in (20, 3, 40))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 12)), draw(st.integers(1, 12)), channels)
    taps, strides = ((draw(st.integers(1, n)), draw(st.integers(1, n))) for n in (4, 3))
    rates = (1, 1) if strides != (1, 1) else draw(st.sampled_from([(1, 1), (2, 1), (2, 3)]))
    x = rng.standard_normal(shape).astype(dtype)
    layout = draw(st.sampled_from(["NHWC", "NCHW"]))
    operation = draw(st.sampled_from(["depthwise_conv2d", "separable_conv2d", "conv2d"]))
    filters = [rng.standard_normal((*taps, channels, multiplier)).astype(dtype)]
    terms = taps[0] * taps[1]
    if operation == "separable_conv2d":
        filters.append(rng.standard_normal((1, 1, channels * multiplier, outputs)).astype(dtype))
        terms += channels * multiplier
    if operation == "conv2d":
        filters = [rng.standard_normal((*taps, channels, outputs)).astype(dtype)]
        terms *= channels
    formula = {
        "depthwise_conv2d": nn_oracle.depthwise,
        "separable_conv2d": nn_oracle.separable,
        "conv2d": nn_oracle.ordinary,
    }[operation]
    given = x.transpose(0, 3, 1, 2) if layout == "NCHW" else x  # of any strides
    steps = (1, 1, *strides) if layout == "NCHW" else (1, *strides, 1)

    def run(output: Any, method: str, cast: str, workers: int) -> np.ndarray:
        result: np.ndarray = getattr(nn, operation)(
            given, *filters, steps, "SAME", data_format=layout, dilations=rates, workers=workers
        )
        return result.transpose(0, 2, 3, 1) if layout == "NCHW" else result

    # every sum of n products is within n + 4 units of the sum of their magnitudes
    sizes = formula(np.abs(x), *map(np.abs, filters), strides, "SAME", rates).max(initial=0.0)
    unit = np.finfo(np.float64 if dtype == "float64" else np.float32).eps / 2
    return Case(
        f"{operation} {layout} strides {strides} dilations {rates} by {[f.shape for f in filters]}",
        x,
        run,
        lambda: formula(x, *filters, strides, "SAME", rates),
        slack=float((2 * terms + 8) * unit * sizes),
        methods=("auto",),
    )


@hypothesis.settings(max_examples=max(150, hypothesis.settings().max_examples))
@given(st.data())
def test_any_public_function(data: st.DataObject) -> None:
    case = data.draw(st.one_of(dense(), dense(), by_axes(), family(), over_channels()))
    output: Any = None
    numbers = ("complex64", "complex128") if case.x.dtype.kind == "c" else OUTPUTS
    if case.slack is None and "magnitude" not in case.name and "generic" not in case.name:
        output = data.draw(st.sampled_from([None, *numbers]))
        if case.x.dtype.kind == "b" and output is None:
            output = "float32"
        if output and data.draw(st.booleans()):
            shape = case.run(output=output, method="auto", cast="truncate", workers=1).shape
            empty = np.full(shape, 77, output)
            output = strategies.LAYOUTS[
                data.draw(st.sampled_from(["C", "F", "stepped", "reversed", "byte-swapped"]))
            ](empty)
    hypothesis.note(repr(case))
    kind = np.dtype(output.dtype if isinstance(output, np.ndarray) else output or case.x.dtype).kind
    if kind in "iu" and not np.isfinite(wide(case.x)).all():
        return  # an integer has no way to say NaN
    check(
        case,
        output,
        data.draw(st.sampled_from(case.methods)),
        data.draw(st.sampled_from(["truncate", "saturate"])),
        data.draw(st.sampled_from([1, 2, None])),
    )


@given(st.data())
def test_factors_of_any_kernel_are_within_their_stated_error(data: st.DataObject) -> None:
    taps = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4).filter(lambda t: np.prod(t) <= 400))
    weights = strategies.kernel(
        data.draw(st.sampled_from(strategies.KERNELS)), tuple(taps), data.draw(st.integers(0, 99))
    )
    rtol = data.draw(st.sampled_from([None, 1e-6, 0.05]))
    factors = nsp.factorize(weights, rtol=rtol)
    eps = float(np.finfo(weights.dtype if weights.dtype.kind == "f" else np.float64).eps)
    missing = np.abs(factors.todense() - weights).sum()
    scale = np.abs(weights).sum()
    rounding = 4 * np.finfo(np.float64).eps * max(1, factors.rank) * len(taps) * max(factors.amplification, 1)
    assert missing <= (factors.error + rounding) * scale
    assert factors.error <= (rtol if rtol is not None else 16 * eps)
    if factors.exact:
        np.testing.assert_array_equal(factors.todense(), weights)
    assert nsp.is_separable(weights, rtol) == (factors.rank <= 1)
