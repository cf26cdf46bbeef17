"""Kernels for narrower vectors, fewer registers and fewer instructions than this processor has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import binding

PROCESSORS = {  # bytes of a vector, LLVM's name, features
    "haswell": (32, "haswell", "+sse4.2,+popcnt,+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe"),
    "generic": (16, "generic", ""),  # neither fused multiply-adds nor float16
    "like ARM": (
        16,
        "x86-64",
        "+sse4.2,+popcnt,+bmi,+bmi2,+lzcnt,+avx512f,+avx512vl,+fma,+f16c",
    ),  # 32 registers
}


@pytest.mark.slow
@pytest.mark.skipif(not binding.get_default_triple().startswith("x86_64"), reason="needs an x86-64 processor")
@pytest.mark.parametrize("name", PROCESSORS)
def test_filters_on_other_processors(name: str, tmp_path: Path) -> None:
    vector_bytes, processor, features = PROCESSORS[name]
    here = binding.get_host_cpu_features()
    lacking = [feature for feature in features.split(",") if feature and not here.get(feature[1:])]
    if lacking:
        pytest.skip(f"this processor lacks {', '.join(lacking)}")
    environment = {
        **os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features,
        "NUMBASEP_CACHE_DIR": str(tmp_path),
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.support.on_processor", str(vector_bytes)]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
