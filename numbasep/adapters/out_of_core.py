"""Filter arrays larger than memory, block by block.

Blocks are independent and are not kept, so the memory used is that of the blocks in progress.  dask runs the blocks
on threads; an array that fits the memory limit is a single block, which uses all threads and does not need dask.
"""

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

import numbasep

from ..api.calls import FilterCall
from ..cpu import threads
from ..system.types import Array
from . import halo
from .grid import Grid, Index, make_grid

COPIES = 4.0
"""Memory of a block in progress, as a multiple of the mean size of its extended input and result: buffers of reader,
filter and writer."""

CODED = 2.0
"""Memory of a storage unit while part of it is read or written, as a multiple of its size: encoded and decoded."""


M_MMAP_THRESHOLD = -3
"""Option of `mallopt` for the size from which on an allocation is mapped separately and returned when freed."""

LARGE = 1 << 20
"""Bytes from which on an array is returned to the system when it is freed."""


class Source(Protocol):
    """An array of which parts can be read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""

    @property
    def unit(self) -> tuple[int, ...]:
        """Shape of the samples that are stored together, such as a chunk."""

    def read(self, region: tuple[slice, ...]) -> Array:
        """Read a part of the array into memory."""


class Destination(Protocol):
    """An array to which parts can be written, from several threads at once."""

    @property
    def unit(self) -> tuple[int, ...]:
        """Shape of the samples that are stored together, such as a chunk."""

    def write(self, region: tuple[slice, ...], values: Array) -> None:
        """Store a part of the array."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Division of an array into blocks, and the number of blocks in progress at once."""

    grid: Grid
    """Blocks of the filter's result."""
    strides: tuple[int, ...]
    """Strides applied to the result along each axis, in addition to those of the filter."""
    at_once: int
    """Number of blocks in progress at once."""
    threads: int
    """Threads per block."""
    apart: bool
    """Whether no two blocks write to the same storage unit."""


def result_shape(request: FilterCall, shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of the result of a request on an array of the given shape, after the additional strides."""
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
    """Choose blocks that fit into `memory` bytes, and how many are in progress at once.

    Blocks are cut at multiples of the storage units of source and target, along the axis on which they are longest
    relative to the kernel, so that few samples are read twice and no two blocks write to the same unit. If such
    blocks are too large, units of the target are ignored, and blocks are written one at a time.

    Raises
    ------
    ValueError
        If not even blocks of a single unit of the source, extended by the kernel, fit.
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
    """Return the grid of blocks of whole units, and how many are in progress at once; None if not even one fits.

    Each block takes `stored` bytes in addition for the storage units of the files.
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
    """Halve the shape of the array until a block takes at most `memory` bytes; return None if that is impossible."""
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
        The arrays that are read and written.
    blocks : Blocks
        The result of `plan_blocks`.
    progress : bool
        Show a progress bar on standard error.

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
    """Return where the kept results of [start, stop) are stored, and which of them are kept, as slices.

    Examples
    --------
    >>> kept_results(5, 12, 3)
    (slice(2, 4, None), slice(1, None, 3))
    """
    return slice(-(-start // stride), -(-stop // stride)), slice(-start % stride, None, stride)


def filter_block(request: FilterCall, grid: Grid, block: Index, source: Source, workers: int | None) -> Array:
    """Compute all results of a block."""
    spans = [spans[k] for spans, k in zip(grid.spans, block, strict=True)]
    arguments = request.on_part(grid.within(block)) | {"workers": workers}
    result = getattr(numbasep, request.name)(read_extended(source, spans), **arguments)
    kept: Array = result[grid.cut(block)]
    return kept


def read_extended(source: Source, spans: Sequence[halo.Span]) -> Array:
    """Read an extended block: the longest runs and all near them in one read, distant runs in further reads."""
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
    """Return the interval [low, high) of the samples of a run."""
    last = run.start + run.step * (run.length - 1)
    return min(run.start, last), max(run.start, last) + 1


@contextmanager
def _pool(size: int) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads that have all ended when the context exits, even after an interrupt."""
    pool = ThreadPoolExecutor(size)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _give_back_at_once() -> None:
    """Make the GNU C library return large arrays to the system when they are freed.

    Otherwise it keeps them for reuse, separately in each thread, and in the end holds several times the memory in use.
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
