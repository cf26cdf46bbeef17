"""Notices on terminals and in notebooks: progress bars, and a message while kernels compile.

Nothing is written to files and pipes, under pytest, or with NUMBASEP_QUIET=1.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from .forks import fork_safe_lock

PATIENCE = 1.0
"""Seconds of compilation after which a message is written."""
GAP = 0.5
"""Seconds between two compilations from which on they count as separate stalls, each with a message."""
WIDTH = 40
"""Characters of a full progress bar."""


def wanted() -> bool:
    """Return whether standard error is a terminal or notebook and notices are not disabled."""
    if os.environ.get("NUMBASEP_QUIET", "0") not in ("", "0") or "pytest" in sys.modules:
        return False
    stream = sys.stderr
    if stream is None:
        return False
    if type(stream).__module__.partition(".")[0] == "ipykernel":
        return True
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # not a stream, or closed
        return False


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()


# ------------------------------------------------------------------------------------------ compiling


class _Thread(threading.local):
    """Number of compilations in progress in this thread, since one may need another."""

    depth = 0


class _Stall:
    """A series of compilations without a pause between them."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.ended = float("-inf")
        self.told = False


class Counts:
    """Numbers of kernels compiled and loaded in this process so far."""

    compiled = 0
    loaded = 0


counts, _stall, _thread, _bars = Counts(), _Stall(), _Thread(), [0]
_lock = fork_safe_lock()


def _missed(dispatcher: Any) -> int:
    """Return how often Numba found nothing in the cache and started to compile."""
    return sum(dispatcher._cache_misses.values())


def _line() -> str:
    often = (
        "once in every process, as NUMBASEP_CACHE=0 is set"
        if os.environ.get("NUMBASEP_CACHE") == "0"
        else "once for each kind of call"
    )
    return (
        f"numbasep is compiling for this processor; this happens {often} (NUMBASEP_QUIET=1 hides this line)\n"
    )


@contextlib.contextmanager
def compiling(dispatcher: Any) -> Iterator[None]:
    """Count and announce compilations in a call of Numba's `Dispatcher.compile`, which loads or compiles machine code.

    A thread watches the outermost call and writes a message when the stall exceeds `PATIENCE`.
    """
    misses, hits = _missed(dispatcher), sum(dispatcher._cache_hits.values())
    outermost = not _thread.depth
    _thread.depth += 1
    start = time.monotonic()
    done = threading.Event() if outermost and not _bars[0] and wanted() else None
    if done is not None:
        with _lock:
            if start - _stall.ended > GAP:
                _stall.spent, _stall.told = 0.0, False
            patience = PATIENCE - _stall.spent
        watcher = threading.Thread(target=_watch, args=(dispatcher, misses, patience, done), daemon=True)
        with contextlib.suppress(RuntimeError):  # no threads can be started when the interpreter is ending
            watcher.start()
    try:
        yield
    finally:
        _thread.depth -= 1
        compiled = _missed(dispatcher) - misses
        with _lock:
            counts.compiled += compiled
            counts.loaded += sum(dispatcher._cache_hits.values()) - hits
            if done is not None:
                _stall.ended = time.monotonic()
                _stall.spent += (_stall.ended - start) * bool(compiled)
        if done is not None:
            done.set()


def _watch(dispatcher: Any, misses: int, patience: float, done: threading.Event) -> None:
    while not done.wait(max(patience, 0.05)):
        if _missed(dispatcher) > misses:  # it compiles; loading is not announced
            with _lock:
                told, _stall.told = _stall.told, True
            if not told:
                _write(_line())
            return
        patience = 0.0


# ------------------------------------------------------------------------------------------ a bar


class Bar:
    """A progress bar on standard error, redrawn by each `advance`; thread-safe.

    Parameters
    ----------
    total : int
        Total number of steps.
    doing : str
        Description of the current step.
    shown : bool
        Whether the bar is drawn.
    """

    def __init__(self, total: int, doing: str, *, shown: bool) -> None:
        self._total, self._doing, self._shown = max(total, 1), doing, shown
        self._done, self._start, self._lock = 0, time.monotonic(), threading.Lock()

    def __enter__(self) -> Bar:
        """Draw the empty bar."""
        _bars[0] += 1
        self._draw("")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End the line; fill the bar unless an error occurred."""
        _bars[0] -= 1
        if kind is None:
            self._done = self._total
        self._draw("\n")

    def advance(self, doing: str | None = None) -> None:
        """Count a finished step; `doing` describes the next one."""
        with self._lock:
            self._done = min(self._done + 1, self._total)
            self._doing = doing or self._doing
            self._draw("")

    def _draw(self, end: str) -> None:
        if self._shown:
            share, seconds = self._done / self._total, time.monotonic() - self._start
            bar = "#" * int(WIDTH * share)
            _write(f"\r[{bar:{WIDTH}s}] | {share:4.0%} | {self._doing} | {seconds:.0f} s\x1b[K{end}")
