"""Filters arrays larger than memory, block by block.

No block waits for another and none is kept, so that memory is what the blocks in work take.  dask runs the blocks,
each on one thread; an array that fits into the limit is a single block, on all threads, and needs no dask.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

import numbasep

from ..api.calls import FilterCall
from ..cpu import threads
from . import halo
from .grid import Grid, Index, make_grid

Array = npt.NDArray[Any]

COPIES = 4.0
"""Memory of a block in work, in sizes of its input and result together: the reader's, the filter's and the writer's
buffers."""

CODED = 2.0
"""Memory of what is stored together while a part of it is read or written, in its size: encoded and decoded."""


M_MMAP_THRESHOLD = -3
"""Of `mallopt`: from how many bytes on memory is taken from the system, and returned to it, by itself."""

LARGE = 1 << 20
"""Bytes of a large array."""


class Source(Protocol):
    """An array that parts are read from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""

    @property
    def unit(self) -> tuple[int, ...]:
        """Samples that are stored together, along each axis."""

    def read(self, region: tuple[slice, ...]) -> Array:
        """Part of the array, in memory."""


class Destination(Protocol):
    """An array that parts are written to, from several threads at once."""

    @property
    def unit(self) -> tuple[int, ...]:
        """Samples that are stored together, along each axis."""

    def write(self, region: tuple[slice, ...], values: Array) -> None:
        """Store a part."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """How an array is filtered: in which blocks, and how many at once."""

    grid: Grid
    """Blocks of all results of the filter."""
    strides: tuple[int, ...]
    """Along each axis, one of so many results is kept, the first of each: strides that the filter itself has not."""
    at_once: int
    """How many blocks are in work at once."""
    threads: int
    """Threads of each."""
    apart: bool
    """Whether no two blocks write to samples that are stored together."""


def result_shape(request: FilterCall, shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Shape of what is kept of the results of a request on an array of some shape."""
    sizes = dict(enumerate(shape)) | {window.axis: window.out_size for window in request.windows}
    return tuple(-(-sizes[axis] // stride) for axis, stride in enumerate(strides))


def plan_blocks(
    request: FilterCall,
    source: Source,
    target: Destination,
    strides: tuple[int, ...],
    memory: int,
    workers: int | None,
) -> Blocks:
    """Blocks small enough for `memory` bytes, and how many are in work at once.

    Blocks are cut at multiples of what is stored together, along the axis on which they are longest beside the
    kernel, so that few samples are read twice, and no two blocks write to one chunk. Where such blocks are too
    large, two may; then one after the other writes.

    Raises
    ------
    ValueError
        If not even the smallest blocks, of one unit and what the kernel adds, fit.
    """
    steps = {window.axis: window.step for window in request.windows}
    written = [n * strides[axis] * steps.get(axis, 1) for axis, n in enumerate(target.unit)]
    together = tuple(math.lcm(a, b) for a, b in zip(source.unit, written, strict=True))
    stored = CODED * (_size(source.unit, source.dtype) + _size(target.unit, request.dtype))
    for unit in (together, source.unit):
        found = _blocks(request, source, unit, stored, memory, workers)
        if found is not None:
            grid, at_once = found
            inside = max(1, threads.thread_count(workers) // at_once)
            return Blocks(grid, strides, at_once, inside, unit == together)
    raise ValueError(
        f"memory: {memory / 1e6:.3g} MB do not hold a block of {source.unit} samples, which are stored "
        "together, with what the kernel needs around it"
    )


def _blocks(
    request: FilterCall,
    source: Source,
    unit: tuple[int, ...],
    stored: float,
    memory: int,
    workers: int | None,
) -> tuple[Grid, int] | None:
    """The grid of blocks of whole units, and how many at once; None if not even one fits.

    Each takes `stored` bytes for what lies together in the files.
    """
    at_once = threads.thread_count(workers)
    block = _smaller(request, source, unit, memory - stored)
    if block is None:
        return None
    if block == source.shape:
        at_once = 1
    fitting = None
    while at_once > 1 and (fitting := _smaller(request, source, unit, memory / at_once - stored)) is None:
        at_once //= 2
    block = fitting or block
    return make_grid(request, [_cut(n, b) for n, b in zip(source.shape, block, strict=True)]), at_once


def _smaller(
    request: FilterCall, source: Source, units: tuple[int, ...], memory: float
) -> tuple[int, ...] | None:
    """The array, halved until a block takes no more than `memory` bytes; None if that cannot be."""
    taps = {window.axis: window.taps for window in request.windows}
    block = list(source.shape)
    while _bytes(request, block, taps, source.dtype) > memory:
        lengths = [
            n / (unit + taps.get(axis, 1)) if n > unit else 0.0
            for axis, (n, unit) in enumerate(zip(block, units, strict=True))
        ]
        if not any(lengths):
            return None
        axis = lengths.index(max(lengths))
        unit = units[axis]
        block[axis] = max(1, block[axis] // 2 // unit) * unit
    return tuple(block)


def _bytes(request: FilterCall, block: Sequence[int], taps: dict[int, int], dtype: np.dtype[Any]) -> float:
    extended = math.prod(n + taps.get(axis, 1) - 1 for axis, n in enumerate(block))
    return COPIES * extended * (dtype.itemsize + request.dtype.itemsize) / 2


def _size(unit: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(unit) * dtype.itemsize


def _cut(size: int, block: int) -> tuple[int, ...]:
    if not size:
        return (0,)
    return (block,) * (size // block) + ((size % block,) if size % block else ())


def filter_blocks(
    request: FilterCall, source: Source, target: Destination, blocks: Blocks, *, progress: bool
) -> None:
    """Filter all blocks of an array, some at a time.

    Parameters
    ----------
    request : FilterCall
        The filter.
    source, target : Source, Destination
        Where samples come from, and results go.
    blocks : Blocks
        From `plan_blocks`.
    progress : bool
        Show a bar on standard error.

    Raises
    ------
    ModuleNotFoundError
        There are several blocks, and dask is not installed.
    """
    grid = blocks.grid
    bounds = [(0, *itertools.accumulate(sizes)) for sizes in grid.chunks]
    writing: Any = nullcontext() if blocks.apart else threading.Lock()

    def one(block: Index) -> None:
        along = zip(bounds, block, blocks.strides, strict=True)
        kept = [kept_results(edges[k], edges[k + 1], stride) for edges, k, stride in along]
        if all(part.stop > part.start for part, _ in kept):
            result = filter_block(request, grid, block, source, blocks.threads)[
                tuple(those for _, those in kept)
            ]
            with writing:
                target.write(tuple(part for part, _ in kept), result)

    todo = list(grid.blocks)
    if len(todo) == 1:
        one(todo[0])
        return
    dask = _dask()
    _give_back_at_once()
    tasks = [dask.delayed(one, pure=False)(block) for block in todo]
    with _pool(blocks.at_once) as pool, _bar(progress):
        dask.compute(*tasks, scheduler="threads", pool=pool, num_workers=blocks.at_once)


def kept_results(start: int, stop: int, stride: int) -> tuple[slice, slice]:
    """Of the results [start, stop): where those that are kept go, and which of them these are.

    Examples
    --------
    >>> kept_results(5, 12, 3)
    (slice(2, 4, None), slice(1, None, 3))
    """
    return slice(-(-start // stride), -(-stop // stride)), slice(-start % stride, None, stride)


def filter_block(request: FilterCall, grid: Grid, block: Index, source: Source, workers: int | None) -> Array:
    """All results of one block."""
    spans = [spans[k] for spans, k in zip(grid.spans, block, strict=True)]
    arguments = request.on_part(grid.within(block)) | {"workers": workers}
    result = getattr(numbasep, request.name)(read_extended(source, spans), **arguments)
    kept: Array = result[grid.cut(block)]
    return kept


def read_extended(source: Source, spans: Sequence[halo.Span]) -> Array:
    """A block with what it needs: its longest runs in one read, and in further ones only what lies far away."""
    main = [_reach(max(span.runs, key=lambda run: run.length)) for span in spans]
    near = [
        [r for r in map(_reach, span.runs) if r[0] <= m[1] and m[0] <= r[1]]
        for span, m in zip(spans, main, strict=True)
    ]
    box = [(min(r[0] for r in reaches), max(r[1] for r in reaches)) for reaches in near]
    values = source.read(tuple(slice(*b) for b in box))
    if all(len(span.runs) == 1 for span in spans):
        return values
    extended = np.empty_like(values, shape=tuple(span.length for span in spans))
    for runs in itertools.product(*(span.runs for span in spans)):
        reaches = [_reach(run) for run in runs]
        if all(b[0] <= r[0] and r[1] <= b[1] for r, b in zip(reaches, box, strict=True)):
            part = values[tuple(slice(r[0] - b[0], r[1] - b[0]) for r, b in zip(reaches, box, strict=True))]
        else:
            part = source.read(tuple(slice(*r) for r in reaches))
        place = tuple(slice(run.target, run.target + run.length) for run in runs)
        extended[place] = part[tuple(slice(None, None, -1 if run.step < 0 else 1) for run in runs)]
    return extended


def _reach(run: halo.Run) -> tuple[int, int]:
    """The samples of a run, in ascending order: [low, high)."""
    last = run.start + run.step * (run.length - 1)
    return min(run.start, last), max(run.start, last) + 1


@contextmanager
def _pool(size: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that have stopped when the block ends, also after an interrupt: nothing writes any more."""
    pool = ThreadPoolExecutor(size)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _give_back_at_once() -> None:
    """Make the GNU C library return each large array to the system when it is freed.

    It would keep them for the next, in each thread by itself, and in the end hold several times what is in use.
    """
    with suppress(AttributeError, OSError, TypeError):  # another library
        ctypes.CDLL(None).mallopt(ctypes.c_int(M_MMAP_THRESHOLD), ctypes.c_int(LARGE))


def _dask() -> Any:
    try:
        import dask
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'an array larger than --memory needs dask: python -m pip install "numbasep[io]"'
        ) from None
    return dask


def _bar(progress: bool) -> Any:
    if not progress:
        return nullcontext()
    from dask.diagnostics import ProgressBar

    return ProgressBar(out=sys.stderr)
