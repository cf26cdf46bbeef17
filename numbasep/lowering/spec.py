"""`PassSpec`: one decided pass, as priced by the planner and bound by the backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .counts import Blocking, far_bytes, is_shared
from .shapes import Cut
from .steps import Steps, total
from .task import Task

Reads = tuple[int, int]
"""Which intermediate is read, and the term whose taps weigh it."""


@dataclass(frozen=True, slots=True)
class PassSpec:
    """One pass over an array: what the planner prices, and the backend binds to memory."""

    kernel: str
    """A name of `lowering.kernels.KERNELS`; "gather" and "scatter" bring columns together and apart."""
    axes: tuple[int, ...]
    """Filtered axes."""
    task: Task | None
    """What is computed; None for copies."""
    blocking: Blocking
    """How the kernel goes about it."""
    steps: Steps
    """What that takes."""
    starts: int
    """How often it is started: once for each slab and each intermediate."""
    bytes: float
    """Bytes read and written."""
    memory: float
    """Those from and to the arrays of the caller; intermediates stay in cache."""
    operations: float
    """Multiply-adds or additions."""
    thick: int = 0
    """Positions of its axis that are filtered before the passes behind it go on with them; 0: all."""
    members: tuple[Reads, ...] = ()
    """The intermediates that it makes, by what they are made of; none if it writes the output."""
    sums: tuple[tuple[Reads, ...], ...] = ()
    """The terms that it adds up in the output; those of a group share their taps along the columns."""
    share: tuple[tuple[Reads, ...], ...] = ()
    """As many for the sum of the weights of samples that are there, by which these are divided."""
    final: bool = True
    """Whether it writes results; otherwise what it adds up is an intermediate."""
    cut: Cut | None = None
    """How long rows are cut into many."""
    behind: tuple[tuple[PassSpec, ...], ...] = ()
    """For short rows behind other axes: the passes that make each of the intermediates they read."""
    inputs: tuple[tuple[Reads, ...], ...] = ()
    """The terms that each of these adds up."""
    front: PassSpec | None = None
    """The pass along an outer axis whose sums it filters, piece by piece (`lowering.volumes`)."""
    strip: int = 0
    """Rows of such a piece."""
    slab_axis: int = -1
    """The axis of which `thick` positions are filtered at a time, by these passes and this one."""

    @property
    def slabs(self) -> int:
        """Pieces that the array is filtered in."""
        return self.starts // max(len(self.members), 1)

    @property
    def in_order(self) -> tuple[PassSpec, ...]:
        """Those behind which it runs, and itself."""
        return (*(one for chain in self.behind for one in in_order(chain)), self)


def in_order(chain: Sequence[PassSpec]) -> tuple[PassSpec, ...]:
    """All passes of a chain, in the order in which a slab goes through them."""
    return tuple(one for spec in chain for one in spec.in_order)


def in_slabs(spec: PassSpec, slabs: int) -> PassSpec:
    """The pass in so many slabs: whether threads share each, and which bytes of intermediates do not stay in cache.

    An array of the caller that is read once more counts as such.
    """
    assert spec.task is not None
    shared = is_shared(
        spec.task.numbers / slabs, spec.operations / max(len(spec.members), 1) / spec.task.numbers
    )
    inside = spec.bytes - spec.memory
    far = spec.steps.far + far_bytes(inside, inside / slabs)
    return replace(spec, steps=spec.steps._replace(far=far), blocking=replace(spec.blocking, shared=shared))


def together(specs: Sequence[PassSpec], slabs: int, thick: int, members: tuple[Reads, ...]) -> PassSpec:
    """The passes that make intermediates of one axis, as one; the array of the caller is read once."""
    count = len(specs)
    made = replace(
        specs[0], steps=total(*(spec.steps for spec in specs)), starts=slabs * count, thick=thick, members=members,
        bytes=sum(spec.bytes for spec in specs), operations=sum(spec.operations for spec in specs),
    )  # fmt: skip
    return in_slabs(made, slabs)
