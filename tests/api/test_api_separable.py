"""separable_convolve and separable_correlate: tap vectors handed over axis by axis."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import numbasep as nsp
from tests.support import oracle, strategies
from tests.support.strategies import MODES, samples

OPERATIONS = ("convolve", "correlate")
rng = np.random.default_rng(17)


def separable(operation: str) -> Any:
    return getattr(nsp, f"separable_{operation}")


def bound(dtype: Any, kernels: list[np.ndarray]) -> float:
    """First-order rounding of a product of sums: one unit for each tap, product and conversion."""
    dtype = np.dtype(dtype)
    single = dtype.char in "?bBhHefF"
    unit = np.finfo(np.float32 if single else np.float64).eps / 2
    complex_factor = 4 if dtype.kind == "c" or any(np.iscomplexobj(k) for k in kernels) else 1
    return complex_factor * (sum(len(k) for k in kernels) + 2 * len(kernels) + 2) * unit


def check(
    operation: str, x: np.ndarray, kernels: list[np.ndarray], *, got: np.ndarray, **arguments: Any
) -> None:
    __tracebackhide__ = True
    expected = getattr(oracle, f"separable_{operation}")(x, kernels, **arguments)
    scale = np.prod([oracle.norm(k) for k in kernels]) * oracle.largest(x, arguments.get("cval", 0.0))
    oracle.assert_close(got, expected, bound(x.dtype, kernels) * float(scale))


@given(st.data())
def test_any_call(data: st.DataObject) -> None:
    shape = data.draw(strategies.shapes(max_dims=4))
    ndim = len(shape)
    axes = tuple(data.draw(st.permutations(range(ndim)))[: data.draw(st.integers(1, ndim))])
    taps = data.draw(st.tuples(*[st.integers(1, {1: 24, 2: 9, 3: 5, 4: 3}[len(axes)])] * len(axes)))
    operation = data.draw(st.sampled_from(OPERATIONS))
    integers = data.draw(st.booleans())
    kernels = [rng.integers(-4, 5, n) if integers else rng.normal(size=n) for n in taps]
    x = samples(data.draw(st.sampled_from(["float32", "float64", "uint8", "int16", "complex64"])), shape, 3)
    resizing = data.draw(st.integers(0, 4)) == 0
    mode = data.draw(
        st.sampled_from(["valid", "full"])
        if resizing
        else st.one_of(st.sampled_from(MODES), st.tuples(*[st.sampled_from(MODES)] * len(axes)))
    )
    origin = 0 if resizing else data.draw(strategies.origins(taps, flip=operation == "convolve"))
    arguments = {"axes": axes, "mode": mode, "origin": origin, "cval": data.draw(st.sampled_from([0.0, 2.0]))}
    got = separable(operation)(x, kernels, **arguments)
    assert got.dtype == x.dtype
    check(operation, x, kernels, got=got, **arguments)
    if integers and x.dtype.kind in "iu":
        exact = getattr(oracle, f"separable_{operation}")(x, kernels, **arguments, exact=True)
        np.testing.assert_array_equal(got, oracle.store(exact, x.dtype))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_chain_of_scipys_one_axis_filters(operation: str, mode: str) -> None:
    x, kernels = samples("float64", (31, 27, 8), 1), [rng.normal(size=n) for n in (5, 8, 3)]
    expected = x
    for axis, (taps, origin) in enumerate(zip(kernels, (1, -2, 0), strict=True)):
        expected = getattr(ndimage, f"{operation}1d")(expected, taps, axis, mode=mode, origin=origin)
    got = separable(operation)(x, kernels, mode=mode, origin=(1, -2, 0))
    np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex128"])
def test_the_dense_function_on_the_outer_product(operation: str, dtype: str) -> None:
    x, kernels = samples(dtype, (40, 50), 1), [rng.normal(size=5), rng.normal(size=6)]
    got = separable(operation)(x, kernels, mode="constant", cval=3.0, origin=(1, -1), output=np.complex128)
    dense = getattr(nsp, operation)(
        x, np.outer(*kernels), mode="constant", cval=3.0, origin=(1, -1), output=np.complex128
    )
    scale = np.prod([oracle.norm(k) for k in kernels]) * oracle.largest(x, 3.0)
    np.testing.assert_allclose(got, dense, rtol=0, atol=4 * 31 * np.finfo(np.float32).eps * scale)
    if dtype in ("float64", "complex128"):
        np.testing.assert_allclose(got, dense, rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("axes", [a for n in (1, 2, 3) for a in itertools.permutations(range(3), n)])
def test_kernel_i_acts_on_axis_i(axes: tuple[int, ...]) -> None:
    x = samples("float64", (5, 6, 7), 1)
    kernels = [rng.normal(size=n) for n in (2, 3, 4)][: len(axes)]
    origin, mode = (0, 1, -1)[: len(axes)], ("wrap", "mirror", "nearest")[: len(axes)]
    got = nsp.separable_correlate(x, kernels, axes=axes, origin=origin, mode=mode)
    expected = x
    for axis, taps, o, m in zip(axes, kernels, origin, mode, strict=True):
        expected = ndimage.correlate1d(expected, taps, axis, origin=o, mode=m)
    np.testing.assert_allclose(got, expected, atol=1e-13)
    mapping = dict(zip(axes, kernels, strict=True))
    by_axis = nsp.separable_correlate(x, mapping, origin=origin, mode=mode)
    np.testing.assert_array_equal(by_axis, got)
    negative = {axis - 3: taps for axis, taps in mapping.items()}
    np.testing.assert_array_equal(nsp.separable_correlate(x, negative, origin=origin, mode=mode), got)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_tap_multiplies(operation: str, value: float, dtype: str) -> None:
    """Zero taps too: 0 * NaN is NaN, as in SciPy's one-axis filters. The window is spoilt, and no more."""
    x = np.zeros((40, 50), dtype)
    x[20, 30] = value
    kernels = [np.array([0.0, 1, 0, 2, 0]), np.array([1.0, 0, 0, -1])]
    got = separable(operation)(x, kernels)
    peer = x.astype(float)
    for axis, taps in enumerate(kernels):
        peer = getattr(ndimage, f"{operation}1d")(peer, taps, axis)
    np.testing.assert_array_equal(got, peer)
    assert (~np.isfinite(got)).sum() == 5 * 4


def test_integers_are_stored_once() -> None:
    """No rounding between the passes: SciPy's chain in uint8 would lose a grey level."""
    x = samples("uint8", (30, 31), 1)
    taps = np.array([1, 4, 6, 4, 1]) / 16
    got = nsp.separable_convolve(x, [taps, taps])
    np.testing.assert_array_equal(got, oracle.store(oracle.convolve(x, np.outer(taps, taps)), np.uint8))


@pytest.mark.parametrize("dtype", strategies.DTYPES)
def test_number_types(dtype: str) -> None:
    x = samples(dtype, (6, 8), 2)
    got = nsp.separable_correlate(x, [[0.5, 0.25], [1, 0.5, 0.25]])
    assert got.dtype == x.dtype
    expected = oracle.separable_correlate(x, [np.array([0.5, 0.25]), np.array([1, 0.5, 0.25])])
    if x.dtype.kind in "biu":  # binary fractions: exact
        np.testing.assert_array_equal(got, oracle.store(expected, dtype))
    else:
        oracle.assert_close(got, expected, 20 * np.finfo(dtype).eps * 2 * oracle.largest(x))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_complex_taps(operation: str, dtype: str) -> None:
    x = samples(dtype, (9, 8), 2)
    kernels = [rng.normal(size=3) + 1j * rng.normal(size=3), rng.normal(size=4)]
    got = separable(operation)(x, kernels, mode="wrap")
    assert got.dtype == np.complex64
    check(operation, x, kernels, got=got, mode="wrap")


@pytest.mark.parametrize("shape", [(1,), (0, 3), (3, 0), (1, 1), (2, 2, 1)])
@pytest.mark.parametrize("mode", [*MODES, "valid", "full"])
def test_small_and_empty(shape: tuple[int, ...], mode: str) -> None:
    x = samples("float64", shape, 1)
    kernels = [rng.normal(size=3) for _ in shape]
    got = nsp.separable_convolve(x, kernels, mode=mode)
    expected = oracle.separable_convolve(x, kernels, mode)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-13)


def test_output_and_in_place() -> None:
    x, kernels = samples("float32", (210, 190), 1), [rng.normal(size=5), rng.normal(size=4)]
    expected = nsp.separable_convolve(x.copy(), kernels)
    out = np.empty_like(x)
    assert nsp.separable_convolve(x, kernels, output=out) is out
    np.testing.assert_array_equal(out, expected)
    assert nsp.separable_convolve(x, kernels, output="float64").dtype == np.float64
    assert nsp.separable_convolve(x, kernels, output=x) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("layout", strategies.LAYOUTS)
def test_layouts(layout: str) -> None:
    plain = samples("float32", (14, 9, 5), 1)
    kernels = [rng.normal(size=3), rng.normal(size=4)]
    for axes in [(0, 1), (1, 2), (2, 0)]:
        expected = nsp.separable_convolve(plain, kernels, axes=axes)
        got = nsp.separable_convolve(strategies.LAYOUTS[layout](plain), kernels, axes=axes)
        assert got.dtype == np.float32
        norm = np.prod([np.abs(taps).sum() for taps in kernels]) * np.abs(plain).max()
        np.testing.assert_allclose(got, expected, rtol=0, atol=8 * np.finfo(np.float32).eps * norm)


BAD = {
    "too few kernels": ((np.zeros((4, 4)), [[1.0, 2]]), {}, "kernels"),
    "too many kernels": ((np.zeros(4), [[1.0, 2], [1.0]]), {}, "kernels"),
    "a matrix among the kernels": ((np.zeros((4, 4)), [np.ones((2, 2)), [1.0]]), {}, "kernels"),
    "an empty kernel": ((np.zeros((4, 4)), [[], [1.0]]), {}, "kernels"),
    "a kernel with NaN": ((np.zeros((4, 4)), [[np.nan], [1.0]]), {}, "kernels"),
    "kernels fewer than axes": ((np.zeros((4, 4)), [[1.0]]), {"axes": (0, 1)}, "kernels"),
    "axis of a mapping out of range": ((np.zeros((4, 4)), {5: [1.0]}), {}, "ax"),
    "an axis twice in a mapping": ((np.zeros((4, 4)), {0: [1.0], -2: [1.0]}), {}, "ax"),
    "a mapping and axes": ((np.zeros((4, 4)), {0: [1.0]}), {"axes": (0,)}, "axes"),
    "unknown mode": ((np.zeros((4, 4)), [[1.0], [1.0]]), {"mode": "odd"}, "mode"),
    "origin outside": ((np.zeros((4, 4)), [[1.0], [1.0]]), {"origin": 1}, "rigin"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_bad_input(case: str, operation: str) -> None:
    arguments, options, names = BAD[case]
    with pytest.raises((ValueError, TypeError, RuntimeError), match=names):
        separable(operation)(*arguments, **options)
