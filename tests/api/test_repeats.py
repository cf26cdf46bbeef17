"""A repeated call skips checks and planning; it must still be the call that was made."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.ndimage

import numbasep as nsp
from numbasep.api.repeated_calls import remembered, shortcuts
from numbasep.cpu import plane_pass
from numbasep.cpu import run as cpu_run
from numbasep.cpu.threads import most
from numbasep.execution import execute
from tests.support import oracle
from tests.support.strategies import samples

X = samples("float32", (20, 24), 1)
TAPS = np.array([1.0, 2.0, 1.0])

CALLS: dict[str, Callable[..., Any]] = {
    "convolve": lambda x, **k: nsp.convolve(x, np.outer(TAPS, TAPS), **k),
    "correlate": lambda x, **k: nsp.correlate(x, np.arange(12.0).reshape(3, 4), **k),
    "convolve1d": lambda x, **k: nsp.convolve1d(x, TAPS, axis=0, **k),
    "correlate1d": lambda x, **k: nsp.correlate1d(x, TAPS, **k),
    "separable_convolve": lambda x, **k: nsp.separable_convolve(x, [TAPS, TAPS], **k),
    "separable_correlate": lambda x, **k: nsp.separable_correlate(x, {0: TAPS, 1: TAPS}, **k),
    "gaussian_filter": lambda x, **k: nsp.gaussian_filter(x, 1.5, **k),
    "gaussian_filter1d": lambda x, **k: nsp.gaussian_filter1d(x, 1.5, **k),
    "uniform_filter": lambda x, **k: nsp.uniform_filter(x, 3, **k),
    "uniform_filter1d": lambda x, **k: nsp.uniform_filter1d(x, 5, **k),
    "sobel": lambda x, **k: nsp.sobel(x, **k),
    "laplace": lambda x, **k: nsp.laplace(x, **k),
}


@pytest.fixture(autouse=True)
def _nothing_known() -> None:
    shortcuts.clear()


@pytest.mark.parametrize("name", CALLS)
def test_the_second_call_is_the_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = CALLS[name]
    first = call(X)
    with monkeypatch.context() as patch:
        patch.setattr(execute, "_run", None)  # the short way does not come by here
        again = call(X)
        out = np.full_like(X, 7)
        assert call(X, output=out) is out
    assert again is not first
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(out, first)


@pytest.mark.thinned
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "change",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
        lambda x: x.astype(">f4"),
        lambda x: np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
    ],
    ids=["Fortran", "strided", "reversed", "byte-swapped", "misaligned and read-only"],
)
def test_other_memory_after_a_plain_call(name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    expected = CALLS[name](X)
    x = change(X)
    for _ in range(2):
        np.testing.assert_allclose(CALLS[name](x), expected, rtol=1e-5, atol=1e-5)
    for order in "CF":
        out = np.zeros(X.shape, np.float32, order=order)
        CALLS[name](x, output=out)
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_outputs_are_still_checked(name: str) -> None:
    call = CALLS[name]
    expected = call(X)
    wide = np.zeros((20, 24))
    call(X, output=wide)
    call(X, output=wide)
    np.testing.assert_allclose(wide, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="output shape"):
        call(X, output=np.zeros((24, 20), np.float32))
    locked = np.zeros_like(X)
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        call(X, output=locked)
    same = X.copy()
    call(same, output=same)
    np.testing.assert_array_equal(same, expected)
    shifted = np.zeros(X.size + 24, np.float32)
    x, out = shifted[24:].reshape(X.shape), shifted[:-24].reshape(X.shape)
    x[...] = X
    call(x, output=out)
    np.testing.assert_array_equal(out, expected)


def test_weights_are_known_by_what_they_hold() -> None:
    kernel = np.outer(TAPS, TAPS)
    before = nsp.convolve(X, kernel)
    kernel[0, 0] = 9
    after = nsp.convolve(X, kernel)
    assert not np.array_equal(before, after)
    oracle.assert_close(after, oracle.convolve(X, kernel), 1e-4)
    taps = {0: TAPS.copy(), 1: TAPS.copy()}
    before = nsp.separable_correlate(X, taps)
    taps[1][0] = 9
    assert not np.array_equal(before, nsp.separable_correlate(X, taps))
    np.testing.assert_array_equal(
        nsp.separable_correlate(X, {1: taps[1], 0: taps[0]}), nsp.separable_correlate(X, taps)
    )


def test_taps_axis_by_axis_are_known_by_what_they_hold() -> None:
    down, along = TAPS.copy(), np.array([1.0, 0.0, -1.0])
    first = nsp.separable_correlate(X, [down, along])
    np.testing.assert_array_equal(nsp.separable_correlate(X, (down, along)), first)
    np.testing.assert_array_equal(
        nsp.separable_correlate(X, [along, down]), nsp.correlate(X, np.outer(along, down))
    )
    down[0] = 5.0
    np.testing.assert_array_equal(
        nsp.separable_correlate(X, [down, along]), nsp.correlate(X, np.outer(down, along))
    )
    with pytest.raises(ValueError, match="kernels"):
        nsp.separable_correlate(X, [down, along, along])


def test_types_shapes_and_keywords_are_part_of_a_call() -> None:
    for _ in range(2):
        assert nsp.sobel(X).dtype == np.float32
        assert nsp.sobel(X.astype(np.float64)).dtype == np.float64
        assert nsp.sobel(X[:7]).shape == (7, 24)
        assert nsp.convolve(X, np.ones((3, 3)), mode="valid").shape == (18, 22)
        assert nsp.convolve(X, 1j * np.ones((3, 3))).dtype == np.complex64
        assert nsp.gaussian_filter(X, 1, output=np.float64).dtype == np.float64
        assert np.isnan(nsp.uniform_filter(np.full_like(X, np.nan), 3)).all()
        with pytest.raises(ValueError, match="NaN"):
            nsp.uniform_filter(np.full_like(X, np.nan), 3, nan_policy="raise")
    with pytest.raises(ValueError, match="mode"):
        nsp.sobel(X, mode="nonsense")
    z = X + 1j * X[::-1]
    weights = np.array([[1, 2j], [3, 4]])
    for _ in range(2):
        oracle.assert_close(nsp.convolve(z, weights), oracle.convolve(z, weights), 1e-3)


def test_workspaces_that_are_kept_are_bounded() -> None:
    plan = nsp.plan(np.ones((41, 41)), (64, 64), np.float32, method="separable")
    for _ in range(3):
        plan(np.zeros((64, 64), np.float32))
    (launch,) = plan.kernel.launches.values()
    for step in (one.run for one in launch.steps):
        assert len(step.spare) * step.workspace <= plane_pass.SPARE_BYTES


def test_remembered_calls_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(shortcuts), "LIMIT", 8)
    for i in range(30):
        nsp.convolve1d(X, TAPS, mode="constant", cval=float(i))
        assert len(shortcuts._plans) <= 8


def test_equal_arguments_of_another_type_are_another_call() -> None:
    for _ in range(2):
        nsp.convolve1d(X, TAPS, stride=1)
        nsp.uniform_filter(X, (3, 3), stride=(2, 1))
        for wrong in (1.0, True):
            with pytest.raises(TypeError, match="stride"):
                nsp.convolve1d(X, TAPS, stride=wrong)
            with pytest.raises(TypeError, match="stride"):
                nsp.uniform_filter(X, (3, 3), stride=(2, wrong))


def test_the_output_may_stand_anywhere() -> None:
    out = np.empty_like(X)
    expected = nsp.gaussian_filter(X, 2, 0, None, "wrap")
    for _ in range(2):
        for call in (
            lambda: nsp.gaussian_filter(X, 2, 0, out, "wrap"),
            lambda: nsp.gaussian_filter(X, 2, output=out, mode="wrap"),
            lambda: nsp.gaussian_filter(X, 2, mode="wrap", output=out),
            lambda: nsp.gaussian_filter(output=out, input=X, mode="wrap", sigma=2),
        ):
            out[...] = 0
            assert call() is out
            np.testing.assert_array_equal(out, expected)
    assert not np.array_equal(nsp.gaussian_filter(X, 2, 0, None), expected)
    with pytest.raises(TypeError, match="multiple values"):
        nsp.gaussian_filter(X, 2, 0, None, output=out)


def test_a_repeated_gradient_runs_what_the_first_ran() -> None:
    for output in (None, np.zeros(X.shape), np.zeros(X.shape, np.int16)):
        first = np.copy(nsp.gaussian_gradient_magnitude(X * 100, 1.5, output=output))
        for _ in range(2):
            np.testing.assert_array_equal(nsp.gaussian_gradient_magnitude(X * 100, 1.5, output=output), first)


def test_a_call_within_a_call_is_not_taken_for_it() -> None:
    """A handler of signals may filter while a filter is being planned."""
    inner = []

    def interrupted() -> None:
        inner.append(nsp.sobel(X))
        inner.append(nsp.sobel(X.tolist()))

    def planned(input: Any, output: Any = None) -> Any:
        interrupted()
        shortcuts.keep(lambda *_: "repeated")
        return "planned"

    outer = remembered(planned)
    assert [outer(X) for _ in range(2)] == ["planned"] * 2
    assert not np.array_equal(inner[0], X)


def test_calls_that_leave_samples_out_are_remembered_too() -> None:
    """With what the arrays hold now: neither the mask nor the samples are part of a call."""
    x = X.copy()
    for step in range(3):
        mask = np.zeros(X.shape, bool)
        mask[3, 4 + step] = x[8, 9 + step] = True
        x[8, 9 + step] = np.nan
        for name, call in CALLS.items():
            if name not in ("sobel", "laplace", "correlate1d"):
                got = call(x, mask=mask, nan_policy="omit")
                shortcuts.clear()
                np.testing.assert_array_equal(call(x, mask=mask, nan_policy="omit"), got)
                assert np.isfinite(got).all()
        with pytest.raises(ValueError, match="shape of the input"):
            nsp.uniform_filter(x, 3, mask=mask[1:], nan_policy="omit")
        with pytest.raises(ValueError, match="NaN"):
            nsp.uniform_filter(x, 3, nan_policy="raise")
        np.testing.assert_array_equal(nsp.uniform_filter(X, 3, nan_policy="raise"), nsp.uniform_filter(X, 3))


def test_filters_that_copy_or_thin_are_remembered_too() -> None:
    for k in range(3):
        np.testing.assert_array_equal(nsp.gaussian_filter(X + k, 0), X + k)
        thinned = nsp.gaussian_filter(X + k, (0, 2), stride=(3, 2))
        np.testing.assert_array_equal(thinned, nsp.gaussian_filter1d((X + k)[::3], 2, stride=2))


def test_lists_and_mappings_are_known_by_what_they_hold() -> None:
    weights = [[1.0, 2.0], [3.0, 4.0]]
    taps = {0: [1.0, 2.0], 1: TAPS}
    before = nsp.correlate(X, weights), nsp.separable_correlate(X, taps), nsp.gaussian_filter(X, [1.0, 2.0])
    weights[1][0] = taps[0][1] = 5.0
    after = nsp.correlate(X, weights), nsp.separable_correlate(X, taps), nsp.gaussian_filter(X, [2.0, 1.0])
    for old, new in zip(before, after, strict=True):
        assert not np.array_equal(old, new)
    np.testing.assert_array_equal(after[0], nsp.correlate(X, np.array(weights)))
    np.testing.assert_array_equal(after[2], nsp.gaussian_filter(X, (2.0, 1.0), output="f4"))
    wide = X.astype(np.float64)
    for _ in range(2):
        np.testing.assert_array_equal(nsp.gaussian_filter(wide.tolist(), 2), nsp.gaussian_filter(wide, 2))


def test_a_promoted_output_is_told_every_time() -> None:
    z = X + 1j * X
    for _ in range(3):
        with pytest.warns(UserWarning, match="promoting specified output dtype") as caught:
            assert nsp.gaussian_filter(z, 1, output=np.float32).dtype == np.complex64
        assert caught[0].filename == __file__
        assert nsp.gaussian_filter(X, 1, output=np.float64).dtype == np.float64


@pytest.mark.parametrize("side", [16, 200])
def test_an_output_in_the_other_byte_order_does_not_change_later_calls(side):
    x, weights = np.random.default_rng(0).random((side, side), np.float32), np.arange(9.0).reshape(3, 3)
    expected = nsp.convolve(x, weights, method="direct")
    plan = nsp.plan(weights, x.shape, x.dtype)
    for run in (lambda out: nsp.convolve(x, weights, out), lambda out: plan(x, out)):
        for dtype in (">f4", "<f4", ">f4", "<f4"):
            out = np.zeros(x.shape, dtype)
            run(out)
            np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_small_arrays_of_any_layout_have_the_values_of_contiguous_ones():
    big, weights = np.random.default_rng(0).random((40, 40)), np.arange(9.0).reshape(3, 3)
    plan = nsp.plan(weights, (20, 20), big.dtype)
    fixed = big[:20, :20].copy()
    fixed.flags.writeable = False
    for x in (big[::2, 10:30], big[5:25, ::-2], big[:20, :20], np.broadcast_to(big[0, :20], (20, 20)), fixed):
        np.testing.assert_array_equal(plan(x), plan(np.array(x, order="C")))
    inside = big[3:23, 4:24]
    expected = plan(inside.copy())
    np.testing.assert_array_equal(plan(inside, inside), expected)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(400, 300), (40, 30, 50), (20, 9, 30, 40)])
def test_large_arrays_filtered_again(shape, order, monkeypatch):
    random, done = np.random.default_rng(0), []
    launches = cpu_run._repeated

    def counted(*args: Any) -> Callable[..., bool]:
        again = launches(*args)
        return lambda x, y: done.append(again(x, y)) or done[-1]

    monkeypatch.setattr(cpu_run, "_repeated", counted)
    for threads in (None, None, 1, 1, None):
        x = np.asarray(random.random(shape, np.float32), order=order)
        with nsp.num_threads(threads) if threads else contextlib.nullcontext():
            found = nsp.gaussian_filter(x, 1.7)
            outputs = [
                np.empty_like(x),
                np.empty(x.shape, ">f4", order),
                np.empty(x.shape, "f4", "F"),
                x.copy(),
            ]
            for out in outputs:
                nsp.gaussian_filter(x if out is not outputs[-1] else out, 1.7, output=out)
        for out in (found, *outputs):
            np.testing.assert_allclose(out, scipy.ndimage.gaussian_filter(x, 1.7), rtol=1e-5)
        np.testing.assert_array_equal(outputs[0], found)
    assert True in done
    assert most() == 1 or False in done
