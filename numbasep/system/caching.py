"""`cached_property` without a lock: attributes that are computed once for each object."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from functools import cached_property as cached_property
else:

    class cached_property:  # noqa: N801 - named as in functools
        """As `functools.cached_property`, which before Python 3.12 holds one lock for all objects of a class.

        A process that forks while another thread holds that lock leaves it locked in the child for ever.  Without it,
        two threads may compute a value twice.
        """

        def __init__(self, function: Callable[[Any], Any]) -> None:
            self._function, self.__doc__ = function, function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self._name] = self._function(instance)
            return value
