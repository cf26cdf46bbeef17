"""Inner loops with their taps written out: the same results as by the loops over any number of taps, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

import numbasep
from numbasep.api import build
from numbasep.api.repeated_calls import shortcuts
from numbasep.cpu import prepare
from numbasep.cpu.intrinsics.vectors import TARGET
from numbasep.cpu.kernels import dense
from numbasep.lowering import kernels
from tests.support import oracle

MODES = ("reflect", "mirror", "nearest", "wrap", "constant", "valid", "full")
TYPES = ("float32", "float64", "uint8", "int16", "uint16", "float16")


def image(shape, dtype, seed=1):
    return (np.random.default_rng(seed).random(shape) * 200).astype(dtype)


def kernel(taps, seed=0):
    return np.outer(*np.random.default_rng(seed).uniform(0.1, 1, (2, taps))) / taps**2


def assert_right(result, x, weights, cast="truncate", **options):
    """Within the rounding of sums in the compute type."""
    eps = np.finfo(np.float64 if x.dtype == np.float64 else np.float32).eps
    slack = 4 * max(weights.shape) * eps * oracle.largest(x) * oracle.norm(weights)
    oracle.assert_close(result, oracle.correlate(x.astype(np.float64), weights, **options), slack, cast)


@pytest.fixture
def sweeps(monkeypatch):
    """Kernels of few taps are written out for the smallest array, or not at all; returns what passes asked for."""
    asked = []

    whole = dense.kernel_addresses

    def noted(*arguments, **options):
        asked.append(options["taps"])
        return whole(*arguments, **options)

    monkeypatch.setattr(prepare.dense, "kernel_addresses", noted)

    def start(*, written_out):
        if written_out is not None:
            monkeypatch.setattr(kernels, "WRITTEN_OUT", 1 if written_out else 1 << 62)
        asked.clear()
        build.plans.clear()
        shortcuts.clear()
        return asked

    yield start
    build.plans.clear()
    shortcuts.clear()


def both(sweeps, call, taps=2):
    """What a call gives with loops written out, and without: the same bits, those of zeros included.

    Loops over more than `most_written_out` taps are never written out.
    """
    asked = sweeps(written_out=True)
    one = call()
    assert any(asked) == (taps <= TARGET.most_written_out)
    asked = sweeps(written_out=False)
    other = call()
    assert not any(asked)
    assert one.tobytes() == other.tobytes()
    return one


@pytest.mark.parametrize("columns", [512, 528, 700])
@pytest.mark.parametrize("shift", [0, 1, 5, 15])
@pytest.mark.parametrize("method", ["separable", "direct"])
def test_long_rows_of_any_alignment(method, shift, columns):
    """Rows of many vectors are brought to alignment, also where they are not written past the caches."""
    x, weights, rows = image((19, columns), np.float32), kernel(5), 19
    target = np.full(rows * columns + 32, -1, np.float32)
    output = target[shift : shift + rows * columns].reshape(rows, columns)
    numbasep.correlate(x, weights, output=output, method=method, mode="wrap")
    assert_right(output, x, weights, mode="wrap")
    assert (target[:shift] == -1).all()
    assert (target[shift + rows * columns :] == -1).all()
    numbasep.correlate1d(x, weights[0], axis=0, output=output)
    assert_right(output, x, weights[:1].T)


def test_small_arrays_compile_no_kernels_of_their_own(sweeps):
    asked = sweeps(written_out=None)
    x = image((64, 64), np.float32)
    assert x.size < kernels.WRITTEN_OUT
    weights = weights_of((3, 3), "any")
    assert_right(numbasep.correlate(x, weights, method="direct"), x, weights)
    assert asked == [0]


def weights_of(taps, kind, seed=2):
    """Taps without structure, or even or odd along the columns."""
    weights = np.random.default_rng(seed).standard_normal(taps)
    return weights + {"any": 0, "even": 1, "odd": -1}[kind] * weights[:, ::-1]


@pytest.mark.jitoff
@pytest.mark.parametrize("taps", [(3, 3), (2, 9)])
def test_small_dense_images_word_by_word(sweeps, taps):
    x, weights = image((19, 61), np.float32), weights_of(taps, "any")
    one = both(sweeps, lambda: numbasep.correlate(x, weights, method="direct"))
    assert_right(one, x, weights)


@pytest.mark.parametrize("kind", ["even", "odd"])
@pytest.mark.parametrize("taps", [3, 7, 8, 15])
def test_few_taps_are_not_folded(sweeps, taps, kind):
    """Written out they are faster than folded; where there are more it is the other way round."""
    x, weights = image((45, 150), np.float32), weights_of((taps, 7), kind)
    weights[:, 3] += 1 if kind == "even" else 0
    asked = sweeps(written_out=True)
    assert_right(numbasep.correlate(x, weights, method="direct"), x, weights)
    whole = kind == "even"  # the column in the middle of an odd kernel is zero
    assert asked == [taps if whole and taps <= TARGET.few_taps else 0]


@pytest.mark.parametrize("taps", range(2, TARGET.most_written_out + 1))
def test_every_number_of_rows(sweeps, taps):
    x, weights = image((45, 150), np.float32), weights_of((taps, 7), "any")
    one = both(sweeps, lambda: numbasep.correlate(x, weights, method="direct"))
    assert_right(one, x, weights)


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(9, 16), (17, 47), (33, 64), (40, 129)])
@pytest.mark.parametrize("taps", [(3, 3), (7, 5), (9, 9)])
def test_every_boundary_of_dense_kernels(sweeps, taps, shape, mode):
    x, weights = image(shape, np.float32), weights_of(taps, "any")
    one = both(sweeps, lambda: numbasep.correlate(x, weights, mode=mode, cval=2.5, method="direct"), taps[0])
    assert_right(one, x, weights, mode=mode, cval=2.5)


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_types_and_colours_of_dense_kernels(sweeps, dtype, channels):
    x, weights = image((30, 70, channels), dtype), weights_of((5, 5), "any") / 10
    one = both(sweeps, lambda: numbasep.correlate(x, weights, axes=(0, 1), method="direct"))
    for channel in range(channels):
        assert_right(one[..., channel], x[..., channel], weights)


def test_complex(sweeps):
    x = image((24, 70), np.float32) + 1j * image((24, 70), np.float32, 2)
    weights = weights_of((3, 5), "any")
    one = both(sweeps, lambda: numbasep.correlate(x, weights, method="direct"))
    assert_right(np.ascontiguousarray(one.real), x.real, weights)
    assert_right(np.ascontiguousarray(one.imag), x.imag, weights)


@pytest.mark.parametrize("origin", [(-1, 1), (1, -2), (0, 2)])
def test_shifted_windows(sweeps, origin):
    x, weights = image((24, 90), np.float32), weights_of((5, 5), "any")
    one = both(sweeps, lambda: numbasep.correlate(x, weights, origin=origin, method="direct"))
    assert_right(one, x, weights, origin=origin)


@pytest.mark.parametrize("cast", ["truncate", "saturate"])
def test_casts_and_divisors(sweeps, cast):
    x, weights = image((24, 90), np.uint8), np.array([[1, 2, 1], [3, 5, 1], [1, 1, 2]]) / 12
    one = both(sweeps, lambda: numbasep.correlate(x, weights, cast=cast, method="direct"))
    assert_right(one, x, weights, cast)


def test_zeros_have_the_same_sign(sweeps):
    x = np.zeros((24, 90), np.float32)
    one = both(sweeps, lambda: numbasep.correlate(x, -kernel(3) - np.eye(3), method="direct"))
    assert not np.signbit(one).any()


@pytest.mark.thinned
@pytest.mark.parametrize("columns", [2048, 2049, 2071])
@pytest.mark.parametrize("shift", [0, 1, 7])
def test_outputs_past_the_caches(sweeps, shift, columns):
    x, weights, rows = image((1100, columns), np.float32), weights_of((3, 3), "any"), 1100
    target = np.zeros(rows * columns + 16, np.float32)
    results = []
    for written_out in (True, False):
        sweeps(written_out=written_out)
        target[:] = -1
        output = target[shift : shift + rows * columns].reshape(rows, columns)
        numbasep.correlate(x, weights, output=output, method="direct")
        assert (target[:shift] == -1).all()
        assert (target[shift + rows * columns :] == -1).all()
        results.append(output.copy())
    np.testing.assert_array_equal(*results)


def test_sparse_columns_are_left_to_the_loops(sweeps):
    x, weights = image((30, 70), np.float32), weights_of((5, 5), "any")
    weights[2, 2] = 0
    asked = sweeps(written_out=True)
    result = numbasep.correlate(x, weights, method="direct")
    assert not any(asked)
    assert_right(result, x, weights)


@pytest.mark.skipif(not TARGET.few_taps, reason="all blocks of this processor have few rows")
def test_few_taps_need_few_rows(sweeps):
    """Columns of few taps are filtered in blocks of their own height, whether or not their rows share cache sets."""
    assert TARGET.few_taps <= TARGET.most_written_out
    for taps in (3, 9):
        x, weights = image((70, 1024), np.float32), weights_of((taps, taps), "any")
        one = both(sweeps, lambda x=x, w=weights: numbasep.correlate(x, w, method="direct"))
        assert_right(one, x, weights)
