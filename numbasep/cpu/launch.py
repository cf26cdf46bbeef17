"""The passes of one call, bound to a memory layout, and their execution."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..lowering.spec import PassSpec
from . import staging, threads
from .buffers import INPUT, OUTPUT
from .plane_pass import PlanePass
from .short_rows import ShortRows

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A pass on one slab."""

    run: PlanePass | ShortRows | staging.Move
    """What is called."""
    source: int
    """Buffer that it reads."""
    target: int
    """Buffer that it writes."""
    number: int
    """Which of the passes of the plan it is a part of."""


@dataclass(slots=True, eq=False)
class BoundCall:
    """Prepared passes for one memory layout."""

    steps: list[Step] = field(default_factory=list)
    """In the order in which they run."""
    scratch: dict[int, int] = field(default_factory=dict)
    """Bytes of each scratch buffer."""
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))
    """Type of the scratch buffers."""
    specs: tuple[PassSpec, ...] = ()
    """The passes, as they were decided."""
    clock: list[float] | None = None
    """Seconds of each of these in all calls since they were set to zero; None: not measured."""

    @property
    def workspace(self) -> int:
        """Bytes of scratch memory that a call uses."""
        return sum(self.scratch.values()) + max((step.run.workspace for step in self.steps), default=0)

    def __call__(self, x: Array, y: Array) -> None:
        """Run on the flat memory of both arrays."""
        total = sum(self.scratch.values())
        if not total:
            self._run({INPUT: x, OUTPUT: y})
            return
        with threads.borrow(max(step.run.workspace for step in self.steps)):
            pass  # there is memory for every step, before the first one writes
        with threads.borrow(total) as buffer:
            flat, at = {INPUT: x, OUTPUT: y}, 0
            for slot, nbytes in self.scratch.items():
                flat[slot] = buffer[at : at + nbytes]
                at += nbytes
            self._run(flat)

    def _run(self, flat: dict[int, Array]) -> None:
        if self.clock is None:
            for step in self.steps:
                step.run(flat[step.source], flat[step.target])
            return
        for step in self.steps:
            start = time.perf_counter()
            step.run(flat[step.source], flat[step.target])
            self.clock[step.number] += time.perf_counter() - start
