"""No read and no write outside the arrays: guard pages next to the input and the output; and the same bits always."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from processes import assert_succeeds

import numbasep as nsp
from numbasep import nn

# An array that ends, or begins, where a page starts that may not be touched: one element too far is a crash.
GUARDED = """
import ctypes, itertools, mmap
import numpy as np, numbasep as nsp
from numbasep import nn

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PAGE, kept = mmap.PAGESIZE, []

def guarded(values, end):
    pages = -(-max(values.nbytes, 1) // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    kept.append(memory)
    flat = np.frombuffer(memory, np.uint8)
    base = flat.ctypes.data
    for guard in (base, base + (pages + 1) * PAGE):
        assert libc.mprotect(guard, PAGE, 0) == 0
    start = PAGE + (pages * PAGE - values.nbytes if end else 0)
    view = flat[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    view[...] = values
    return view

rng = np.random.default_rng(0)
checked = 0
def check(call, x, out):
    global checked
    expected = call(x, np.zeros_like(out))
    for end_in, end_out in itertools.product((True, False), repeat=2):
        got = call(guarded(x, end_in), guarded(out, end_out))
        np.testing.assert_array_equal(got, expected)
        checked += 1
    kept.clear()

shapes = [(1, 1), (2, 3), (17, 31), (16, 64), (33, 65), (5, 129), (3, 7, 5), (18, 33, 3), (1, 300)]
kinds = [((3, 4), "direct", "reflect"), ((5, 1), "separable", "wrap"), ((9, 9), "separable", "constant"),
         ((1, 19), "separable", "mirror")]
sizes = [(1, 1, 1), (7, 9, 3), (5, 6, 17), (13, 15, 33)]
for dtype, shape in itertools.product(("f4", "f8", "u1", "i2", "c8"), shapes):
    x = (rng.random(shape) * 100).astype(dtype)
    for taps, method, mode in kinds:
        kernel = np.outer(rng.random(taps[0]), rng.random(taps[1]))
        kernel = kernel if method == "separable" else rng.random(taps)
        kernel = kernel.reshape(kernel.shape + (1,) * (len(shape) - 2))
        out = np.zeros(shape, dtype)
        check(lambda a, b: nsp.convolve(a, kernel, b, mode, method=method), x, out)
    check(lambda a, b: nsp.gaussian_filter(a, 1.3, output=b), x, np.zeros(shape, dtype))
    if dtype in ("f4", "f8"):
        check(lambda a, b: nsp.gaussian_gradient_magnitude(a, 1.0, b), x, np.zeros(shape, dtype))
for dtype, (h, w, c), m, layout in itertools.product(("f4", "f8"), sizes, (1, 2), ("NHWC", "NCHW")):
    x = rng.random((1, h, w, c) if layout == "NHWC" else (1, c, h, w)).astype(dtype)
    depth, point = rng.random((3, 2, c, m)).astype(dtype), rng.random((1, 1, c * m, 19)).astype(dtype)
    for end in (True, False):
        for call in (lambda a, d, p: nn.separable_conv2d(a, d, p, (1, 1, 1, 1), "SAME", data_format=layout),
                     lambda a, d, p: nn.depthwise_conv2d(a, d, (1, 1, 1, 1), "SAME", data_format=layout),
                     lambda a, d, p: nn.conv2d(a, d, (1, 1, 1, 1), "SAME", layout)):
            np.testing.assert_array_equal(call(*(guarded(v, end) for v in (x, depth, point))), call(x, depth, point))
            checked += 1
        kept.clear()
print(checked)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")
def test_guard_pages_round_input_and_output() -> None:
    assert int(assert_succeeds(GUARDED)) > 1000


@pytest.mark.parametrize("dtype", ["float32", "uint8", "complex64"])
def test_canaries_between_the_elements_of_a_strided_output(dtype: str) -> None:
    """What lies between the elements, and beyond the ends of the rows, keeps its value."""
    rng = np.random.default_rng(0)
    x = (rng.random((37, 53)) * 100).astype(dtype)
    for kernel in (np.ones((5, 5)), rng.random((3, 4))):
        memory = np.full((37 * 2 + 7, 53 * 3 + 5), 77, dtype)
        view = memory[3:77:2, 2:161:3]
        mask = np.ones(memory.shape, bool)
        mask[3:77:2, 2:161:3] = False
        nsp.convolve(x, kernel, view)
        np.testing.assert_array_equal(view, nsp.convolve(x, kernel))
        assert (memory[mask] == 77).all()


# --------------------------------------------------------------------------- the same bits

ROUTES = ["direct", "separable", "structured", "fft"]
DISK = (np.hypot(*np.mgrid[-8:9, -8:9]) <= 8.5).astype(float)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "uint16"])
@pytest.mark.parametrize("method", ROUTES)
def test_same_bits_for_any_number_of_threads_and_tiles(
    method: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numbasep import workspace
    from numbasep.backends import cpu, planes

    rng = np.random.default_rng(0)
    cases = [((211, 305), np.outer(np.hanning(9), np.hanning(7))), ((211, 305), DISK),
             ((23, 40, 45), np.multiply.outer(np.hanning(5), np.outer(np.hanning(5), np.hanning(7))))]  # fmt: skip
    for shape, kernel in cases:
        x = (rng.random(shape) * 100).astype(dtype)
        expected, wide = None, np.result_type(dtype, "f4")
        for cache, batch, slab in (
            (workspace.CACHE_BYTES, 1 << 31, workspace.SLAB_BYTES),
            (1 << 14, 1, 1 << 12),
        ):
            monkeypatch.setattr(planes, "CACHE_BYTES", cache)
            monkeypatch.setattr(planes, "BATCH_WORK", batch)
            monkeypatch.setattr(planes, "PARALLEL_WORK", 1)
            monkeypatch.setattr(cpu, "SLAB_BYTES", slab)
            for workers in (1, 2, 3):
                try:
                    plan = nsp.plan(
                        kernel,
                        shape,
                        dtype,
                        method=method,
                        workers=workers,
                        output=wide,
                    )
                except ValueError:
                    continue
                plan.kernel.launches.clear()
                got = plan(x)
                plan.kernel.launches.clear()
                expected = got if expected is None else expected
                np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("operation", ["separable_conv2d", "depthwise_conv2d", "conv2d"])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_same_bits_over_channels(operation: str, layout: str) -> None:
    rng = np.random.default_rng(0)
    for height, width, channels in ((40, 37, 19), (9, 9, 64)):
        x = rng.random((2, height, width, channels), dtype=np.float32)
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if layout == "NCHW" else x
        filters = [rng.random((3, 3, channels, 2), dtype=np.float32)]
        if operation == "separable_conv2d":
            filters.append(rng.random((1, 1, 2 * channels, 33), dtype=np.float32))
        results = [
            getattr(nn, operation)(x, *filters, (1, 1, 1, 1), "SAME", data_format=layout, workers=n)
            for n in (1, 2, 3)
        ]
        for result in results[1:]:
            np.testing.assert_array_equal(result, results[0])
