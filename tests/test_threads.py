"""Filters called from several threads and from forked children: right results, no abort, no hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numbasep as nsp

ROOT = Path(__file__).parent.parent

# Each needs a process of its own: the threading layer is chosen once, and a failure here is an abort or a hang.
PRELUDE = """
import numba, numpy as np, numbasep as nsp
rng = np.random.default_rng(0)
images = [rng.random((600, 600), dtype=np.float32) for _ in range(4)]
kernel = np.outer(np.hanning(11), np.hanning(11))
expected = [nsp.convolve(image, kernel, workers=1) for image in images]

def is_right(i):
    return bool(np.array_equal(nsp.convolve(images[i], kernel), expected[i]))
"""
PROGRAMS = {
    "four threads": """
import concurrent.futures
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert all(pool.map(is_right, [0, 1, 2, 3] * 100))
assert numba.threading_layer() == LAYER, numba.threading_layer()
""",
    "fork after a parallel call": """
import multiprocessing
assert is_right(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(pool.map(is_right, range(4)))
assert is_right(1)
""",
}


def run_program(program: str, layer: str) -> subprocess.CompletedProcess[str]:
    """Run a program under a Numba threading layer, or skip if this machine has no such layer."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_THREADING_LAYER": layer}
    source = f"LAYER = {layer!r}\n{PRELUDE}{program}"
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"Numba has no threading layer {layer!r} here")
    return done


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_concurrent_calls(name: str, layer: str) -> None:
    done = run_program(PROGRAMS[name], layer)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("method", ["direct", "separable"])
@pytest.mark.parametrize("shape", [(700, 900), (16, 60_000), (20, 90, 80)])
def test_results_do_not_depend_on_the_number_of_threads(shape: tuple[int, ...], method: str) -> None:
    x = np.random.default_rng(0).random(shape, dtype=np.float32)
    kernel = np.hanning(9)
    for _ in shape[1:]:
        kernel = np.multiply.outer(kernel, np.hanning(5))
    one = nsp.convolve(x, kernel, method=method, workers=1)
    np.testing.assert_array_equal(nsp.convolve(x, kernel, method=method), one)


def test_num_threads_is_restored() -> None:
    import numba

    before = numba.get_num_threads()
    x = np.ones((1200, 1200), np.float32)
    with nsp.num_threads(1):
        nsp.convolve(x, np.ones((3, 3)))
    nsp.convolve(x, np.ones((3, 3)), workers=2)
    assert numba.get_num_threads() == before
    with pytest.raises(ValueError, match="n must be between 1 and"):
        nsp.set_num_threads(0)
