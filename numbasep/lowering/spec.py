"""`PassSpec`: one lowered pass, whose time the planner predicts and which the backend binds to memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .counts import Blocking, far_bytes, is_shared
from .shapes import Cut
from .steps import Steps, total
from .task import Task

Reads = tuple[int, int]
"""(number of an intermediate that is read, number of the term whose taps are applied to it)."""


@dataclass(frozen=True, slots=True)
class PassSpec:
    """One pass over an array: its kernel, blocking and counts."""

    kernel: str
    """Key of `lowering.kernels.KERNELS`, or "gather" or "scatter" for copies to and from adjacent columns."""
    axes: tuple[int, ...]
    """Filtered axes."""
    task: Task | None
    """Task to compute; None for copies."""
    blocking: Blocking
    """Blocking of the kernel."""
    steps: Steps
    """Number of steps of each kind."""
    starts: int
    """Number of times that the pass is started: once for each slab and each intermediate."""
    bytes: float
    """Bytes read and written."""
    memory: float
    """Bytes read from and written to the caller's arrays, without intermediates, which stay in cache."""
    operations: float
    """Total number of multiply-adds or additions."""
    thickness: int = 0
    """Thickness of a slab: positions of the axis that are filtered before the next passes run; 0 means all."""
    members: tuple[Reads, ...] = ()
    """Source and term of each intermediate that the pass computes; empty if it adds up terms."""
    sums: tuple[tuple[Reads, ...], ...] = ()
    """Groups of terms that the pass adds up; the terms of a group have the same taps along the columns."""
    share: tuple[tuple[Reads, ...], ...] = ()
    """The same groups for the sum of the weights of valid samples, by which results are divided."""
    final: bool = True
    """Whether the pass writes the output; else it writes an intermediate."""
    cut: Cut | None = None
    """Division of few long rows into many; None if they are not divided."""
    chains: tuple[tuple[PassSpec, ...], ...] = ()
    """For a pass over short rows after other axes: the chain of passes that computes each intermediate."""
    inputs: tuple[tuple[Reads, ...], ...] = ()
    """Terms that each of these chains adds up."""
    front: PassSpec | None = None
    """Pass along an outer axis, whose sums this pass filters piece by piece (`lowering.volumes`)."""
    strip: int = 0
    """Number of rows of a piece."""
    slab_axis: int = -1
    """Axis that is divided into slabs of `thickness` positions for these chains and this pass."""

    in_turn: bool = False
    """Whether all threads share each of these slabs; else each slab is filtered by one thread."""

    @property
    def slabs(self) -> int:
        """Number of slabs."""
        return self.starts // max(len(self.members), 1)

    @property
    def in_order(self) -> tuple[PassSpec, ...]:
        """The passes in `chains`, then this pass."""
        return (*(one for chain in self.chains for one in in_order(chain)), self)


def in_order(chain: Sequence[PassSpec]) -> tuple[PassSpec, ...]:
    """Return all passes of a chain, in the order in which a slab takes them."""
    return tuple(one for spec in chain for one in spec.in_order)


def in_slabs(spec: PassSpec, slabs: int) -> PassSpec:
    """Return the pass with its thread sharing and its uncached intermediates adapted to a number of slabs.

    Further reads of the caller's array count as intermediates.
    """
    assert spec.task is not None
    shared = is_shared(
        spec.task.numbers / slabs, spec.operations / max(len(spec.members), 1) / spec.task.numbers
    )
    inside = spec.bytes - spec.memory
    far = spec.steps.far + far_bytes(inside, inside / slabs)
    return replace(spec, steps=spec.steps._replace(far=far), blocking=replace(spec.blocking, shared=shared))


def in_piece(spec: PassSpec, *, shared: bool) -> PassSpec:
    """Return the pass, and those before it, if their intermediates are pieces that stay in a second-level cache.

    Threads share the pieces if `shared`.
    """
    chains = tuple(tuple(in_piece(one, shared=shared) for one in chain) for chain in spec.chains)
    blocking = replace(spec.blocking, shared=shared)
    return replace(spec, steps=spec.steps._replace(far=0.0), blocking=blocking, chains=chains)


def combined(specs: Sequence[PassSpec], slabs: int, thickness: int, members: tuple[Reads, ...]) -> PassSpec:
    """Combine the passes that compute intermediates along one axis; the caller's array is counted once."""
    count = len(specs)
    made = replace(
        specs[0], steps=total(*(spec.steps for spec in specs)), starts=slabs * count, thickness=thickness,
        members=members,
        bytes=sum(spec.bytes for spec in specs), operations=sum(spec.operations for spec in specs),
    )  # fmt: skip
    return in_slabs(made, slabs)
