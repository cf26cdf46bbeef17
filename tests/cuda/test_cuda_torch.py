"""PyTorch's tensors on the simulated GPU: subclasses, and what PyTorch leaves to be done later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep
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
