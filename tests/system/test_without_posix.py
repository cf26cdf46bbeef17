"""Everyday use where nothing of POSIX is left, as on Windows: see `without_posix`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support import without_posix

pytestmark = [
    pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="compiles"),
    pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks for open files in /proc"),
]


def succeeds(folder: Path, *arguments: str) -> str:
    """Output of ``python ARGUMENTS`` without POSIX, which must end well and without a warning."""
    __tracebackhide__ = True
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", *arguments], env=without_posix.environment(folder),
        cwd=folder, capture_output=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode("cp1252")[-4000:]
    return done.stdout.decode("cp1252")


def run_part(folder: Path, part: str, work: Path) -> int:
    """Run a part of `without_posix`: how many kernels it compiled."""
    return int(
        succeeds(folder, "-c", f"from tests.support.without_posix import main\nmain({part!r}, {str(work)!r})")
    )


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of this module keep what they compile."""
    return tmp_path_factory.mktemp("AppData")


def test_nothing_of_posix_is_left(windows: Path) -> None:
    program = """
import os, signal, subprocess, sys, threading
gone = ["fork", "register_at_fork", "sysconf", "geteuid", "getuid", "sched_getaffinity", "killpg", "uname"]
assert not [name for name in gone if hasattr(os, name)]
assert not [name for name in ("SIGKILL", "SIGUSR1", "SIGALRM", "pthread_sigmask") if hasattr(signal, name)]
assert not hasattr(threading.Lock(), "_at_fork_reinit")
for name in ("fcntl", "resource", "pwd", "grp"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise AssertionError(name)
with open("held", "w") as file:
    for change in (os.unlink, lambda path: os.replace("other", path), lambda path: os.rename(path, "other")):
        try:
            change("held")
        except PermissionError:
            continue
        raise AssertionError(change)
os.unlink("held")
if sys.argv[1:] != ["child"]:
    subprocess.run([sys.executable, __file__, "child"], check=True)
    print("gone")
"""
    (windows / "program.py").write_text(program)
    assert succeeds(windows, "program.py").strip() == "gone"


def test_machine_code_is_found_by_the_next_process(windows: Path) -> None:
    run_part(windows, "kept", windows)
    assert list((windows / "numbasep" / "kernels").glob("*/*.nbc"))
    assert run_part(windows, "kept", windows) == 0


@pytest.mark.slow
@pytest.mark.parametrize("part", [name for name in without_posix.PARTS if name != "kept"])
def test_everyday_use(part: str, windows: Path, tmp_path: Path) -> None:
    run_part(windows, part, tmp_path)


def test_the_command_line_as_processes(windows: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in.npy", tmp_path / "out.npy"
    np.save(source, np.ones((50, 40), np.float32))
    assert str(windows) in succeeds(windows, "-m", "numbasep", "info")
    succeeds(windows, "-m", "numbasep", "filter", str(source), str(target), "--gaussian", "2")
    np.testing.assert_allclose(np.load(target), 1, rtol=1e-5)
