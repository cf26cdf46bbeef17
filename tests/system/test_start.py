"""What the first call of a process costs is paid once: machine code is found again, whoever compiled it."""

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numba import int64
from numba.core.errors import TypingError

import numbasep as nsp
from numbasep.api import warmup
from numbasep.cpu import jit
from numbasep.cpu.compiler import KernelCompiler as Compiler

COUNT = """
import numba.core.event as event
import numpy as np, numbasep

compiled = []

class Listener(event.Listener):
    def on_start(self, happened):
        compiled.append(happened.data["dispatcher"].py_func.__qualname__)

    def on_end(self, happened):
        pass

event.register("numba:compile", Listener())
numbasep.gaussian_filter(np.ones((64, 64), np.float32), 2)
numbasep.convolve(np.ones((64, 64), np.float32), np.arange(12.0).reshape(3, 4), method="direct")
assert not compiled, compiled
"""


@pytest.mark.slow
def test_other_processes_find_what_one_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among the kernels are some that are made of other kernels, which Numba's own cache never finds again."""
    monkeypatch.setenv("NUMBASEP_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NUMBASEP_CACHE", "1")
    warmup._run_processes([("<f4", "on one thread"), ("<f4", "dense kernels")], 2)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    assert kept
    path = str(Path(nsp.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r})\n{COUNT}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}


def test_kernels_are_known_by_what_they_close_over() -> None:
    def family(number: int, inner: object) -> object:
        def member(x: float) -> float:
            return x + number if inner else x

        return member

    one, two = family(1, "a"), family(2, "a")
    assert jit.closed_over(one) == jit.closed_over(family(1, "a")) != jit.closed_over(two)
    assert jit.closed_over(family(1, one)) != jit.closed_over(family(1, two))
    with pytest.raises(TypeError, match="no name that lasts"):
        jit.closed_over(family(1, object()))


def test_symbols_of_machine_code_are_looked_up() -> None:
    assert jit._resolved([])
    assert not jit._resolved(["numbasep_has_no_such_symbol"])


@pytest.mark.parametrize("processes", [0, -1])
def test_processes_of_warmup(processes: int) -> None:
    with pytest.raises(ValueError, match="processes"):
        nsp.warmup(["float32"], processes=processes)


def test_warmup_of_nothing_and_of_what_cannot_be_filtered() -> None:
    nsp.warmup([])
    with pytest.raises(TypeError, match="dtypes"):
        nsp.warmup(["datetime64[s]"])


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_as_before_after_compiling(
    enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collections wait while a kernel and what it calls are compiled, also if that fails."""
    seen: list[bool] = []

    def define_pipelines(self: Any, original: Callable[[Any], Any] = Compiler.define_pipelines) -> Any:
        seen.append(gc.isenabled())
        return original(self)

    def double(x: int) -> int:
        return 2 * x

    def unknown(x: int) -> int:
        return double.nothing(x)  # type: ignore[attr-defined]

    monkeypatch.setattr(Compiler, "define_pipelines", define_pipelines)
    monkeypatch.setenv("NUMBASEP_CACHE", "0")
    jit.cache_directory.cache_clear()
    (gc.enable if enabled else gc.disable)()
    try:
        jit.serial(double).compile((int64,))
        assert gc.isenabled() is enabled
        with pytest.raises(TypingError):
            jit.serial(unknown).compile((int64,))
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
        jit.cache_directory.cache_clear()
    assert seen
    assert not any(seen)
