"""Runs the device tests before any timing, in a separate process with a time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ("--gpu", "-m", "gpu", "-k", "not sanitizer", "tests/cuda/test_cuda_device.py")
SECONDS = 240
LAST = 40
"""Number of lines of pytest's output that are printed."""
TOOLKIT = Path("/usr/local/cuda")


def run_tests(folder: Path, tests: Sequence[str] = TESTS, seconds: float = SECONDS) -> int:
    """Run pytest, write `gpu_tests.txt` and `gpu_tests.xml` to a folder, and return the exit status.

    Warnings, such as those of other libraries at import, are not errors.  If NVVM is not installed in the
    environment, numba-cuda uses that of the toolkit, for which CUDA_HOME is set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if TOOLKIT.is_dir():
        os.environ.setdefault("CUDA_HOME", str(TOOLKIT))
    report = folder.resolve() / "gpu_tests.xml"
    command = [
        sys.executable, "-u", "-W", "default", "-m", "pytest", "-W", "default", "-v", "-ra", "-p", "no:cacheprovider",
        f"--junitxml={report}", *tests,
    ]  # fmt: skip
    with (folder / "gpu_tests.txt").open("w+") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with its children, which would disturb timings
            process.wait()
            file.write(f"\nstopped after {seconds:.0f} seconds\n")
            status = 124
        file.seek(0)
        print("".join(file.readlines()[-LAST:]), flush=True)
    return status
