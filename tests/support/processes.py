"""Programs that run in separate processes, as failures would end or hang the test run itself."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = float(os.environ.get("NUMBASEP_TEST_PATIENCE", "300"))  # seconds


def run_program(source: str | Path, *arguments: str, timeout: float = PATIENCE, **environment: str) -> Any:
    """Run Python source or a file; raise `subprocess.TimeoutExpired` if it hangs."""
    return subprocess.run(
        [sys.executable, "-P", *(["-c", source] if isinstance(source, str) else [str(source)]), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def assert_succeeds(
    source: str | Path, *arguments: str, timeout: float = PATIENCE, **environment: str
) -> str:
    """Run Python source that must end with exit code 0; return its output."""
    __tracebackhide__ = True
    done = run_program(source, *arguments, timeout=timeout, **environment)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return str(done.stdout)
