"""Calls that were made before: their plans, by the arguments as they came."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import machine
from ..planner import PlannedFilter

PLAIN = frozenset({str, type(None), int, float, complex, tuple, np.int64, np.float64})
"""Types of arguments that calls are known by: of others, some equal a number (True == 1) but are not allowed for it."""


def exactly(stride: Any) -> Any:
    """`stride` as an argument that calls are known by, if it is one or several integers; True equals 1, and is none."""
    if type(stride) is int:
        return stride
    return stride if type(stride) is tuple and all(type(one) is int for one in stride) else Ellipsis


class Shortcuts:
    """Plans by the arguments of a call: a repeated call skips everything but running."""

    LIMIT = 512
    LONGEST = 4096

    def __init__(self) -> None:
        self._plans: dict[Any, PlannedFilter] = {}

    def key(self, arguments: tuple[Any, ...], input: Any, output: Any, mask: Any, weights: Any = None) -> Any:
        """What a call is known by; None for one that is not remembered."""
        if type(input) is not np.ndarray or mask is not None or not PLAIN.issuperset(map(type, arguments)):
            return None
        kind = None
        if output is not None:
            if type(output) is not np.ndarray:
                return None
            kind = output.dtype
        if weights is None:
            return arguments, input.shape, input.dtype, kind
        known = self._known(weights)
        return None if known is None else (arguments, input.shape, input.dtype, kind, known)

    def _known(self, weights: Any) -> Any:
        """What weights, or a sequence of taps axis by axis, are known by; None if they are not remembered."""
        if type(weights) in (list, tuple):
            parts = tuple(map(self._known, weights))
            return None if None in parts else parts
        if (
            type(weights) is not np.ndarray
            or weights.dtype.kind not in "biufc"
            or weights.size > self.LONGEST
        ):
            return None
        return weights.tobytes(), weights.shape, weights.dtype

    def find(self, key: Any) -> PlannedFilter | None:
        """The plan of an equal call."""
        try:
            return self._plans.get(key)  # nothing is kept under None
        except TypeError:  # a list among the arguments
            return None

    def keep(self, key: Any, plan: PlannedFilter) -> None:
        """Remember the plan of a call."""
        if key is None:
            return
        try:
            hash(key)
        except TypeError:
            return
        if len(self._plans) >= self.LIMIT:
            self._plans.clear()
        self._plans[key] = plan

    def clear(self) -> None:
        """Forget all plans."""
        self._plans.clear()


shortcuts = Shortcuts()
machine.when_changed(shortcuts.clear)
