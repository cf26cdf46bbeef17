"""A program for `test_same_bits.py`: every route gives the same bits with 1 to 7 threads and other tiles."""

# ruff: noqa: T201

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import numbasep as nsp
from numbasep import nn
from numbasep.api import build
from numbasep.api.repeated_calls import shortcuts
from numbasep.cpu import flat, flat_tables, pass_request, recursive, threads, tiles
from numbasep.execution import elementwise
from numbasep.lowering import counts
from numbasep.nn import execute, tiling
from numbasep.planning import workspace

THREADS = (1, 2, 3, 4, 7)
SPLITS = (
    (workspace.CACHE_BYTES, 1 << 31, 1 << 30),
    (1 << 14, 1 << 18, 1 << 18),
)
"""(bytes of a tile, work of a batch, multiplications of a batch of a layer)."""
DISK = (np.hypot(*np.mgrid[-8:9, -8:9]) <= 8.5).astype(float)
RING = DISK - (np.hypot(*np.mgrid[-8:9, -8:9]) <= 4.5)
BALL = (np.square(np.mgrid[-3:4, -3:4, -3:4]).sum(0) <= 9).astype(float)
rng = np.random.default_rng(0)


def split(cache: int, batch: int, multiplications: int) -> None:
    """Set the sizes of tiles and batches, and clear the caches of plans that depend on them."""
    tiles.CACHE_BYTES, pass_request.BATCH_WORK, counts.PARALLEL_WORK = cache, batch, 1
    flat.BATCH_WORK = flat_tables.BATCH_WORK = batch
    recursive.PARALLEL_ELEMENTS = elementwise.PARALLEL_ELEMENTS = 1
    recursive.BATCH_ELEMENTS = 1 << 25 if batch == SPLITS[0][1] else 1 << 10
    tiling.BATCH_MULTIPLICATIONS, tiling.SERIAL_SECONDS = multiplications, 0.0
    tiling.tile.cache_clear()
    execute._layout.cache_clear()
    shortcuts.clear()
    build.plans.clear()
    build.kernels.clear()


def filters(dtype: str) -> dict[str, Callable[[int], Any]]:
    """Return functions of the number of threads that run a filter, by name."""
    image = (rng.random((83, 131)) * 100).astype(dtype)
    volume = (rng.random((13, 20, 25)) * 100).astype(dtype)
    wide = np.result_type(dtype, "f4")
    kernels = (
        ("smooth", image, np.outer(np.hanning(9), np.hanning(7))),
        ("disk", image, DISK),
        ("noise", image, rng.random((7, 5))),
        ("ring", image, RING),
        ("ball", volume, BALL),
        ("volume", volume, np.multiply.outer(np.hanning(5), np.outer(np.hanning(5), np.hanning(7)))),
    )
    found: dict[str, Callable[[int], Any]] = {}
    for (name, x, kernel), method in itertools.product(
        kernels, ("auto", "direct", "separable", "structured", "fft")
    ):
        keywords = {"method": method, "output": wide, "rtol": 1e-3 if method == "fft" else None}
        try:
            nsp.convolve(x, kernel, **keywords)
        except ValueError:
            continue
        found[f"{name} {method}"] = lambda n, x=x, k=kernel, o=keywords: nsp.convolve(x, k, workers=n, **o)
    found["bank"] = lambda n: nsp.filter_bank(image, [DISK, DISK.T[::-1]], wide, workers=n)
    if not dtype.startswith("c"):
        found["recursive"] = lambda n: nsp.gaussian_filter(image, 9, output=wide, rtol=1e-3, workers=n)
        found["recursive volume"] = lambda n: nsp.gaussian_filter(
            volume, 9, output=wide, rtol=1e-3, workers=n
        )
        found["magnitude"] = lambda n: nsp.gaussian_gradient_magnitude(image, 2, wide, workers=n)
        found["masked"] = lambda n: nsp.gaussian_filter(image, 2, output=wide, mask=image > 90, workers=n)
        gaps = np.where(image > 90, np.nan, image.astype("f8" if dtype == "f8" else "f4"))
        found["omitted"] = lambda n: nsp.convolve(gaps, DISK, nan_policy="omit", workers=n)
    if dtype in ("f4", "f8"):
        found |= layers(dtype)
    return found


def layers(dtype: str) -> dict[str, Callable[[int], Any]]:
    """Return functions for the convolutions over channels, by every method, and their gradients."""
    found: dict[str, Callable[[int], Any]] = {}
    apart = np.outer([1, 2, 1], [1, 0, -1]).reshape(3, 3, 1, 1)
    for layout, (height, width, channels) in itertools.product(("NHWC", "NCHW"), ((20, 17, 19), (9, 9, 32))):
        x = rng.random((2, height, width, channels)).astype(dtype)
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if layout == "NCHW" else x
        depth = (apart * rng.random((1, 1, channels, 2))).astype(dtype)
        point = rng.random((1, 1, 2 * channels, 33)).astype(dtype)
        ordinary = np.einsum("ijcm,cmk->ijck", depth, point.reshape(channels, 2, 33)).astype(dtype)
        calls = {"depthwise_conv2d": (depth,), "separable_conv2d": (depth, point), "conv2d": (ordinary,)}
        for (name, given), method in itertools.product(calls.items(), ("auto", "direct", "separable")):

            def call(
                n: int,
                name: Any = name,
                given: Any = given,
                method: Any = method,
                x: Any = x,
                f: Any = layout,
            ) -> Any:
                return getattr(nn, name)(
                    x, *given, (1, 1, 1, 1), "SAME", data_format=f, method=method, workers=n
                )

            found[f"{name} {method} {layout} {channels}"] = call
        for name, given in calls.items():
            g = rng.random(
                getattr(nn, name)(x, *given, (1, 1, 1, 1), "SAME", data_format=layout).shape
            ).astype(dtype)

            def back(
                n: int, name: Any = name, given: Any = given, g: Any = g, x: Any = x, f: Any = layout
            ) -> Any:
                parts = getattr(nn, f"{name}_vjp")(
                    g, x, *given, (1, 1, 1, 1), "SAME", data_format=f, workers=n
                )
                return np.concatenate([part.ravel() for part in parts])

            found[f"{name}_vjp {layout} {channels}"] = back
    return found


if __name__ == "__main__":
    checked = 0
    for dtype in ("f4", "f8", "c8", "u2"):
        calls = filters(dtype)
        expected: dict[str, Any] = {}
        for sizes in SPLITS:
            split(*sizes)
            for (name, call), n in itertools.product(
                calls.items(), THREADS if sizes == SPLITS[0] else (1, 3)
            ):
                got = call(n)
                np.testing.assert_array_equal(
                    got, expected.setdefault(name, got), f"{dtype} {name}, {n} threads"
                )
                checked += 1
    assert threads.most() == 8
    print(checked)
