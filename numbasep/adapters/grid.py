"""Blocks of a chunked result, and the chunks that each block reads.  Integers only, no arrays."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..api.calls import FilterCall
from ..arguments.problem import Window
from . import halo

Index = tuple[int, ...]
Strip = tuple[int, int, int]
"""(axis, low, high): the samples [low, high) of a chunk along an axis, all along the others."""

THIN = 0.5
"""A neighbour's part of a chunk is cut out of it in a task of its own if it is at most this part of it."""


@dataclass(frozen=True, slots=True)
class ChunkPart:
    """A part of an extended block."""

    chunk: Index
    """The chunk that it comes from."""
    strip: Strip | None
    """The strip of that chunk that holds it; None: the chunk itself."""
    pieces: tuple[halo.Piece, ...]
    """Which samples, and where they go, along each axis."""


SLAB_BYTES = 16 << 20
"""Size that extended blocks are put together in: small enough to stay in fast memory, and to be used again."""


@dataclass(frozen=True, slots=True)
class Slab:
    """A part of a block along one axis."""

    axis: int
    """The axis."""
    start: int
    """First result."""
    stop: int
    """One past the last."""
    low: int
    """First sample of the extended block that it needs."""
    high: int
    """One past the last."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Blocks of the result, and what each needs, axis by axis."""

    bounds: tuple[tuple[int, ...], ...]
    """Chunk boundaries of the input, ``(0, ..., size)``."""
    spans: tuple[tuple[halo.Span, ...], ...]
    """By axis and block."""
    pieces: tuple[tuple[tuple[halo.Piece, ...], ...], ...]
    """The same by chunks."""
    cuts: tuple[tuple[tuple[tuple[int, int], ...], ...], ...]
    """By axis and chunk: the strips that other blocks need."""
    chunks: tuple[tuple[int, ...], ...]
    """Sizes of the blocks."""
    steps: dict[int, int]
    """Filtered axes, and the samples from one result to the next along each."""
    one_mode: bool
    """Whether a block must be filtered in one mode for all axes."""

    @property
    def blocks(self) -> itertools.product[Index]:
        """All blocks."""
        return itertools.product(*(range(len(sizes)) for sizes in self.chunks))

    def shape(self, block: Index) -> tuple[int, ...]:
        """Shape of a block of the result."""
        return tuple(sizes[k] for sizes, k in zip(self.chunks, block, strict=True))

    def extended_shape(self, block: Index) -> tuple[int, ...]:
        """Shape of a block with everything that it needs."""
        return tuple(spans[k].length for spans, k in zip(self.spans, block, strict=True))

    def within(self, block: Index) -> dict[int, bool]:
        """By axis: whether the extended block is filtered in mode "valid"."""
        found = {axis: spans[k].within for axis, (spans, k) in enumerate(zip(self.spans, block, strict=True))}
        if self.one_mode and not all(found[axis] for axis in self.steps):
            return dict.fromkeys(found, False)
        return found

    def cut(self, block: Index) -> tuple[slice, ...]:
        """The results to keep of those of the extended block."""
        within = self.within(block)
        spans = (spans[k] for spans, k in zip(self.spans, block, strict=True))
        return tuple(slice(None) if within[axis] else span.cut for axis, span in enumerate(spans))

    def parts(self, block: Index) -> list[ChunkPart]:
        """What an extended block is put together from."""
        by_axis = [pieces[k] for pieces, k in zip(self.pieces, block, strict=True)]
        found = []
        for pieces in itertools.product(*by_axis):
            chunk = tuple(piece.chunk for piece in pieces)
            found.append(ChunkPart(chunk, None if chunk == block else self._strip(pieces), pieces))
        whole = {part.chunk for part in found if part.strip is None}  # needed anyway
        return [replace(part, strip=None) if part.chunk in whole else part for part in found]

    def slabs(self, block: Index, itemsize: int) -> list[Slab]:
        """A large block in slabs of about `SLAB_BYTES`; none for a block that is filtered at once.

        Neighbouring slabs share what the kernel reaches over, which is at most half of a slab.
        """
        shape, extended, within = self.shape(block), self.extended_shape(block), self.within(block)
        size = math.prod(extended) * itemsize
        axes = [a for a, n in enumerate(shape) if n > 1 and (within[a] or a not in self.steps)]
        if size <= 2 * SLAB_BYTES or not axes:
            return []
        axis = axes[0]
        length, step = shape[axis], self.steps.get(axis, 1)
        margin = extended[axis] - length * step
        most = max((SLAB_BYTES * extended[axis] // size - margin) // step, 2 * margin // step, 1)
        count = math.ceil(length / most)
        bounds = [length * k // count for k in range(count + 1)]
        pairs = itertools.pairwise(bounds) if count > 1 else ()
        return [Slab(axis, a, b, a * step, b * step + margin) for a, b in pairs]

    def strips(self, chunk: Index) -> list[Strip]:
        """The strips that other blocks need of a chunk."""
        return [(axis, low, high) for axis, k in enumerate(chunk) for low, high in self.cuts[axis][k]]

    def _strip(self, pieces: tuple[halo.Piece, ...]) -> Strip | None:
        """The thinnest strip that holds the pieces; None if there is no thin one."""
        best, share = None, THIN
        for axis, piece in enumerate(pieces):
            size = self.bounds[axis][piece.chunk + 1] - self.bounds[axis][piece.chunk]
            for low, high in self.cuts[axis][piece.chunk]:
                if low <= piece.low and piece.high <= high and (high - low) / size <= share:
                    best, share = (axis, low, high), (high - low) / size
        return best


def make_grid(request: FilterCall, chunks: Sequence[Sequence[int]]) -> Grid:
    """The grid of a request on an array of these chunks."""
    windows = {window.axis: window for window in request.windows}
    split = {axis for axis in windows if len(chunks[axis]) > 1}
    if request.one_mode and split:
        split = set(windows)  # one mode for all axes, be it "valid"
    bounds, spans, out_chunks = [], [], []
    for axis, sizes in enumerate(chunks):
        edges = (0, *itertools.accumulate(sizes))
        bounds.append(edges)
        if axis not in split:
            spans.append(tuple(halo.whole_span(a, b) for a, b in itertools.pairwise(edges)))
            out_chunks.append((windows[axis].out_size,) if axis in windows else tuple(sizes))
            continue
        results = _result_bounds(edges, windows[axis])
        spans.append(tuple(halo.make_span(windows[axis], a, b) for a, b in itertools.pairwise(results)))
        out_chunks.append(tuple(b - a for a, b in itertools.pairwise(results)))
    pieces = tuple(
        tuple(halo.pieces(span, edges) for span in along) for along, edges in zip(spans, bounds, strict=True)
    )
    cuts = tuple(_cuts(along, edges) for along, edges in zip(pieces, bounds, strict=True))
    return Grid(
        tuple(bounds), tuple(spans), pieces, cuts, tuple(out_chunks),
        {axis: windows[axis].step for axis in sorted(windows)}, request.one_mode,
    )  # fmt: skip


def _result_bounds(edges: Sequence[int], window: Window) -> tuple[int, ...]:
    """Block boundaries: those of the input, the last moved to the size of the result.

    With a step, a result belongs to the chunk of its place in the whole result, and chunks without any have no block.

    Examples
    --------
    >>> from numbasep.arguments.problem import make_window
    >>> _result_bounds((0, 5, 6, 7, 10), make_window(0, 10, 3, 0, "reflect", flip=False, stride=4))
    (0, 2, 3)
    """
    if window.step == 1:
        return (0, *(edge for edge in edges[1:-1] if edge < window.out_size), window.out_size)
    ends = {-(-edge // window.step) for edge in edges[1:-1]} - {0}
    return (0, *sorted(end for end in ends if end < window.out_size), window.out_size)


def _cuts(
    along: Sequence[Sequence[halo.Piece]], edges: Sequence[int]
) -> tuple[tuple[tuple[int, int], ...], ...]:
    """By chunk: the thin intervals that other blocks need."""
    found: list[set[tuple[int, int]]] = [set() for _ in edges[1:]]
    for block, pieces in enumerate(along):
        for piece in pieces:
            size = edges[piece.chunk + 1] - edges[piece.chunk]
            if piece.chunk != block and piece.high - piece.low <= THIN * size:
                found[piece.chunk].add((piece.low, piece.high))
    return tuple(tuple(sorted(intervals)) for intervals in found)
