"""Memory: what a plan states is what a call needs, too little of it leaves the arrays alone, and none is kept."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep.cpu import threads
from numbasep.cpu.fft import overlap_save
from numbasep.cpu.pieces import Pieces
from tests.support.processes import assert_succeeds

rng = np.random.default_rng(0)
DISK = (np.hypot(*np.mgrid[-9:10, -9:10]) <= 9.5).astype(float)
BALL = (np.square(np.mgrid[-3:4, -3:4, -3:4]).sum(0) <= 9).astype(float)
PROBLEMS: dict[str, tuple[Any, tuple[int, ...], str, dict[str, Any]]] = {
    "dense image": (rng.random((15, 15)), (700, 900), "float32", {"method": "direct"}),
    "separable image": (np.ones((31, 31)), (700, 900), "uint8", {"method": "separable"}),
    "disk": (DISK, (300, 400), "float64", {}),
    "transformed image": (rng.random((31, 31)), (700, 900), "float32", {"method": "fft", "rtol": 1e-3}),
    "transformed complex volume": (
        rng.random((9, 9, 9)),
        (50, 60, 70),
        "complex64",
        {"method": "fft", "rtol": 1e-3},
    ),
    "dense volume": (rng.random((5, 5, 5)), (60, 70, 80), "float32", {"method": "direct", "mode": "wrap"}),
    "separable volume": (np.ones((9, 9, 9)), (100, 110, 120), "float64", {"method": "separable"}),
    "grown volume": (np.ones((9, 9, 9)), (20, 30, 40), "float32", {"method": "separable", "mode": "full"}),
    "two terms": (np.ones((5, 5, 5)) + np.eye(5)[0], (60, 100, 120), "float32", {"method": "separable"}),
    "four axes": (np.ones((5, 5, 5, 1)), (20, 100, 100, 3), "float32", {"method": "separable"}),
    "short last axis": (np.ones((5, 5, 3)), (300, 400, 3), "float32", {"method": "separable"}),
    "long rows": (rng.random((1, 301)), (4, 100_000), "float32", {"method": "direct"}),
    "long columns": (rng.random((301, 1)), (100_000, 4), "float32", {"method": "direct"}),
    "colour": (rng.random((9, 9, 1)), (300, 400, 3), "uint8", {"method": "direct"}),
    "complex kernel": (rng.random((9, 9)) + 1j, (300, 400), "complex64", {"method": "direct"}),
    "complex terms": (np.ones((9, 9)) * (1 + 2j), (300, 400), "complex64", {"method": "separable"}),
    "ball": (BALL, (40, 90, 100), "float32", {"method": "structured"}),
    "bytes": (BALL[3], (400, 500), "uint8", {"method": "structured", "output": "float32"}),
    "small": (rng.random((3, 3)), (8, 8), "float32", {}),
}
OBJECTS = 100_000  # bytes of Python objects, among them NumPy's headers: not what a workspace is


@pytest.mark.thinned
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", PROBLEMS)
def test_calls_stay_within_the_stated_workspace(
    name: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, shape, dtype, options = PROBLEMS[name]
    plan = nsp.plan(weights, shape, dtype, workers=workers, **options)
    x = (rng.random(shape) * 100).astype(dtype)
    out = np.zeros(plan.problem.out_shape, plan.problem.output_dtype)
    plan(x, out)
    threads._pool.clear()
    monkeypatch.setattr(threads, "check_memory", lambda *_: None)  # address space for a moment, not memory
    for launch in plan.kernel.launches.values():
        for prepared in (one.run for one in launch.steps):
            getattr(prepared, "spare", []).clear()
    with overlap_save.spectra.emptied():
        tracemalloc.start()
        plan(x, out)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most <= plan.workspace + OBJECTS
    assert plan.workspace <= 32 << 20  # bounded: none of these needs more


@pytest.mark.parametrize("shape", [(400, 60, 60, 4), (150, 20, 20, 90)])
def test_slabs_and_pieces_take_turns(shape: tuple[int, ...]) -> None:
    """A volume that is four times as deep needs no more memory, by pieces with a short last axis or by slabs."""
    kernel = np.ones((5, 5, 5, 3))
    for depth in (shape[0], 4 * shape[0]):
        whole = (depth, *shape[1:])
        plan = nsp.plan(kernel, whole, "float32", method="separable", mode="constant", workers=1)
        plan(np.ones(whole, np.float32))
        (launch,) = plan.kernel.launches.values()
        if depth == shape[0]:
            before = launch.workspace
    assert launch.workspace <= before < plan.problem.pixels * 4
    pieces = [step.run.tasks for step in launch.steps if isinstance(step.run, Pieces)]
    assert len(pieces) == 1 if shape[-1] == 4 else len(launch.scratch) >= 1
    assert launch.workspace <= plan.workspace


def test_no_growth_over_10000_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    from numbasep.api import build

    monkeypatch.setattr(build.plans, "_limit", 8)
    image = np.ones((24, 30), np.float32)
    kernels = [rng.random((3, 3)) for _ in range(40)]

    def some_calls(count: int) -> None:
        for i in range(count):
            nsp.convolve(image, kernels[i % 4], mode=("reflect", "wrap")[i % 2])
            if i % 100 == 0:  # plans that are not kept for long
                nsp.convolve(image, kernels[i // 100 % 40], method="fft", rtol=1e-3)
                nsp.gaussian_filter(image, 1 + i // 100 % 7)

    some_calls(4000)  # fills every cache
    tracemalloc.start()
    some_calls(1000)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    some_calls(10_000)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 100_000, f"{after - before} bytes more after 10,000 calls"


# The address space is limited to what is in use and a little more, again and again, until the call succeeds.
SHORTAGE = """
import gc, resource
import numpy as np, numbasep as nsp
from numbasep import nn
from numbasep.cpu import threads
from numbasep.cpu.fft import overlap_save as fft

def in_use():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

rng = np.random.default_rng(0)
image, volume = rng.random((1000, 1000), dtype="f4"), rng.random((40, 100, 100), dtype="f4")
turned = (image[:400, :400] + 1j).astype("c8")
calls = {
    "dense": (image, lambda out: nsp.convolve(image, rng_kernel, out, method="direct", workers=1)),
    "volume": (volume, lambda out: nsp.convolve(volume, np.ones((9, 9, 9)), out, method="separable", workers=1)),
    "complex": (turned, lambda out: nsp.convolve(turned, rng_kernel + 1j, out, method="direct", workers=1)),
    "fft": (image, lambda out: nsp.convolve(image, rng_kernel, out, method="fft", rtol=1e-3, workers=1)),
    "fft on two threads": (image, lambda out: nsp.convolve(
        image, rng_kernel, out, method="fft", rtol=1e-3, workers=2)),
    "magnitude": (image, lambda out: nsp.gaussian_gradient_magnitude(image, 3, out, workers=1)),
    "swapped": (image, lambda out: nsp.convolve(image, rng_kernel, out, workers=1)),
    "overlapping": (None, lambda out: nsp.convolve(out, rng_kernel, out, workers=1)),
    "missing": (image, lambda out: nsp.gaussian_filter(image, 3, output=out, mask=image > 0.9, workers=1)),
    "bank": (image, lambda out: nsp.filter_bank(image, [rng_kernel, rng_kernel], out, workers=1)),
    "nn": (None, lambda out: out.__setitem__(..., nn.conv2d(
        image[None, :400, :400, None], np.ones((5, 5, 1, 16), "f4"), 1, "SAME", workers=1)[0, ..., 0])),
}
rng_kernel = rng.random((9, 9))
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
for name, (x, call) in calls.items():
    like = np.zeros((400, 400), "f4") if x is None else x
    shape = (2, *like.shape) if name == "bank" else like.shape
    def fresh():
        out = np.full(shape, 7, like.dtype.newbyteorder() if name == "swapped" else like.dtype)
        return out
    first = fresh()
    call(first)  # compiled, planned
    kept = None if x is None else x.copy()
    failures, spare = 0, 0
    while True:
        threads._pool.clear()
        with fft.spectra.emptied():
            out = fresh()
            gc.collect()
            resource.setrlimit(resource.RLIMIT_AS, (in_use() + spare, hard))
            try:
                call(out)
                failed = False
            except MemoryError:
                failed = True
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        if x is not None:
            assert np.array_equal(x, kept), name + ": input"
        if not failed:
            break
        failures += 1
        assert (out == 7).all(), f"{name}: output touched with {spare} bytes to spare"
        spare = int((1.1 if "two" in name else 1.7) * spare) + (128 << 10)  # one of two is soon past
        assert spare < 1 << 30
    assert np.array_equal(out, first), name + ": result"
    print(name, failures)
    assert failures or name in ("dense", "volume", "bank", "swapped"), name  # these keep their workspaces
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs the address space limit of Linux")
def test_shortage_of_memory_leaves_input_and_output_untouched() -> None:
    assert_succeeds(SHORTAGE, MALLOC_ARENA_MAX="1", MALLOC_MMAP_THRESHOLD_="65536")
