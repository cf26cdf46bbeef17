"""Locks that remain usable in a forked child even if another thread held them."""

import os
import threading
from collections.abc import Callable
from typing import Any


def in_children(call: Callable[[], Any]) -> None:
    """Call `call` in every forked child, before other Python code runs there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def fork_safe_lock() -> Any:
    """Return a `threading.Lock` that is released in forked children, as in `logging` and `concurrent.futures`.

    It suits locks that guard single operations on a container.  If several operations belong together, the container
    must also be cleared, by `in_children`.
    """
    lock: Any = threading.Lock()
    if hasattr(lock, "_at_fork_reinit"):  # CPython has it only on systems with fork
        in_children(lock._at_fork_reinit)
    return lock


def delay_forks(lock: Any) -> Any:
    """Delay forks until no other thread holds `lock` (reentrant), so that its data are consistent in the child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock
