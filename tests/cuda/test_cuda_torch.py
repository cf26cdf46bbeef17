"""PyTorch's tensors on the simulated GPU: subclasses, and what PyTorch leaves to be done later."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep
from numbasep.cuda import arrays, libraries
from numbasep.planning import overlap_cuda
from tests.support import oracle
from tests.support.cuda_torch import on_gpu
from tests.support.cuda_torch import torch as torch

pytestmark = pytest.mark.cudasim

rng = np.random.default_rng(21)


def samples(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        return (values + 1j * rng.standard_normal(shape)).astype(dtype)
    return values.astype(dtype)


def test_subclasses_are_tensors(torch: Any) -> None:
    x = samples((6, 20))
    filtered = numbasep.uniform_filter(on_gpu(x), 3)
    assert type(filtered) is torch.Tensor
    np.testing.assert_allclose(filtered.numpy(), ndimage.uniform_filter(x, 3), atol=1e-6)
    plan = numbasep.plan(np.ones((3, 3)), x.shape, x.dtype, device="cuda")
    np.testing.assert_allclose(plan(on_gpu(x)).numpy(), ndimage.convolve(x, np.ones((3, 3))), atol=1e-5)


@pytest.mark.usefixtures("torch")
def test_strides_conjugates_and_negatives_are_taken() -> None:
    x, weights = samples((6, 20), "complex64"), samples((3, 3))
    for lazy, values in (
        (on_gpu(x).conj(), x.conj()),
        (on_gpu(x).T, x.T),
        (on_gpu(x).conj().imag, x.conj().imag),
    ):
        filtered = numbasep.correlate(lazy, weights)
        expected = ndimage.correlate(values, weights.astype(x.dtype), output=np.complex64)
        np.testing.assert_allclose(filtered.numpy(), expected, atol=1e-5)
    weights = on_gpu(samples((3, 3), "complex64")).conj().imag
    filtered = numbasep.correlate(on_gpu(x.real.copy()), weights)
    expected = ndimage.correlate(x.real, weights.resolve_neg().numpy())
    np.testing.assert_allclose(filtered.numpy(), expected, atol=1e-5)


def test_outputs_whose_conjugate_is_still_to_be_taken(torch: Any) -> None:
    x = samples((4, 9), "complex64")
    output = on_gpu(np.zeros_like(x)).conj()
    numbasep.uniform_filter(on_gpu(x), 3, output=output)
    np.testing.assert_allclose(output.resolve_conj().numpy(), ndimage.uniform_filter(x, 3), atol=1e-6)


def test_what_tensors_are_refused(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"NumPy knows, got torch\.bfloat16"):
        numbasep.uniform_filter(on_gpu(torch.zeros(3, 4, dtype=torch.bfloat16)), 3)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    with pytest.raises(TypeError, match=r"dense tensor, got layout torch\.sparse_coo"):
        numbasep.uniform_filter(torch.zeros(3, 4).to_sparse(), 3)


# ------------------------------------------------------------------------------ transforms


@pytest.fixture
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that there are several."""
    monkeypatch.setattr(overlap_cuda, "MOST_POINTS", 1 << 11)
    overlap_cuda._blocks.cache_clear()
    yield
    overlap_cuda._blocks.cache_clear()


def transformed(x: np.ndarray, weights: np.ndarray, mode: Any, cval: float = 0.0, **options: Any) -> None:
    """By PyTorch's transforms, compared with the oracle within the plan's bound."""
    plan = numbasep.plan(
        weights,
        x.shape,
        x.dtype,
        operation="correlate",
        mode=mode,
        cval=cval,
        device="cuda",
        method="fft",
        **options,
    )
    assert plan.method == "fft"
    got = plan(on_gpu(x)).numpy()
    slack = plan.error_bound * oracle.norm(weights) * oracle.largest(x, cval)
    expected = oracle.correlate(x, weights, mode, cval, axes=options.get("axes"))
    oracle.assert_close(got, expected, slack + np.finfo(got.dtype).eps * np.abs(expected).max())


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("blocks", ["one", "many"])
@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "wrap", "constant", "valid", "full"])
def test_transforms_of_every_mode(mode: str, blocks: str, request: pytest.FixtureRequest) -> None:
    if blocks == "many":
        request.getfixturevalue("few_points")
    x, weights = samples((61, 150)), samples((9, 12), "float64")
    transformed(x, weights, mode, 1.5)
    transformed(x[:5, :7], weights[:, :5], mode if mode != "valid" else "full", 1.5)


@pytest.mark.usefixtures("torch", "few_points")
@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64", "uint8"])
def test_transforms_of_types_and_volumes(dtype: str) -> None:
    whole = dtype == "uint8"
    x = rng.integers(0, 255, (9, 30, 41)).astype(dtype) if whole else samples((9, 30, 41), dtype)
    cval = 0.0 if dtype[0] == "c" else 2.0
    options = {"output": np.float32} if whole else {}
    transformed(x, samples((3, 4, 5), "float64"), "constant", cval, **options)
    transformed(x, samples((1, 9), "float64"), "wrap", axes=(0, 2), **options)
    if whole:  # rounded to the exact sums
        transformed(x, rng.integers(-3, 4, (3, 4, 5)), "nearest", output=np.float64)


@pytest.mark.usefixtures("torch", "few_points")
def test_data_that_are_not_finite_take_another_route() -> None:
    x, weights = samples((20, 90)), samples((7, 9), "float64")
    x[4, 5], x[11, 30] = np.nan, np.inf
    got = numbasep.correlate(on_gpu(x), weights, method="fft")
    np.testing.assert_allclose(got.numpy(), oracle.correlate(x, weights, "reflect"), atol=1e-4)


def test_transforms_are_chosen_by_cost() -> None:
    large = numbasep.plan(samples((65, 65)), (8192, 8192), np.float32, device="cuda")
    small = numbasep.plan(samples((7, 7)), (8192, 8192), np.float32, device="cuda")
    gaussian = np.exp(-np.add.outer(np.arange(-32, 33.0) ** 2, np.arange(-32, 33.0) ** 2) / 200)
    smooth = numbasep.plan(gaussian, (8192, 8192), np.float32, device="cuda")
    assert (large.method, small.method, smooth.method) == ("fft", "direct", "separable")
    assert large.seconds < 0.3 * next(c.seconds for c in large.candidates if c.method == "direct")


def test_arrays_of_the_host_take_the_transforms_of_a_library_that_is_there(
    torch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weights = samples((30, 40)), samples((9, 9), "float64")
    with pytest.raises(ValueError, match=r"transforms of CuPy or PyTorch: .* got a NumPy array"):
        numbasep.correlate(x, weights, method="fft", device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(arrays.Torch, "put", lambda _, values: on_gpu(values))
    libraries.with_transforms.cache_clear()
    got = numbasep.correlate(x, weights, method="fft", device="cuda")
    libraries.with_transforms.cache_clear()
    assert type(got) is np.ndarray
    np.testing.assert_allclose(got, ndimage.correlate(x, weights), atol=1e-4)


# ------------------------------------------------------------------------------ complex weights


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("dtype", ["float32", "complex64", "uint8"])
@pytest.mark.parametrize("where", ["GPU", "host"])
def test_complex_weights_are_two_calls(dtype: str, where: str) -> None:
    x = rng.integers(0, 9, (6, 20)).astype(dtype) if dtype == "uint8" else samples((6, 20), dtype)
    weights = samples((3, 5), "complex128")
    expected = ndimage.correlate(x, weights, mode="wrap", output=np.complex128)
    if where == "host":
        got = numbasep.correlate(x, weights, mode="wrap", device="cuda")
        output = np.zeros(x.shape, np.complex128)
        assert numbasep.correlate(x, weights, output, mode="wrap", device="cuda") is output
    else:
        got = numbasep.correlate(on_gpu(x), weights, mode="wrap").numpy()
        target = on_gpu(np.zeros(x.shape, np.complex128))
        assert numbasep.correlate(on_gpu(x), on_gpu(weights), target, mode="wrap") is target
        output = target.numpy()
    assert got.dtype == np.complex64
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(output, expected, atol=1e-5 * np.abs(expected).max())
    with pytest.raises(ValueError, match="complex weights work on the CPU only"):
        numbasep.correlate(on_gpu(x), weights, nan_policy="raise")


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("name", ["convolve", "convolve1d", "correlate1d"])
def test_functions_of_complex_weights(name: str) -> None:
    x, weights = samples((6, 20)), samples((3, 4), "complex128")
    weights = weights[0] if name.endswith("1d") else weights
    got = getattr(numbasep, name)(on_gpu(x), weights).numpy()
    expected = getattr(ndimage, name)(x, weights, output=np.complex128)
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
