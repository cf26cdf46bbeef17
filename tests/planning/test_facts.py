"""What planning knows of a kernel given term by term is what its dense weights say."""

import dataclasses
import functools

import numpy as np
import pytest

import numbasep
from numbasep.api import build
from numbasep.factor import forms
from numbasep.planning.facts import _is_coherent, kernel_facts, term_facts
from numbasep.planning.operators import dense_slices, sum_of_outer_products, without_subnormals
from tests.support.kernel_zoo import kernels

CHOICES = np.array([-2.0, -1.0, 0.0, 0.0, 1.0, 0.5])


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("divisor", [1.0, 3.0])
def test_terms_and_their_dense_sum_have_the_same_facts(ndim, rank, divisor):
    rng = np.random.default_rng(ndim + 10 * rank)
    for _ in range(20):
        shape = rng.integers(1, 6, ndim)
        terms = [[rng.choice(CHOICES, n) for n in shape] for _ in range(rank)]
        found = term_facts(terms, dense_slices(terms), divisor, ())
        expected = kernel_facts(sum_of_outer_products(terms) / divisor)
        assert found.l1 == pytest.approx(expected.l1, rel=1e-14)
        whole = all((taps == np.rint(taps)).all() for term in terms for taps in term) and divisor == 1
        known = whole if rank == 1 else expected.integer  # of a product, only whole factors are recognised
        same = dataclasses.replace(expected, l1=found.l1, integer=known)
        assert found == dataclasses.replace(
            same, planes=same.planes or found.planes
        )  # a sum of zeros has none


@pytest.mark.parametrize(
    "name", ["disk r=7", "ring 5..7", "gauss 5x5 int /273", "3D ball r=4", "kirsch N", "emboss"]
)
def test_coherence_is_that_of_the_dense_terms(name):
    for form in forms(kernels()[name], thorough=True):
        signs = [functools.reduce(np.multiply.outer, map(np.sign, term)) for term in form.terms]
        conflict = bool((np.max(signs, axis=0) * np.min(signs, axis=0) < 0).any())
        calm = dataclasses.replace(form, amplification=1.0)  # which would settle most cases by itself
        assert _is_coherent(calm) == (not conflict)


def test_large_volumes_of_terms_are_planned_without_their_dense_kernel():
    """A Laplacian of a Gaussian of 241 taps along each axis would be 112 MB of weights."""
    x = np.zeros((8, 8, 8), np.float32)
    numbasep.gaussian_laplace(x, 30.0)
    large = [made for made in build.plans._kept.values() if max(made.problem.taps, default=0) == 241]
    assert large
    assert all("weights" not in vars(made.kernel) and "undivided" not in vars(made.kernel) for made in large)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subnormal_taps_are_raised_to_negligible_ones(dtype):
    tiny = float(np.finfo(dtype).tiny)
    taps = np.array([1.0, 0.5, tiny / 4, -tiny / 2, 0.0])
    raised = without_subnormals(taps, np.dtype(dtype))
    assert np.array_equal(np.sign(raised), np.sign(taps))
    assert np.array_equal(raised[:2], taps[:2])
    assert (np.abs(raised[2:4]) >= tiny).all()
    assert np.abs(raised - taps).sum() <= (np.finfo(dtype).eps / 2) ** 2 * np.abs(taps).sum()
    small = taps[2:] * 1.0
    assert without_subnormals(small, np.dtype(dtype)) is small  # nothing beside which it would not matter


def test_a_kernel_with_subnormal_weights_keeps_its_footprint_and_result():
    weights = kernels()["gauss aniso 2x5 rot30"]
    assert (np.abs(weights) < np.finfo(np.float32).tiny).any()
    x = np.random.default_rng(0).random((60, 70), np.float32)
    x[30, 31] = np.inf
    found = numbasep.correlate(x, weights, method="direct", mode="constant")
    hit = np.isinf(found)
    assert hit.sum() == weights.size
    expected = numbasep.correlate(x.astype(np.float64), weights, method="direct", mode="constant")
    bound = numbasep.plan(weights, x.shape, x.dtype, method="direct").error_bound
    assert np.abs(found[~hit] - expected[~hit]).max() <= bound * np.abs(weights).sum()
