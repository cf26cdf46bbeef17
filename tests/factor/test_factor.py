"""Factorization: identities, exactness, structure kept, tolerance, N-D, arguments."""

import math
import subprocess
import sys

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numbasep.factor import Form, SeparableKernel, factorize, forms, is_separable
from numbasep.factor.operations import box_operations, form_operations, tap_operations
from tests.support import kernel_zoo

KERNELS = kernel_zoo.kernels()
EPS = np.finfo(np.float64).eps

shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)
small_integers = hnp.arrays(np.int64, shapes, elements=st.integers(-9, 9))
reals = hnp.arrays(np.float64, shapes, elements=st.floats(-8, 8, allow_subnormal=False, width=32))


def product(*vectors):
    result = np.ones(())
    for vector in vectors:
        result = np.multiply.outer(result, vector)
    return result


def summed(separable):
    return sum((product(*term) for term in separable.terms), np.zeros(separable.shape))


def relative_l1(approximation, kernel):
    return np.abs(kernel - approximation).sum() / np.abs(kernel).sum()


# ---------------------------------------------------------------------------- identities
@given(reals)
def test_terms_multiply_out_to_any_real_kernel(kernel):
    separable = factorize(kernel)
    assert separable.shape == separable.todense().shape == kernel.shape
    if not kernel.any():
        assert separable.terms == ()
        return
    assert relative_l1(separable.todense(), kernel) <= 16 * EPS
    assert relative_l1(summed(separable), kernel) <= 20 * EPS
    assert separable.error == pytest.approx(relative_l1(separable.todense(), kernel), abs=4 * EPS)
    assert separable.rank == len(separable.terms) <= math.prod(sorted(kernel.shape)[:-1])


@given(small_integers)
def test_integer_kernels_are_reproduced_to_the_last_bit(kernel):
    separable = factorize(kernel)
    assert separable.exact
    assert separable.error == 0
    assert np.array_equal(separable.todense(), kernel)
    if kernel.ndim == 2 and kernel.any():
        assert separable.rank == np.linalg.matrix_rank(kernel)


@given(st.data(), st.integers(1, 5))
def test_integer_products_have_one_integer_term(data, ndim):
    taps = hnp.arrays(np.int64, st.integers(1, 6), elements=st.integers(-40, 40))
    factors = [data.draw(taps) for _ in range(ndim)]
    kernel = product(*factors)
    assume(kernel.any())
    separable = factorize(kernel)
    assert separable.rank == 1
    assert separable.exact
    assert np.array_equal(product(*separable.form.terms[0]) / separable.form.divisor, kernel)


@given(st.data(), st.integers(2, 4), st.integers(1, 3))
def test_sums_of_products_need_no_more_terms_than_they_were_made_of(data, ndim, terms):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    sizes = data.draw(st.lists(st.integers(4, 7), min_size=ndim, max_size=ndim))
    kernel = sum(product(*(rng.standard_normal(n) for n in sizes)) for _ in range(terms))
    separable = factorize(kernel)
    assert separable.rank == terms
    assert separable.error <= 16 * EPS


@given(
    hnp.arrays(
        np.complex128,
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=5),
        elements=st.complex_numbers(max_magnitude=8, allow_subnormal=False, width=64),
    )
)
def test_complex_kernels(kernel):
    separable = factorize(kernel)
    assert np.abs(separable.todense() - kernel).sum() <= 16 * EPS * np.abs(kernel).sum() * 1.5
    assert all(taps.dtype == np.complex128 for term in separable.terms for taps in term)


def test_a_complex_exponential_under_a_gaussian_is_one_term():
    y, x = np.ogrid[-8:9, -10:11]
    kernel = np.exp(-(y**2 + x**2) / 18 + 1j * (0.7 * y - 0.4 * x))
    assert factorize(kernel).rank == 1
    assert factorize(kernel.real).rank == 2
    assert factorize(kernel.astype(np.complex64)).rank == 1


# ---------------------------------------------------------------------------- scale and precision
@pytest.mark.parametrize("name", ["sobel3", "gauss s=1.5", "LoG s=1.4", "disk r=7", "unsharp s=2 a=1.5"])
@given(exponent=st.integers(-900, 900))
def test_powers_of_two_change_nothing_but_the_scale(name, exponent):
    reference, scaled = forms(KERNELS[name]), forms(np.ldexp(KERNELS[name], exponent))
    for a, b in zip(reference, scaled, strict=True):
        assert (a.name, a.error, a.exact) == (b.name, b.error, b.exact)
        # Integers of two and more cannot be the start of the sum: one operation to weigh them.
        assert a.operations <= b.operations <= a.operations + 1
        assert a.amplification == pytest.approx(b.amplification)


@pytest.mark.parametrize("scale", [1e-9, 1e-300, 1e300, 1e6, math.pi])
def test_non_separable_kernels_stay_so_at_any_scale(scale):
    rng = np.random.default_rng(1)
    for kernel in (rng.standard_normal((5, 5)), KERNELS["gabor 30 g=.5"], KERNELS["disk r=3"]):
        assert not is_separable(kernel * scale)
        assert not is_separable((kernel * np.clip(scale, 1e-30, 1e30)).astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_kernels_stored_in_less_precision_are_recognised(dtype):
    for name in ("gauss s=1.5", "gauss s=3", "gabor 0 g=.5", "3D gauss 1,2,3"):
        separable = factorize(KERNELS[name].astype(dtype))
        assert separable.rank == 1, name
        assert separable.error <= np.finfo(dtype).eps


@pytest.mark.parametrize(("dtype", "noise"), [(np.float64, 1e-12), (np.float32, 1e-4), (np.float16, 2e-2)])
@pytest.mark.parametrize("ndim", [2, 3])
def test_noise_is_never_accepted_silently(dtype, noise, ndim):
    rng = np.random.default_rng(5)
    clean = kernel_zoo.gaussian(*[1.0] * ndim)
    kernel = (clean * (1 + noise * rng.uniform(-1, 1, clean.shape))).astype(dtype)
    assert not is_separable(kernel)
    assert factorize(kernel).rank > 1
    assert is_separable(kernel, rtol=2 * noise)
    assert factorize(kernel, rtol=2 * noise).rank == 1


def test_the_hint_names_a_tolerance_that_works():
    rng = np.random.default_rng(2)
    for clean in (KERNELS["gauss s=1.5"], kernel_zoo.gaussian(1, 1, 1)):
        kernel = clean * (1 + 3e-5 * rng.standard_normal(clean.shape))
        separable = factorize(kernel)
        assert separable.hint.startswith("rank 1 at ")
        assert separable.hint in str(separable)
        rtol = float(separable.hint.split("rtol=")[1].split()[0])
        assert rtol < 1e-3
        assert factorize(kernel, rtol=rtol).rank == 1
    assert factorize(KERNELS["random 7x7"]).hint == ""
    assert factorize(KERNELS["gauss s=3"]).hint == ""


def test_rounded_to_four_decimals_is_not_the_kernel():
    kernel = np.round(KERNELS["gauss s=1.5"], 6)
    separable = factorize(kernel)
    assert separable.rank > 1
    assert np.array_equal(np.round(separable.todense(), 6), kernel)


# ---------------------------------------------------------------------------- what survives
@given(st.data())
def test_zeros_of_products_stay_exact_zeros(data):
    taps = hnp.arrays(np.float64, st.integers(2, 7), elements=st.sampled_from([0.0, 0.3, -1.7, 2.9, 0.01]))
    factors = [data.draw(taps), data.draw(taps)]
    kernel = product(*factors)
    assume(kernel.any())
    for mine, given_taps in zip(factorize(kernel).terms[0], factors, strict=True):
        assert np.array_equal(mine != 0, given_taps != 0)


@pytest.mark.parametrize("name", [n for n, k in KERNELS.items() if k.ndim == 2])
def test_symmetric_kernels_have_symmetric_terms(name):
    kernel = KERNELS[name]
    for form in forms(kernel):
        if form.name in ("rows", "columns", "runs", "integer") or form.name.startswith("box"):
            continue  # of a line and its mirror image only the sum is symmetric
        for axis in range(2):
            if np.array_equal(kernel, np.flip(kernel, axis)):
                assert all(np.array_equal(term[axis], term[axis][::-1]) for term in form.terms)


def test_singular_vectors_are_made_symmetric_too():
    rng = np.random.default_rng(8)
    half = rng.standard_normal((2, 9))
    u, v = half[0] + half[0][::-1], half[1] - half[1][::-1]
    kernel = product(u, v) * (1 + 1e-5 * rng.standard_normal((9, 9)))
    kernel = kernel + kernel[::-1]
    kernel = kernel - kernel[:, ::-1]
    ((left, right),) = factorize(kernel, rtol=1e-3).terms
    assert np.array_equal(left, left[::-1])
    assert np.array_equal(right, -right[::-1])


def test_constants_and_deltas_survive_in_float_kernels():
    kernel = math.pi * np.pad(np.ones((5, 1)), ((2, 1), (3, 4)))
    ((column, row),) = factorize(kernel).terms
    assert len(np.unique(column[2:7])) == 1
    assert np.count_nonzero(row) == 1


# ---------------------------------------------------------------------------- more axes
def test_one_axis_is_one_term():
    for taps in ([1.5, 2.25, -0.1], [1, 2, 1], [0.0, 0.0, 3.0]):
        separable = factorize(taps)
        assert separable.rank == 1
        assert np.array_equal(separable.todense(), taps)


def test_axes_of_length_one_are_single_taps():
    kernel = KERNELS["LoG s=1.4"][None, :, None, :, None]
    separable = factorize(kernel)
    assert separable.rank == 2
    assert all([taps.size for taps in term] == [1, 13, 1, 13, 1] for term in separable.terms)
    assert relative_l1(summed(separable), kernel) <= 16 * EPS
    assert factorize(np.full((1, 1, 1), -2.5)).terms[0][0] == [-2.5]
    assert is_separable(np.full((1, 1), 3))


def test_partial_separability_keeps_the_shared_factor():
    for form in forms(KERNELS["3D disk5 x gauss1.5"]):
        assert form.name.startswith("split:")
        assert form.common_axes == (0,)
        assert form.shared_operations < form.operations < 1053


def test_two_planes_of_a_hyperkernel_separate():
    kernel = np.multiply.outer(KERNELS["disk r=3"], KERNELS["LoG s=1.4"])
    assert factorize(kernel).rank == 6
    shuffled = kernel.transpose(2, 0, 3, 1)
    assert factorize(shuffled).rank == 6
    assert relative_l1(summed(factorize(shuffled)), shuffled) <= 16 * EPS


@pytest.mark.parametrize("ndim", [3, 4])
def test_differences_of_gaussians_in_one_window(ndim):
    x = np.arange(-6, 7)
    narrow, wide = (np.exp(-(x**2) / (2 * s * s)) for s in (1.0, 1.7))
    kernel = product(*[narrow / narrow.sum()] * ndim) - product(*[wide / wide.sum()] * ndim)
    assert factorize(kernel).rank == 2
    assert factorize(kernel.astype(np.float32)).rank == 2


def test_laplacian_of_a_gaussian_has_one_term_an_axis():
    for dtype in (np.float64, np.float32):
        for sigma in (1.0, 2.0):
            kernel = kernel_zoo.laplacian_of_gaussian(sigma, ndim=3).astype(dtype)
            assert factorize(kernel).rank == 3


# ---------------------------------------------------------------------------- structure
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unsharp s=2 a=1.5", "delta+rank1"),
        ("3D unsharp s=1.5", "delta+rank1"),
        ("laplace8", "delta+rank1"),
        ("mexican hat s=5 z-mean", "box+cross"),
        ("disk aa r=5", "runs"),
        ("DoG 1.4/2.24", "corner+rank1"),
        ("disk r=15", "rows"),
        ("gauss 5x5 int /273", "integer"),
        ("3D ball r=7", "slices"),
    ],
)
def test_structure_is_found(name, expected):
    assert expected in [form.name for form in forms(KERNELS[name])]


def test_repeated_rows_have_the_support_of_the_kernel():
    for name in ("disk r=15", "ring 5..7", "hexagon r=9", "3D ball r=7", "kirsch N"):
        found = forms(KERNELS[name], thorough=True)  # of a handful of weights, otherwise none are sought
        assert any(form.same_support and form.exact for form in found)
    kirsch = {f.name: f.same_support for f in forms(KERNELS["kirsch N"], thorough=True)}
    assert kirsch == {"delta+rank1": False, "rows": True}


def test_even_and_odd_rows_fold():
    rng = np.random.default_rng(3)
    half = rng.standard_normal((6, 11))
    even = np.concatenate([half, rng.standard_normal((1, 11)), half[::-1]])
    odd = np.concatenate([half, np.zeros((1, 11)), -half[::-1]])
    assert [f.operations for f in forms(even)] == [7 * 11 + 6]
    assert [f.operations for f in forms(odd)] == [6 * 11 + 6]
    assert forms(even)[0].error == forms(odd)[0].error == 0


def test_kernels_without_structure_have_no_forms():
    assert forms(KERNELS["random 7x7"]) == forms(KERNELS["random 15x15"]) == ()
    assert [form.name for form in forms(np.zeros((3, 3)))] == ["zero"]


def test_a_box_plus_anything_of_rank_one():
    rng = np.random.default_rng(4)
    kernel = product(rng.standard_normal(9), rng.standard_normal(11)) + 0.37
    best = min(forms(kernel), key=lambda f: f.operations)
    assert best.operations <= 9 + 11 + 7
    assert best.error <= 16 * EPS


def test_forms_come_plain_first_then_by_operations():
    for kernel in KERNELS.values():
        found = forms(kernel)
        if found:
            counts = [form.operations for form in found[1:]]
            assert counts == sorted(counts)
            if kernel.ndim == 2:
                assert found[0].rank == min(form.rank for form in found)


def test_a_coarser_compute_type_accepts_more():
    kernel = KERNELS["gauss s=1.5"] * (1 + 1e-7 * np.random.default_rng(0).standard_normal((13, 13)))
    assert min((f.rank for f in forms(kernel)), default=13) > 1
    assert forms(kernel, compute_eps=float(np.finfo(np.float32).eps))[0].rank == 1


# ---------------------------------------------------------------------------- operations
@pytest.mark.parametrize(
    ("taps", "count"),
    [
        ([0, 3, 0], 0),
        ([1, 2, 1], 3),
        ([-1, 0, 1], 1),
        ([2, 2], 1),
        ([1, 1, 1], 2),
        ([1] * 4, 2),
        ([5] * 31, 3),
        ([1, 1, 0, 1, 1], 3),
        ([1, 1, -1, 1, 1], 4),
        ([0, 0, 0], 0),
    ],
)
def test_operations_of_one_pass(taps, count):
    assert tap_operations([float(t) for t in taps])[0] == count


def test_operations_of_sums():
    delta, box, smooth = (np.array([t], float) for t in ([0, 1, 0], [1, 1, 1], [1, 2, 1]))
    assert form_operations((smooth, smooth)) == 6
    assert form_operations((box, box)) == 4
    assert form_operations((delta, delta)) == 1
    assert form_operations((np.concatenate([smooth, delta]), np.concatenate([smooth, delta]))) == 7
    assert form_operations((np.concatenate([box, delta]), np.concatenate([box, delta]))) == 5
    assert [box_operations(n) for n in (1, 2, 3, 4, 5, 8, 100)] == [0, 1, 2, 2, 3, 3, 3]


# ---------------------------------------------------------------------------- public object
def test_exactness_is_not_claimed_for_floats():
    for name in ("gauss s=3", "LoG s=3", "airy r=4 (41)", "3D unsharp s=1.5"):
        assert not factorize(KERNELS[name]).exact


def test_divisor_is_folded_into_the_public_terms():
    separable = factorize(np.ones((3, 3)) / 9)
    assert separable.form.divisor == 9
    assert np.array_equal(separable.form.terms[0], np.ones((2, 3)))
    assert np.array_equal(summed(separable), np.ones((3, 3)) / 9)
    assert np.array_equal(separable.todense(), np.ones((3, 3)) / 9)


def test_big_integers():
    assert factorize(np.array([[36, 162], [72, 324]])).exact
    large = product(np.array([1, 2**20, 3]), np.array([5, 2**25 + 1, 7]))
    assert factorize(large).exact
    assert factorize(large).rank == 1
    beyond = np.array([[2**62 + 1, 1], [1, 3]], dtype=np.int64)
    assert not factorize(beyond).exact
    assert factorize(np.array([[True, False], [True, True]])).rank == 2
    assert factorize(np.array([[255, 0], [0, 255]], dtype=np.uint8)).exact


def test_integers_of_low_rank_without_a_short_basis_are_still_of_low_rank():
    rng = np.random.default_rng(6)
    kernel = rng.integers(-9, 10, (31, 5)) @ rng.integers(-9, 10, (5, 31))
    separable = factorize(kernel)
    assert separable.rank == 5
    assert separable.amplification < 8


@pytest.mark.parametrize("extreme", [1e-310, 5e-324, 1.7e308])
def test_the_ends_of_the_range(extreme):
    for kernel in (
        np.full((3, 3), extreme),
        np.array([[extreme, 0], [0, extreme]]),
        [[extreme, 1.0], [0.0, 1.0]],
    ):
        separable = factorize(kernel)
        largest = np.abs(kernel).max()
        assert np.allclose(separable.todense(), kernel, rtol=4 * EPS, atol=max(5e-324, 4 * EPS * largest))
        assert all(np.isfinite(taps).all() for term in separable.terms for taps in term)


def test_nearly_rank_one_integers_are_not_rank_one():
    kernel = product(np.arange(1, 8), np.arange(1, 10))
    kernel[3, 4] += 1
    assert not is_separable(kernel)
    assert factorize(kernel).rank == 2


def test_max_rank_limits_the_terms():
    for name in ("airy r=4 (41)", "disk r=7", "3D moffat b=2.5"):
        errors = [factorize(KERNELS[name], max_rank=r).error for r in (1, 2, 4)]
        assert errors == sorted(errors, reverse=True)
        assert errors[0] > 1e-3
    limited = factorize(KERNELS["disk r=7"], max_rank=2)
    assert limited.rank == 2
    assert not limited.exact
    assert "max_rank allows no better" in str(limited)
    assert factorize(KERNELS["gauss s=3"], max_rank=1).error <= 16 * EPS


def test_max_rank_is_the_best_matrix_approximation():
    kernel = KERNELS["moffat g=3 b=2.5 (41)"]
    u, s, vh = np.linalg.svd(kernel)
    expected = relative_l1((u[:, :3] * s[:3]) @ vh[:3], kernel)
    assert factorize(kernel, max_rank=3).error == pytest.approx(expected, rel=1e-6)


def test_zero_kernel():
    separable = factorize(np.zeros((3, 4)))
    assert (separable.rank, separable.terms, separable.exact, separable.error) == (0, (), True, 0.0)
    assert np.array_equal(separable.todense(), np.zeros((3, 4)))
    assert is_separable(np.zeros((2, 2)))
    assert "rank 0" in str(separable)


def test_singular_values():
    kernel = KERNELS["LoG s=3"]
    assert np.allclose(factorize(kernel).singular_values, np.linalg.svd(kernel)[1], rtol=0, atol=1e-15)
    assert factorize([3.0, 4.0]).singular_values == pytest.approx([5.0])
    cube = KERNELS["3D LoG s=2"]
    assert np.allclose(factorize(cube).singular_values, np.linalg.svd(cube.reshape(17, -1))[1])


def test_representations():
    separable = factorize(np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256)
    assert str(separable).splitlines() == [
        "SeparableKernel 5x5: rank 1, exact, 10 operations a pixel instead of 25",
        "  [1 4 6 4 1] x [1 4 6 4 1]",
        "  / 256",
    ]
    assert repr(separable) == "<SeparableKernel 5x5: rank 1, exact, 10 operations a pixel instead of 25>"
    assert "<code>[1 4 6 4 1] x [1 4 6 4 1]</code>" in separable._repr_html_()
    assert "+ 12 more" in str(factorize(KERNELS["airy r=4 (41)"]))


def test_results_are_frozen():
    separable = factorize(KERNELS["sobel3"] / 8)
    assert isinstance(separable, SeparableKernel)
    assert isinstance(separable.form, Form)
    with pytest.raises(AttributeError):
        separable.terms = ()
    for term in (*separable.terms, *separable.form.terms):
        for taps in term:
            with pytest.raises(ValueError, match="read-only"):
                taps[0] = 1


def test_the_input_is_left_alone_and_any_layout_will_do():
    kernel = np.asfortranarray(KERNELS["LoG s=1.4"])
    kernel.flags.writeable = False
    before = kernel.copy()
    swapped = kernel.astype(">f8")
    for view in (kernel, kernel[::-1], kernel.T, swapped, kernel.tolist()):
        assert factorize(view).rank == 2
    assert np.array_equal(kernel, before)


def test_equal_kernels_give_equal_forms():
    for name in ("disk aa r=5", "steerable G2 @30", "3D LoG s=2"):
        first, second = forms(KERNELS[name]), forms(KERNELS[name].copy())
        for a, b in zip(first, second, strict=True):
            assert a.name == b.name
            assert all(
                np.array_equal(x, y)
                for s, t in zip(a.terms, b.terms, strict=True)
                for x, y in zip(s, t, strict=True)
            )


# ---------------------------------------------------------------------------- arguments
@pytest.mark.parametrize("function", [factorize, is_separable, forms])
@pytest.mark.parametrize(
    ("kernel", "error", "message"),
    [
        (np.zeros((0, 3)), ValueError, r"kernel: shape \(0, 3\)"),
        (np.float64(3), ValueError, "kernel: a 0-d array"),
        ([[1, np.nan]], ValueError, "kernel: every weight must be finite"),
        ([[1, np.inf]], ValueError, "kernel: every weight must be finite"),
        (np.array([1 + 1j * np.inf]), ValueError, "kernel: every weight must be finite"),
        (np.array([[1, 2]], dtype=object), TypeError, "kernel: dtype object"),
        (
            np.array([[1, 2]], dtype=np.longdouble),
            TypeError,
            "kernel: dtype .*float128|kernel: dtype longdouble",
        ),
        (np.array(["a"]), TypeError, "kernel: dtype <U1"),
        (np.array([1], dtype="m8[s]"), TypeError, "kernel: dtype timedelta64"),
    ],
)
def test_bad_kernels(function, kernel, error, message):
    with pytest.raises(error, match=message):
        function(kernel)


@pytest.mark.parametrize("function", [factorize, is_separable, forms])
@pytest.mark.parametrize(
    ("rtol", "error"),
    [
        (-1e-3, ValueError),
        (np.nan, ValueError),
        ("1e-3", TypeError),
        (True, TypeError),
        ([1e-3], TypeError),
        (1j, TypeError),
    ],
)
def test_bad_rtol(function, rtol, error):
    with pytest.raises(error, match="rtol: expected None or"):
        function([[1.0, 2.0]], rtol=rtol)


@pytest.mark.parametrize(
    ("max_rank", "error"),
    [(0, ValueError), (-2, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)],
)
def test_bad_max_rank(max_rank, error):
    with pytest.raises(error, match="max_rank: expected None or an integer"):
        factorize([[1.0, 2.0]], max_rank=max_rank)


def test_rtol_of_zero_and_of_more_than_one():
    kernel = KERNELS["gauss s=1.5"]
    assert factorize(kernel, rtol=0).error == 0
    assert factorize(KERNELS["disk r=7"], rtol=0).exact
    assert factorize(kernel, rtol=2.0).rank == 1
    assert factorize(KERNELS["random 7x7"], rtol=np.inf).rank == 1


def test_numpy_is_all_that_is_needed():
    code = (
        "import sys; sys.modules.update({'numba': None, 'scipy': None});"
        "from numbasep.factor import factorize; print(factorize([[1, 1], [1, 1]]).rank)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1", done.stderr
