"""Threads and scratch memory of the CPU backend.

This module works around four problems, all reproduced in the tests:

* Numba's `workqueue` layer aborts the process if two Python threads enter parallel kernels at once;
* GNU OpenMP kills a forked child at its first parallel launch;
* calls from the threads of a pool would each start as many threads as there are cores;
* Numba's functions that get and set the number of threads take a lock that is shared with forked children, so that
  a child that is killed while it holds the lock would block its parent forever.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numba.core import config
from numba.np.ufunc import parallel as _numba

from ..arguments.axes import integer
from ..system import forks
from .intrinsics.vectors import LINE_BYTES

THREAD_BYTES = 16 << 20  # address space of a thread: its stack and initial allocations

_lock = forks.fork_safe_lock()  # held during parallel kernels on a layer that is not thread-safe
_starting = forks.delay_forks(threading.RLock())  # held while Numba starts its threads
_local = threading.local()
_busy: set[int] = set()  # Python threads that are currently filtering a large array
_starter: int | None = None  # the Python thread that made Numba start its threads
_serial = False  # whether this is a forked child that must not launch threads


def _after_fork() -> None:
    global _serial
    _serial = _serial or (_launched() and not _survives_fork())
    _busy.clear()
    _pool.clear()


def _survives_fork() -> bool:
    """Return whether a child can use the threading layer; TBB's starter must fork while no other thread filters."""
    layer = numba.threading_layer()
    return layer == "workqueue" or (layer == "tbb" and _starter == threading.get_ident() and not _busy)


def thread_count(workers: int | None) -> int:
    """Return the threads of a call: `workers`, `num_threads`, or a fair share; 1 if threads are unsafe.

    The share is Numba's setting divided by the number of Python threads that are currently filtering.
    """
    if config.DISABLE_JIT or _serial:
        return 1
    limit = int(config.NUMBA_NUM_THREADS)
    requested = workers if workers is not None else getattr(_local, "threads", None)
    if requested is not None:
        return min(limit, requested)
    setting = min(limit, int(_get()))
    others = len(_busy) - (threading.get_ident() in _busy)
    return max(1, setting // (others + 1)) if others > 0 else setting


def most() -> int:
    """Return the maximum number of threads, for decisions that must not depend on other threads' filters."""
    return int(config.NUMBA_NUM_THREADS)


def _launched() -> bool:
    """Return whether Numba has started its threads; before that, their number cannot have been changed."""
    return bool(getattr(_numba, "_is_initialized", True))


def _get() -> int:
    """Return Numba's setting for this Python thread without starting threads."""
    return _functions()[0]() if _launched() else int(config.NUMBA_NUM_THREADS)


@functools.cache
def _functions() -> tuple[Callable[[], int], Callable[[int], Any]]:
    """Return the threading layer's functions that get and set the number of threads without a lock."""
    global _starter
    with _starting:
        if not _launched():
            _starter = threading.get_ident()
            numba.get_num_threads()  # starts the threads
    try:
        return _numba._get_num_threads, _numba._set_num_threads
    except AttributeError:
        return numba.get_num_threads, numba.set_num_threads


class occupied:  # noqa: N801 - reads as a function: with occupied(): ...
    """Context that marks this Python thread as filtering, so that others use fewer threads."""

    __slots__ = ("_caller", "_outer")

    def __enter__(self) -> None:
        """Enter before `thread_count`."""
        self._caller = threading.get_ident()
        self._outer = self._caller in _busy
        _busy.add(self._caller)

    def __exit__(self, *exc: object) -> None:
        """Remove the mark, unless an outer context set it."""
        if not self._outer:
            _busy.discard(self._caller)


class parallel_region(occupied):  # noqa: N801
    """Context in which parallel kernels run on `threads` threads; the caller's setting is restored afterwards."""

    __slots__ = ("_before", "_locked", "_threads")

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def __enter__(self) -> None:
        """Set the number of threads; wait for other callers on a layer that is not thread-safe."""
        get, set_ = _functions()
        self._locked = numba.threading_layer() not in ("omp", "tbb")
        super().__enter__()
        held = False
        try:
            held = self._locked and _lock.acquire()
            self._before = get()
            if self._before != self._threads:
                set_(self._threads)
        except BaseException:
            if held:
                _lock.release()
            super().__exit__()
            raise

    def __exit__(self, *exc: object) -> None:
        """Restore the setting."""
        try:
            if self._before != self._threads:
                _functions()[1](self._before)
        finally:
            if self._locked:
                _lock.release()
            super().__exit__()


def set_num_threads(n: int) -> None:
    """Set the number of threads that filters called from this thread use.

    Parameters
    ----------
    n : int
        Number of threads, from 1 to the number that Numba started with.

    Examples
    --------
    >>> import numbasep
    >>> with numbasep.num_threads(1):  # what is set in such a block ends with it
    ...     numbasep.set_num_threads(1)
    """
    count = integer("n", n)
    if not 1 <= count <= config.NUMBA_NUM_THREADS:
        raise ValueError(f"n must be between 1 and {config.NUMBA_NUM_THREADS}, got {n!r}")
    _local.threads = count


class num_threads:  # noqa: N801 - reads as a function: with num_threads(2): ...
    """Context in which filters called from this thread use `n` threads.

    Parameters
    ----------
    n : int
        Number of threads, from 1 to the number that Numba started with.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> with numbasep.num_threads(1):
    ...     y = numbasep.convolve(np.ones((4, 4)), np.ones((3, 3)))
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._before: int | None = None

    def __enter__(self) -> None:
        """Remember the setting and change it."""
        self._before = getattr(_local, "threads", None)
        set_num_threads(self._n)

    def __exit__(self, *exc: object) -> None:
        """Restore the setting."""
        _local.threads = self._before


def check_memory(nbytes: int, new_threads: int) -> None:
    """Raise MemoryError in advance; a Python thread without memory for its start would hang the calling thread."""
    np.empty(nbytes + THREAD_BYTES * new_threads, np.uint8)


def aligned(nbytes: int) -> np.ndarray:
    """Allocate bytes aligned to a cache line."""
    raw = np.empty(nbytes + LINE_BYTES, np.uint8)
    shift = -raw.ctypes.data % LINE_BYTES
    return raw[shift : shift + nbytes]


class _Pool:
    """Pool of scratch buffers that are reused by later calls, never by two calls at once."""

    _KEEP_BYTES = 64 << 20

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._lock = forks.fork_safe_lock()

    @contextlib.contextmanager
    def borrow(self, nbytes: int) -> Iterator[np.ndarray]:
        """Borrow a buffer of at least `nbytes` bytes, aligned to a cache line."""
        buffer = self._take(nbytes)
        try:
            yield buffer
        finally:
            self._give(buffer)

    def _take(self, nbytes: int) -> np.ndarray:
        with self._lock:
            for i, buffer in enumerate(self._free):
                if buffer.nbytes >= nbytes:
                    return self._free.pop(i)
        return aligned(nbytes)

    def _give(self, buffer: np.ndarray) -> None:
        with self._lock:
            self._free.append(buffer)
            self._free.sort(key=lambda b: b.nbytes)
            while sum(b.nbytes for b in self._free) > self._KEEP_BYTES:
                self._free.pop()

    def clear(self) -> None:
        """Forget all buffers."""
        self._free = []


_pool = _Pool()
borrow = _pool.borrow
forks.in_children(_after_fork)
