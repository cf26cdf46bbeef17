"""Hypothesis strategies for filter calls, and arrays in many memory layouts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from numbasep.planning.routes import ROUTES

BOUNDARIES = ("reflect", "mirror", "nearest", "wrap", "constant")
SYNONYMS = {"grid-mirror": "reflect", "grid-wrap": "wrap", "grid-constant": "constant"}
MODES = (*BOUNDARIES, *SYNONYMS)
METHODS = tuple(ROUTES)

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
DTYPES = ("bool", *INTEGERS, *FLOATS, *COMPLEX)


def examples(least: int) -> int:
    """Return the number of examples for tests that need more than usual: `least`, or more in some profiles."""
    usual = hypothesis.settings().max_examples
    return max(usual, min(least, 3 * usual))  # in the profile "few", at most three times as many


def often(few: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """Return parameters for a test: the `few` always run, the other `values` only with the slow tests."""
    return [value if value in few else pytest.param(value, marks=pytest.mark.slow) for value in values]


# --------------------------------------------------------------------------- arrays and their layouts


def samples(dtype: Any, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return reproducible samples that use the range of the dtype without overflow in float16."""
    dtype, rng = np.dtype(dtype), np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(max(info.min, -40000), min(info.max, 40000), shape, dtype=dtype, endpoint=True)
    values = rng.normal(scale=3.0, size=shape)
    return (values + 1j * rng.normal(size=shape) if dtype.kind == "c" else values).astype(dtype)


def _sliced(x: np.ndarray) -> np.ndarray:
    big = np.full([n + 3 for n in x.shape], 99, x.dtype)
    view = big[(slice(1, -2),) * x.ndim]
    view[...] = x
    return view


def _stepped(x: np.ndarray) -> np.ndarray:
    """Return a view of every third element of a larger array, along every axis."""
    big = np.full([3 * n for n in x.shape], 99, x.dtype)
    view = big[(slice(None, None, 3),) * x.ndim]
    view[...] = x
    return view


def _misaligned(x: np.ndarray) -> np.ndarray:
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def _read_only(x: np.ndarray) -> np.ndarray:
    copy = x.copy()
    copy.flags.writeable = False
    return copy


def _transposed(x: np.ndarray) -> np.ndarray:
    """Return a C array with rotated axes: with three or more axes, in neither C nor Fortran order."""
    order = np.roll(np.arange(x.ndim), 1)
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def _field(x: np.ndarray) -> np.ndarray:
    """Return a field of packed records, whose strides are not multiples of the item size."""
    records = np.zeros(x.shape, np.dtype([("tag", "u1"), ("x", x.dtype), ("y", "u1")]))
    records["x"] = x
    return records["x"]


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "sliced": _sliced,
    "stepped": _stepped,
    "reversed": lambda x: np.flip(np.flip(x).copy()),
    "last axis reversed": lambda x: x[..., ::-1].copy()[..., ::-1] if x.ndim else x.copy(),
    "transposed": _transposed,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder("S")),
    "read-only": _read_only,
    "misaligned": _misaligned,
    "record field": _field,
}
"""Functions that return an equal array with other strides, byte order, alignment or flags."""


def shapes(
    min_dims: int = 1, max_dims: int = 4, max_elements: int = 400, shortest: int = 1
) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw small shapes, including axes of length 1; with more axes, they are shorter."""
    longest = {1: 40, 2: 17, 3: 8, 4: 5, 5: 4, 6: 3}
    return st.integers(min_dims, max_dims).flatmap(
        lambda ndim: st.tuples(*[st.integers(shortest, longest[ndim])] * ndim).filter(
            lambda shape: np.prod(shape) <= max_elements
        )
    )


def long_shapes() -> st.SearchStrategy[tuple[int, ...]]:
    """Draw shapes with long rows, more of them than a block: planes, colour images, short volumes, lines."""
    rows, columns = (
        st.sampled_from([17, 24, 31, 50, 66, 73]),
        st.sampled_from([64, 69, 97, 128, 331, 512, 700]),
    )
    return st.one_of(
        st.tuples(rows, columns),
        st.tuples(rows, columns),
        st.tuples(st.integers(64, 80), st.integers(512, 700)),
        st.tuples(rows, st.integers(64, 240), st.just(3)),
        st.tuples(st.integers(2, 4), rows, st.integers(64, 150)),
        st.tuples(st.integers(64, 40_000)),
        uneven_shapes(),
    )


def uneven_shapes() -> st.SearchStrategy[tuple[int, ...]]:
    """Draw shapes with a short last axis, few long rows, or a long last axis after two short ones."""
    few = st.integers(2, 16)
    return st.one_of(
        st.tuples(st.integers(300, 2500), few),
        st.tuples(st.integers(20, 60), st.integers(20, 60), few),
        st.tuples(st.integers(10, 40), few, few),
        st.tuples(st.integers(1, 3), st.integers(16_000, 20_000)),
        st.tuples(st.integers(16_000, 20_000), st.integers(1, 3)),
        st.tuples(st.integers(2, 6), st.integers(20, 50), st.integers(65, 150)),
    )


def long_taps(count: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw kernel shapes of up to 80 taps along an axis, and 1600 in total."""
    each = st.one_of(st.integers(1, 20), st.integers(17, 80))
    return st.tuples(*[each] * count).filter(lambda taps: np.prod(taps) <= 1600)


# --------------------------------------------------------------------------- kernels


def kernel(kind: str, taps: tuple[int, ...], seed: int) -> np.ndarray:
    """Return a kernel of one of the `KERNELS`, or another kind below, of any shape."""
    rng = np.random.default_rng(seed)
    if kind == "dense":
        return rng.normal(size=taps)
    if kind == "sparse":
        return rng.normal(size=taps) * (rng.random(taps) < 0.4)
    if kind == "integer":
        return rng.integers(-9, 10, taps)
    if kind == "float32":
        return rng.normal(size=taps).astype(np.float32)
    if kind == "box":
        return np.ones(taps)
    if kind == "mean":
        return np.ones(taps) / np.prod(taps)
    if kind == "positive":
        return rng.random(taps) + 0.1
    if kind == "complex":
        return rng.normal(size=taps) + 1j * rng.normal(size=taps)
    terms = {
        "separable": 1,
        "integer separable": 1,
        "two terms": 2,
        "integer two terms": 2,
        "three terms": 3,
    }[kind]
    total = np.zeros(taps, int if "integer" in kind else float)
    for _ in range(terms):
        product = np.ones(())
        for n in taps:
            product = np.multiply.outer(
                product, rng.integers(-4, 5, n) if "integer" in kind else rng.normal(size=n)
            )
        total = total + product.astype(total.dtype)
    return total


KERNELS = (
    "dense", "sparse", "integer", "float32", "box", "mean", "separable", "integer separable", "two terms",
    "integer two terms",
)  # fmt: skip


def origins(
    taps: tuple[int, ...], *, flip: bool, axes: tuple[int, ...] | None = None, ndim: int = 0
) -> st.SearchStrategy[int | tuple[int, ...]]:
    """Draw any origin that SciPy allows: one for each axis, or one for all.

    With `axes` and `ndim`, the origins are for a dense kernel whose axes are `axes` in ascending order.
    """
    if axes is not None and len(axes) < ndim:
        named = [a % ndim for a in axes]
        taps = tuple(taps[sorted(named).index(a)] for a in named)
    low = [-(n // 2) for n in taps]
    # A convolution is a correlation with -origin, minus one for an even size.
    high = [n // 2 - (n % 2 == 0) if flip else (n - 1) // 2 for n in taps]
    each = st.tuples(*[st.integers(a, b) for a, b in zip(low, high, strict=True)])
    one = st.integers(max(low), min(high)) if taps else st.just(0)
    return st.one_of(st.just(0), one, each)


@dataclass(frozen=True)
class Call:
    """One call of `convolve` or `correlate`, with its arguments."""

    operation: str
    x: np.ndarray
    weights: np.ndarray
    mode: str | tuple[str, ...]
    cval: float
    origin: int | tuple[int, ...]
    axes: tuple[int, ...] | None

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments that SciPy, numbasep and the oracle share."""
        return {"mode": self.mode, "cval": self.cval, "origin": self.origin, "axes": self.axes}


@st.composite
def calls(
    draw: st.DrawFn,
    *,
    dtypes: tuple[str, ...] = ("float64",),
    kinds: tuple[str, ...] = KERNELS,
    max_dims: int = 4,
    layouts: tuple[str, ...] = ("C",),
    max_taps: int = 64,
    shortest: int = 1,
) -> Call:
    """Draw a call of `convolve` or `correlate`; kernels may be longer than the array, or filter only some axes."""
    shape = draw(shapes(max_dims=max_dims, shortest=shortest))
    ndim = len(shape)
    axes = None
    if draw(st.booleans()):
        axes = tuple(draw(st.permutations(range(ndim)))[: draw(st.integers(1, ndim))])
        axes = tuple(a - ndim if draw(st.booleans()) else a for a in axes)
    count = ndim if axes is None else len(axes)
    longest = {1: 24, 2: 9, 3: 5, 4: 4, 5: 3, 6: 2}[count]
    taps = draw(st.tuples(*[st.integers(1, longest)] * count).filter(lambda t: np.prod(t) <= max_taps))
    operation = draw(st.sampled_from(["convolve", "correlate"]))
    resizing = draw(st.integers(0, 5)) == 0
    mode: Any
    if resizing:
        mode = draw(st.sampled_from(["valid", "full"]))
    elif draw(st.booleans()):
        mode = draw(st.sampled_from(MODES))
    else:
        mode = draw(st.tuples(*[st.sampled_from(MODES)] * count))
    x = samples(draw(st.sampled_from(dtypes)), shape, draw(st.integers(0, 999)))
    return Call(
        operation=operation,
        x=LAYOUTS[draw(st.sampled_from(layouts))](x),
        weights=kernel(draw(st.sampled_from(kinds)), taps, draw(st.integers(0, 999))),
        mode=mode,
        cval=draw(st.sampled_from([0.0, 1.0, -2.5])),
        origin=0 if resizing else draw(origins(taps, flip=operation == "convolve", axes=axes, ndim=ndim)),
        axes=axes,
    )
