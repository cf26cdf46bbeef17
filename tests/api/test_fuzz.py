"""Every public filter drawn at random, all its arguments too, against SciPy or the oracle in float64.

The tolerance is what the plans that were run certify, no more: `differential.certified`.  A short fixed run is part of
the suite; ``HYPOTHESIS_PROFILE=long python -m pytest tests/api/test_fuzz.py tests/nn/test_fuzz_channels.py`` draws
10,000 new calls of each, and ``python -m tests.support.fuzz`` writes down what came of it.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import numbasep as nsp
from numbasep.cpu import pass_request
from tests.support import oracle, strategies
from tests.support.differential import OUTPUTS, Case, check

DENSE = ("convolve", "correlate", "plan", "filter_bank")
BY_AXES = ("separable_convolve", "separable_correlate")
FAMILY = (
    "convolve1d", "correlate1d", "uniform_filter1d", "uniform_filter", "sobel", "prewitt", "laplace",
    "gaussian_filter1d", "gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude", "generic_laplace",
    "generic_gradient_magnitude",
)  # fmt: skip
NO_FILTERS = (  # factorize and is_separable have a test of their own below
    "Plan", "SeparableKernel", "calibrate", "factorize", "is_separable", "nn", "num_threads", "set_num_threads",
    "show_config", "warmup",
)  # fmt: skip


SHORTEST = st.sampled_from([1] * 9 + [0])


def test_every_filter_is_drawn() -> None:
    assert {*DENSE, *BY_AXES, *FAMILY, *NO_FILTERS} == set(nsp.__all__)


# --------------------------------------------------------------------------- what is drawn


@st.composite
def arrays(
    draw: st.DrawFn,
    *,
    dtypes: tuple[str, ...] = strategies.DTYPES,
    values: Sequence[float] = (np.nan, np.inf, -np.inf),
    shortest: int = 1,
    long: bool = False,
) -> np.ndarray:
    """Samples of any type and layout, sometimes with NaN and infinities."""
    shape = draw(strategies.long_shapes() if long else strategies.shapes(max_dims=3, shortest=shortest))
    x = strategies.samples(draw(st.sampled_from(dtypes)), shape, draw(st.integers(0, 999)))
    if x.dtype.kind == "f" and x.size and draw(st.integers(0, 3)) == 0:
        x.reshape(-1)[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from(values))
    return strategies.LAYOUTS[draw(st.sampled_from(sorted(strategies.LAYOUTS)))](x)


def wide(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, np.complex128 if x.dtype.kind == "c" else np.float64)


@st.composite
def dense(draw: st.DrawFn) -> Case:
    kinds = (*strategies.KERNELS, "complex")
    call = draw(
        strategies.calls(
            dtypes=strategies.DTYPES, layouts=tuple(strategies.LAYOUTS), kinds=kinds, shortest=draw(SHORTEST)
        )
    )
    function = draw(st.sampled_from(["call", "plan", "filter_bank"]))
    rtol = draw(st.sampled_from([None, None, 1e-3]))

    def run(output: Any, **options: Any) -> np.ndarray:
        options |= {"rtol": rtol, **call.arguments}
        array = output if isinstance(output, np.ndarray) else None
        dtype = output if array is None else array.dtype
        if function == "plan":
            x, operation = call.x, call.operation
            return nsp.plan(call.weights, x.shape, x.dtype, operation=operation, output=dtype, **options)(
                x, array
            )
        if function == "filter_bank":
            kernels = [call.weights, call.weights]
            both = nsp.filter_bank(call.x, kernels, dtype, operation=call.operation, **options)
            np.testing.assert_array_equal(both[0], both[1])
            return both[1]
        return getattr(nsp, call.operation)(call.x, call.weights, output, **options)

    return Case(
        f"{call.operation} ({function}) {call.arguments} rtol {rtol} by {call.weights.shape}",
        call.x,
        run,
        lambda: getattr(oracle, call.operation)(call.x, call.weights, **call.arguments),
        call.cval,
        outputs=strategies.COMPLEX if np.iscomplexobj(call.weights) or np.iscomplexobj(call.x) else OUTPUTS,
    )


@st.composite
def sums_of_terms(draw: st.DrawFn) -> Case:
    """Kernels of up to three separable terms, and some that are none, on long rows."""
    kinds = ["separable", "two terms", "three terms", "integer two terms", "mean", "dense", "complex"]
    x = draw(arrays(long=True))
    filtered = x.ndim if x.shape[-1] > 3 else 2  # colours are apart
    axes = tuple(draw(st.permutations(range(filtered)))[: draw(st.integers(1, filtered))])
    taps = draw(strategies.long_taps(len(axes)))
    weights = strategies.kernel(draw(st.sampled_from(kinds)), taps, draw(st.integers(0, 999)))
    operation = draw(st.sampled_from(["convolve", "correlate"]))
    modes = st.sampled_from(strategies.MODES)
    arguments = {
        "mode": draw(st.one_of(modes, st.tuples(*[modes] * len(axes)))),
        "cval": draw(st.sampled_from([0.0, 1.5])),
        "origin": draw(strategies.origins(taps, flip=operation == "convolve", axes=axes, ndim=x.ndim)),
        "axes": axes,
    }
    rtol = draw(st.sampled_from([None, None, 1e-3]))
    return Case(
        f"{operation} {arguments} by {taps} rtol {rtol}",
        x,
        lambda **o: getattr(nsp, operation)(x, weights, rtol=rtol, **arguments, **o),
        lambda: getattr(oracle, operation)(x, weights, **arguments),
        arguments["cval"],
        outputs=strategies.COMPLEX if np.iscomplexobj(weights) or np.iscomplexobj(x) else OUTPUTS,
    )


@st.composite
def by_axes(draw: st.DrawFn, *, long: bool = False) -> Case:
    kind = draw(st.sampled_from(["integer", "dense", "mean", "complex"]))
    # complex terms are products of parts: of infinity, some are no number, as in passes one after the other
    values = [np.nan] if kind == "complex" else [np.nan, np.inf, -np.inf]
    x = draw(arrays(shortest=draw(SHORTEST), values=values, long=long))
    axes = tuple(draw(st.permutations(range(x.ndim)))[: draw(st.integers(1, x.ndim))])
    longest = {1: 24, 2: 9, 3: 5}[len(axes)]
    named = draw(st.booleans())
    seed = draw(st.integers(0, 999))
    taps = draw(
        strategies.long_taps(len(axes)) if long else st.tuples(*[st.integers(1, longest)] * len(axes))
    )
    kernels = [strategies.kernel(kind, (n,), seed + i) for i, n in enumerate(taps)]
    operation = draw(st.sampled_from(BY_AXES))
    resizing = draw(st.integers(0, 3)) == 0
    modes = st.sampled_from(("valid", "full") if resizing else strategies.MODES)
    arguments = {
        "mode": draw(st.one_of(modes, st.tuples(*[modes] * len(axes)))),
        "cval": draw(st.sampled_from([0.0, 1.5])),
        "origin": 0 if resizing else draw(strategies.origins(taps, flip=operation == "separable_convolve")),
    }
    return Case(
        f"{operation} {arguments} along {axes} by {taps}, {kind}",
        x,
        lambda **o: getattr(nsp, operation)(
            x,
            *([dict(zip(axes, kernels, strict=True))] if named else [kernels]),
            **arguments,
            **({} if named else {"axes": axes}),
            **o,
        ),
        lambda: getattr(oracle, operation)(x, kernels, axes=axes, **arguments),
        arguments["cval"],
        outputs=strategies.COMPLEX if kind == "complex" or x.dtype.kind == "c" else OUTPUTS,
    )


@st.composite
def missing(draw: st.DrawFn, *, long: bool = False) -> Case:
    """Samples left out, the weights of the others rescaled: the quotient of two sums."""
    x = draw(arrays(dtypes=("int16", "uint8", *strategies.FLOATS, "complex64"), values=[np.nan], long=long))
    axes = tuple(range(x.ndim))
    longest = {1: 24, 2: 9, 3: 5}[x.ndim]
    taps = draw(strategies.long_taps(x.ndim) if long else st.tuples(*[st.integers(1, longest)] * x.ndim))
    weights = strategies.kernel("positive", taps, draw(st.integers(0, 99)))
    operation = draw(st.sampled_from(["convolve", "correlate"]))
    arguments: dict[str, Any] = {"mode": draw(st.sampled_from(strategies.MODES)), "cval": 2.0, "axes": axes}
    mask = draw(st.sampled_from([None, np.random.default_rng(1).random(x.shape) < 0.3]))
    omitted = np.isnan(x) if mask is None else np.isnan(x) | mask
    filtered = getattr(oracle, operation)
    share = filtered(~omitted, weights, **(arguments | {"cval": 1.0}))
    total = filtered(np.where(omitted, 0, wide(x)), weights, **arguments)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(share > 1e-3 * weights.min(), weights.sum() * total / share, np.nan)
        growth = np.nan_to_num(weights.sum() / share, posinf=0.0)

    return Case(
        f"{operation} without {omitted.sum()} samples {arguments} by {taps}",
        x,
        lambda **o: getattr(nsp, operation)(x, weights, nan_policy="omit", mask=mask, **arguments, **o),
        lambda: expected,
        arguments["cval"],
        slack=lambda bound: (
            2 * bound * growth * (1 + growth)
        ),  # |total| <= share * max|x|, one bound for each sum
        outputs=strategies.COMPLEX if x.dtype.kind == "c" else strategies.FLOATS,
    )


CONTINUED_BETWEEN = (
    "sobel", "prewitt", "gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude",
    "generic_gradient_magnitude",
)  # fmt: skip
"""Where SciPy continues what is between its passes with cval, and numbasep the input, as a dense kernel does."""


def second(module: Any) -> Any:
    return lambda x, axis, output, mode, cval: module.correlate1d(x, [1, -2, 1], axis, output, mode, cval, 0)


def first(module: Any) -> Any:
    return lambda x, axis, output, mode, cval: module.sobel(x, axis, output, mode, cval)


def allowed(name: str) -> set[str]:
    """Arguments that SciPy's filter takes: older versions know fewer."""
    return set(inspect.signature(getattr(ndimage, name)).parameters)


@st.composite
def family(draw: st.DrawFn) -> Case:
    name = draw(st.sampled_from(FAMILY))
    roots, generic = name.endswith("magnitude"), name.startswith("generic")
    real = (*strategies.INTEGERS, *strategies.FLOATS)
    x = draw(arrays(dtypes=real if roots or generic else (*real, *strategies.COMPLEX)))
    named = tuple(range(x.ndim))
    if "axes" in allowed(name) and name != "gaussian_gradient_magnitude" and draw(st.booleans()):
        named = tuple(sorted(draw(st.sets(st.integers(0, x.ndim - 1), min_size=1))))
    count = len(named)
    modes = st.sampled_from(strategies.MODES)
    mode: Any = draw(modes)
    if not name.endswith("1d") and draw(st.booleans()):
        mode = draw(st.lists(modes, min_size=count, max_size=count))
    cval = 0.0 if name in CONTINUED_BETWEEN else draw(st.sampled_from([0.0, -2.0]))

    def each(values: st.SearchStrategy[Any]) -> Any:
        return draw(values if name.endswith("1d") else st.one_of(values, st.tuples(*[values] * count)))

    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    sigma = each(st.sampled_from([0.4, 1.0, 2.3]))
    size = draw(st.integers(1, 9))
    kind = draw(
        st.sampled_from(["dense", "integer", "complex"] if x.dtype.kind == "c" else ["dense", "integer"])
    )
    weights = strategies.kernel(kind, (size,), draw(st.integers(0, 99)))
    origin = draw(st.integers(-((size - 1) // 2), (size - 1) // 2))
    order = each(st.integers(0, 3))
    reach: dict[str, Any] = draw(st.sampled_from([{}, {"truncate": 2.0}, {"radius": 3}]))
    reach = {key: value for key, value in reach.items() if key in allowed(name) or name in DERIVATIVES}
    spacing = (
        draw(st.sampled_from([1.0, 1.0, 0.5, 2.0]))
        if name in ("gaussian_filter1d", "gaussian_filter")
        else 1.0
    )
    arguments: dict[str, Any] = {
        "convolve1d": {"weights": weights, "axis": axis, "origin": origin},
        "correlate1d": {"weights": weights, "axis": axis, "origin": origin},
        "uniform_filter1d": {"size": size, "axis": axis, "origin": origin},
        "uniform_filter": {"size": size, "origin": origin},
        "sobel": {"axis": axis},
        "prewitt": {"axis": axis},
        "gaussian_filter1d": {"sigma": sigma, "axis": axis, "order": order, **reach},
        "gaussian_filter": {"sigma": sigma, "order": order, **reach},
        "gaussian_laplace": {"sigma": sigma, **reach},
        "gaussian_gradient_magnitude": {"sigma": sigma, **reach},
    }.get(name, {}) | {"mode": mode, "cval": cval}
    if count < x.ndim:
        arguments["axes"] = named
    # generic filters add in the type of the output
    stored = ("float32", "float64") if generic else strategies.FLOATS if roots else OUTPUTS
    derivative = {"generic_laplace": second, "generic_gradient_magnitude": first}.get(name)

    def run(output: Any, **options: Any) -> np.ndarray:
        if derivative:
            return getattr(nsp, name)(x, derivative(nsp), output, **arguments)
        given = arguments | options | ({"spacing": spacing} if spacing != 1 else {})
        if spacing != 1:
            given["sigma"] = np.multiply(given["sigma"], spacing)
        return getattr(nsp, name)(x, output=output, **given)

    def rounded(dtype: Any) -> Any:
        """Generic filters store each derivative, and each sum of them, in the type of the result."""
        if not derivative:
            return 0.0
        modes = [mode] * count if isinstance(mode, str) else mode
        along = zip(named, modes, strict=True)
        each = [np.abs(derivative(ndimage)(wide(x), axis, np.float64, m, cval)) for axis, m in along]
        return count * oracle.rounding(sum(each), dtype)

    def expected() -> Any:
        kind = np.complex128 if x.dtype.kind == "c" else np.float64
        if name == "gaussian_laplace":
            return [second_derivative(wide(x), i, named, arguments, kind) for i in range(count)]
        if name.startswith("uniform"):  # SciPy's running sums carry a NaN along the line
            along = (axis,) if name.endswith("1d") else named
            means = [np.full(size, 1 / size)] * len(along)
            return oracle.separable_correlate(wide(x), means, mode, cval, (origin,) * len(along), along)
        filtered = getattr(ndimage, name)
        if derivative:
            return filtered(wide(x), derivative(ndimage), kind, **arguments)
        scale = float(spacing) ** -np.sum(np.broadcast_to(order, 1 if name.endswith("1d") else count))
        return filtered(wide(x), output=kind, **arguments) * (scale if spacing != 1 else 1.0)

    return Case(
        f"{name} {arguments} spacing {spacing}",
        x,
        run,
        expected,
        cval,
        outputs=strategies.COMPLEX if x.dtype.kind == "c" else stored,
        truncated_terms=name == "gaussian_laplace" and count > 1,
        rounded=rounded,
    )


DERIVATIVES = ("gaussian_laplace", "gaussian_gradient_magnitude")


def second_derivative(x: np.ndarray, i: int, axes: Sequence[int], arguments: Any, kind: Any) -> np.ndarray:
    """One of the terms of SciPy's gaussian_laplace: the mode of its axis counts for all axes."""
    given = {key: value for key, value in arguments.items() if key != "axes"}
    given["mode"] = given["mode"] if isinstance(given["mode"], str) else given["mode"][i]
    given["order"] = [2 * (j == i) for j in range(len(axes))]
    return np.asarray(ndimage.gaussian_filter(x, output=kind, axes=axes, **given))


@st.composite
def outputs(draw: st.DrawFn, case: Case) -> Any:
    """None, a type, an array of any layout, or the input itself."""
    own = case.x.dtype.name in case.outputs
    output = draw(st.sampled_from((None, *case.outputs) if own else case.outputs))
    if not draw(st.booleans()):
        return output
    wide_type = np.complex128 if output in strategies.COMPLEX or case.x.dtype.kind == "c" else np.float64
    shape = case.run(output=wide_type, method="auto", cast="truncate", workers=1).shape
    if output is None:
        return case.x if case.x.flags.writeable and shape == case.x.shape else None
    layout = draw(
        st.sampled_from(["C", "F", "stepped", "reversed", "byte-swapped", "misaligned", "record field"])
    )
    return strategies.LAYOUTS[layout](np.full(shape, 77, output))


@hypothesis.settings(max_examples=strategies.examples(150))
@given(st.data())
def test_any_filter(data: st.DataObject) -> None:
    compare(data, data.draw(st.one_of(dense(), dense(), by_axes(), missing(), family(), family())))


@hypothesis.settings(max_examples=max(10, hypothesis.settings().max_examples // 2))
@given(st.data())
def test_any_filter_of_long_rows(data: st.DataObject) -> None:
    """What small arrays never reach: kernels that read the array itself, slabs of strided columns, tiles."""
    terms = sums_of_terms()
    case = data.draw(st.one_of(terms, terms, terms, by_axes(long=True), missing(long=True)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pass_request, "STREAM_BYTES", 1 << 16)  # most are written past the caches
        compare(data, case)


def compare(data: st.DataObject, case: Case) -> None:
    """Run a case with a drawn output, method, cast and number of threads."""
    __tracebackhide__ = True
    hypothesis.note(repr(case))
    output = data.draw(outputs(case))
    method, workers = data.draw(st.sampled_from(case.methods)), data.draw(st.sampled_from([1, 2, None]))
    kind = np.dtype(case.x.dtype if output is None else getattr(output, "dtype", output)).kind
    if kind in "iu" and not np.isfinite(wide(case.x)).all():
        return  # an integer has no way to say NaN
    check(case, output, method, data.draw(st.sampled_from(["truncate", "saturate"])), workers)


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
    scale = np.abs(weights.astype(np.float64)).sum()
    rounding = 4 * np.finfo(np.float64).eps * max(1, factors.rank) * len(taps) * max(factors.amplification, 1)
    assert missing <= (factors.error + rounding) * scale
    assert factors.error <= (rtol if rtol is not None else 16 * eps)
    if factors.exact:
        wrong = np.abs(
            factors.todense() - weights
        )  # the integers over their divisor, rounded to the kernel's type
        assert (wrong <= (eps / 2 * np.abs(weights) if weights.dtype == np.float32 else 0)).all()
    assert nsp.is_separable(weights, rtol) == (factors.rank <= 1)
