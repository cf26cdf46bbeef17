"""Threads and scratch memory of the CPU backend: how many, who may use them, and what is safe.

Three facts decide (all reproduced in the tests): Numba's `workqueue` layer aborts the process when two Python
threads enter parallel kernels at once; GNU OpenMP kills a forked child at its first parallel launch; and a kernel
called from inside another pool should not start threads of its own.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
from numba.core import config

from ..kernels.simd import VECTOR_BYTES
from ..problem import integer

_lock = threading.Lock()  # held round parallel kernels on a layer that cannot be entered twice
_local = threading.local()
_parent = os.getpid()
_forked = False


def _after_fork() -> None:
    global _forked, _lock
    _forked = True
    _lock = threading.Lock()
    _pool.clear()


def thread_count(workers: int | None) -> int:
    """Threads for a call: the caller's wish, `num_threads`, Numba's setting; 1 where threads are unsafe."""
    if config.DISABLE_JIT or (_forked and _layer_breaks_after_fork()):
        return 1
    limit = int(config.NUMBA_NUM_THREADS)
    wish = workers if workers is not None else getattr(_local, "threads", None)
    return min(limit, wish) if wish is not None else min(limit, int(numba.get_num_threads()))


def _layer() -> str | None:
    try:
        return str(numba.threading_layer())
    except ValueError:  # no parallel kernel has run yet
        return None


def _layer_breaks_after_fork() -> bool:
    layer = _layer()
    return layer is None or layer != "workqueue"


@contextlib.contextmanager
def parallel_region(threads: int) -> Iterator[None]:
    """Run one parallel kernel on `threads` threads; restores the caller's setting."""
    before = numba.get_num_threads()
    guard: Any = contextlib.nullcontext() if _layer() in ("omp", "tbb") else _lock
    with guard:
        numba.set_num_threads(threads)
        try:
            yield
        finally:
            numba.set_num_threads(before)


def set_num_threads(n: int) -> None:
    """Set the number of threads that filters called from this thread use.

    Parameters
    ----------
    n : int
        Threads, from 1 to the number Numba started with.

    Examples
    --------
    >>> import numbasep
    >>> numbasep.set_num_threads(1)
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
        Threads, from 1 to the number Numba started with.

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


def aligned(nbytes: int) -> np.ndarray:
    """New bytes that start on a vector boundary."""
    raw = np.empty(nbytes + VECTOR_BYTES, np.uint8)
    shift = -raw.ctypes.data % VECTOR_BYTES
    return raw[shift : shift + nbytes]


class _Pool:
    """Scratch buffers that stay warm between calls; never shared by two calls at once."""

    _KEEP_BYTES = 64 << 20

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def borrow(self, nbytes: int) -> Iterator[np.ndarray]:
        """At least `nbytes` bytes, aligned to a vector."""
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
        self._lock = threading.Lock()
        self._free = []


_pool = _Pool()
borrow = _pool.borrow
os.register_at_fork(after_in_child=_after_fork)
