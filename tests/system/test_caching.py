"""Attributes that are computed once, also by a child that was forked while another thread computed one."""

import os
from pathlib import Path

import pytest

import numbasep
from numbasep.system.caching import cached_property
from tests.support.processes import assert_succeeds


class Counted:
    """Counts how often its attribute is computed."""

    calls = 0

    @cached_property
    def value(self) -> int:
        """The attribute."""
        self.calls += 1
        return self.calls


def test_it_is_computed_once_for_each_object() -> None:
    one, other = Counted(), Counted()
    assert (one.value, one.value, other.value) == (1, 1, 1)
    assert one.calls == 1
    assert Counted.value.__doc__ == "The attribute."


FORKED = """
import os, signal, threading
from numbasep.system.caching import cached_property
inside, leave = threading.Event(), threading.Event()
class Slow:
    @cached_property
    def value(self):
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            leave.wait()
        return 1
other = threading.Thread(target=lambda: Slow().value)
other.start()
inside.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if Slow().value == 1 else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
leave.set()
other.join()
assert code == 0, code
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    assert_succeeds(FORKED)


def test_the_package_uses_no_other() -> None:
    sources = {
        path: path.read_text(encoding="utf-8") for path in Path(numbasep.__file__).parent.rglob("*.py")
    }
    users = [path.name for path, text in sources.items() if "functools.cached_property" in text]
    assert users == ["caching.py"]
    importing = "from functools import cached_property"
    assert [path.name for path, text in sources.items() if importing in text] == ["caching.py"]
