"""A pool of Python threads, for work in which NumPy and SciPy release the interpreter."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Crew:
    """The calling thread and some others."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Crew:
        """Threads start when they are first needed."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End the other threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def share(self, task: Callable[[Any], None], items: Iterable[Any]) -> None:
        """Call `task` on every item, from all threads; stop at the first error."""
        if self._workers == 1:
            for item in items:
                task(item)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers - 1, thread_name_prefix="numbasep-fft")
        left, lock, stopped = iter(items), threading.Lock(), threading.Event()
        others: list[Future[None]] = []
        with contextlib.suppress(RuntimeError):  # no more threads are to be had: go on with those that are
            others.extend(
                self._pool.submit(_draw, task, left, lock, stopped) for _ in range(self._workers - 1)
            )
        try:
            _draw(task, left, lock, stopped)
        finally:
            errors = [other.exception() for other in others]
        for error in errors:
            if error is not None:
                raise error


def _draw(task: Callable[[Any], None], left: Iterator[Any], lock: Any, stopped: threading.Event) -> None:
    try:
        while not stopped.is_set():
            with lock:
                item = next(left, _NONE)
            if item is _NONE:
                return
            task(item)
    except BaseException:
        stopped.set()
        raise


_NONE = object()
