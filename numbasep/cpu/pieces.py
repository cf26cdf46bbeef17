"""Joins several passes to one that runs them piece by piece, each piece on one thread (`cpu.kernels.pieces`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import config

from ..arguments.problem import Window
from ..lowering.layout import restrict
from ..lowering.spec import PassSpec
from . import threads
from .buffers import Buffer, parts_of, section
from .intrinsics.vectors import LINE_BYTES
from .kernels import pieces as g
from .kernels import plane_driver as drivers
from .kernels.pass_arguments import ENTRY, make_block
from .plane_pass import PlanePass
from .short_rows import ShortRows
from .tiles import round_up

Array = npt.NDArray[Any]
Part = tuple[Any, int, int]
"""A pass (`PlanePass` or `ShortRows`), and the numbers of the buffers that it reads and writes."""
BATCH_BYTES = 1 << 28  # bytes of output per thread between checks for signals (Ctrl-C)


@dataclass(frozen=True, slots=True)
class Kind:
    """Pieces of an array that are filtered alike: of the same length, and with windows inside the array."""

    source: Buffer
    """Input of the piece that begins at the lowest address."""
    target: Buffer
    """Output of the piece that begins at the lowest address, which may be another piece."""
    windows: tuple[Window, ...]
    """Windows of the filtered axes."""
    places: tuple[tuple[int, int], ...]
    """Bytes from there to the input and the output of each piece."""

    def arrays(self) -> Iterator[tuple[Buffer, Buffer]]:
        """Yield the input and the output of each piece."""
        for place in self.places:
            one, other = (
                replace(buffer, origin=buffer.origin + at * parts_of(buffer.dtype) // buffer.dtype.itemsize)
                for buffer, at in zip((self.source, self.target), place, strict=True)
            )
            yield one, other


Made = tuple[Sequence[Part], Mapping[int, int], Kind]
"""The passes of a kind of pieces, and the bytes of each buffer for their intermediates."""


def divide(spec: PassSpec, source: Buffer, target: Buffer, windows: Sequence[Window]) -> Iterator[Kind]:
    """Yield all kinds of pieces: parts of `spec.slab_axis`, one position of each unfiltered axis outside it."""
    axis, size = spec.slab_axis, target.shape[spec.slab_axis]
    along = next((w for w in windows if w.axis == axis), None)
    kept = {axis, *(w.axis for w in windows)}
    apart = [
        i for i, n in enumerate(target.shape)
        if n > 1 and i not in kept and abs(source.strides[i]) > abs(source.strides[axis])
    ]  # fmt: skip
    alike: dict[tuple[int, ...], list[int]] = {}
    for start in range(0, size, spec.thickness):
        stop = min(start + spec.thickness, size)
        reached = restrict(along, start, stop) if along else None
        inside = reached is None or (reached.first >= 0 and reached.first + reached.reach <= reached.size)
        alike.setdefault((stop - start,) if inside else (start, stop), []).append(start)
    for starts in alike.values():
        first, stop = starts[0], min(starts[0] + spec.thickness, size)
        read, written = source, section(target, axis, first, stop)
        if along is None:
            read = section(read, axis, first, stop)
        for i in apart:
            read, written = section(read, i, 0, 1), section(written, i, 0, 1)
        steps = (np.array(starts) - first) * (along.step if along else 1), np.array(starts) - first
        offsets = [_offsets(*one, axis, apart) for one in zip((source, target), steps, strict=True)]
        low = [int(offset.min()) for offset in offsets]
        items = [buffer.dtype.itemsize // parts_of(buffer.dtype) for buffer in (source, target)]
        places = [((o - least) * n).tolist() for o, least, n in zip(offsets, low, items, strict=True)]
        yield Kind(
            replace(read, origin=read.origin + low[0]), replace(written, origin=written.origin + low[1]),
            tuple(restrict(w, first, stop) if w is along else w for w in windows),
            tuple(zip(*places, strict=True)),
        )  # fmt: skip


def _offsets(buffer: Buffer, steps: Array, axis: int, apart: Sequence[int]) -> Array:
    """Return the distances in memory, in reals, of positions `steps` of an axis and all positions of others."""
    total = steps * buffer.strides[axis]
    for other in apart:
        total = np.add.outer(np.arange(buffer.shape[other]) * buffer.strides[other], total).reshape(-1)
    return total * parts_of(buffer.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Passes that run piece by piece."""

    tile: Any
    """Address of `cpu.kernels.pieces.filter_piece`."""
    kernels: Any
    """Addresses of the kernels that the passes call, one pass after the other."""
    tiles: Any
    """Addresses of their tile filters."""
    passes: tuple[PlanePass | ShortRows, ...]
    """The passes of one piece of each kind."""
    steps: Array
    """For each pass, the entries named in `cpu.kernels.pieces`."""
    pieces: Array
    """For each piece, the entries named there."""
    constants: Array
    """Constants of the passes, one below the other."""
    local: int
    """Bytes of intermediates of a piece."""
    tasks: int
    """Number of pieces."""
    batch: int
    """Pieces that run without returning to Python."""
    threads: int
    """Number of threads that share the pieces."""

    @property
    def workspace(self) -> int:
        """Bytes of scratch memory that a call uses."""
        own = sum(p.work_space(self.threads) for p in self.passes if isinstance(p, PlanePass))
        return self.threads * self.local + own

    def __call__(self, x: Array, y: Array) -> None:
        """Run on the flat memory of both arrays."""
        with threads.borrow(self.workspace) as buffer:
            block, _kept = self._divide(buffer)
            arguments = (self.tile, self.kernels, x, y)
            if self.threads == 1:
                self._run(drivers.run_serial, arguments, block)
                return
            with threads.parallel_region(self.threads):
                self._run(drivers.run_parallel, arguments, block)

    def _run(self, run: Any, arguments: tuple[Any, ...], block: Any) -> None:
        """Run all pieces in batches; between these, Python handles signals, so that Ctrl-C ends a long call."""
        for first in range(0, self.tasks, self.batch):
            run(*arguments, first, min(first + self.batch, self.tasks), block, self.constants)

    def _divide(self, buffer: Array) -> tuple[Any, Any]:
        """Return the block of all tables, with the memory of each thread in `buffer`, and what it points to."""
        at = self.threads * self.local
        local, blocks, kept = buffer[:at].reshape(self.threads, -1), [], []
        for one in self.passes:
            if isinstance(one, ShortRows):
                blocks.append(one.block)
                continue
            size = one.work_space(self.threads)
            divided = one.divide(buffer[at : at + size], self.threads)
            blocks.append(divided[0])
            kept.append(divided)
            at += size
        whole = (
            [entry for block in blocks for entry in block] if config.DISABLE_JIT else np.concatenate(blocks)
        )
        tables: list[Any] = [self.steps, self.pieces, local, whole, self.tiles]
        return make_block(tables), (whole, kept)


def join(made: Sequence[Made], arrays: tuple[int, int], workers: int | None, *, shared: bool) -> Pieces:
    """Return one pass that runs the passes of every piece.

    Parameters
    ----------
    made : sequence of Made
        The passes of each kind of pieces.
    arrays : tuple of int
        Numbers of the input and the output.
    workers : int or None
        Requested number of threads.
    shared : bool
        Whether there is enough work for several threads.
    """
    starts, local = dict.fromkeys(arrays, -1), 0
    for number in sorted({number for _, scratch, _ in made for number in scratch}):
        starts[number] = local
        local += round_up(max(scratch.get(number, 0) for _, scratch, _ in made), LINE_BYTES)
    parts = [one for some, _, _ in made for one in some]
    passes = [run for run, _, _ in parts]
    steps = np.zeros((len(parts), g.STEP_ENTRIES), np.int64)
    kernels: list[Any] = []
    entries = rows = 0
    for step, (run, source, target) in zip(steps, parts, strict=True):
        step[:] = starts[source], starts[target], run.tasks, len(kernels), entries, rows
        kernels += list(run.kernels[1])
        entries += run.entries * (1 if config.DISABLE_JIT else ENTRY)
        rows += len(run.constants)
    columns = max(run.constants.shape[1] for run in passes)
    constants = np.zeros((rows, columns), passes[0].constants.dtype)
    for step, run in zip(steps, passes, strict=True):
        height, width = run.constants.shape
        constants[step[g.FIRST_CONSTANT] :][:height, :width] = run.constants
    pieces, first = [], 0
    for some, _, kind in made:
        pieces += [(first, first + len(some), *place) for place in kind.places]
        first += len(some)
    pieces.sort(key=lambda piece: piece[g.OUTPUT_AT])
    tiles = [run.kernels[0] for run in passes]
    count = min(threads.thread_count(workers) if shared else 1, len(pieces))
    return Pieces(
        g.piece_address(constants.dtype),
        kernels if config.DISABLE_JIT else np.array(kernels, np.int64),
        tiles if config.DISABLE_JIT else np.array(tiles, np.int64),
        tuple(passes), steps, np.array(pieces, np.int64), constants, local, len(pieces),
        count * max(1, BATCH_BYTES // max(local, 1)), count,
    )  # fmt: skip
