"""Kernels that nothing was tuned on: factorized rightly, and every route of every plan keeps its bound."""

import numpy as np
import pytest

import numbasep
from numbasep.factor import factorize
from tests.support import kernel_unseen, kernel_zoo, oracle

KERNELS = kernel_unseen.kernels()
COMPLEX = kernel_unseen.complex_kernels()


def feasible(weights, shape, dtype, **options):
    """A plan for each route that keeps the contract."""
    for candidate in numbasep.plan(weights, shape, dtype, **options).candidates:
        if candidate.feasible:
            yield numbasep.plan(weights, shape, dtype, method=candidate.method, **options)


def test_there_are_thirty():
    assert len(KERNELS) == 30
    assert not set(KERNELS) & set(kernel_zoo.kernels())


@pytest.mark.thinned
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e6])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", KERNELS)
def test_ranks_are_neither_too_low_nor_too_high(name, dtype, scale):
    kernel = (KERNELS[name] * scale).astype(dtype)
    found = factorize(kernel)
    tolerance = 16 * np.finfo(dtype).eps
    assert found.error <= tolerance
    values = kernel.astype(float) / float(np.abs(kernel).max())
    dense = found.todense() / float(np.abs(kernel).max())
    assert np.abs(dense - values).sum() <= 1.1 * tolerance * np.abs(values).sum()
    if kernel.ndim == 2:
        u, s, vh = np.linalg.svd(values, full_matrices=False)
        errors = [np.abs((u[:, :r] * s[:r]) @ vh[:r] - values).sum() for r in range(1, len(s) + 1)]
        allowed = tolerance * np.abs(values).sum()
        enough = next((r for r, error in enumerate(errors, 1) if error <= allowed), len(s))
        assert found.rank <= enough


def test_noise_is_not_taken_for_rounding():
    for name in ("nearly separable 1e-5", "nearly separable 1e-3"):
        assert not numbasep.is_separable(KERNELS[name])
        assert numbasep.plan(KERNELS[name], (256, 256), np.float32).rank != 1
    assert numbasep.is_separable(KERNELS["nearly separable 1e-5"], rtol=1e-4)
    cheaper = numbasep.plan(KERNELS["nearly separable 1e-3"], (256, 256), np.float32, rtol=5e-3)
    assert cheaper.rank == 1


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("name", KERNELS)
def test_every_route_keeps_its_bound(name, dtype):
    kernel = KERNELS[name]
    shape = (47, 53) if kernel.ndim == 2 else (13, 17, 19)
    x = (np.random.default_rng(4).random(shape) * 255).astype(dtype)
    expected = oracle.convolve(x.astype(float), kernel, mode="mirror")
    size = np.abs(kernel).sum() * np.abs(x.astype(float)).max()
    output = np.float64 if dtype == np.float64 else np.float32
    for plan in feasible(kernel, shape, dtype, mode="mirror", output=output):
        off = np.abs(plan(x) - expected).max()
        assert off <= (plan.error_bound + np.finfo(output).eps) * size, str(plan)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
@pytest.mark.parametrize("name", COMPLEX)
def test_every_route_keeps_its_bound_on_complex_kernels(name, dtype):
    rng = np.random.default_rng(5)
    x = rng.random((31, 37)).astype(dtype)
    if x.dtype.kind == "c":
        x = x + 1j * rng.random(x.shape).astype(dtype)
    expected = oracle.convolve(x.astype(complex), COMPLEX[name], mode="wrap")
    for plan in feasible(COMPLEX[name], x.shape, x.dtype, mode="wrap"):
        bound = (plan.error_bound + 2e-16) * np.abs(COMPLEX[name]).sum() * np.abs(x).max()
        assert np.abs(plan(x) - expected).max() <= bound, str(plan)
