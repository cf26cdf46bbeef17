"""A pool of Python threads, for work during which NumPy and SciPy release the GIL."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class ThreadTeam:
    """A team of the calling thread and other threads that share tasks."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> ThreadTeam:
        """Return the team; its threads start on first use."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End the other threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def share(self, task: Callable[[Any], None], items: Iterable[Any]) -> None:
        """Call `task` for every item, from all threads; stop at the first error."""
        if self._workers == 1:
            for item in items:
                task(item)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers - 1, thread_name_prefix="numbasep-fft")
        left, lock, stopped = iter(items), threading.Lock(), threading.Event()
        others: list[Future[None]] = []
        with contextlib.suppress(RuntimeError):  # if no more threads can be started, use those that have
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
