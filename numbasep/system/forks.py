"""Locks after a fork: the child gets new ones in place of those that other threads held."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any


def in_children(call: Callable[[], Any]) -> None:
    """Have `call` called in every forked child, before its first line of Python."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def lasting_lock() -> Any:
    """A `threading.Lock` that is free in a forked child, as those of `logging` and `concurrent.futures` are.

    For locks that guard single operations on a container.  What needs several, clear it `in_children`.
    """
    lock: Any = threading.Lock()
    if hasattr(lock, "_at_fork_reinit"):  # CPython has it only where there is fork
        in_children(lock._at_fork_reinit)
    return lock


def delay_forks(lock: Any) -> Any:
    """Let forks wait until no other thread holds `lock`, a reentrant one: what it guards is then whole in the child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock
