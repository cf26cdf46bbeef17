"""The oracle against SciPy: what the other tests trust must itself be checked."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, signal

from tests.support import oracle

MODES = [
    "reflect", "mirror", "nearest", "wrap", "constant", "grid-mirror", "grid-wrap", "grid-constant",
]  # fmt: skip
rng = np.random.default_rng(20)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", ["correlate", "convolve"])
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 11, 14])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_one_axis(operation: str, mode: str, taps: int, size: int) -> None:
    x, w = rng.normal(size=size), rng.normal(size=taps)
    for origin in range(-(taps // 2), (taps - 1) // 2 + 1):
        if operation == "convolve" and taps % 2 == 0:
            origin = -origin - 1
        # The 1-D functions: in mode "reflect" SciPy 1.17's N-D ones read outside the array where a kernel
        # reaches 4n or 6n, ... beyond it, as in correlate([1., 10.], [1.] + [0.] * 10, origin=3).
        expected = getattr(ndimage, f"{operation}1d")(x, w, mode=mode, cval=1.5, origin=origin)
        np.testing.assert_allclose(getattr(oracle, operation)(x, w, mode, 1.5, origin), expected, atol=1e-13)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", ["correlate", "convolve"])
@pytest.mark.parametrize(
    ("shape", "taps"),
    [
        ((5, 6), (3, 2)),
        ((2, 7), (5, 1)),
        ((1, 4), (3, 4)),
        ((4, 3, 5), (3, 2, 2)),
        ((2, 3, 2, 3), (2, 1, 3, 2)),
    ],
)
def test_many_axes(operation: str, mode: str, shape: tuple[int, ...], taps: tuple[int, ...]) -> None:
    x, w = rng.normal(size=shape), rng.normal(size=taps)
    for origin in (0, tuple((n - 1) // 2 if operation == "correlate" else -((n - 1) // 2) for n in taps)):
        expected = getattr(ndimage, operation)(x, w, mode=mode, cval=-2.5, origin=origin)
        np.testing.assert_allclose(getattr(oracle, operation)(x, w, mode, -2.5, origin), expected, atol=1e-12)


@pytest.mark.parametrize("operation", ["correlate", "convolve"])
@pytest.mark.parametrize("axes", [a for n in (1, 2, 3) for a in itertools.permutations((0, -2, 2), n)])
def test_axes_in_any_order(operation: str, axes: tuple[int, ...]) -> None:
    x, w = rng.normal(size=(4, 5, 6)), rng.normal(size=(3, 3, 3)[: len(axes)])
    for origin in (0, (1, -1, 0)[: len(axes)]):
        expected = getattr(ndimage, operation)(x, w, axes=axes, mode="mirror", origin=origin)
        got = getattr(oracle, operation)(x, w, "mirror", origin=origin, axes=axes)
        np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("operation", ["correlate", "convolve"])
def test_modes_follow_the_axes(operation: str) -> None:
    """SciPy takes no sequence of modes for a dense kernel, but its filters of one axis do."""
    x, rows, columns = rng.normal(size=(4, 5, 6)), rng.normal(size=3), rng.normal(size=4)
    one = getattr(ndimage, f"{operation}1d")
    expected = one(one(x, rows, 0, mode="nearest"), columns, 2, mode="wrap")
    got = getattr(oracle, operation)(x, np.outer(rows, columns), ("wrap", "nearest"), axes=(2, 0))
    np.testing.assert_allclose(got, expected, atol=1e-12)
    got = getattr(oracle, f"separable_{operation}")(x, [columns, rows], ("wrap", "nearest"), axes=(2, 0))
    np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("operation", ["correlate", "convolve"])
def test_valid_and_full(operation: str) -> None:
    x, w = rng.normal(size=(6, 7)), rng.normal(size=(4, 3))
    peer = {"correlate": signal.correlate, "convolve": signal.convolve}[operation]
    for mode in ("valid", "full"):
        got = getattr(oracle, operation)(x, w, mode)
        np.testing.assert_allclose(got, peer(x, w, mode, method="direct"), atol=1e-12)
    assert getattr(oracle, operation)(x, rng.normal(size=(8, 3)), "valid").shape == (0, 5)


def test_full_continues_with_cval() -> None:
    x, w = rng.normal(size=(3, 4)), rng.normal(size=(2, 3))
    padded = np.pad(x, [(1, 1), (2, 2)], constant_values=2.5)
    np.testing.assert_allclose(
        oracle.correlate(x, w, "full", 2.5), oracle.correlate(padded, w, "valid"), atol=1e-14
    )


@pytest.mark.parametrize("operation", ["correlate", "convolve"])
@pytest.mark.parametrize("complex_x", [False, True])
@pytest.mark.parametrize("mode", ["reflect", "constant"])
def test_complex(operation: str, complex_x: bool, mode: str) -> None:
    x, w = rng.normal(size=(4, 5)), rng.normal(size=(3, 2)) + 1j * rng.normal(size=(3, 2))
    cval: complex = 0.5
    if complex_x:
        x, cval = x + 1j * rng.normal(size=x.shape), 0.5 - 1j
    expected = getattr(ndimage, operation)(x, w, mode=mode, cval=cval)
    np.testing.assert_allclose(getattr(oracle, operation)(x, w, mode, cval), expected, atol=1e-13)


@pytest.mark.parametrize("operation", ["correlate", "convolve"])
@pytest.mark.parametrize("mode", MODES)
def test_separable_is_a_chain_of_one_axis_filters(operation: str, mode: str) -> None:
    x, kernels = rng.normal(size=(4, 5, 3)), [rng.normal(size=n) for n in (3, 2, 4)]
    expected = x
    for axis, (taps, origin) in enumerate(zip(kernels, (1, 0, -1), strict=True)):
        expected = getattr(ndimage, f"{operation}1d")(expected, taps, axis, mode=mode, origin=origin)
    got = getattr(oracle, f"separable_{operation}")(x, kernels, mode, origin=(1, 0, -1))
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_separable_continues_the_input_not_the_intermediate() -> None:
    x, kernels = rng.normal(size=(4, 5)), [rng.normal(size=3), rng.normal(size=4)]
    got = oracle.separable_correlate(x, kernels, "constant", 7.0)
    np.testing.assert_allclose(
        got, ndimage.correlate(x, np.outer(*kernels), mode="constant", cval=7.0), atol=1e-12
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_footprints_of_non_finite_samples(value: float) -> None:
    w = np.array([[1.0, 0, -2], [0, 0, 1], [3, 0, 0]])
    x = np.zeros((7, 8))
    x[3, 4] = value
    np.testing.assert_array_equal(oracle.correlate(x, w), ndimage.correlate(x, w))
    taps = np.array([1.0, 0, 2, 0])
    np.testing.assert_array_equal(
        oracle.correlate(x, taps, "wrap", axes=[1], every_tap=True),
        ndimage.correlate1d(x, taps, 1, mode="wrap"),
    )
    kernels = [np.array([1.0, 0, 2]), np.array([0.0, 1, 0, -1])]
    chain = ndimage.correlate1d(ndimage.correlate1d(x, kernels[0], 0), kernels[1], 1)
    np.testing.assert_array_equal(oracle.separable_correlate(x, kernels), chain)


@pytest.mark.parametrize("mode", MODES)
@given(st.data())
def test_exact_sums_are_those_of_python(mode: str, data: st.DataObject) -> None:
    """Far beyond 2**63; correlations with a delta by SciPy say which sample is meant."""
    big = st.integers(-(2**62), 2**62)
    x = data.draw(st.lists(big, min_size=1, max_size=6))
    w = data.draw(st.lists(big, min_size=1, max_size=4))
    sums = oracle.correlate(np.array(x), np.array(w), mode, cval=7, exact=True)
    expected = [0] * len(x)
    for k, weight in enumerate(w):
        delta = np.eye(len(w))[k]
        places = ndimage.correlate1d(np.arange(1.0, len(x) + 1), delta, mode=mode, cval=0)
        for i, place in enumerate(places.astype(int)):
            expected[i] += weight * (x[place - 1] if place else 7)
    assert sums.tolist() == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.int64])
def test_store_is_scipys_cast(dtype: type) -> None:
    w = rng.normal(size=(3, 3))
    for scale in (0.5, 200, 1e6, 3e9):
        x = rng.normal(scale=scale, size=(9, 9))
        expected = ndimage.correlate(x, w, output=dtype)
        np.testing.assert_array_equal(oracle.store(oracle.correlate(x, w), dtype), expected)


def test_store_saturating() -> None:
    values = np.array([-3.0, -0.5, 0.5, 1.5, 2.5, 254.5, 255.5, 1e6])
    np.testing.assert_array_equal(oracle.store(values, np.uint8, "saturate"), [0, 0, 0, 2, 2, 254, 255, 255])


class TestAssertClose:
    """The comparison itself must be able to fail."""

    def test_float(self) -> None:
        expected = np.array([1.0, -2.0, np.nan, np.inf])
        oracle.assert_close(expected + 1e-9, expected, 1e-8)
        for wrong in (
            expected + 1e-7,
            np.array([1, -2, 0, np.inf]),
            np.array([1, -2, np.nan, np.nan]),
            expected[:3],
        ):
            with pytest.raises(AssertionError):
                oracle.assert_close(wrong, expected, 1e-8)

    def test_integers(self) -> None:
        expected = np.array([2.9999999, -50.0, 258.25])
        oracle.assert_close(np.array([2, 206, 2], np.uint8), expected, 1e-5)
        oracle.assert_close(np.array([3, 207, 2], np.uint8), expected, 1e-5)
        for wrong in ([4, 206, 2], [2, 206, 3], [2, 0, 2]):
            with pytest.raises(AssertionError):
                oracle.assert_close(np.array(wrong, np.uint8), expected, 1e-5)
        oracle.assert_close(np.array([3, 0, 255], np.uint8), expected, 1e-5, "saturate")
        with pytest.raises(AssertionError):
            oracle.assert_close(np.array([2, 0, 255], np.uint8), expected, 1e-5, "saturate")
