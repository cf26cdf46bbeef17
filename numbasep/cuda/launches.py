"""Launches of the CUDA kernels: variant, number of blocks, tables and scalars; `passes` decides on the passes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..arguments.boundary import Boundary
from ..arguments.problem import Window
from ..planning.cuda_limits import MOST_STEP, tap_class
from ..planning.operators import Factor, Term
from ..system.types import Array
from .intrinsics.vocabulary import ElementType
from .kernels import columns as cuda_columns
from .kernels import rows as cuda_lines
from .kernels.columns import ColumnsVariant
from .kernels.plane import PlaneVariant
from .kernels.rows import LinesVariant
from .tables import (
    Operand,
    beyond_table,
    column_table,
    dense_list,
    fits_int32,
    flat_table,
    front_of,
    holds_border,
    in_class,
    outer_tables,
    pieces_of,
    plane_table,
    row_axis,
    row_table,
)

INPUT, OUTPUT = 0, 1
LONGEST_STRIP, SHORTEST_STRIP = 256, 16
WARPS_IN_FLIGHT = 16  # per multiprocessor: with so many, strips need not be shorter
# Per multiprocessor: with fewer, each warp is a block, which spreads them over all multiprocessors.
FEW_TASKS = 4


@dataclass(frozen=True, slots=True)
class Slot:
    """Placeholder for an array of the call: INPUT, OUTPUT, or the number of a scratch buffer."""

    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """A kernel launch."""

    variant: Any
    """Variant of a kernel family, for which the kernel is compiled."""
    blocks: int
    """Number of thread blocks."""
    warps: int
    """Warps per block."""
    arguments: tuple[Any, ...]
    """Slots, tables (ndarrays), tuples of scalars, scalars."""
    aligned_in: int | None = None
    """Position of the argument that is set to 0 unless the input starts at a multiple of sixteen bytes."""
    pitch_out: int | None = None
    """Position of the argument that is made negative unless the output starts at a multiple of sixteen bytes."""


@dataclass(slots=True, eq=False)
class Program:
    """The launches of a filter, in order."""

    launches: list[Launch] = field(default_factory=list)
    scratch: dict[int, int] = field(default_factory=dict)
    """Slot of each scratch buffer -> its bytes."""


@dataclass(slots=True, eq=False)
class Launcher:
    """Builder of programs: a method per kernel family appends its launch."""

    code: str
    """Type of the sums."""
    divisor: float
    """Divisor of the final sums."""
    repair: Array | None
    """Dense weights with which results that are not finite are recomputed, or None."""
    multiprocessors: int
    """Multiprocessors of the device."""
    warps: int | None
    """Warps per block, or None for the number that the kernel is compiled for."""
    program: Program = field(default_factory=Program)
    """The launches so far."""

    def plane(
        self,
        terms: Sequence[Term],
        source: Operand,
        target: Operand,
        windows: Sequence[Window],
        divisor: float,
    ) -> None:
        """Append a pass along one or two axes by `cuda.kernels.plane`, for all terms at once."""
        inner = source.stride(windows[-1].axis)
        along: Window | None = None
        down: Window | None = windows[-1]
        if inner <= MOST_STEP:
            along, down = windows[-1], windows[-2] if len(windows) > 1 else None
        step = inner if along else 1
        columns_in = along.size * step if along else inner
        columns_out = along.out_size * step if along else inner
        klass = tap_class(max(w.taps for w in windows))
        assert klass is not None
        fronts = [front_of(window, klass) if window else 0 for window in (along, down)]
        line = [in_class(term[-1], fronts[0], klass, used=along is not None) for term in terms]
        column = [in_class(term[0], fronts[1], klass, used=down is not None) for term in terms]
        every = (1 << klass) - 1
        ring = source.storage if holds_border(source, windows, self.code) else ElementType(self.code)
        repair = self.repair if target.slot == OUTPUT else None
        variant = PlaneVariant(
            taps=klass, terms=len(terms), along=along is not None, down=down is not None, step=step,
            storage=source.storage, ring=ring, compute=self.code,
            result=replace(target.storage, bounded=fits_int32(terms, source, target, divisor)),
            masked=any(mask not in (every, None) for _, mask in (*line, *column)), repaired=repair is not None,
            divided=divisor != 1,
        )  # fmt: skip
        shift = (along.first - fronts[0]) * step - variant.lead if along else 0
        tiles = -(-columns_out // variant.tile)
        beyond_columns = beyond_rows = np.zeros(1, np.int64)
        if along:
            stop = shift + (tiles - 1) * variant.tile + variant.pitch
            beyond_columns = beyond_table(along, shift, stop, step)
        row = row_axis(source, target, along, down)
        rows_in, row_shift = row.rows, 0
        if down:
            rows_in, row_shift = down.size, down.first - fronts[1]
            beyond_rows = beyond_table(down, row_shift, row_shift + row.rows + klass - 1, 1)
        planes = plane_table(source, target, along, down)
        strip = self._strip(row.rows, tiles * len(planes), klass)
        strips = -(-row.rows // strip)
        whole = all(
            n % variant.chunk == 0 for n in (shift, row.stride_in, *np.unique(planes[:, 0] % variant.chunk))
        )
        vectors = all(
            n % variant.width == 0 for n in (row.stride_out, *np.unique(planes[:, 1] % variant.width))
        )
        taps = [tuple(np.concatenate([t for t, _ in parts]).tolist()) for parts in (line, column)]
        masks = [tuple(mask or 0 for _, mask in parts) for parts in (line, column)]
        dense_places, dense_weights = dense_list(repair, fronts, along, down)
        tasks = tiles * strips * len(planes)
        warps = self.warps or (1 if tasks < FEW_TASKS * self.multiprocessors else variant.warps)
        arguments = (
            Slot(source.slot), Slot(target.slot), beyond_rows, beyond_columns, planes.ravel(), len(planes), tiles,
            strips, strip, row.rows, columns_out, columns_in, shift, rows_in, row_shift, row.stride_in,
            int(whole and ring == source.storage), row.stride_out if vectors else -row.stride_out,
            source.cval, divisor, *taps, *masks, dense_places, dense_weights.astype(self.code), len(dense_weights),
        )  # fmt: skip
        self.program.launches.append(Launch(variant, -(-tasks // warps), warps, arguments, 16, 17))

    def _strip(self, rows: int, others: int, taps: int) -> int:
        """Return the rows per task: many, since tasks overlap by the kernel, but few enough to occupy the device."""
        strip, wanted = LONGEST_STRIP, self.multiprocessors * WARPS_IN_FLIGHT
        while strip > max(SHORTEST_STRIP, 2 * taps) and -(-rows // strip) * others < wanted:
            strip //= 2
        return strip

    def lines(self, factor: Factor, source: Operand, target: Operand, window: Window, divisor: float) -> None:
        """Append a pass of many taps along contiguous rows by `cuda.kernels.rows`."""
        step, size = source.stride(window.axis), cuda_lines.SEGMENT
        elements = factor.positions * step
        values = factor.taps[factor.positions]
        segments = [0]
        pieces: list[Any] = []
        weights: list[float] = []
        for segment in range(int(elements[-1]) // size + 1 if elements.size else 0):
            inside = elements // size == segment
            at, taps = elements[inside] - segment * size, values[inside]
            for start, length in pieces_of(at, cuda_lines.LENGTHS, cuda_lines.WIDTH):
                first = int(np.searchsorted(at, start))
                pieces.append((start, length, len(weights)))
                weights += taps[first : first + length].tolist()
            segments.append(len(pieces))
        count = len(segments) - 1
        lines = math.prod(source.shape[: window.axis])
        tiles = -(-window.out_size * step // cuda_lines.TILE)
        shift = window.first * step
        stop = shift + (tiles - 1) * cuda_lines.TILE + (max(count, 1) - 1) * size + cuda_lines.PITCH
        beyond = beyond_table(window, shift, stop, step)
        variant = LinesVariant(source.storage, target.storage, self.code)
        warps = self.warps or variant.warps
        tasks = tiles * -(-lines // cuda_lines.ROWS)
        arguments = (
            Slot(source.slot), Slot(target.slot), beyond, np.array(segments, np.int64), flat_table(pieces),
            np.array(weights or [0.0], self.code), count, source.base, target.base, lines, tiles,
            window.size * step, window.out_size * step, shift, source.cval, divisor,
        )  # fmt: skip
        self.program.launches.append(Launch(variant, -(-tasks // warps), warps, arguments))

    def columns(
        self, parts: Sequence[tuple[Operand, Factor]], target: Operand, window: Window | None, divisor: float
    ) -> None:
        """Append a pass along at most one axis by `cuda.kernels.columns`, which sums over stacked operands."""
        source = parts[0][0]
        inner = source.stride(window.axis) if window else math.prod(source.shape)
        outer = math.prod(source.shape[: window.axis]) if window else 1
        pieces: list[Any] = []
        weights: list[float] = []
        for number, (_, factor) in enumerate(parts):
            for start, length in pieces_of(factor.positions, cuda_columns.LENGTHS):
                pieces.append((number, 0, start, length, len(weights)))
                weights += factor.taps[start : start + length].tolist()
        planes = np.arange(outer, dtype=np.int64)[:, None]
        bases = np.array([operand.base for operand, _ in parts])
        self._columns_launch(
            source, target, window, None, rows=window.out_size if window else 1, columns=inner,
            strides=(inner, inner), sources=planes * (inner * window.size if window else 0) + bases,
            targets=planes[:, 0] * (inner * window.out_size if window else 0) + target.base,
            pieces=pieces, weights=weights, borders=[operand.cval for operand, _ in parts], divisor=divisor,
            outside=window is not None and window.boundary == Boundary.CONSTANT,
        )  # fmt: skip

    def dense_planes(
        self, weights: Array, source: Operand, target: Operand, windows: Sequence[Window], *, sparse: bool
    ) -> None:
        """Append a pass of dense weights over two axes or more by `cuda.kernels.columns`."""
        *outer, down, along = windows
        inner = source.stride(along.axis)
        pieces: list[Any] = []
        values: list[float] = []
        taps_outside = list(np.ndindex(*(w.taps for w in outer)))
        for number, index in enumerate(taps_outside):
            for column in range(along.taps):
                taps = weights[index][:, column]
                positions = np.flatnonzero(taps) if sparse else np.arange(taps.size)
                for start, length in pieces_of(positions, cuda_columns.LENGTHS):
                    pieces.append((number, column * inner, start, length, len(values)))
                    values += taps[start : start + length].tolist()
        count = along.out_size * inner + (along.taps - 1) * inner
        sources, targets = outer_tables(source, target, windows)
        self._columns_launch(
            source, target, down, column_table(along, along.first * inner, count, inner),
            rows=down.out_size, columns=along.out_size * inner,
            strides=(source.stride(down.axis), target.stride(down.axis)), sources=sources, targets=targets,
            pieces=pieces, weights=values, borders=[source.cval] * len(taps_outside), divisor=self.divisor,
            outside=any(w.boundary == Boundary.CONSTANT for w in windows),
        )  # fmt: skip

    def _columns_launch(
        self, source: Operand, target: Operand, down: Window | None, places: Array | None, *, rows: int,
        columns: int, strides: tuple[int, int], sources: Array, targets: Array, pieces: list[Any],
        weights: list[float], borders: list[float], divisor: float, outside: bool,
    ) -> None:  # fmt: skip
        warps = self.warps or cuda_columns.WARPS
        height = cuda_columns.ROWS * warps
        blocks, tiles = -(-rows // height), -(-columns // cuda_columns.TILE)
        offsets = np.zeros(cuda_columns.ROWS, np.int64)
        if down is not None:
            offsets = row_table(down, down.first, blocks * height + down.taps - 1, strides[0])
        shifted = places is not None
        variant = ColumnsVariant(source.storage, target.storage, self.code, shifted, outside)
        arguments = (
            Slot(source.slot), Slot(target.slot), offsets, places if shifted else np.zeros(1, np.int64),
            np.ascontiguousarray(sources).ravel(), targets, flat_table(pieces), np.array(weights or [0.0], self.code),
            np.array(borders, self.code), len(targets), sources.shape[1], len(pieces), blocks, tiles, rows, columns,
            strides[1], divisor,
        )  # fmt: skip
        self.program.launches.append(Launch(variant, blocks * tiles * len(targets), warps, arguments))
