"""The line about a stall to compile, and the bar: written for people who look, and for nobody else."""

import io
import os
import re
import subprocess
import sys
import threading
import time
import types
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import numbasep as nsp
from numbasep.api import warmup
from numbasep.calibration import calibrate, trials
from numbasep.cli import main
from numbasep.system import notice

PROGRAM = """
import sys, threading
import numpy as np
import numbasep
from numbasep.system import notice
notice.PATIENCE = float(sys.argv[1])
def call(dtype):
    numbasep.gaussian_filter(np.zeros((8, 8), dtype), 1)
if sys.argv[2] == "thread":
    other = threading.Thread(target=call, args=("float32",))
    other.start()
    other.join()
else:
    call("float32")
print("counts", notice.counts.compiled, notice.counts.loaded)
"""


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class Dispatcher:
    """The counts of Numba's dispatcher that tell a kernel compiled from one loaded."""

    def __init__(self) -> None:
        self._cache_misses: Counter[str] = Counter()
        self._cache_hits: Counter[str] = Counter()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal outside of pytest."""
    shown = Screen()
    monkeypatch.setattr(notice, "sys", types.SimpleNamespace(stderr=shown, modules={}))
    monkeypatch.setattr(notice, "_stall", notice._Stall())
    monkeypatch.setattr(notice, "PATIENCE", 0.2)
    monkeypatch.delenv("NUMBASEP_QUIET", raising=False)
    monkeypatch.delenv("NUMBASEP_CACHE", raising=False)
    return shown


def compile_for(seconds: float, *, miss: bool = True) -> None:
    dispatcher = Dispatcher()
    with notice.compiling(dispatcher):
        (dispatcher._cache_misses if miss else dispatcher._cache_hits)["signature"] += 1
        time.sleep(seconds)


# ------------------------------------------------------------------------------------------ who looks


def test_who_is_told(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    assert notice.wanted()
    for value, told in (("1", False), ("yes", False), ("0", True), ("", True)):
        monkeypatch.setenv("NUMBASEP_QUIET", value)
        assert notice.wanted() is told
    monkeypatch.delenv("NUMBASEP_QUIET")
    closed = Screen()
    closed.close()
    monkeypatch.setattr(closed, "isatty", lambda: io.StringIO.isatty(closed), raising=False)
    for stream in (io.StringIO(), None, object(), closed):
        monkeypatch.setattr(notice.sys, "stderr", stream)
        assert not notice.wanted()
    notebook = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    monkeypatch.setattr(notice.sys, "stderr", notebook())
    assert notice.wanted()
    monkeypatch.setitem(notice.sys.modules, "pytest", pytest)
    assert not notice.wanted()


# ------------------------------------------------------------------------------------------ the line


def test_a_long_compilation_is_told_while_it_lasts(screen: Screen) -> None:
    dispatcher = Dispatcher()
    with notice.compiling(dispatcher):
        dispatcher._cache_misses["signature"] += 1
        deadline = time.monotonic() + 20
        while not screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "compiling" in screen.getvalue()
    assert screen.getvalue().count("\n") == 1
    assert "happens once" in screen.getvalue()
    assert "NUMBASEP_QUIET=1" in screen.getvalue()


def test_short_ones_are_not_told_until_they_add_up(screen: Screen) -> None:
    notice.PATIENCE = 0.6
    compile_for(0.0)
    assert not screen.getvalue()
    for _ in range(8):
        compile_for(0.2)
    assert screen.getvalue().count("\n") == 1, "one line for one stall"


def test_a_pause_begins_another_stall(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice, "GAP", 0.05)
    for _ in range(2):
        compile_for(0.6)
        time.sleep(0.2)
    assert screen.getvalue().count("\n") == 2


def test_loading_is_never_told(screen: Screen) -> None:
    compile_for(0.6, miss=False)
    assert not screen.getvalue()


def test_without_a_cache_it_happens_in_every_process(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBASEP_CACHE", "0")
    compile_for(0.6)
    assert "once in every process" in screen.getvalue()


def test_compilations_inside_one_another_and_in_threads(screen: Screen) -> None:
    def nested() -> None:
        outer = Dispatcher()
        with notice.compiling(outer):
            outer._cache_misses["signature"] += 1
            compile_for(0.5)

    before = notice.counts.compiled
    several = [threading.Thread(target=nested) for _ in range(4)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert notice.counts.compiled == before + 8
    assert screen.getvalue().count("\n") == 1


def test_an_error_of_the_compiler_passes_through(screen: Screen) -> None:
    with pytest.raises(TypeError, match="typing"), notice.compiling(Dispatcher()):
        raise TypeError("typing")
    assert notice._thread.depth == 0


def run(tmp_path: Path, *words: str, terminal: bool, **environment: str) -> tuple[str, list[int]]:
    """Standard error of `PROGRAM` with an empty cache, or the one of the last run; and its counts."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBASEP", "PYTEST"))}
    variables |= {"NUMBASEP_CACHE_DIR": str(tmp_path), **environment}
    command = [sys.executable, "-c", PROGRAM, *words]
    if not terminal:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
        return done.stderr, [int(n) for n in done.stdout.split()[1:]]
    pty = pytest.importorskip("pty", reason="needs POSIX terminals")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    printed, _ = process.communicate()
    assert process.returncode == 0
    try:
        shown = os.read(ours, 1 << 16).decode()
    except OSError:  # nothing was written, and the other end is closed
        shown = ""
    os.close(ours)
    return shown, [int(n) for n in printed.split()[1:]]


@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_terminal_is_told_once_and_the_next_process_compiles_nothing(where: str, tmp_path: Path) -> None:
    shown, (compiled, _) = run(tmp_path, "0.01", where, terminal=True)
    assert shown.count("numbasep is compiling") == 1
    assert compiled > 0
    shown, (compiled, loaded) = run(tmp_path, "0.01", where, terminal=True)
    assert shown == ""
    assert compiled == 0
    assert loaded > 0


def test_redirected_and_silenced_processes_are_not_told(tmp_path: Path) -> None:
    assert run(tmp_path / "a", "0.01", "main", terminal=False)[0] == ""
    assert run(tmp_path / "b", "0.01", "main", terminal=True, NUMBASEP_QUIET="1")[0] == ""


# ------------------------------------------------------------------------------------------ the bar


def test_the_bar(screen: Screen) -> None:
    with notice.Bar(4, "counting", shown=True) as bar:
        bar.advance()
        bar.advance("counting on")
        compile_for(0.6)  # no line in the middle of a bar
    shown = screen.getvalue()
    assert [int(n) for n in re.findall(r"(\d+)%", shown)] == [0, 25, 50, 100]
    assert "counting on" in shown
    assert "is compiling" not in shown
    assert shown.endswith("\n")
    assert shown.count("\n") == 1
    with pytest.raises(KeyError), notice.Bar(2, "failing", shown=True):
        raise KeyError
    assert not screen.getvalue().rstrip().splitlines()[-1].startswith("100%")
    before = screen.getvalue()
    with notice.Bar(2, "hidden", shown=False) as bar:
        bar.advance()
    assert screen.getvalue() == before


def test_calibration_tells_each_measurement(monkeypatch: pytest.MonkeyPatch, screen: Screen) -> None:
    """The measurements themselves are left out: how many there are is counted."""
    timed: list[Any] = []

    def one(call: Any) -> float:
        timed.append(call)
        for tell in trials.listeners:
            tell()
        return 1e-3

    monkeypatch.setattr(trials, "seconds", one)
    monkeypatch.setattr(calibrate, "_warn_if_busy", lambda _: None)
    nsp.calibrate(store=False, progress=True)
    assert len(timed) == calibrate._measurements(calibrate.machines.available_processors())
    assert trials.listeners == []
    shares = [int(n) for n in re.findall(r"(\d+)%", screen.getvalue())]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 100
    assert "measuring" in screen.getvalue()


def test_warmup_tells_calls_and_kernels(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: warmup.CASES[name] for name in ("separable kernels", "on one thread")}
    monkeypatch.setattr(warmup, "CASES", few)
    warmup.compile_ahead(["float32"], processes=2, progress=True)
    shown = screen.getvalue()
    assert "call 2 of 2" in shown
    assert "kernels compiled" in shown
    assert re.findall(r"(\d+)%", shown)[-1] == "100"
    before = screen.getvalue()
    nsp.warmup(["float32"], processes=1)
    assert screen.getvalue() == before, "no bar unless it is asked for"


@pytest.mark.parametrize("command", ["calibrate", "warmup"])
def test_the_help_is_honest(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "minutes" in printed
    assert "not compiled again" in printed
    assert "--quiet" in printed
    assert "about a second" not in printed


@pytest.mark.parametrize("command", ["calibrate", "warmup"])
@pytest.mark.parametrize(
    ("terminal", "quiet", "told"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_the_commands_show_a_bar_on_a_terminal(
    command: str, terminal: bool, quiet: bool, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(nsp, "calibrate", lambda progress: asked.append(progress))
    monkeypatch.setattr(warmup, "compile_ahead", lambda progress: asked.append(progress) or (3, 4))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert main([command, *["--quiet"] * quiet]) == 0
    assert asked == [told]
