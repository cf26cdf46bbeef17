"""Blocks of a chunked result and the chunks that each block reads, in plain integers."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..api.calls import FilterCall
from ..arguments.problem import Window
from . import halo

Index = tuple[int, ...]
Strip = tuple[int, int, int]
"""(axis, low, high): the samples [low, high) of a chunk along an axis, and all samples along the others."""

THIN = 0.5
"""Largest share of a chunk that is copied in a separate task for a neighbour that needs it."""


@dataclass(frozen=True, slots=True)
class ChunkPart:
    """A part of an extended block that comes from one chunk."""

    chunk: Index
    """Index of the chunk."""
    strip: Strip | None
    """Strip of the chunk that contains the part; None for the whole chunk."""
    pieces: tuple[halo.Piece, ...]
    """Samples of the chunk and their places in the block, along each axis."""


SLAB_BYTES = 16 << 20
"""Size of the slabs in which large blocks are assembled: small enough to stay in cache and be reused."""


@dataclass(frozen=True, slots=True)
class Slab:
    """A part of a block along an axis."""

    axis: int
    """Number of the axis."""
    start: int
    """First result of the slab."""
    stop: int
    """End of the results."""
    low: int
    """First sample of the extended block that the slab needs."""
    high: int
    """End of the samples."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Blocks of the result and the samples that they need, described separately for each axis."""

    bounds: tuple[tuple[int, ...], ...]
    """Chunk boundaries of the input, ``(0, ..., size)``."""
    spans: tuple[tuple[halo.Span, ...], ...]
    """Samples that each block needs, by axis and block."""
    pieces: tuple[tuple[tuple[halo.Piece, ...], ...], ...]
    """The same, split at the chunk boundaries, by axis and block."""
    cuts: tuple[tuple[tuple[tuple[int, int], ...], ...], ...]
    """Strips of each chunk that other blocks need, by axis and chunk."""
    chunks: tuple[tuple[int, ...], ...]
    """Sizes of the blocks of the result, by axis."""
    steps: dict[int, int]
    """Filtered axis -> stride in samples."""
    one_mode: bool
    """Whether the filter takes a single mode for all axes."""

    @property
    def blocks(self) -> Iterator[Index]:
        """Indices of all blocks."""
        return itertools.product(*(range(len(sizes)) for sizes in self.chunks))

    def shape(self, block: Index) -> tuple[int, ...]:
        """Return the shape of a block of the result."""
        return tuple(sizes[k] for sizes, k in zip(self.chunks, block, strict=True))

    def extended_shape(self, block: Index) -> tuple[int, ...]:
        """Return the shape of a block extended by all samples that it needs."""
        return tuple(spans[k].length for spans, k in zip(self.spans, block, strict=True))

    def within(self, block: Index) -> dict[int, bool]:
        """Return for each axis whether the extended block is filtered in mode "valid"."""
        found = {axis: spans[k].within for axis, (spans, k) in enumerate(zip(self.spans, block, strict=True))}
        if self.one_mode and not all(found[axis] for axis in self.steps):
            return dict.fromkeys(found, False)
        return found

    def cut(self, block: Index) -> tuple[slice, ...]:
        """Return the slices of the extended block's results that belong to the block."""
        within = self.within(block)
        spans = (spans[k] for spans, k in zip(self.spans, block, strict=True))
        return tuple(slice(None) if within[axis] else span.cut for axis, span in enumerate(spans))

    def parts(self, block: Index) -> list[ChunkPart]:
        """Return the parts of an extended block."""
        by_axis = [pieces[k] for pieces, k in zip(self.pieces, block, strict=True)]
        found = []
        for pieces in itertools.product(*by_axis):
            chunk = tuple(piece.chunk for piece in pieces)
            found.append(ChunkPart(chunk, None if chunk == block else self._strip(pieces), pieces))
        whole = {part.chunk for part in found if part.strip is None}  # these chunks are read anyway
        return [replace(part, strip=None) if part.chunk in whole else part for part in found]

    def slabs(self, block: Index, itemsize: int) -> list[Slab]:
        """Divide a large block into slabs of about `SLAB_BYTES`; return none for a block that is filtered at once.

        Adjacent slabs overlap by the reach of the kernel, which is at most half of a slab.
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
        """Return the strips of a chunk that other blocks need."""
        return [(axis, low, high) for axis, k in enumerate(chunk) for low, high in self.cuts[axis][k]]

    def _strip(self, pieces: tuple[halo.Piece, ...]) -> Strip | None:
        """Return the thinnest strip that contains the pieces, or None if there is none of at most `THIN`."""
        best, share = None, THIN
        for axis, piece in enumerate(pieces):
            size = self.bounds[axis][piece.chunk + 1] - self.bounds[axis][piece.chunk]
            for low, high in self.cuts[axis][piece.chunk]:
                if low <= piece.low and piece.high <= high and (high - low) / size <= share:
                    best, share = (axis, low, high), (high - low) / size
        return best


def make_grid(request: FilterCall, chunks: Sequence[Sequence[int]]) -> Grid:
    """Make the grid of a request on an array with the given chunks."""
    windows = {window.axis: window for window in request.windows}
    split = {axis for axis in windows if len(chunks[axis]) > 1}
    if request.one_mode and split:
        split = set(windows)  # with a single mode, all axes must be extended if "valid" is used
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
    """Return the boundaries of the blocks: those of the input, with the last moved to the size of the result.

    With a stride, a result belongs to the chunk of its position in the result of stride 1; chunks without results
    have no block.

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
    """Return for each chunk the thin intervals that other blocks need."""
    found: list[set[tuple[int, int]]] = [set() for _ in edges[1:]]
    for block, pieces in enumerate(along):
        for piece in pieces:
            size = edges[piece.chunk + 1] - edges[piece.chunk]
            if piece.chunk != block and piece.high - piece.low <= THIN * size:
                found[piece.chunk].add((piece.low, piece.high))
    return tuple(tuple(sorted(intervals)) for intervals in found)
