"""A launch: the passes that filter one array into another, one after the other, and their scratch memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from . import threads
from .planes import PlanePass
from .short_rows import ShortRows
from .slots import INPUT, OUTPUT
from .staging import Move

Array = npt.NDArray[Any]


@dataclass(slots=True, eq=False)
class Launch:
    """Prepared passes for one memory layout."""

    steps: list[tuple[PlanePass | ShortRows | Move, int, int]] = field(default_factory=list)
    """(pass, slot it reads, slot it writes)."""
    scratch: dict[int, int] = field(default_factory=dict)
    """Bytes of each scratch buffer."""
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))
    """Type of the scratch buffers."""

    @property
    def workspace(self) -> int:
        """Bytes of scratch memory that a call uses."""
        return sum(self.scratch.values()) + max((step[0].workspace for step in self.steps), default=0)

    def __call__(self, x: Array, y: Array) -> None:
        """Run on the flat memory of both arrays."""
        total = sum(self.scratch.values())
        if not total:
            for prepared, _, _ in self.steps:
                prepared(x, y)
            return
        with threads.borrow(max(step[0].workspace for step in self.steps)):
            pass  # there is memory for every step, before the first one writes
        with threads.borrow(total) as buffer:
            flat, at = {INPUT: x, OUTPUT: y}, 0
            for slot, nbytes in self.scratch.items():
                flat[slot] = buffer[at : at + nbytes]
                at += nbytes
            for prepared, source, target in self.steps:
                prepared(flat[source], flat[target])
