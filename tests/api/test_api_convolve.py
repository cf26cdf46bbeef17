"""convolve and correlate against the oracle and against SciPy."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import ndimage

import numbasep as nsp
from tests.support import kernel_zoo, oracle, referee, strategies
from tests.support.strategies import MODES, SYNONYMS, Call, samples

OPERATIONS = ("convolve", "correlate")
rng = np.random.default_rng(7)


def exactly(call: Call, got: np.ndarray) -> None:
    """`got` holds the sums of Python integers, wrapped round as C would."""
    np.testing.assert_array_equal(got, oracle.store(referee.expected(call, exact=True), got.dtype))


# --------------------------------------------------------------------------- drawn at random


@given(strategies.calls(dtypes=("float32", "float64", "complex64", "complex128"), max_dims=5))
def test_floats_are_within_the_planned_bound(call: Call) -> None:
    referee.judge(call, referee.run(call), referee.plan_of(call).error_bound)


@pytest.mark.slow
@given(strategies.calls(dtypes=("float16",), max_dims=3))
def test_half_precision_is_rounded_once(call: Call) -> None:
    got = referee.run(call)
    assert got.dtype == np.float16
    referee.judge(call, got, referee.plan_of(call).error_bound)


@given(strategies.calls(dtypes=("bool", *strategies.INTEGERS), kinds=("integer", "integer separable", "box")))
def test_integers_with_integer_kernels_are_exact(call: Call) -> None:
    got = referee.run(call)
    assert got.dtype == call.x.dtype
    exactly(call, got)
    if (
        call.x.dtype.itemsize <= 4 and call.cval.is_integer()
    ):  # 64-bit data may hold more than the 53 bits that the sums keep
        assert referee.plan_of(call).exact


@pytest.mark.slow
@given(strategies.calls(dtypes=("uint8", "int16", "uint16", "int32"), max_dims=3))
def test_integers_with_any_kernel_are_within_the_planned_bound(call: Call) -> None:
    referee.judge(call, referee.run(call), referee.plan_of(call).error_bound)


@pytest.mark.slow
@given(
    strategies.calls(dtypes=("uint8", "int16", "float32"), kinds=("integer", "integer two terms"), max_dims=3)
)
def test_wide_output_of_integer_kernels(call: Call) -> None:
    got = referee.run(call, output=np.float64)
    assert got.dtype == np.float64
    if call.x.dtype.kind in "iu" and float(call.cval).is_integer():
        np.testing.assert_array_equal(got, referee.expected(call, exact=True).astype(float))
    plan = nsp.plan(call.weights, call.x.shape, call.x.dtype, operation=call.operation, **call.arguments)
    referee.judge(call, got, plan.error_bound)


def refused(call: Call, method: str) -> str | None:
    """The message of the error that forcing a method raises, if it does."""
    try:
        referee.plan_of(call, method=method)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("method", strategies.METHODS)
@given(call=strategies.calls(dtypes=("float32", "float64", "uint8", "int16", "complex64"), max_dims=3))
@example(Call("correlate", samples("uint8", (9, 9), 1), np.ones((3, 3)), "reflect", 0.0, 0, None))
def test_every_method_forced(method: str, call: Call) -> None:
    """Either the oracle's answer, or an error with the reason that the plan gives."""
    candidate = next(c for c in referee.plan_of(call).candidates if c.method == method)
    refusal = refused(call, method)
    if refusal is not None:
        assert not candidate.feasible
        assert candidate.reason in refusal
        assert f"method={method!r}" in refusal
        assert method != "direct"
        with pytest.raises(ValueError, match=method):
            referee.run(call, method=method)
        return
    plan = referee.plan_of(call, method=method)
    assert plan.method == method
    got = referee.run(call, method=method)
    referee.judge(call, got, plan.error_bound)
    if plan.exact and float(call.cval).is_integer():
        exactly(call, got)


FEASIBLE = {
    "direct": ("dense", "integer", "box", "separable", "two terms"),
    "separable": ("separable", "integer separable", "box", "mean", "two terms"),
    "fft": ("dense", "integer", "box", "separable", "two terms"),
}


@pytest.mark.thinned
@pytest.mark.parametrize(("method", "kind"), [(m, k) for m, kinds in FEASIBLE.items() for k in kinds])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_a_method_that_applies_is_not_refused(method: str, kind: str, dtype: str) -> None:
    call = Call(
        "convolve", samples(dtype, (23, 31), 5), strategies.kernel(kind, (7, 9), 3), "mirror", 0.0, 0, None
    )
    plan = referee.plan_of(call, method=method)
    assert plan.method == method
    referee.judge(call, referee.run(call, method=method), plan.error_bound)


@pytest.mark.parametrize("name", kernel_zoo.kernels())
def test_every_route_of_every_practice_kernel(name: str) -> None:
    """Whatever can be computed in several ways has the same value in all of them."""
    weights = kernel_zoo.kernels()[name]
    x = samples("float64", {1: (90,), 2: (45, 38), 3: (19, 20, 18)}[weights.ndim], 3)
    expected = ndimage.convolve(x, weights, mode="wrap")
    for candidate in nsp.plan(weights, x.shape, mode="wrap").candidates:
        if candidate.feasible:
            plan = nsp.plan(weights, x.shape, mode="wrap", method=candidate.method)
            allowed = 2 * plan.error_bound * oracle.norm(weights) * oracle.largest(x)  # SciPy rounds, too
            oracle.assert_close(plan(x), expected, allowed)


def test_practice_kernels_take_every_route() -> None:
    taken = {
        candidate.method
        for weights in kernel_zoo.kernels().values()
        for candidate in nsp.plan(weights, (64,) * weights.ndim, "float32").candidates
        if candidate.feasible
    }
    assert taken == set(strategies.METHODS)


@pytest.mark.thinned
@pytest.mark.parametrize("method", ["direct", "separable", "fft", "auto"])
@pytest.mark.parametrize("mode", strategies.BOUNDARIES)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_methods_agree_in_every_mode_on_an_image(method: str, mode: str, operation: str, dtype: str) -> None:
    """Large enough for full tiles, odd remainders and several threads."""
    x = samples(dtype, (257, 301), 2)
    weights = strategies.kernel("separable", (8, 11), 4)
    got = getattr(nsp, operation)(x, weights, mode=mode, cval=1.25, origin=(1, -2), method=method)
    expected = getattr(ndimage, operation)(x.astype(float), weights, mode=mode, cval=1.25, origin=(1, -2))
    plan = nsp.plan(
        weights, x.shape, dtype, operation=operation, mode=mode, cval=1.25, origin=(1, -2), method=method
    )
    oracle.assert_close(got, expected, plan.error_bound * oracle.norm(weights) * oracle.largest(x, 1.25))


# --------------------------------------------------------------------------- modes, cval, origin


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (2, 3), (9, 10)])
def test_modes_and_synonyms_are_scipys(operation: str, mode: str, shape: tuple[int, ...]) -> None:
    """Kernels shorter and longer than the array (far longer ones make SciPy 1.17 read outside of it)."""
    x = samples("float64", shape, 1)
    for taps in [(1, 1), (3, 2), (4, 5)]:
        weights = rng.normal(size=taps)
        got = getattr(nsp, operation)(x, weights, mode=mode, cval=-1.5)
        expected = oracle.convolve if operation == "convolve" else oracle.correlate
        np.testing.assert_allclose(got, expected(x, weights, mode, -1.5), atol=1e-13)
        if max(taps) <= 2 * min(shape):
            peer = getattr(ndimage, operation)(x, weights, mode=mode, cval=-1.5)
            np.testing.assert_allclose(got, peer, atol=1e-13)
        canonical = getattr(nsp, operation)(x, weights, mode=SYNONYMS.get(mode, mode), cval=-1.5)
        np.testing.assert_array_equal(got, canonical)


@pytest.mark.parametrize("method", ["direct", "separable", "fft"])
@pytest.mark.parametrize("mode", [*strategies.BOUNDARIES, "full"])
def test_kernels_much_longer_than_the_array(method: str, mode: str) -> None:
    for shape, taps in [((3, 2), (17, 14)), ((1, 5), (6, 31)), ((2, 2), (29, 3))]:
        call = Call(
            "correlate",
            samples("float64", shape, 3),
            strategies.kernel("separable", taps, 8),
            mode,
            2.0,
            0,
            None,
        )
        referee.judge(
            call, referee.run(call, method=method), referee.plan_of(call, method=method).error_bound
        )


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("cval", [3.0, -0.75])
@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 6)])
def test_cval_with_a_separable_kernel(operation: str, cval: float, shape: tuple[int, ...]) -> None:
    """Passes with the same cval would be wrong: what is between them continues with cval times a sum."""
    x = samples("float64", shape, 11)
    weights = strategies.kernel("separable", (3, 4, 5)[: len(shape)], 2)
    expected = getattr(ndimage, operation)(x, weights, mode="constant", cval=cval)
    for method in ("auto", "direct", "separable", "fft"):
        got = getattr(nsp, operation)(x, weights, mode="constant", cval=cval, method=method)
        np.testing.assert_allclose(got, expected, atol=1e-12 * oracle.norm(weights))


def test_cval_with_two_terms_and_mixed_modes() -> None:
    x, weights = samples("float64", (6, 9), 1), strategies.kernel("two terms", (5, 7), 6)
    for modes in itertools.product(["constant", "wrap", "full", "valid"], repeat=2):
        call = Call("convolve", x, weights, modes, 4.0, 0, None)
        for method in ("direct", "separable", "fft"):
            referee.judge(
                call, referee.run(call, method=method), referee.plan_of(call, method=method).error_bound
            )


@pytest.mark.parametrize("cval", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["auto", "direct", "separable"])
def test_non_finite_cval_spoils_only_the_border(cval: float, method: str) -> None:
    x, weights = samples("float64", (8, 9), 1), np.outer([1.0, 2, 1], [1.0, 3, 1])
    got = nsp.correlate(x, weights, mode="constant", cval=cval, method=method)
    np.testing.assert_allclose(got, ndimage.correlate(x, weights, mode="constant", cval=cval), atol=1e-13)
    assert np.isfinite(got[1:-1, 1:-1]).all()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 8])
def test_every_origin_is_scipys(operation: str, taps: int) -> None:
    x, weights = samples("float64", (11, 9), 4), rng.normal(size=(taps, 3))
    for origin in range(-taps - 1, taps + 2):
        try:
            expected = getattr(ndimage, operation)(x, weights, origin=(origin, 1))
        except ValueError:
            with pytest.raises(ValueError, match="rigin"):
                getattr(nsp, operation)(x, weights, origin=(origin, 1))
            continue
        got = getattr(nsp, operation)(x, weights, origin=(origin, 1))
        np.testing.assert_allclose(got, expected, atol=1e-13, err_msg=f"origin {origin}")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("taps", [(3, 4), (1, 1), (6, 2), (9, 9)])
def test_valid_and_full_are_numpys_words(operation: str, taps: tuple[int, int]) -> None:
    x, weights = samples("float64", (6, 8), 3), rng.normal(size=taps)
    for mode in ("valid", "full"):
        got = getattr(nsp, operation)(x, weights, mode=mode)
        np.testing.assert_allclose(got, getattr(oracle, operation)(x, weights, mode), atol=1e-13)
    line = samples("float64", (12,), 3)
    for mode in ("valid", "full"):
        got = getattr(nsp, operation)(line, weights[0], mode=mode)
        np.testing.assert_allclose(got, getattr(np, operation)(line, weights[0], mode), atol=1e-13)


def test_origin_has_no_meaning_where_the_size_changes() -> None:
    with pytest.raises(ValueError, match="origin"):
        nsp.convolve(np.zeros((4, 4)), np.ones((3, 3)), mode="valid", origin=1)


def test_mode_sequence_follows_the_axes() -> None:
    x, weights = samples("float64", (5, 6, 7), 1), rng.normal(size=(3, 4))
    got = nsp.correlate(x, weights, mode=("wrap", "nearest"), origin=(1, -1), axes=(2, 0))
    expected = oracle.correlate(x, weights, ("wrap", "nearest"), origin=(1, -1), axes=(2, 0))
    np.testing.assert_allclose(got, expected, atol=1e-13)


# --------------------------------------------------------------------------- axes and dimensions


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("axes", [a for n in (1, 2, 3) for a in itertools.permutations(range(3), n)])
def test_kernel_axes_are_the_filtered_axes_in_ascending_order(operation: str, axes: tuple[int, ...]) -> None:
    """As if the kernel had an axis of length one for each axis that is left alone; see test_axes.py, too."""
    x, taps = samples("float64", (5, 6, 7), 1), (3, 4, 5)[: len(axes)]
    weights, origin = rng.normal(size=taps), (0, -1, 1)[: len(axes)]
    got = getattr(nsp, operation)(x, weights, axes=axes, origin=origin)
    full = np.expand_dims(weights, [a for a in range(3) if a not in axes])
    origins = list(origin) if len(axes) == 3 else [0, 0, 0]
    if len(axes) < 3:
        for axis, shift in zip(axes, origin, strict=True):
            origins[axis] = shift
    peer = getattr(ndimage, operation)(x, full, origin=origins)
    np.testing.assert_allclose(got, peer, atol=1e-13)
    np.testing.assert_allclose(
        getattr(ndimage, operation)(x, weights, axes=axes, origin=origin), got, atol=1e-13
    )
    negative = tuple(a - 3 for a in axes)
    np.testing.assert_array_equal(getattr(nsp, operation)(x, weights, axes=negative, origin=origin), got)


def test_single_axis_may_be_an_integer() -> None:
    x = samples("float64", (4, 5), 1)
    np.testing.assert_array_equal(
        nsp.convolve(x, [1, 2, 4.0], axes=1), nsp.convolve(x, np.array([1, 2, 4.0]), axes=(1,))
    )


@pytest.mark.thinned
@pytest.mark.parametrize("ndim", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("method", ["direct", "separable", "fft", "auto"])
def test_dimensions(ndim: int, operation: str, method: str) -> None:
    shape, taps = (5, 4, 3, 4, 2, 3)[-ndim:], (3, 2, 3, 2, 1, 3)[-ndim:]
    call = Call(
        operation,
        samples("float64", shape, 9),
        strategies.kernel("separable", taps, 1),
        "reflect",
        0.0,
        0,
        None,
    )
    got = referee.run(call, method=method)
    referee.judge(call, got, referee.plan_of(call, method=method).error_bound)
    peer = getattr(ndimage, operation)(call.x, call.weights)
    np.testing.assert_allclose(got, peer, atol=1e-13 * max(oracle.norm(call.weights), 1))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 7), (7, 1), (3, 1, 4), (1, 1, 1, 1)])
def test_length_one_axes(mode: str, shape: tuple[int, ...]) -> None:
    call = Call(
        "correlate", samples("float64", shape, 2), rng.normal(size=(3,) * len(shape)), mode, 1.5, 0, None
    )
    referee.judge(call, referee.run(call), referee.plan_of(call).error_bound)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0), (3, 0, 5), (0, 0)])
@pytest.mark.parametrize("mode", [*MODES, "valid", "full"])
def test_empty_arrays(shape: tuple[int, ...], mode: str) -> None:
    x, weights = np.zeros(shape, np.float32), np.ones((3,) * len(shape))
    got = nsp.convolve(x, weights, mode=mode)
    expected = oracle.convolve(x, weights, mode)
    assert got.shape == expected.shape
    assert got.dtype == np.float32
    if mode not in ("valid", "full"):
        assert got.shape == ndimage.convolve(x, weights, mode=mode).shape
        out = np.zeros_like(x)
        assert nsp.convolve(x, weights, mode=mode, output=out) is out


def test_valid_output_of_a_kernel_larger_than_the_array_is_empty() -> None:
    assert nsp.convolve(np.zeros((4, 9)), np.ones((5, 3)), mode="valid").shape == (0, 7)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_zero_dimensional(operation: str) -> None:
    got = getattr(nsp, operation)(np.array(3.0), np.array(2.0))
    assert got.shape == ()
    assert got == getattr(ndimage, operation)(np.array(3.0), np.array(2.0))
    assert isinstance(got, np.ndarray)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_axes_scale_the_array(operation: str) -> None:
    x = samples("float64", (3, 4), 1)
    np.testing.assert_allclose(getattr(nsp, operation)(x, np.array(2.5), axes=()), 2.5 * x)


def test_lists_are_arrays() -> None:
    np.testing.assert_array_equal(
        nsp.correlate([2, 8, 0, 4, 1, 9, 9, 0], [1, 3]), [8, 26, 8, 12, 7, 28, 36, 9]
    )
    np.testing.assert_array_equal(
        nsp.convolve([2, 8, 0, 4, 1, 9, 9, 0], [1, 3]), [14, 24, 4, 13, 12, 36, 27, 0]
    )


# --------------------------------------------------------------------------- number types


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", strategies.DTYPES)
@pytest.mark.parametrize("kind", ["dense", "separable", "integer", "float32"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_number_types(dtype: str, kind: str, operation: str) -> None:
    x = samples(dtype, (7, 9), 6)
    call = Call(operation, x, strategies.kernel(kind, (3, 4), 5), "mirror", 0.0, 0, None)
    got = referee.run(call)
    assert got.dtype == x.dtype
    bound = referee.plan_of(call).error_bound
    if dtype == "bool":  # sums of weights of either sign: compare with what SciPy stores
        expected = getattr(ndimage, operation)(x, call.weights, mode="mirror")
        np.testing.assert_array_equal(got.view(np.uint8), expected.view(np.uint8))
        return
    referee.judge(call, got, bound)
    if dtype == "float16":
        return
    peer = getattr(ndimage, operation)(x, call.weights, mode="mirror")
    assert peer.dtype == got.dtype
    if kind == "integer":
        np.testing.assert_array_equal(got, peer) if x.dtype.kind in "iu" else None


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", strategies.DTYPES)
@pytest.mark.parametrize(
    "output", ["uint8", "int16", "int64", "uint64", "float16", "float32", "float64", "complex64"]
)
def test_any_pair_of_input_and_output_type(dtype: str, output: str) -> None:
    x = samples(dtype, (6, 7), 1)
    if output == "float16" and x.dtype.kind in "iu":
        x = x // 8  # sums below its largest number, 65504
    weights = np.array([[0.5, 1, -0.25], [2, 0.125, 0]])
    real = x.dtype.kind != "c"
    if real or output == "complex64":
        got = nsp.correlate(x, weights, output=output)
        assert got.dtype == np.dtype(output)
        call = Call("correlate", x, weights, "reflect", 0.0, 0, None)
        referee.judge(call, got, nsp.plan(weights, x.shape, x.dtype, operation="correlate").error_bound)
        if dtype != "float16" and output not in ("float16", "uint64") and (output != "complex64" or not real):
            peer = ndimage.correlate(x, weights, output=output)
            assert peer.dtype == got.dtype
            if np.dtype(output).kind in "iu" and x.dtype.kind in "bui":
                np.testing.assert_array_equal(got, peer)  # every product is a binary fraction: no rounding
        return
    with pytest.raises(RuntimeError, match="output must have complex dtype"):
        nsp.correlate(x, weights, output=output)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_wide_integers_keep_53_bits(dtype: str) -> None:
    """Where float32 would have rounded."""
    x = np.array([[2**31 - 1, 2**30 + 1, 5], [2**24 + 1, 2**29 + 3, 2**31 - 3]], dtype)
    weights = np.array([[1, 2], [0, -1]])
    for operation in OPERATIONS:
        call = Call(operation, x, weights, "wrap", 0.0, 0, None)
        exactly(call, referee.run(call))


def test_integer_sums_beyond_24_bits_are_exact() -> None:
    """uint16 with a large integer kernel: float32 sums would round, so they are not used."""
    x = np.full((40, 40), 65535, np.uint16)
    weights = np.full((9, 9), 255)
    got = nsp.convolve(x, weights, output=np.float64)
    np.testing.assert_array_equal(got, 65535.0 * 255 * 81)
    x[20, 20] -= 1
    got = nsp.convolve(x, weights, output=np.int64)
    assert got[20, 20] == 65535 * 255 * 81 - 255


@pytest.mark.thinned
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("method", ["auto", "direct", "fft"])
def test_complex_kernels(operation: str, dtype: str, method: str) -> None:
    """correlate conjugates the weights, convolve does not; the result is complex."""
    x = samples(dtype, (8, 9), 3)
    weights = (rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))).astype(np.complex64)
    call = Call(operation, x, weights, "wrap", 0.0, 0, None)
    got = referee.run(call, method=method)
    assert got.dtype == np.promote_types(dtype, np.complex64)
    assert got.dtype == getattr(ndimage, operation)(x, weights, mode="wrap").dtype
    referee.judge(call, got, referee.plan_of(call, method=method).error_bound)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_cval(operation: str, dtype: str) -> None:
    x, weights = samples(dtype, (5, 6), 3), rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
    for w in (weights, weights.real, np.outer(weights[0], weights[1])):
        got = getattr(nsp, operation)(x, w, mode="constant", cval=1 - 2j)
        expected = getattr(ndimage, operation)(x.astype(complex), w, mode="constant", cval=1 - 2j)
        scale = oracle.norm(w) * oracle.largest(x, 3)
        bound = nsp.plan(w, x.shape, dtype, operation=operation, mode="constant", cval=1 - 2j).error_bound
        oracle.assert_close(got, expected, bound * scale)


def test_complex_cval_needs_complex_data() -> None:
    with pytest.raises((ValueError, TypeError), match="cval"):
        nsp.correlate(np.zeros((3, 3)), np.ones((3, 3)), mode="constant", cval=1j)
    with pytest.raises((ValueError, TypeError), match="cval"):
        nsp.correlate(np.zeros((3, 3)), 1j * np.ones((3, 3)), mode="constant", cval=1j)


def test_complex_result_in_a_real_output() -> None:
    x, weights = np.zeros((4, 4), np.complex64), np.ones((3, 3))
    with pytest.warns(UserWarning, match="promoting specified output dtype to complex"):
        assert nsp.convolve(x, weights, output=np.float32).dtype == np.complex64
    for output in ("float32", np.zeros((4, 4))):
        with pytest.raises(RuntimeError, match="output must have complex dtype"):
            nsp.convolve(x, weights, output=output)


def test_saturating_cast() -> None:
    x = np.array([[0, 100, 200, 255]], np.uint8)
    weights = np.array([[3.0, 0, -1]])
    sums = oracle.correlate(x, weights)
    assert sums.min() < 0
    assert sums.max() > 255
    np.testing.assert_array_equal(
        nsp.correlate(x, weights, cast="saturate"), oracle.store(sums, np.uint8, "saturate")
    )
    np.testing.assert_array_equal(nsp.correlate(x, weights), ndimage.correlate(x, weights))
    half = nsp.correlate(np.array([1, 3, 5, 7], np.int16), [0.5], cast="saturate")
    np.testing.assert_array_equal(half, [0, 2, 2, 4])  # to even


@pytest.mark.slow
@given(strategies.calls(dtypes=("uint8", "int16"), max_dims=2))
def test_saturating_cast_of_any_call(call: Call) -> None:
    got = referee.run(call, cast="saturate")
    referee.judge(call, got, referee.plan_of(call).error_bound, "saturate")


# --------------------------------------------------------------------------- output


@pytest.mark.parametrize(
    "output", ["f4", "float64", np.float32, float, np.dtype("int16"), np.dtype(">f8"), int]
)
def test_output_may_be_a_type(output: Any) -> None:
    x, weights = samples("uint8", (5, 6), 1), np.array([[1, 2], [0, 1]])
    got = nsp.convolve(x, weights, output=output)
    expected = ndimage.convolve(x, weights, output=output)
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == expected.dtype


@pytest.mark.thinned
@pytest.mark.parametrize("layout", [name for name in strategies.LAYOUTS if name != "read-only"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("method", ["direct", "separable", "fft"])
def test_output_array_of_any_layout(layout: str, dtype: str, method: str) -> None:
    x, weights = samples(dtype, (13, 11, 3), 1), strategies.kernel("integer separable", (3, 4, 1), 3)
    out = strategies.LAYOUTS[layout](np.full(x.shape, 77, dtype))
    got = nsp.convolve(x, weights, output=out, method=method)
    assert got is out
    call = Call("convolve", x, weights, "reflect", 0.0, 0, None)
    referee.judge(call, np.asarray(got).astype(dtype), referee.plan_of(call, method=method).error_bound)


def test_output_view_leaves_its_surroundings_alone() -> None:
    x = samples("float32", (9, 10), 1)
    big = np.full((13, 16), 99, np.float32)
    nsp.convolve(x, np.ones((3, 3)), output=big[2:-2, 3:-3])
    inside = np.zeros(big.shape, bool)
    inside[2:-2, 3:-3] = True
    np.testing.assert_array_equal(big[~inside], 99)
    assert not (big[inside] == 99).any()


@pytest.mark.thinned
@pytest.mark.parametrize("method", ["auto", "direct", "separable", "fft"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(200, 170), (9, 40, 30)])
def test_in_place(method: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Large enough that tiles written early would be read again."""
    x, weights = samples(dtype, shape, 1), np.ones((5, 3, 2)[: len(shape)])
    expected = nsp.correlate(x.copy(), weights, method=method)
    assert nsp.correlate(x, weights, method=method, output=x) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("method", ["auto", "direct", "separable", "fft"])
@pytest.mark.parametrize("shift", [-3, -1, 1, 3])
def test_overlapping_output(method: str, shift: int) -> None:
    weights = strategies.kernel("separable", (3, 5), 2)
    memory = samples("float64", (220, 190), 5)
    expected = nsp.correlate(memory[3:-3].copy(), weights, method=method)
    out = memory[3 + shift : 217 + shift]
    nsp.correlate(memory[3:-3], weights, method=method, output=out)
    np.testing.assert_array_equal(out, expected)


def test_output_reversed_in_place() -> None:
    x = samples("float64", (150, 160), 1)
    expected = nsp.convolve(x.copy(), np.ones((3, 3)))
    nsp.convolve(x, np.ones((3, 3)), output=x[::-1, ::-1])
    np.testing.assert_array_equal(x[::-1, ::-1], expected)


def test_output_of_another_type_over_the_input() -> None:
    memory = samples("float32", (80, 90), 1)
    expected = nsp.convolve(memory.copy(), np.ones((3, 3)), output=np.int32)
    nsp.convolve(memory, np.ones((3, 3)), output=memory.view(np.int32))
    np.testing.assert_array_equal(memory.view(np.int32), expected)


@pytest.mark.parametrize("mode", ["valid", "full"])
def test_output_array_of_the_changed_size(mode: str) -> None:
    x, weights = samples("float32", (6, 7), 1), np.ones((3, 2))
    out = np.zeros(oracle.convolve(x, weights, mode).shape, np.float32)
    assert nsp.convolve(x, weights, mode=mode, output=out) is out
    np.testing.assert_allclose(out, oracle.convolve(x, weights, mode), rtol=1e-5, atol=1e-5)
    with pytest.raises((ValueError, RuntimeError), match="output"):
        nsp.convolve(x, weights, mode=mode, output=np.zeros_like(x))


@pytest.mark.parametrize("method", ["auto", "direct", "separable", "structured", "fft"])
def test_input_and_weights_are_left_alone(method: str) -> None:
    x, weights = samples("float64", (40, 50), 1), kernel_zoo.kernels()["disk aa r=5"].copy()
    before = x.copy(), weights.copy()
    nsp.convolve(x, weights, method=method)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(weights, before[1])


def test_weights_of_any_layout_and_type() -> None:
    x, weights = samples("float64", (9, 8), 1), rng.integers(-3, 4, (4, 3))
    expected = oracle.convolve(x, weights)
    for layout in strategies.LAYOUTS.values():
        np.testing.assert_allclose(nsp.convolve(x, layout(weights.astype(float))), expected, atol=1e-13)
    for dtype in ("int8", "int64", "float16", "float32", ">i4"):
        np.testing.assert_allclose(nsp.convolve(x, weights.astype(dtype)), expected, atol=1e-13)
    np.testing.assert_allclose(nsp.convolve(x, weights.tolist()), expected, atol=1e-13)
    boolean = rng.random((3, 3)) < 0.5
    np.testing.assert_allclose(nsp.convolve(x, boolean), oracle.convolve(x, boolean), atol=1e-13)


# --------------------------------------------------------------------------- NaN and infinity

ZERO_PATTERNS = {
    "sobel": np.outer([1.0, 2, 1], [-1.0, 0, 1]),
    "cross": np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]),
    "corner": np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 2]]),
    "padded box": np.pad(np.ones((2, 3)), [(1, 2), (0, 2)]),
    "disk": (np.add.outer(np.arange(-4, 5) ** 2, np.arange(-4, 5) ** 2) <= 16).astype(float),
    "zeros": np.zeros((3, 3)),
    "gaussian": np.outer([1.0, 4, 6, 4, 1], [1.0, 4, 6, 4, 1]) / 256,
    "two terms": strategies.kernel("two terms", (5, 5), 1),
    "rows": kernel_zoo.kernels()["LoG s=1.4"],
    "runs": kernel_zoo.kernels()["disk aa r=5"],
}


STRUCTURED = ("rows", "runs")
FULL_RANK = ("corner", "zeros")
FORCED = [
    (method, pattern)
    for method in ("auto", *strategies.METHODS)
    for pattern in ZERO_PATTERNS
    if method != "structured" or pattern in STRUCTURED
    if method != "separable" or pattern not in FULL_RANK
]


@pytest.mark.parametrize(("method", "pattern"), FORCED)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_footprint_of_a_non_finite_sample(pattern: str, value: float, dtype: str, method: str) -> None:
    """Only samples under non-zero weights count, whichever way the result is computed; just as in SciPy."""
    weights = ZERO_PATTERNS[pattern]
    x = samples(dtype, (60, 70), 2)
    for place in [(0, 0), (30, 33), (59, 1)]:
        x[place] = value
    call = Call("correlate", x, weights, "wrap", 0.0, 0, None)
    got = referee.run(call, method=method)
    expected = ndimage.correlate(x.astype(float), weights, mode="wrap")
    plan = referee.plan_of(call, method=method)
    if (plan.rank or 0) > 1 and method != "auto":  # terms of opposite signs: inf - inf is NaN
        got, expected = (np.where(np.isfinite(a), a, np.nan) for a in (got, expected))
    oracle.assert_close(got, expected, 2 * referee.slack(call, plan.error_bound))


@pytest.mark.thinned
@pytest.mark.parametrize("name", ["LoG s=3", "disk aa r=5", "gabor 30 g=1", "DoG 1.4/2.24"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_auto_keeps_infinities_and_nans_apart(name: str, value: float, dtype: str) -> None:
    """An infinite sample times a weight is infinite, though terms of opposite signs would make it NaN."""
    weights = kernel_zoo.kernels()[name]
    x = samples(dtype, (300, 310), 2)
    x[140, 150] = value
    got = nsp.convolve(x, weights)
    expected = ndimage.convolve(x.astype(float), weights)
    bound = nsp.plan(weights, x.shape, dtype).error_bound
    oracle.assert_close(got, expected, 2 * bound * oracle.norm(weights) * oracle.largest(x))


@given(strategies.calls(max_dims=3, kinds=("dense", "sparse", "integer", "separable")), st.data())
def test_footprint_of_any_call(call: Call, data: st.DataObject) -> None:
    x = call.x.copy()
    for _ in range(data.draw(st.integers(1, 3))):
        place = tuple(data.draw(st.integers(0, n - 1)) for n in x.shape)
        x[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    call = dataclasses.replace(call, x=x)
    referee.judge(call, referee.run(call), referee.plan_of(call).error_bound)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_large_dense_kernel_keeps_a_nan_where_it_is(value: float) -> None:
    """A kernel that is fastest by FFT: one bad sample spoils one window, not the image."""
    x = np.zeros((300, 320), np.float32)
    x[150, 160] = value
    weights = np.random.default_rng(0).normal(size=(41, 41))
    got = nsp.convolve(x, weights)
    assert (~np.isfinite(got)).sum() == 41 * 41
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(oracle_footprint(x, weights)))


def oracle_footprint(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return ndimage.convolve(x.astype(float), weights)


def test_nan_policy_raise() -> None:
    x = np.zeros((5, 5))
    nsp.convolve(x, np.ones((3, 3)), nan_policy="raise")
    x[2, 2] = np.nan
    out = np.full(x.shape, 7.0)
    with pytest.raises(ValueError, match="input"):
        nsp.convolve(x, np.ones((3, 3)), nan_policy="raise", output=out)
    np.testing.assert_array_equal(out, 7.0)


# --------------------------------------------------------------------------- tolerance, threads


@pytest.mark.parametrize("rtol", [0.0, 1e-12, 1e-6, 1e-3, 0.05])
def test_rtol_is_a_promise(rtol: float) -> None:
    """The error of a truncated kernel stays within rtol ||K||_1 max|x|, attained or not."""
    y, x = np.mgrid[-10:11, -10:11]
    weights = np.exp(-(y**2) / 18 - x**2 / 32 - y * x / 60)
    image = samples("float64", (90, 80), 1)
    got = nsp.convolve(image, weights, rtol=rtol)
    plan = nsp.plan(weights, image.shape, image.dtype, rtol=rtol)
    exact = nsp.plan(weights, image.shape, image.dtype, method="direct")
    assert plan.error_bound <= max(rtol, exact.error_bound)
    difference = np.abs(got - ndimage.convolve(image, weights)).max()
    assert difference <= 2 * max(rtol, exact.error_bound) * oracle.norm(weights) * oracle.largest(image)


@pytest.mark.parametrize("method", ["auto", "direct", "separable", "fft"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_results_do_not_depend_on_the_number_of_threads(method: str, dtype: str) -> None:
    x, weights = samples(dtype, (601, 513), 1), np.ones((7, 9))
    serial = nsp.convolve(x, weights, method=method, workers=1)
    np.testing.assert_array_equal(nsp.convolve(x, weights, method=method, workers=2), serial)
    np.testing.assert_array_equal(nsp.convolve(x, weights, method=method), serial)


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1e6, 1e280])
def test_scale_of_the_kernel_does_not_matter(scale: float) -> None:
    x, weights = samples("float64", (30, 31), 1), strategies.kernel("separable", (5, 7), 1)
    expected = nsp.convolve(x, weights)
    for method in ("auto", "direct", "separable"):
        np.testing.assert_allclose(
            nsp.convolve(x, scale * weights, method=method) / scale,
            expected,
            atol=1e-13 * oracle.norm(weights) * 10,
        )


@pytest.mark.parametrize("complex_input", [False, True])
def test_complex_kernels_with_gaps(complex_input: bool) -> None:
    """The share of the valid samples is that of the conjugated weights in a correlation."""
    rng = np.random.default_rng(5)
    x, weights, mask = (
        rng.random((9, 10)),
        rng.random((3, 3)) + 1j * rng.random((3, 3)),
        rng.random((9, 10)) < 0.2,
    )
    if complex_input:
        x = x + 1j * rng.random((9, 10))
    for function, applied in ((nsp.convolve, weights), (nsp.correlate, weights.conj())):
        sums, shares = function(np.where(mask, 0, x), weights), function(1.0 - mask, weights)
        np.testing.assert_allclose(function(x, weights, mask=mask), applied.sum() * sums / shares, rtol=1e-12)


def test_one_axis_has_no_origin_without_a_boundary_either() -> None:
    for mode in ("valid", "full"):
        for call in (
            lambda mode=mode: nsp.correlate1d(np.zeros(9), [1, 2, 1], mode=mode, origin=1),
            lambda mode=mode: nsp.separable_convolve(
                np.zeros((9, 9)), [[1, 2, 1]] * 2, mode=mode, origin=(0, 1)
            ),
        ):
            with pytest.raises(ValueError, match="origin must be 0"):
                call()
