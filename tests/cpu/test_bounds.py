"""No read and no write outside the arrays: guard pages round them, and canaries between their elements.

Kernels read and write vectors at addresses that they compute, which ``NUMBA_BOUNDSCHECK=1`` does not see; it checks
arrays that are indexed, here tables.  So pages that may not be touched are the check of compiled kernels, and the tests
marked `jitoff` (``NUMBA_DISABLE_JIT=1``) that of their indices: there each access is a slice that must be inside.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import numbasep as nsp
from tests.support.processes import assert_succeeds, run_program

PROGRAM = Path(__file__).parents[1] / "support" / "guarded.py"
FAMILIES = {
    "packed=True", "packed=False", "single rows=True", "single rows=False", "blocks=True", "blocks=False",
    "ends=True", "ends=False", "view=0", "view=1", "view=2", "view=3", "share=True", "share=False", "share of views=0",
    "share of views=3", "boxes view=0", "boxes view=3", "boxes share=True", "boxes share=False", "stream=True",
    "stream=False", "dense direct=True", "dense direct=False", "dense stored=True", "dense stored=False", "sums f",
    "sums d",
    "short rows f f", "short rows d d", "short rows f B",
    "flat f", "flat d", "flat stored=True", "recursive f", "recursive d", "columns=True", "columns=False",
    *(f"{way} {code}" for way in ("in", "out") for code in "bBhHiIlLefd"),
    *(f"gatherer {code}{'f' if code in 'bBhHef' else 'd'}" for code in "bBhHiIlLefd"),
    *(f"scatterer {code}" for code in "BHIL"),
    *(f"{p} {d} {c}" for p in ("dense", "spatial", "unfold") for d in ("first", "last") for c in "fd"),
}  # fmt: skip
"""What `guarded.py` must have run: how rows reach the sums, types of the array, of the result, of the sums."""
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")


@LINUX
@pytest.mark.slow
def test_guard_pages_round_arrays_and_workspaces() -> None:
    count, *seen = assert_succeeds(PROGRAM, timeout=900).split("\n")
    assert int(count) > 1000
    assert set(seen) >= FAMILIES, FAMILIES - set(seen)


@LINUX
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("write", [True, False])
def test_one_element_too_far_ends_the_process(end: bool, write: bool) -> None:
    """The guards work: a filter of a view that is one column longer than its memory."""
    source = f"""
import sys
sys.path.insert(0, {str(PROGRAM.parent)!r})
import guarded, numpy as np, numbasep as nsp
from numpy.lib.stride_tricks import as_strided
memory = guarded.guarded(np.ones((8, 20), "f4"), end={end})
view = memory if {end} else memory[::-1, ::-1]
beyond, whole = as_strided(view, (8, 21), view.strides), np.ones((8, 21), "f4")
x, out = (whole, beyond) if {write} else (beyond, whole)
nsp.correlate1d(whole, [1, 2, 1])
print("ready", flush=True)
nsp.correlate1d(x, [1, 2, 1], output=out)
"""
    done = run_program(source)
    assert (done.stdout, done.returncode) == ("ready\n", -signal.SIGSEGV), done.stderr


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
