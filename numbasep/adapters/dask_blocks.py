"""Task graphs for dask, in which a task per block filters the samples that the block needs.

`dask.array.map_overlap` is not used: it must rechunk chunks smaller than the halo, has no mirror boundary, and
makes about ten tasks per block and its neighbours.  Here a graph has

* the call: arguments, geometry and plans, made once and shared by all tasks (sent to each worker once);
* for each chunk, a task that copies the strips that neighbours need, so that the chunk can be freed and only
  strips are sent between machines;
* for each block, a task that assembles the extended block and filters it.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.system import CPU_COUNT

import numbasep

from ..api.calls import FilterCall
from ..arguments.arrays import on_gpu
from ..cpu import threads
from ..system.types import Array
from .grid import Grid, Index, Slab, make_grid

MERGED_BYTES = 64 << 20
"""Maximum bytes of a block to which thin chunks are merged."""


@dataclass(frozen=True, slots=True)
class BlockCall:
    """Data shared by all tasks of a call, made once."""

    request: FilterCall
    """The filter and its arguments."""
    grid: Grid
    """Blocks of the result and the chunks that they read."""
    workers: int | None
    """Threads per task."""
    plans: Mapping[Any, Any] = field(default_factory=dict)
    """(Shape, mode, origin) of an extended block -> plan, for dense kernels."""

    def part(self, block: Index, shape: tuple[int, ...]) -> tuple[dict[str, Any], Any]:
        """Return the arguments of the call on an extended block of the given shape, and the key of its plan."""
        arguments = self.request.on_part(self.grid.within(block)) | {"workers": self.workers}
        return arguments, (shape, arguments["mode"], arguments.get("origin"))


def cut_strips(strips: Sequence[Sequence[int]], chunk: Array) -> dict[tuple[int, int, int], Array]:
    """Copy the strips (axis, low, high) of a chunk."""
    return {
        (axis, low, high): chunk[(slice(None),) * axis + (slice(low, high),)].copy()
        for axis, low, high in strips
    }


def filter_block(shared: BlockCall, numbers: list[int], sources: Sequence[Sequence[Any]]) -> Array:
    """Compute a block of the result from the parts listed by `Grid.parts`, of the input and an optional mask."""
    block, grid = tuple(numbers), shared.grid
    if 0 in grid.shape(block):
        return np.empty(grid.shape(block), shared.request.dtype)
    like = _like(grid, block, sources[0])
    slabs = grid.slabs(block, like.itemsize) if type(like) is np.ndarray else []
    if not slabs:
        return _filter_part(shared, block, sources, None, None)
    out = np.empty(grid.shape(block), shared.request.dtype)
    for slab in slabs:
        part = out[(slice(None),) * slab.axis + (slice(slab.start, slab.stop),)]
        _filter_part(shared, block, sources, slab, part)
    return out


def _like(grid: Grid, block: Index, sources: Sequence[Any]) -> Any:
    """Return one of the arrays from which the block is assembled, for its type and dtype."""
    return sources[0] if grid.parts(block)[0].strip is None else next(iter(sources[0].values()))


def _filter_part(
    shared: BlockCall, block: Index, sources: Sequence[Sequence[Any]], slab: Slab | None, out: Array | None
) -> Array:
    """Filter a block or a slab of it, into `out` if that is given."""
    grid = shared.grid
    mask = gather(grid, block, sources[1], slab) if len(sources) > 1 else None
    whole = _single_chunk(grid, block, sources[0])
    if whole is not None and slab is None:
        return _filter_extended(shared, block, whole, mask, out)
    like = _like(grid, block, sources[0])
    if type(like) is not np.ndarray:
        return _filter_extended(shared, block, gather(grid, block, sources[0], slab), mask, out)
    shape = extended_shape(grid, block, slab)
    size = math.prod(shape) * like.itemsize
    with threads.borrow(size) as scratch:  # reused memory: new pages cost as much as filling them
        extended = scratch[:size].view(like.dtype).reshape(shape)
        return _filter_extended(shared, block, gather(grid, block, sources[0], slab, extended), mask, out)


def _filter_extended(
    shared: BlockCall, block: Index, x: Array, mask: Array | None, out: Array | None
) -> Array:
    """Filter an extended block or slab by the plan if there is one, otherwise by the public function."""
    arguments, key = shared.part(block, x.shape)
    plan = shared.plans.get(key)
    kept = shared.grid.cut(block)
    direct = kept == (slice(None),) * x.ndim
    result: Array
    if plan is not None and type(x) is np.ndarray:
        result = plan(x, out if direct else None)
    elif direct and out is not None:
        result = getattr(numbasep, shared.request.name)(x, mask=mask, **(arguments | {"output": out}))
    else:
        result = getattr(numbasep, shared.request.name)(x, mask=mask, **arguments)
    if direct:
        return result
    if out is None:
        return result[kept].copy()
    out[...] = result[kept]
    return out


def _single_chunk(grid: Grid, block: Index, sources: Sequence[Any]) -> Array | None:
    """Return the chunk if it is the extended block, otherwise None."""
    (part, *more) = grid.parts(block)
    if more or part.strip is not None or any(piece.step < 0 for piece in part.pieces):
        return None
    chunk: Array = sources[0]
    return chunk if chunk.shape == grid.extended_shape(block) else None


def extended_shape(grid: Grid, block: Index, slab: Slab | None) -> tuple[int, ...]:
    """Return the shape of an extended block or slab."""
    shape = list(grid.extended_shape(block))
    if slab is not None:
        shape[slab.axis] = slab.high - slab.low
    return tuple(shape)


def gather(
    grid: Grid, block: Index, sources: Sequence[Any], slab: Slab | None = None, extended: Array | None = None
) -> Array:
    """Assemble an extended block or slab from its parts, in `extended` if that is given."""
    for part, source in zip(grid.parts(block), sources, strict=True):
        values = source if part.strip is None else source[part.strip]
        if extended is None:
            extended = np.empty_like(values, shape=extended_shape(grid, block, slab))
        pieces = part.pieces
        if slab is not None:
            clipped = pieces[slab.axis].clipped(slab.low, slab.high)
            if clipped is None:
                continue
            pieces = (*pieces[: slab.axis], clipped, *pieces[slab.axis + 1 :])
        offsets = [0] * values.ndim
        if part.strip is not None:
            offsets[part.strip[0]] = part.strip[1]
        selected = tuple(piece.within(offset) for piece, offset in zip(pieces, offsets, strict=True))
        extended[tuple(piece.place for piece in pieces)] = values[selected]
    if extended is None:
        raise AssertionError("a block without any part")
    return extended


def filter_array(request: FilterCall, x: Any, mask: Any) -> Any:
    """Return the lazy result of a request."""
    mask = None if mask is np.ma.nomask else mask
    if mask is not None:
        mask = like_input(mask, x)
    if 0 in x.shape:
        sizes = {window.axis: window.out_size for window in request.windows}
        return da.empty([sizes.get(axis, n) for axis, n in enumerate(x.shape)], dtype=request.dtype)
    merged = merge_thin(x.chunks, request, x.itemsize)
    if merged != x.chunks:
        chunks = make_grid(request, x.chunks).chunks
        return filter_array(request, x.rechunk(merged), mask).rechunk(chunks)
    shared = make_call(request, x, masked=mask is not None)
    token = tokenize(request, x, mask)
    name = f"{request.name}-{token}"
    arrays = [x] if mask is None else [x, mask]
    graph = _graph(shared, request.name, token, [a.name for a in arrays])
    whole = HighLevelGraph.from_collections(name, graph, dependencies=arrays)
    meta = meta_from_array(x._meta, x.ndim, dtype=request.dtype)
    return da.Array(whole, name, shared.grid.chunks, dtype=request.dtype, meta=meta)


def _graph(shared: BlockCall, function: str, token: str, arrays: Sequence[str]) -> dict[Any, Any]:
    """Return the tasks of a call on the chunks of the named arrays, the input and an optional mask."""
    grid = shared.grid
    name, strips_name, call_name = (f"{function}-{kind}{token}" for kind in ("", "strips-", "call-"))
    graph: dict[Any, Any] = {call_name: shared}
    cut: set[Index] = set()
    for block in grid.blocks:
        parts = grid.parts(block)
        cut |= {part.chunk for part in parts if part.strip is not None}
        sources = [
            [(array if part.strip is None else f"{strips_name}-{k}", *part.chunk) for part in parts]
            for k, array in enumerate(arrays)
        ]
        graph[(name, *block)] = (filter_block, call_name, list(block), sources)
    for chunk in cut:
        strips = [list(strip) for strip in grid.strips(chunk)]
        for k, array in enumerate(arrays):
            graph[(f"{strips_name}-{k}", *chunk)] = (cut_strips, strips, (array, *chunk))
    return graph


def make_call(request: FilterCall, x: Any, *, masked: bool) -> BlockCall:
    """Determine the geometry, threads and plans of a call."""
    grid = make_grid(request, x.chunks)
    blocks = math.prod(len(sizes) for sizes in grid.chunks)
    workers = request.arguments["workers"] or max(1, CPU_COUNT // blocks)
    shared = BlockCall(request, grid, workers)
    dense = request.name in ("convolve", "correlate")
    plain = (
        not masked
        and request.arguments["nan_policy"] == "propagate"
        and request.arguments["device"] != "cuda"
        and not on_gpu(x._meta)
    )
    return replace(shared, plans=_plans(shared, x.dtype)) if dense and plain else shared


def _plans(shared: BlockCall, dtype: np.dtype[Any]) -> dict[Any, Any]:
    """Make plans for all kinds of blocks; factoring a dense kernel takes milliseconds, too long to repeat per task."""
    grid, found = shared.grid, {}
    kinds = []
    for sizes, spans in zip(grid.chunks, grid.spans, strict=True):
        first = {
            (span.length, span.within, size == 0): k
            for k, (size, span) in enumerate(zip(sizes, spans, strict=True))
        }
        kinds.append([k for (_, _, empty), k in first.items() if not empty])
    for block in itertools.product(*kinds):
        slabs: Sequence[Slab | None] = grid.slabs(block, dtype.itemsize) or [None]
        for slab in slabs:
            shape = extended_shape(grid, block, slab)
            arguments, key = shared.part(block, shape)
            weights = arguments.pop("weights")
            del arguments["nan_policy"]
            if key not in found:
                found[key] = numbasep.plan(weights, shape, dtype, operation=shared.request.name, **arguments)
    return found


def merge_thin(
    chunks: tuple[tuple[int, ...], ...], request: FilterCall, itemsize: int
) -> tuple[tuple[int, ...], ...]:
    """Merge chunks along filtered axes that are smaller than the kernel or the stride.

    A block needs ``taps - 1`` more samples than it has, so with small blocks the same samples would be fetched and
    filtered many times.  Blocks do not exceed `MERGED_BYTES`.
    """
    merged = list(chunks)
    for window in request.windows:
        sizes = merged[window.axis]
        least = max(window.taps, window.step)
        if len(sizes) == 1 or min(sizes) >= least:
            continue
        joined = [0]
        for size in sizes:
            joined = [*joined[:-1], joined[-1] + size] if joined[-1] < least else [*joined, size]
        others = math.prod(max(m) for axis, m in enumerate(merged) if axis != window.axis)
        if max(joined) * others * itemsize <= MERGED_BYTES:
            merged[window.axis] = tuple(joined)
    return tuple(merged)


def like_input(mask: Any, x: Any) -> Any:
    """Convert the mask to a dask array with the chunks of the input."""
    mask = mask if isinstance(mask, da.Array) else np.asarray(mask)
    if mask.shape != x.shape:
        raise ValueError(f"mask must have the shape of the input, {x.shape}, got {mask.shape}")
    if mask.dtype.kind not in "biu":
        raise TypeError(f"mask must be boolean, True where a sample is left out, got dtype {mask.dtype}")
    return da.asarray(mask).rechunk(x.chunks)
