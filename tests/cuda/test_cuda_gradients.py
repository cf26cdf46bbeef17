"""Gradients through filters of PyTorch's tensors, on the simulated GPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbasep
from tests.support import oracle
from tests.support.cuda_torch import on_gpu
from tests.support.cuda_torch import torch as torch

pytestmark = pytest.mark.cudasim

MODES = ["reflect", "mirror", "nearest", "wrap", "constant", "valid", "full"]
rng = np.random.default_rng(22)


def leaf(values: np.ndarray) -> Any:
    return on_gpu(values).requires_grad_()


def adjoint(
    matrix_of: Callable[[np.ndarray], np.ndarray], gradient: np.ndarray, shape: tuple[int, ...]
) -> Any:
    """The transposed matrix of a linear function, column by column, times a gradient."""
    found = np.zeros(shape)
    for index in np.ndindex(*shape):
        one = np.zeros(shape)
        one[index] = 1
        found[index] = np.sum(matrix_of(one) * gradient)
    return found


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "taps"), [((5, 6), (3, 4)), ((3, 4), (5, 4))])
@pytest.mark.parametrize("method", ["separable", "direct", "fft"])
def test_the_adjoint(method: str, shape: tuple[int, int], taps: tuple[int, int], mode: str) -> None:
    if mode == "valid" and shape < taps:
        pytest.skip("nothing is valid")
    weights = rng.standard_normal(taps)
    if method == "separable":
        weights = np.outer(weights[:, 0], weights[0])
    same = mode not in ("valid", "full")
    origin = (1, -1) if same else 0
    x = leaf(rng.standard_normal(shape))
    filtered = numbasep.correlate(x, weights, mode=mode, cval=3.0, origin=origin, method=method)
    gradient = rng.standard_normal(tuple(filtered.shape))
    filtered.backward(on_gpu(gradient))
    expected = adjoint(lambda one: oracle.correlate(one, weights, mode, 0.0, origin), gradient, shape)
    assert x.grad.dtype == x.dtype
    np.testing.assert_allclose(x.grad.numpy(), expected, atol=1e-10 * np.abs(weights).sum())


@pytest.mark.usefixtures("torch")
def test_other_functions_types_and_axes() -> None:
    x = rng.standard_normal((3, 4, 5))
    gradient = rng.standard_normal(x.shape)
    calls: list[Callable[[Any], Any]] = [
        lambda a: numbasep.gaussian_filter(a, 0.6, axes=(0, 2)),
        lambda a: numbasep.sobel(a, 1, mode="wrap"),
        lambda a: numbasep.gaussian_laplace(a, 0.5),
        lambda a: numbasep.uniform_filter1d(a, 41, 1, mode="mirror"),
        lambda a: (
            numbasep.plan(np.ones((2, 3, 3)), a.shape, str(a.dtype).split(".")[-1], device="cuda")(a)
            if not isinstance(a, np.ndarray)
            else numbasep.convolve(a, np.ones((2, 3, 3)))
        ),
    ]
    dtypes = (("float64", 1e-10), ("float32", 1e-4), ("float16", 5e-2))
    for call in calls:
        for dtype, tolerance in dtypes if call in (calls[0], calls[-1]) else dtypes[:1]:
            given = leaf(x.astype(dtype))
            call(given).backward(on_gpu(gradient.astype(dtype)))
            expected = adjoint(call, gradient, x.shape)
            np.testing.assert_allclose(given.grad.numpy(), expected, atol=tolerance * np.abs(expected).max())


def test_gradcheck(torch: Any) -> None:
    """PyTorch's own judge, by differences, of gradients and of their gradients."""
    weights = rng.standard_normal((3, 2))

    def call(x: Any) -> Any:
        return numbasep.correlate(x, weights, mode="constant", cval=2.0)

    for dtype in ("float64", "complex128"):
        values = rng.standard_normal((3, 3)).astype(dtype)
        x = leaf(values + 1j * rng.standard_normal((3, 3)) if dtype[0] == "c" else values)
        if dtype[0] == "c":
            assert torch.autograd.gradcheck(lambda a: numbasep.correlate(a, weights, mode="mirror"), x)
        else:
            assert torch.autograd.gradcheck(call, x)
            assert torch.autograd.gradgradcheck(call, x)


def test_complex_weights(torch: Any) -> None:
    weights = rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3))
    x = leaf(rng.standard_normal((3, 3)))
    assert torch.autograd.gradcheck(lambda a: numbasep.convolve(a, weights), x)


def test_what_gradients_do_not_flow_through(torch: Any) -> None:
    x, weights = leaf(rng.standard_normal((4, 5))), np.ones((3, 3))
    for call in (
        lambda: numbasep.gaussian_gradient_magnitude(x, 1.0),
        lambda: numbasep.gaussian_gradient_magnitude(
            x, 1.0, axes=1
        ),  # one plan, whose result is changed in place
        lambda: numbasep.generic_gradient_magnitude(x, numbasep.sobel, axes=0),
        lambda: numbasep.filter_bank(x, [weights, weights]),
        lambda: numbasep.uniform_filter(x, 3, nan_policy="omit"),
        lambda: numbasep.uniform_filter(x, 3, output=on_gpu(np.zeros((4, 5)))),
    ):
        with pytest.raises(TypeError, match=r"pass input\.detach\(\)"):
            call()
    plan = numbasep.plan(weights, x.shape, np.float64, device="cuda")
    with pytest.raises(TypeError, match="leave output out"):
        plan(x, on_gpu(np.zeros((4, 5))))
    with pytest.raises(TypeError, match="flows to input only"):
        numbasep.correlate(x, leaf(weights))
    with torch.no_grad():
        assert not numbasep.gaussian_gradient_magnitude(x, 1.0).requires_grad
        assert not plan(x).requires_grad
        assert not numbasep.correlate(x, leaf(weights)).requires_grad
