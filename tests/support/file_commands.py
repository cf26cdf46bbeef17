"""Helpers that run ``python -m numbasep filter`` in this process, and write and read its files."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numbasep import cli
from numbasep.files import formats

MEASURED = """
import resource, sys
from numbasep.cli import main
status = main(sys.argv[1:])
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def write(path: Path, array: np.ndarray, **options: Any) -> Path:
    """Write an array to a file of the format of the suffix."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".tif":
        import tifffile

        tifffile.imwrite(path, array, **options)
    else:
        import zarr

        made = zarr.create_array(
            str(path), shape=array.shape, dtype=array.dtype, **{"chunks": (8, 16, 16), **options}
        )
        made[...] = array
    return path


def read(path: Path) -> np.ndarray:
    """Return the array in a file."""
    return formats.read_array(path)


def run(*words: Any) -> None:
    """Run a command that must succeed."""
    assert cli.main(["filter", *map(str, words)]) == 0


def failure(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    """Run a command that must fail; return its error message, a single line."""
    assert cli.main(["filter", *map(str, words)]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("numbasep: error: ")
    assert printed.count("\n") == 1
    return printed


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Check that arrays are equal up to rounding errors of sums, which rarely change integers."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if expected.dtype.kind in "iu":
        apart = np.abs(actual.astype(np.int64) - expected.astype(np.int64))
        assert apart.max(initial=0) <= 1
        assert np.count_nonzero(apart) <= max(1, 0.05 * apart.size)
    else:
        eps = np.finfo(expected.dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=16 * eps, atol=16 * eps * np.abs(expected).max())


def peak(*words: Any) -> int:
    """Return the largest resident memory of a process that runs the command line."""
    command = [sys.executable, "-c", MEASURED, "filter", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    status, size = done.stdout.split()
    assert status == "0", done.stderr
    return int(size)
