"""Machine code that different processes put into one cache must not be mistaken for one another."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Kernels of one family differ in what they close over, not in name or signature, so Numba tells them apart by
# a count that starts anew in every process.
PROGRAM = """
import sys
import numpy as np
from numbasep.cpu.kernels.table_entries import PACK, STORE
from numbasep.cpu.kernels.plane_driver import kernel_addresses
from numbasep.cpu.intrinsics.memory import Storage

packers, storers = {}, {}
for source in sys.argv[1:]:
    for target in sys.argv[1:]:
        _, at = kernel_addresses(np.dtype("f4"), Storage(source), Storage(target))
        pack, store = int(at[PACK]), int(at[STORE])
        packers.setdefault(source, set()).add(pack)
        storers.setdefault(target, set()).add(store)
for found in (packers, storers):
    assert all(len(addresses) == 1 for addresses in found.values()), found
    assert len(set.union(*found.values())) == len(found), found
"""


@pytest.mark.slow
def test_kernels_of_several_processes_are_told_apart(tmp_path: Path) -> None:
    """Each process compiles another packer and storer as its first; the last one loads them all."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBASEP_CACHE_DIR": str(tmp_path)}
    environment.pop("NUMBASEP_CACHE", None)
    for codes in (["u1"], ["i2"], ["f4"], ["u1", "i2", "f4"]):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *codes],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{codes}: {done.returncode}\n{done.stderr[-2000:]}"
