"""The passes of a call bound to a memory layout, and their execution."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..lowering.spec import PassSpec
from . import staging, threads
from .buffers import INPUT, OUTPUT
from .pieces import Pieces
from .plane_pass import PlanePass
from .short_rows import ShortRows

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A pass on one slab."""

    run: PlanePass | ShortRows | Pieces | staging.Move
    """Prepared pass, called with the flat memory of its arrays."""
    source: int
    """Number of the buffer that it reads."""
    target: int
    """Number of the buffer that it writes."""
    number: int
    """Index of the pass in the plan."""
    first: int | None = None
    """Index of the first of several passes in one, the last of which is `number`."""


@dataclass(slots=True, eq=False)
class BoundCall:
    """Prepared passes for a memory layout."""

    steps: list[Step] = field(default_factory=list)
    """Steps in the order of execution."""
    scratch: dict[int, int] = field(default_factory=dict)
    """Number of each scratch buffer -> its bytes."""
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))
    """Type of the sums, which scratch buffers store."""
    specs: tuple[PassSpec, ...] = ()
    """Passes of the plan."""
    clock: list[float] | None = None
    """Accumulated seconds of each of these passes, or None if they are not measured."""

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
            pass  # check that there is memory for every step before the first one writes
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
            self._count(step, time.perf_counter() - start)

    def _count(self, step: Step, seconds: float) -> None:
        """Add the seconds of a step to `clock`; passes in one share them in proportion to their operations."""
        assert self.clock is not None
        first = step.number if step.first is None else step.first
        done = [spec.operations for spec in self.specs[first : step.number + 1]]
        for number, operations in enumerate(done, first):
            self.clock[number] += seconds * operations / sum(done) if len(done) > 1 else seconds
