"""Reference implementation of every filter, simple rather than fast.

This module does not import numbasep.  Each function follows the definition: the extended array is shifted for each
weight, multiplied by it, and summed in float64, complex128, or Python integers.  `test_oracle.py` compares this module
with SciPy; all other tests compare numbasep with this module.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

OUTSIDE = -1
SYNONYMS = {"grid-mirror": "reflect", "grid-wrap": "wrap", "grid-constant": "constant"}
PERIOD = {
    "reflect": lambda n: [*range(n), *reversed(range(n))],
    "mirror": lambda n: [*range(n), *reversed(range(1, n - 1))],
    "wrap": lambda n: [*range(n)],
}


def source_indices(start: int, count: int, size: int, mode: str) -> np.ndarray:
    """Return the index of the element at each of the positions start, start + 1, ... of the extended axis."""
    mode = SYNONYMS.get(mode, mode)
    positions = np.arange(start, start + count)
    if mode in PERIOD:
        period = np.array(PERIOD[mode](size))
        return period[positions % len(period)]
    if mode == "nearest":
        return positions.clip(0, size - 1)
    if mode == "constant":
        return np.where((positions >= 0) & (positions < size), positions, OUTSIDE)
    raise AssertionError(f"the oracle knows no mode {mode!r}")


def shifted(x: np.ndarray, axis: int, start: int, count: int, mode: str, cval: complex) -> np.ndarray:
    """Return positions start .. start + count - 1 of `x` extended along `axis`."""
    if count == 0 or x.size == 0:
        return np.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)
    source = source_indices(start, count, x.shape[axis], mode)
    result = np.take(x, source.clip(0), axis)
    result[(slice(None),) * axis + (source == OUTSIDE,)] = cval
    return result


def extent(size: int, taps: int, mode: str, origin: int) -> tuple[int, int, str]:
    """Return the position of the first tap for the first output, the number of outputs, and the boundary mode."""
    if mode == "valid":
        return 0, max(size - taps + 1, 0), "nearest"
    if mode == "full":
        return -(taps - 1), size + taps - 1 if size else 0, "constant"
    return -(taps // 2 + origin), size, mode


def per_axis(value: Any, count: int) -> tuple[Any, ...]:
    return (value,) * count if isinstance(value, str) or np.ndim(value) == 0 else tuple(value)


def ascending(
    axes: Sequence[int] | None, ndim: int, mode: str | Sequence[str], origin: int | Sequence[int]
) -> tuple[tuple[int, ...], tuple[str, ...], tuple[int, ...]]:
    """Return the filtered axes in ascending order, as SciPy matches them with kernel axes, and their modes and origins.

    Entry j of `mode` belongs to ``axes[j]``.  So does entry j of `origin`, unless all axes are filtered: then SciPy
    takes origins in ascending order of the axes.
    """
    named = tuple(range(ndim)) if axes is None else tuple(a % ndim for a in axes)
    modes, origins = per_axis(mode, len(named)), per_axis(origin, len(named))
    mode_of = dict(zip(named, modes, strict=True))
    origin_of = dict(zip(named if len(named) < ndim else sorted(named), origins, strict=True))
    order = tuple(sorted(named))
    return order, tuple(mode_of[a] for a in order), tuple(origin_of[a] for a in order)


def wide(*arrays: np.ndarray, exact: bool) -> list[np.ndarray]:
    """Return copies in the dtype of the sums."""
    if exact:
        return [np.array(np.asarray(a).astype(object)) for a in arrays]
    kind = np.complex128 if any(np.iscomplexobj(a) for a in arrays) else np.float64
    return [np.array(a, dtype=kind) for a in arrays]


def correlate(
    x: np.ndarray,
    weights: np.ndarray,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    origin: int | Sequence[int] = 0,
    axes: Sequence[int] | None = None,
    *,
    every_tap: bool = False,
    exact: bool = False,
) -> np.ndarray:
    """Return the correlation; the axes of `weights` are the filtered axes in ascending order, see `ascending`.

    `every_tap` also multiplies by weights of zero (0 * NaN = NaN), as SciPy's 1-D filters do, unlike its N-D
    filters.  `exact` sums Python integers.  Complex weights are conjugated, as in NumPy and SciPy.
    """
    x = np.asarray(x)
    axes, modes, origins = ascending(axes, x.ndim, mode, origin)
    weights = np.asarray(weights)
    assert weights.ndim == len(axes)
    if not (exact or np.iscomplexobj(x) or np.iscomplexobj(cval)) and np.iscomplexobj(weights):
        # A real sample times a complex weight is two real products, so that an infinite sample does not become NaN.
        parts = [
            correlate(x, part, modes, cval, origins, axes, every_tap=every_tap)
            for part in (weights.real, -weights.imag)
        ]
        together = np.empty(parts[0].shape, np.complex128)
        together.real, together.imag = parts
        return together
    x, weights = wide(x, weights if exact else weights.conj(), exact=exact)
    if np.iscomplexobj(np.asarray(cval)):
        x = x.astype(np.complex128)
    places = [
        extent(x.shape[axis], taps, m, o)
        for axis, taps, m, o in zip(axes, weights.shape, modes, origins, strict=True)
    ]
    for axis, taps, (first, count, m) in zip(axes, weights.shape, places, strict=True):
        x = shifted(x, axis, first, count + taps - 1 if count else 0, m, cval)
    shape = list(x.shape)
    for axis, (_, count, _) in zip(axes, places, strict=True):
        shape[axis] = count
    total = np.zeros(shape, x.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        for k in itertools.product(*map(range, weights.shape)):
            if weights[k] == 0 and not every_tap:
                continue
            under = [slice(None)] * x.ndim
            for axis, tap, (_, count, _) in zip(axes, k, places, strict=True):
                under[axis] = slice(tap, tap + count)
            total = total + weights[k] * x[tuple(under)]
    return total


def flipped(weights: np.ndarray, origin: int | Sequence[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the weights and origins of the correlation that equals a convolution."""
    origins = per_axis(origin, weights.ndim)
    return np.flip(weights), tuple(-o - (n % 2 == 0) for o, n in zip(origins, weights.shape, strict=True))


def convolve(
    x: np.ndarray,
    weights: np.ndarray,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    origin: int | Sequence[int] = 0,
    axes: Sequence[int] | None = None,
    *,
    every_tap: bool = False,
    exact: bool = False,
) -> np.ndarray:
    """Return the convolution: a correlation with reversed weights, not conjugated."""
    x = np.asarray(x)
    axes, modes, origins = ascending(axes, x.ndim, mode, origin)
    weights, origins = flipped(np.asarray(weights), origins)
    return correlate(x, weights.conj(), modes, cval, origins, axes, every_tap=every_tap, exact=exact)


def outer(kernels: Sequence[np.ndarray]) -> np.ndarray:
    """Return the tensor product of 1-D kernels."""
    return functools.reduce(np.multiply.outer, map(np.asarray, kernels))


def along(
    x: np.ndarray, kernels: Sequence[np.ndarray], mode: Any, origin: Any, axes: Sequence[int] | None
) -> tuple[np.ndarray, tuple[Any, ...], tuple[Any, ...], list[int]]:
    """Return tensor product, modes, origins and axes in ascending order, for kernels in the order of `axes`."""
    named = range(np.ndim(x)) if axes is None else [a % np.ndim(x) for a in axes]
    rows = zip(named, kernels, per_axis(mode, len(named)), per_axis(origin, len(named)), strict=True)
    order = sorted(rows, key=lambda row: row[0])
    return (
        outer([row[1] for row in order]), tuple(row[2] for row in order), tuple(row[3] for row in order),
        [row[0] for row in order],
    )  # fmt: skip


def separable_correlate(
    x: np.ndarray,
    kernels: Sequence[np.ndarray],
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    origin: int | Sequence[int] = 0,
    axes: Sequence[int] | None = None,
    *,
    exact: bool = False,
) -> np.ndarray:
    """Return the correlation with the tensor product, every tap of which is multiplied."""
    weights, modes, origins, order = along(x, kernels, mode, origin, axes)
    return correlate(x, weights, modes, cval, origins, order, every_tap=True, exact=exact)


def separable_convolve(
    x: np.ndarray,
    kernels: Sequence[np.ndarray],
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    origin: int | Sequence[int] = 0,
    axes: Sequence[int] | None = None,
    *,
    exact: bool = False,
) -> np.ndarray:
    """Return the convolution with the tensor product, every tap of which is multiplied."""
    weights, modes, origins, order = along(x, kernels, mode, origin, axes)
    return convolve(x, weights, modes, cval, origins, order, every_tap=True, exact=exact)


# --------------------------------------------------------------------------- storing and comparing


def store(values: np.ndarray, dtype: Any, cast: str = "truncate") -> np.ndarray:
    """Convert sums to `dtype`: SciPy's C cast (towards zero, wrapping), or round half to even and clip."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "iub":
        return values.astype(dtype)
    if dtype.kind == "b":  # an unsigned char to SciPy, so that 0.5 is False
        return store(values, np.uint8, cast) != 0
    whole = [int(v) for v in (np.trunc(values) if cast == "truncate" else np.rint(values)).ravel()]
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if cast == "truncate":
        # Compilers for x86-64 convert to int32 or, for longer types, int64, which give their least number for values
        # out of range.  Only then are bits dropped.
        middle = np.iinfo(np.int32 if dtype.itemsize < 4 or dtype == np.int32 else np.int64)
        if dtype != np.uint64:
            whole = [v if middle.min <= v <= middle.max else int(middle.min) for v in whole]
        whole = [(v - low) % (high - low + 1) + low for v in whole]
    else:
        whole = [min(max(v, low), high) for v in whole]
    return np.array(whole, dtype=dtype).reshape(values.shape)


def largest(x: np.ndarray, cval: complex = 0.0) -> float:
    """Return ``max|x|`` over the finite values, including `cval`."""
    magnitudes = np.abs(np.asarray(x).astype(np.complex128))
    magnitudes = magnitudes[np.isfinite(magnitudes)]
    return float(max(magnitudes.max(initial=0.0), abs(cval)))


def norm(weights: np.ndarray) -> float:
    """Return ``||K||_1``."""
    return float(np.abs(np.asarray(weights).astype(np.complex128)).sum())


def rounding(expected: np.ndarray, dtype: Any) -> np.ndarray:
    """Return half a unit in the last place of `dtype` at `expected`, including subnormal numbers."""
    info = np.finfo(dtype)
    return np.maximum(np.abs(expected) * float(info.eps) / 2, float(info.smallest_subnormal))


def assert_close(
    got: np.ndarray, expected: np.ndarray | list[np.ndarray], slack: Any, cast: str = "truncate"
) -> None:
    """Check that `got` is a value within `slack` of `expected`, correctly converted, without any other tolerance.

    NaN and infinities must be in the same places, but values that `slack` may move beyond the largest number of the
    dtype may be infinite.  If `expected` is a list of arrays, each is converted to integers before the sum.
    """
    __tracebackhide__ = True
    terms = expected if isinstance(expected, list) else [expected]
    shape = terms[0].shape
    assert got.shape == shape, f"shape {got.shape}, expected {shape}"
    if got.dtype.kind in "iu":
        _assert_integers(got, terms, slack, cast)
        return
    assert got.dtype.kind in "fc", got.dtype
    expected = np.asarray(sum(terms))
    low, high = _limits(expected, slack, got.dtype)
    bad = ~np.isfinite(got)
    np.testing.assert_array_equal(bad & ~high, False, err_msg="places of NaN and infinity differ")
    np.testing.assert_array_equal(bad | ~low, True, err_msg="places of NaN and infinity differ")
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected), err_msg="places of NaN differ")
    if got.dtype.kind == "f":
        np.testing.assert_array_equal(np.sign(got[bad]), np.sign(expected[bad]), err_msg="signs of infinity")
    difference = np.abs(np.where(bad, 0, got.astype(np.complex128)) - np.where(bad, 0, expected))
    allowed = slack + 2 * rounding(np.where(bad, 0, expected), got.dtype)
    excess = difference - allowed
    assert not (excess > 0).any(), (
        f"largest difference {difference.max():.3g}, {(difference / allowed).max():.3g} times what is "
        f"allowed, at {np.unravel_index(int(np.argmax(excess)), excess.shape)} of shape {excess.shape}"
    )


def _limits(expected: np.ndarray, slack: Any, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of where the result must be infinite or NaN, and where it may be."""
    info = np.finfo(dtype)
    end = float(info.max) * (1 + float(info.eps) / 4)  # from here on, numbers round to infinity
    parts = [expected.real, expected.imag] if np.iscomplexobj(expected) else [expected]
    size = np.max([np.abs(part) for part in parts], 0)
    never = np.isfinite(expected)
    return ~never | (size - slack >= end), ~never | (size + slack >= end)


def _assert_integers(got: np.ndarray, terms: list[np.ndarray], slack: Any, cast: str) -> None:
    """Check that integers are between the converted ``expected - slack`` and ``expected + slack``, modulo the range."""
    __tracebackhide__ = True
    nearest = np.trunc if cast == "truncate" else np.rint
    info = np.iinfo(got.dtype)
    low = np.asarray(sum(nearest(e - slack) for e in terms))
    high = np.asarray(sum(nearest(e + slack) for e in terms))
    least, most = int(info.min), int(info.max)
    span = most - least + 1
    for g, a, b in zip(got.ravel().tolist(), low.ravel().tolist(), high.ravel().tolist(), strict=True):
        first, last = int(a), int(b)
        if cast == "saturate":
            first, last = (min(max(v, least), most) for v in (first, last))
        assert (g - first) % span <= last - first, f"got {g}, allowed {first} to {last} modulo {span}"
