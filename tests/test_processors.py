"""Kernels for narrower vectors, fewer registers and fewer instructions than this processor has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import binding

PROCESSORS = {
    "haswell": (32, "+sse4.2,+popcnt,+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe"),
    "generic": (16, ""),  # neither fused multiply-adds nor float16
}


@pytest.mark.slow
@pytest.mark.skipif(
    not binding.get_default_triple().startswith("x86_64") or not binding.get_host_cpu_features().get("avx2"),
    reason="needs an x86-64 processor with AVX2",
)
@pytest.mark.parametrize("name", PROCESSORS)
def test_filters_on_older_processors(name: str, tmp_path: Path) -> None:
    vector_bytes, features = PROCESSORS[name]
    environment = {
        **os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBASEP_CACHE_DIR": str(tmp_path)
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.on_processor", str(vector_bytes)]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
