"""A program that runs every family of CPU kernels on arrays next to pages without access.

A read or write one element beyond an array ends the process.  The workspaces of the kernels are guarded, too.
`test_bounds.py` runs it; it prints how many calls were checked, and which kernels they ran.  ``--all`` tries more
sizes.
"""

# ruff: noqa: B023, T201 - every function made in a loop is called in the same round

import ctypes
import dataclasses
import itertools
import mmap
import sys
from dataclasses import replace
from typing import Any

import numpy as np

import numbasep as nsp
from numbasep import nn
from numbasep.api import build
from numbasep.api.repeated_calls import shortcuts
from numbasep.cpu import flat, pass_request, recursive, staging, threads, tiles
from numbasep.cpu import prepare as preparing
from numbasep.cpu import short_rows as short_rows_of
from numbasep.cpu.intrinsics import flat_sums
from numbasep.cpu.kernels import dense, plane_driver
from numbasep.cpu.kernels import separable as kernels
from numbasep.cpu.kernels import table_entries as g
from numbasep.execution import execute
from numbasep.lowering import access, chains
from numbasep.lowering import kernels as lowered
from numbasep.nn.kernels import channels_first, channels_last

EVERYTHING = "--all" in sys.argv  # else fewer sizes
PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
rng = np.random.default_rng(0)
seen: set[str] = set()
checked = 0


def guarded_bytes(nbytes: int, *, end: bool) -> np.ndarray:
    """Return bytes between two pages without access, adjacent to the second (`end`) or to the first."""
    nbytes = int(nbytes)
    pages = max(1, -(-nbytes // PAGE))
    flat = np.frombuffer(mmap.mmap(-1, (pages + 2) * PAGE), np.uint8)  # keeps the mapping alive
    for guard in (0, (pages + 1) * PAGE):
        assert libc.mprotect(flat.ctypes.data + guard, PAGE, 0) == 0
    start = PAGE + (pages * PAGE - nbytes if end else 0)
    return flat[start : start + nbytes]


def guarded(values: np.ndarray, *, end: bool) -> np.ndarray:
    view = guarded_bytes(values.nbytes, end=end).view(values.dtype).reshape(values.shape)
    view[...] = values
    return view


def spy() -> None:
    """Record which kernels run."""
    prepare = preparing.prepare_pass

    def note(module: Any, names: dict[str, Any]) -> None:
        own = module.kernel_addresses

        def noted(compute: Any, storage_in: Any, storage_out: Any, **flags: Any) -> Any:
            seen.update(f"{name}={told(flags)}" for name, told in names.items())
            seen.update(
                (f"in {storage_in.dtype.char}", f"out {storage_out.dtype.char}", f"sums {compute.char}")
            )
            return own(compute, storage_in, storage_out, **flags)

        module.kernel_addresses = noted

    note(kernels, {
        "packed": lambda f: f["packed"], "single rows": lambda f: f["single_rows"], "view": lambda f: f["view"],
        "share": lambda f: f["share"], "blocks": lambda f: f["dense"], "ends": lambda f: f["ends"],
        "share of views": lambda f: f["share"] and f["view"],
    })  # fmt: skip
    note(plane_driver, {"boxes view": lambda f: f["view"], "boxes share": lambda f: f["share"]})
    note(dense, {"dense stored": lambda f: f["stored"], "columns": lambda f: bool(f["taps"])})

    def streamed(*arguments: Any, **keywords: Any) -> Any:
        made = prepare(*arguments, **keywords)
        seen.add(f"stream={bool(made.geometry[g.STREAM])}")
        if made.geometry[g.STRIPE_ROWS]:
            seen.add(f"dense direct={bool(made.geometry[g.DIRECT])}")
        return made

    preparing.prepare_pass = streamed
    from numbasep.cpu import bind

    bind.prepare_pass = streamed
    for module, name in ((channels_last, "last"), (channels_first, "first")):

        def layer(compute: Any, producer: str, own: Any = module.kernel_addresses, name: str = name) -> Any:
            seen.add(f"{producer} {name} {compute.char}")
            return own(compute, producer)

        module.kernel_addresses = layer
    own_rows = short_rows_of.kernels.kernel_addresses

    def rows(compute: Any, storage_in: Any, storage_out: Any) -> Any:
        seen.add(f"short rows {compute.char} {storage_in.dtype.char}")
        return own_rows(compute, storage_in, storage_out)

    short_rows_of.kernels.kernel_addresses = rows
    own = recursive.kernels.kernel_addresses

    def recursions(dtype: Any) -> Any:
        seen.add(f"recursive {np.dtype(dtype).char}")
        return own(dtype)

    recursive.kernels.kernel_addresses = recursions
    sums_of_rows = flat.kernels.kernel_addresses

    def flats(dtype: Any, *storages: Any) -> Any:
        seen.add(f"flat {dtype.char}")
        seen.add(f"flat stored={not storages[-1]}")
        return sums_of_rows(dtype, *storages)

    flat.kernels.kernel_addresses = flats
    for name in ("gatherer", "scatterer"):
        mover = getattr(staging.strided_columns, name)

        def moved(*kinds: Any, own: Any = mover, name: str = name) -> Any:
            seen.add(f"{name} {''.join(kind.dtype.char for kind in kinds)}")
            return own(*kinds)

        setattr(staging.strided_columns, name, moved)
    pass_request.STREAM_BYTES = flat.STREAM_BYTES = 4096
    threads.aligned = lambda nbytes: guarded_bytes(-(-nbytes // 64) * 64, end=True)[:nbytes]
    threads._pool._take = lambda nbytes: guarded_bytes(-(-nbytes // 64) * 64, end=True)[:nbytes]


def check(call: Any, x: np.ndarray, out: np.ndarray) -> None:
    """Check that a call gives the same bits on guarded arrays."""
    global checked
    expected = call(x, np.zeros_like(out))
    for end in (True, False):
        got = call(guarded(x, end=end), guarded(out, end=end))
        np.testing.assert_array_equal(got, expected)
        checked += 1


def samples(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    x = rng.random(shape) * 100
    return (x + 1j * rng.random(shape) if dtype.startswith("c") else x).astype(dtype)


WIDTHS = range(1, 71) if EVERYTHING else (*range(1, 20), 31, 32, 33, 47, 48, 49, 63, 64, 65, 70)


def planes_of_any_width() -> None:
    """Run separable, dense and normalised filters on rows of 1 to 70 elements."""
    small, long = np.outer([1, 2, 1], [1, 3, 3, 1]), np.outer(rng.random(9), rng.random(25))
    for width, dtype in itertools.product(WIDTHS, ("f4", "f8", "u1")):
        x = samples((5, width), dtype)
        out, mode = np.zeros_like(x), MODES[width % 5]
        check(lambda a, b, m=mode: nsp.convolve(a, small, b, m, 1.0, method="separable"), x, out)
        check(lambda a, b, m=mode: nsp.convolve(a, long, b, m, 1.0, method="separable"), x, out)
        check(lambda a, b, m=mode: nsp.correlate(a, DENSE, b, m, method="direct"), x, out)
        check(lambda a, b, m=mode: nsp.uniform_filter(a, (7, 19), b, m), x, out)
        if dtype != "u1":
            gaps = np.where(x < 20, np.nan, x).astype(dtype)
            for kernel in (small, long):
                check(lambda a, b, k=kernel: nsp.convolve(a, k, b, nan_policy="omit"), gaps, out)


MODES = ("reflect", "wrap", "mirror", "nearest", "constant")
DENSE = np.array([[1.0, -2, 3, 0.5], [0.3, 1, -1, 2], [2, 1, 0.1, -0.7]])


def dense_blocks() -> None:
    """Run dense kernels that read the array directly; windows reach all its edges."""
    long = rng.random((3, 19))
    heights, widths = (14, 17, 44), (8, 16, 17, 32, 50, 67)
    for height, width, dtype in itertools.product(heights, widths, ("f4", "f8")):
        x = samples((height, width), dtype)
        mode = MODES[(width + height) % 5]
        for kernel in (DENSE, DENSE.T, long):
            out = np.zeros_like(x)
            check(lambda a, b, k=kernel: nsp.correlate(a, k, b, mode, 1.0, method="direct"), x, out)
            if width >= 19:
                valid = np.zeros([n - k + 1 for n, k in zip(x.shape, kernel.shape, strict=True)], dtype)
                check(lambda a, b, k=kernel: nsp.correlate(a, k, b, "valid", method="direct"), x, valid)
        apart = np.zeros((height, 2 * width), dtype)
        check(lambda a, b: (nsp.correlate(a, DENSE, b[:, ::2], method="direct"), b)[1], x, apart)
    for shape in ((9, 17, 40), (3, 20, 16)):
        kernel = rng.random((3, 3, 4))
        x = samples(shape, "f4")
        check(lambda a, b: nsp.correlate(a, kernel, b, method="direct"), x, np.zeros_like(x))


def loops_written_out() -> None:
    """Run unrolled loops over few taps along both axes, here even for small arrays."""
    least, lowered.WRITTEN_OUT = lowered.WRITTEN_OUT, 1
    build.plans.clear()
    shortcuts.clear()
    for width, taps, dtype in itertools.product((16, 17, 31, 50, 67, 530), (3, 7, 9), ("f4", "f8", "u1")):
        x = samples((25, width), dtype)
        mode = MODES[(width + taps) % 5]
        square, dense_taps = np.outer(*rng.random((2, taps))), rng.random((taps, taps))
        check(lambda a, b, m=mode: nsp.correlate(a, square, b, m, method="separable"), x, np.zeros_like(x))
        check(
            lambda a, b, m=mode: nsp.correlate(a, dense_taps, b, m, 1.0, method="direct"), x, np.zeros_like(x)
        )
        valid = np.zeros([n - taps + 1 for n in x.shape], dtype)
        check(lambda a, b: nsp.correlate(a, square, b, "valid", method="separable"), x, valid)
        check(lambda a, b: nsp.correlate(a, dense_taps, b, "valid", method="direct"), x, valid)
    lowered.WRITTEN_OUT = least
    build.plans.clear()
    shortcuts.clear()


DTYPES = ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16")
SHAPES = ((1,), (67,), (2, 3), (33, 65), (18, 33, 3), (300, 1), (2, 3, 4, 5))


def every_type_and_rank() -> None:
    """Run all filters on all dtypes, 1-D to 4-D, with resized outputs and both casts."""
    for dtype, shape in itertools.product(DTYPES, SHAPES):
        x = samples(shape, dtype)
        out = np.zeros(shape, dtype)
        filtered = tuple(range(min(2, len(shape))))
        kernel = DENSE[: 3 if len(shape) > 1 else None] if len(filtered) == 2 else DENSE[0]
        for cast in ("truncate", "saturate"):
            check(lambda a, b, c=cast: nsp.convolve(a, kernel, b, "mirror", axes=filtered, cast=c), x, out)
        check(lambda a, b: nsp.uniform_filter(a, 5, b, "wrap"), x, out)
        if dtype not in "?":
            check(lambda a, b: nsp.gaussian_filter(a, 1.3, output=b), x, out)
        grown = np.zeros([n + 2 for n in shape], dtype)
        check(lambda a, b: nsp.separable_convolve(a, [[1, 2, 1]] * a.ndim, output=b, mode="full"), x, grown)
        wide = np.zeros(shape, "c16" if dtype.startswith("c") else "f8")
        check(lambda a, b: nsp.gaussian_laplace(a, 0.7, b), x, wide)
        if dtype in ("u1", "f4", "f8"):
            real = np.zeros(shape, "f4" if dtype == "f4" else "f8")
            check(lambda a, b: nsp.gaussian_gradient_magnitude(a, 1.0, b), x, real)
            mask = rng.random(shape) < 0.2
            check(lambda a, b, m=mask: nsp.gaussian_filter(a, 1.0, output=b, mask=m), x, real)
            if len(shape) < 3:
                kernel = rng.random((7,) * len(shape))
                check(lambda a, b, k=kernel: nsp.convolve(a, k, b, method="fft", rtol=1e-3), x, real)


def strided_columns() -> None:
    """Run on strided and reversed columns, directly from the array and through slabs."""
    execute.COPIED = 0  # small strided arrays are copied otherwise
    small, long = np.outer([1, 2, 1], [1, 3, 3, 1]), np.outer(rng.random(9), rng.random(25))
    for least in (1 << 60, 1):
        chains.STAGED = least
        build.plans.clear()
        shortcuts.clear()
        sizes = ((1, 2), (2, 3), (7, 4), (16, 2), (33, 4), (70, 3), (41, 2))[:: 1 if EVERYTHING else 2]
        for (width, step), dtype in itertools.product(
            sizes, DTYPES[1:] if least == 1 else ("u1", "f4", "f8")
        ):
            x = samples((19, step * (width - 1) + 1), dtype)
            out, mode = np.zeros_like(x), MODES[width % 5]
            for kernel in (small, long) if dtype in ("f4", "f8") else (small,):
                check(lambda a, b, k=kernel: nsp.convolve(a[:, ::step], k, b[:, ::step], mode, 1.0), x, out)
                check(lambda a, b, k=kernel: nsp.convolve(a[:, ::-1], k, b[:, ::-1], mode, 1.0), x, out)
                check(lambda a, b, k=kernel: nsp.convolve(a[:, ::-1], k, b, mode, 1.0), x, out)


TERM_TYPES = DTYPES[1:12] if EVERYTHING else ("u1", "f4", "f8")  # each dtype has kernels to compile
TERM_SHAPES = ((3, 40), (17, 64), (33, 97), (50, 150)) if EVERYTHING else ((3, 40), (33, 97))


def terms_straight_from_the_array() -> None:
    """Run sums of long terms in every mode, with more and fewer rows than a block has."""
    for (rows, width), dtype in itertools.product(TERM_SHAPES, TERM_TYPES):
        x = samples((rows, width), dtype)
        for terms, mode in zip((1, 2, 3, 2, 1), MODES, strict=True):
            kernel = rng.random((19, terms)) @ rng.random((terms, 33))
            for result in {dtype, "f4" if dtype == "f4" else "f8"}:
                check(
                    lambda a, b, k=kernel, m=mode: nsp.convolve(a, k, b, m, 0.0, method="separable"),
                    x,
                    np.zeros((rows, width), result),
                )


def long_boxes() -> None:
    """Run sums of equal taps as boxes, which otherwise are used for large arrays only."""
    least = lowered.MOST_BOX_ROWS, lowered.LEAST_BOXED
    lowered.MOST_BOX_ROWS, lowered.LEAST_BOXED = 0, 0
    build.plans.clear()
    shortcuts.clear()
    for width, dtype in itertools.product((1, 15, 16, 33, 70, 300), ("f4", "f8", "u1")):
        x = samples((45, width), dtype)
        mode = MODES[width % 5]
        check(lambda a, b, m=mode: nsp.uniform_filter(a, (41, 19), b, m), x, np.zeros_like(x))
        if dtype != "u1":
            gaps = np.where(x < 20, np.nan, x).astype(dtype)
            box = np.ones((41, 17))
            check(lambda a, b, k=box: nsp.convolve(a, k, b, nan_policy="omit"), gaps, np.zeros_like(x))
    lowered.MOST_BOX_ROWS, lowered.LEAST_BOXED = least
    build.plans.clear()
    shortcuts.clear()


def vertical_blocks() -> None:
    """Run dense kernels by vertical sums, which pack only the ends of rows, in segments and tiles."""
    own, least, buffer = lowered.KERNELS["dense"], access.LEAST_ROW_BYTES, access.BUFFER_BYTES
    lowered.KERNELS["dense"] = dataclasses.replace(own, suits=lambda *_: False)
    access.LEAST_ROW_BYTES = 1
    widths, types = (33, 48, 65, 97, 150, 400), ("f4", "f8", "u1")
    for bytes_, stream, dtype in itertools.product((buffer, 1), (4096, 1), types):
        access.BUFFER_BYTES, pass_request.STREAM_BYTES = bytes_, stream
        build.plans.clear()
        shortcuts.clear()
        for width in widths:
            x = samples((9, width), dtype)
            mode = MODES[width % 4]
            for kernel in (DENSE, DENSE.T, rng.random((3, 9))):
                check(
                    lambda a, b, k=kernel: nsp.correlate(a, k, b, mode, method="direct"), x, np.zeros_like(x)
                )
                valid = np.zeros([n - k + 1 for n, k in zip(x.shape, kernel.shape, strict=True)], dtype)
                check(lambda a, b, k=kernel: nsp.correlate(a, k, b, "valid", method="direct"), x, valid)
                apart = np.zeros((9, 2 * width), dtype)
                check(
                    lambda a, b, k=kernel: (nsp.correlate(a, k, b[:, ::2], mode, method="direct"), b)[1],
                    x,
                    apart,
                )
            down = np.array([[1.0], [2], [3], [-1]])
            check(lambda a, b: nsp.correlate(a, down, b, mode, method="separable"), x, np.zeros_like(x))
            if dtype != "u1":
                gaps = np.where(x < 20, np.nan, x).astype(dtype)
                check(
                    lambda a, b: nsp.correlate(a, DENSE, b, mode, nan_policy="omit"), gaps, np.zeros_like(x)
                )
    lowered.KERNELS["dense"], access.LEAST_ROW_BYTES = own, least
    access.BUFFER_BYTES, pass_request.STREAM_BYTES = buffer, 4096
    build.plans.clear()
    shortcuts.clear()


def volumes_with_gaps() -> None:
    """Run filters with missing samples on volumes, with stacked intermediates and several planes."""
    kernel = np.multiply.outer(np.outer([1.0, 2, 1], [1.0, 3, 1]), [1.0, 1, 2])
    for shape, dtype in itertools.product(((5, 6, 9), (4, 9, 40), (3, 10, 67)), ("f4", "f8")):
        x = samples(shape, dtype)
        gaps = np.where(x < 20, np.nan, x).astype(dtype)
        for mode in ("wrap", "constant"):
            for weights, method in ((kernel, "separable"), (rng.random((2, 3, 3)), "direct")):
                check(
                    lambda a, b, k=weights, m=mode, w=method: nsp.convolve(a, k, b, m, nan_policy="omit", method=w),
                    gaps, np.zeros_like(x),
                )  # fmt: skip


def segments() -> None:
    """Run on rows divided into many segments and tiles, the first and last of which read the other end, too."""
    buffer, cache = access.BUFFER_BYTES, tiles.CACHE_BYTES
    small, long = np.outer([1, 2, 1], [1, 3, 3, 1]), np.outer(rng.random(9), rng.random(45))
    for bytes_, dtype in itertools.product((1 << 30, 1), ("f4", "f8", "u1")):
        access.BUFFER_BYTES, tiles.CACHE_BYTES = 1, bytes_
        build.plans.clear()
        shortcuts.clear()
        for width, kernel in itertools.product((40, 300, 519), (small, long)):
            x = samples((17, width), dtype)
            for mode in MODES:
                check(
                    lambda a, b, k=kernel, m=mode: nsp.convolve(a, k, b, m, 1.0, method="separable"), x, 0 * x
                )
        far = np.zeros((3, 2203))
        far[:, -2:] = 1, 2  # all taps are beyond the edge, more than the length of a row
        for mode in MODES:
            x = samples((5, 1000), dtype)
            check(lambda a, b, k=far, m=mode: nsp.correlate(a, k, b, m, 1.0, method="separable"), x, 0 * x)
            check(
                lambda a, b, k=far[:, ::-1], m=mode: nsp.correlate(a, k, b, m, 1.0, method="separable"),
                x,
                0 * x,
            )
    access.BUFFER_BYTES, tiles.CACHE_BYTES = buffer, cache
    build.plans.clear()
    shortcuts.clear()


def short_rows() -> None:
    """Run on contiguous rows of few samples, alone and after another filtered axis."""
    small, few = np.array([1.0, 2, 1]), rng.random(9)
    types = DTYPES[1:] if EVERYTHING else ("u1", "f4", "f8", "c8")
    for (size, inner), dtype in itertools.product(((1, 1), (2, 1), (3, 1), (5, 3), (8, 1), (17, 2)), types):
        for rows in (2100 // (size * inner) + 1, 5003):
            x = samples((rows, size, inner), dtype)
            mode = MODES[(size + rows) % 5]
            for taps in (small, few):
                check(lambda a, b, k=taps, m=mode: nsp.correlate1d(a, k, 1, b, m, 1.0), x, np.zeros_like(x))
            check(lambda a, b, m=mode: nsp.gaussian_filter(a, 1.0, output=b, mode=m), x, np.zeros_like(x))


def long_gaussians() -> None:
    """Run recursive filters."""
    for dtype, shape in itertools.product(
        ("f4", "f8", "u1"), ((90,), (70, 41), (41, 70), (3, 40, 37), (17, 64))
    ):
        x = samples(shape, dtype)
        for mode in ("reflect", "constant"):
            check(
                lambda a, b, m=mode: nsp.gaussian_filter(
                    a, 6, output=b, mode=m, rtol=1e-3, method="structured"
                ),
                x,
                np.zeros_like(x),
            )


def flat_kernels() -> None:
    """Run shifted sums of rows, in registers if the processor can, and in row buffers."""
    disk = (np.hypot(*np.mgrid[-9:10, -9:10]) <= 9).astype(float)
    ring = disk - (np.hypot(*np.mgrid[-9:10, -9:10]) <= 6)
    ball = (np.square(np.mgrid[-3:4, -3:4, -3:4]).sum(0) <= 9).astype(float)
    available = flat_sums.AVAILABLE
    for in_registers in {available, False}:
        flat_sums.AVAILABLE = in_registers
        build.plans.clear()
        shortcuts.clear()
        for width, dtype in itertools.product((1, 5, 16, 33, 64, 129, 200), ("f4", "f8", "u1", ">i2")):
            x, mode = samples((21, width), dtype), MODES[width % 5]
            for kernel in (disk, ring / 3):
                check(lambda a, b, k=kernel, m=mode: by_sums_of_rows(a, b, k, m), x, np.zeros_like(x))
            x = samples((5, 6, width), dtype)
            check(lambda a, b, m=mode: by_sums_of_rows(a, b, ball, m), x, np.zeros_like(x))
            x = samples((9, width, 3), dtype)[:, ::-1]
            check(lambda a, b, m=mode: by_sums_of_rows(a, b, disk, m), x, np.zeros_like(x))
    flat_sums.AVAILABLE = available


def by_sums_of_rows(x: np.ndarray, out: np.ndarray, kernel: np.ndarray, mode: str) -> np.ndarray:
    """Filter by shifted sums of rows, even if other methods are faster."""
    axes = tuple(range(kernel.ndim))
    plan = nsp.plan(kernel, x.shape, x.dtype, method="structured", mode=mode, axes=axes, output=out.dtype)
    flat.correlate(replace(plan.kernel), plan.problem, x, out)
    return out


def layers() -> None:
    """Run the convolutions over channels, and their gradients."""
    global checked
    sizes = ((1, 1, 1), (7, 9, 3), (5, 6, 17), (13, 15, 33), (4, 5, 64))
    whole = np.outer([1, 2, 1], [1, 1]).reshape(3, 2, 1, 1)
    for dtype, (h, w, c), m, layout in itertools.product(("f2", "f4", "f8"), sizes, (1, 2), ("NHWC", "NCHW")):
        x = rng.random((2, h, w, c) if layout == "NHWC" else (2, c, h, w)).astype(dtype)
        depth, point = rng.random((3, 2, c, m)).astype(dtype), rng.random((1, 1, c * m, 19)).astype(dtype)
        apart = (whole * rng.random((1, 1, c, m))).astype(dtype)
        same = (1, 1, 1, 1), "SAME"
        calls = (
            (lambda a, d, p: nn.separable_conv2d(a, d, p, *same, data_format=layout), (x, depth, point)),
            (lambda a, d: nn.depthwise_conv2d(a, d, *same, data_format=layout), (x, depth)),
            (
                lambda a, d: nn.depthwise_conv2d(a, d, *same, data_format=layout, method="separable"),
                (x, apart),
            ),
            (lambda a, d: nn.conv2d(a, d, *same, layout, method="direct"), (x, depth)),
            (
                lambda a, d, g: np.concatenate(
                    [v.ravel() for v in nn.depthwise_conv2d_vjp(g, a, d, *same, data_format=layout)]
                ),
                (x, depth, nn.depthwise_conv2d(x, depth, *same, data_format=layout)),
            ),
        )
        for (call, arrays), end in itertools.product(calls, (True, False)):
            got = call(*(guarded(v, end=end) for v in arrays))
            np.testing.assert_array_equal(got, call(*arrays))
            checked += 1
        arrays = {"separable_conv2d": (x, depth, point), "depthwise_conv2d": (x, depth), "conv2d": (x, depth)}
        for name, end in itertools.product(arrays, (True, False)):
            function, keywords = getattr(nn, name), {"data_format": layout}
            expected = function(*arrays[name], *same, **keywords)
            out = guarded(np.zeros_like(expected), end=end)
            np.testing.assert_array_equal(function(*arrays[name], *same, output=out, **keywords), expected)
            checked += 1


if __name__ == "__main__":
    spy()
    for family in (
        planes_of_any_width, dense_blocks, terms_straight_from_the_array, every_type_and_rank, long_gaussians, layers,
        flat_kernels,
        strided_columns, loops_written_out, long_boxes, vertical_blocks, volumes_with_gaps, segments,
        short_rows,
    ):  # fmt: skip
        family()
    print(checked, *sorted(seen), sep="\n")
