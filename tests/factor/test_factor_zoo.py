"""Seventy kernels from practice, in all precisions and scales: none wrong, none missed."""

import numpy as np
import pytest

from numbasep.factor import factorize, forms, is_separable
from tests.support import kernel_zoo

KERNELS = kernel_zoo.kernels()

VARIANTS = {
    "float64": lambda k: k,
    "float32": lambda k: k.astype(np.float32),
    "x1e-9": lambda k: k * 1e-9,
    "x1e6": lambda k: k * 1e6,
    "float32 x1e-9": lambda k: k.astype(np.float32) * np.float32(1e-9),
    "x1e-300": lambda k: k * 1e-300,
    "x1e290": lambda k: k * 1e290,
}

#: Kernels whose best known form is not a sum of separable terms, and why.
OTHER_MECHANISM = {
    "gauss aniso 2x5 rot30": "the survey left 390 weights below 1e-13 of the largest out of the direct sum",
    "gabor 30 g=.5": "the survey left two weights below 1e-13 of the largest out of the direct sum",
    "3D LoG s=2": "a tensor train shares its first pass between terms",
}


def tolerance(kernel):
    return 16 * np.finfo(kernel.dtype).eps


def relative_l1(approximation, kernel):
    kernel = np.asarray(kernel, float) / np.abs(kernel).max()
    return np.abs(kernel - approximation).sum() / np.abs(kernel).sum()


def reference_rank(kernel):
    """Fewest singular terms within the tolerance, by brute force."""
    scaled = kernel.astype(float) / float(np.abs(kernel).max())
    u, s, vh = np.linalg.svd(scaled, full_matrices=False)
    for rank in range(1, len(s) + 1):
        if relative_l1((u[:, :rank] * s[:rank]) @ vh[:rank], scaled) <= tolerance(kernel):
            return rank
    return len(s)


def multiplied_out(separable, kernel):
    """The sum of the public terms, over the kernel's largest weight, in an order of our own."""
    total = np.zeros(kernel.shape)
    for term in separable.terms:
        product = np.array(1.0 / float(np.abs(kernel).max()))
        for taps in sorted(enumerate(term), key=lambda item: -np.abs(item[1]).max())[::-1]:
            shape = [1] * kernel.ndim
            shape[taps[0]] = -1
            product = product * taps[1].reshape(shape)
        total += product
    return total


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", KERNELS)
def test_none_wrong_and_none_missed(name, variant):
    kernel = VARIANTS[variant](KERNELS[name])
    separable = factorize(kernel)
    assert separable.error <= tolerance(kernel)
    assert relative_l1(multiplied_out(separable, kernel), kernel) <= 1.1 * tolerance(kernel)
    if kernel.ndim == 2:
        assert separable.rank <= reference_rank(kernel)
    if name in kernel_zoo.RANK:
        assert separable.rank == kernel_zoo.RANK[name]
        assert is_separable(kernel) == (kernel_zoo.RANK[name] == 1)


@pytest.mark.parametrize("name", sorted(set(KERNELS) - set(OTHER_MECHANISM)))
def test_operations_reach_the_best_known_form(name):
    kernel = KERNELS[name]
    counts = [form.shared_operations for form in forms(kernel)]
    assert min([np.count_nonzero(kernel), *counts]) <= kernel_zoo.BEST[name]


@pytest.mark.parametrize("name", OTHER_MECHANISM)
def test_exceptions_are_still_exceptions(name):
    counts = [form.shared_operations for form in forms(KERNELS[name])]
    assert min([np.count_nonzero(KERNELS[name]), *counts]) > kernel_zoo.BEST[name]


@pytest.mark.parametrize("name", KERNELS)
def test_integer_kernels_are_exact_and_only_they(name):
    kernel = KERNELS[name]
    integral = bool(np.all(kernel == np.rint(kernel)))
    separable = factorize(kernel)
    if integral:
        assert separable.exact
        assert all(np.all(taps == np.rint(taps)) for term in separable.form.terms for taps in term)
    if separable.exact:
        assert np.array_equal(separable.todense(), kernel)
        assert separable.error == 0


@pytest.mark.parametrize("name", [n for n, k in KERNELS.items() if np.all(k == np.rint(k))])
@pytest.mark.parametrize("divisor", [9.0, 10.0, 16.0, 256.0, 273.0, 7.3])
def test_scaled_integer_kernels_are_integers_over_a_divisor(name, divisor):
    kernel = KERNELS[name] / divisor
    separable = factorize(kernel)
    assert all(np.all(taps == np.rint(taps)) for term in separable.form.terms for taps in term)
    assert separable.exact
    assert np.array_equal(separable.todense(), kernel)


@pytest.mark.parametrize("rtol", [1e-2, 1e-3, 1e-6])
@pytest.mark.parametrize("name", [n for n, k in KERNELS.items() if k.ndim == 2])
def test_rtol_buys_operations_and_keeps_its_promise(name, rtol):
    kernel = KERNELS[name]
    approximate, lossless = factorize(kernel, rtol=rtol), factorize(kernel)
    assert relative_l1(multiplied_out(approximate, kernel), kernel) <= rtol * (1 + 1e-9)
    assert approximate.form.operations <= lossless.form.operations


def test_rtol_finds_the_short_forms_of_point_spread_functions():
    ranks = {
        name: factorize(KERNELS[name], rtol=1e-3).rank for name in ("airy r=4 (41)", "moffat g=3 b=2.5 (41)")
    }
    assert ranks == {"airy r=4 (41)": 10, "moffat g=3 b=2.5 (41)": 5}


@pytest.mark.parametrize("name", KERNELS)
def test_forms_describe_themselves_truthfully(name):
    kernel = KERNELS[name]
    for form in forms(kernel):
        dense = np.zeros(kernel.shape)
        touched = np.zeros(kernel.shape, bool)
        kappa = 0.0
        for term in form.terms:
            dense += kernel_zoo.outer(*term)
            touched |= kernel_zoo.outer(*[t != 0 for t in term]) != 0
            kappa += np.prod([np.abs(t).sum() for t in term])
        dense /= form.divisor
        assert relative_l1(dense / np.abs(kernel).max(), kernel) == pytest.approx(form.error, abs=2e-15)
        assert form.error <= tolerance(kernel)
        assert form.same_support == np.array_equal(touched, kernel != 0)
        assert form.amplification == pytest.approx(kappa / form.divisor / np.abs(kernel).sum())
        assert form.operations < np.count_nonzero(kernel) or form.rank == 1
        if form.exact:
            assert np.array_equal(dense, kernel)
