"""The driver through NVIDIA's own bindings, with a driver that is made here: argument by argument as on a GPU."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from numbasep.cuda import compiler, driver
from numbasep.cuda.intrinsics.vocabulary import SIMULATED

MISSING = "the simulator compiles nothing" if SIMULATED else compiler.missing()
COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = [
    pytest.mark.cuda_compile,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
    pytest.mark.skipif(
        COMPILER is None or not sys.platform.startswith("linux"), reason="needs Linux and a C compiler"
    ),
]

SCRIPT = """
import os
import numpy as np, numbasep
from numbasep.cuda import driver
x = np.random.default_rng(0).random((32, 64), dtype=np.float32)
np.testing.assert_array_equal(numbasep.uniform_filter(x, 3, device="cuda"), x)  # the fake driver's kernels copy
child = os.fork()
if not child:
    try:
        numbasep.uniform_filter(x, 3, device="cuda")
    except RuntimeError as error:
        os._exit(7 if "spawn" in str(error) else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
numbasep.show_config()
measured = numbasep.calibrate(device="cuda", store=False)
assert measured.copy_rate == 2 * 2**30 / (2.5e-3 / 10), measured
"""


@pytest.mark.skipif(MISSING is None and driver.missing() is None, reason="there is a real driver")
def test_calls_of_the_driver(tmp_path: Path) -> None:
    assert COMPILER is not None
    source = Path(__file__).parents[1] / "support" / "fake_libcuda.c"
    library = tmp_path / "libcuda.so.1"
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-O1", "-w", str(source), "-o", str(library), "-ldl"], check=True
    )
    environment = {
        **os.environ, "LD_LIBRARY_PATH": str(tmp_path), "NUMBASEP_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fake (compute capability 9.0, driver for CUDA 13.0)" in done.stdout
