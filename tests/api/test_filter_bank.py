"""filter_bank: the same results as the calls one by one, stacked."""

from typing import Any

import numpy as np
import pytest

import numbasep as nsp

RNG = np.random.default_rng(0)
BANK = [RNG.standard_normal((3, 3)), RNG.standard_normal((5, 4)), np.outer([1, 2, 1], [1, 0, -1])]


@pytest.mark.thinned
@pytest.mark.parametrize("operation", ["convolve", "correlate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.complex64])
@pytest.mark.parametrize("mode", ["reflect", "constant", ("wrap", "nearest")])
def test_equals_the_single_calls(operation: str, dtype: Any, mode: Any) -> None:
    x = (100 * RNG.random((30, 31))).astype(dtype)
    stacked = nsp.filter_bank(x, BANK, mode=mode, operation=operation)
    assert stacked.shape == (3, 30, 31)
    assert stacked.dtype == dtype
    for result, kernel in zip(stacked, BANK, strict=True):
        np.testing.assert_array_equal(result, getattr(nsp, operation)(x, kernel, mode=mode))


def test_valid_and_full_need_one_shape() -> None:
    x = RNG.random((20, 21))
    same = np.array([BANK[0], BANK[2]])
    assert nsp.filter_bank(x, same, mode="valid").shape == (2, 18, 19)
    assert nsp.filter_bank(x, same, mode="full").shape == (2, 22, 23)
    with pytest.raises(ValueError, match="one shape"):
        nsp.filter_bank(x, BANK, mode="valid")


def test_output_and_axes() -> None:
    x = RNG.random((4, 20, 21))
    out = np.empty((3, 4, 20, 21), np.float32)
    assert nsp.filter_bank(x, BANK, out, axes=(1, 2)) is out
    np.testing.assert_allclose(out[1, 2], nsp.convolve(x[2], BANK[1]), rtol=1e-5, atol=1e-6)
    memory = RNG.random((2, 9, 9))
    expected = nsp.filter_bank(memory[0].copy(), BANK[:2])
    np.testing.assert_array_equal(nsp.filter_bank(memory[0], BANK[:2], memory), expected)


def test_one_complex_kernel_makes_the_stack_complex() -> None:
    stacked = nsp.filter_bank(np.ones((5, 5)), [np.ones((3, 3)), 1j * np.ones((3, 3))])
    assert stacked.dtype == np.complex128
    np.testing.assert_allclose(stacked[:, 2, 2], [9, 9j])


def test_scalars_have_results_too() -> None:
    np.testing.assert_array_equal(nsp.filter_bank(3.0, [2.0, 5.0]), [6.0, 15.0])


@pytest.mark.parametrize(
    ("kernels", "match"),
    [([], "at least one"), ([np.ones(3)], "one axis for each"), ([np.ones((0, 3))], "must not be empty")],
)
def test_bad_kernels(kernels: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        nsp.filter_bank(np.ones((5, 5)), kernels)


def test_bad_arguments() -> None:
    x = np.ones((5, 5))
    with pytest.raises(ValueError, match="operation"):
        nsp.filter_bank(x, BANK, operation="blur")
    with pytest.raises(ValueError, match="shape"):
        nsp.filter_bank(x, BANK, np.empty((2, 5, 5)))
    fixed = np.empty((3, 5, 5))
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        nsp.filter_bank(x, BANK, fixed)


def test_nothing_is_written_if_a_later_kernel_is_refused() -> None:
    out = np.full((2, 6, 7), 7.0)
    with pytest.raises(ValueError, match="finite"):
        nsp.filter_bank(np.ones((6, 7)), [np.ones((3, 3)), np.full((3, 3), np.nan)], out)
    np.testing.assert_array_equal(out, 7.0)
