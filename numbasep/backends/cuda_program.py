"""A kernel on arrays of one shape, as launches of the CUDA kernels: tables and numbers, no device.

Arrays lie in C order here, complex numbers as a last axis of two.  Two filtered axes are one pass; with more, or with
more taps than a pass has registers for, intermediate results in the type of the sums go through scratch memory, and the
last launch adds all terms.  Every boundary becomes tables of offsets by `numbasep.boundary`; kernels know no modes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..boundary import Boundary
from ..kernels import cuda_columns, cuda_lines
from ..kernels.cuda_classes import MOST_STEP, tap_class
from ..kernels.cuda_columns import ColumnsVariant
from ..kernels.cuda_lines import LinesVariant
from ..kernels.cuda_plane import PlaneVariant
from ..kernels.cuda_words import Storage
from ..operators import Factor, Term, support_factor, window_factor
from ..problem import Problem, Window
from .cuda_tables import (
    Operand,
    border_after,
    column_table,
    dense_list,
    flat_table,
    front_of,
    gain_of,
    grouped,
    holds_border,
    in_class,
    merged,
    one_pass,
    outer_tables,
    pieces_of,
    plane_table,
    row_axis,
    row_table,
    storage_of,
)

Array = npt.NDArray[Any]

INPUT, OUTPUT = 0, 1
LONGEST_STRIP, SHORTEST_STRIP = 256, 16
ALIGNMENT = 64  # elements: every intermediate starts at a cache line
WARPS_IN_FLIGHT = 16  # of a multiprocessor: from there on a strip need not be shorter


@dataclass(frozen=True, slots=True)
class Slot:
    """An argument that is an array of the call: INPUT, OUTPUT, or the number of a scratch buffer."""

    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """One kernel launch."""

    variant: Any
    """What is compiled: a variant of one of the kernel families."""
    blocks: int
    """Thread blocks."""
    warps: int
    """Warps of a block."""
    arguments: tuple[Any, ...]
    """Slots, tables (ndarrays), tuples of numbers, numbers."""
    aligned_in: int | None = None
    """Position of the argument that must be 0 unless the input starts at a multiple of sixteen bytes."""
    pitch_out: int | None = None
    """Position of the argument that must be negative unless the output starts at a multiple of its vectors."""


@dataclass(slots=True, eq=False)
class Program:
    """All launches of a filter."""

    launches: list[Launch] = field(default_factory=list)
    scratch: dict[int, int] = field(default_factory=dict)
    """Bytes of each scratch buffer."""


def build_program(
    problem: Problem,
    kernel: Array | Sequence[Term],
    divisor: float,
    repair: Array | None,
    *,
    multiprocessors: int,
    warps: int | None = None,
) -> Program:
    """Launches for dense weights or separable terms.

    Parameters
    ----------
    problem : Problem
        What is asked; real kernels only.
    kernel : ndarray or sequence of Term
        Dense weights, one axis for each window, or terms.
    divisor : float
        Of all sums, at the end.
    repair : ndarray or None
        Dense weights that results which are not finite are summed with again.
    multiprocessors : int
        Of the device: how many tasks it takes to keep it busy.
    warps : int, optional
        Warps of a block; the simulator takes 1.
    """
    parts = (2,) if problem.input_dtype.kind == "c" else ()
    code = problem.real_dtype.str[1:]
    source = Operand(INPUT, (*problem.shape, *parts), storage_of(problem.input_dtype), problem.cval.real)
    target = Operand(
        OUTPUT,
        (*problem.out_shape, *parts),
        storage_of(problem.output_dtype, saturate=problem.cast == "saturate"),
    )
    builder = _Builder(code, divisor, repair, multiprocessors, warps)
    if isinstance(kernel, np.ndarray):
        sparse = problem.footprint == "support"
        builder.dense(kernel, source, target, problem.windows, sparse=sparse)
    else:
        builder.terms(list(kernel), source, target, problem.windows)
    return builder.program


@dataclass(slots=True, eq=False)
class _Builder:
    """Collects the launches of one program."""

    code: str
    divisor: float
    repair: Array | None
    multiprocessors: int
    warps: int | None
    program: Program = field(default_factory=Program)

    # ---------------------------------------------------------------------- which passes

    def terms(self, terms: list[Term], source: Operand, target: Operand, windows: Sequence[Window]) -> None:
        """Sum of separable terms."""
        terms = [term for term in terms if all(f.positions.size for f in term)]
        if not terms:  # nothing multiplies: zero everywhere
            terms = [tuple(support_factor(np.zeros(w.taps)) for w in windows)]
        if len(windows) == 1:
            self._single(merged([term[0] for term in terms]), source, target, windows[0], self.divisor)
        elif one_pass(terms, windows, source.stride(windows[-1].axis)):
            self._plane(terms, source, target, windows, self.divisor)
        else:
            self._in_stages(terms, source, target, windows)

    def dense(
        self, weights: Array, source: Operand, target: Operand, windows: Sequence[Window], *, sparse: bool
    ) -> None:
        """Sum over weights."""
        factor = support_factor if sparse else window_factor
        if not windows:
            self._columns([(source, factor(weights.reshape(1)))], target, None, self.divisor)
        elif len(windows) == 1:
            self.terms([(factor(weights),)], source, target, windows)
        else:
            self._dense_planes(weights, source, target, windows, sparse=sparse)

    def _in_stages(
        self, terms: list[Term], source: Operand, target: Operand, windows: Sequence[Window]
    ) -> None:
        """The innermost axes first, one intermediate for each group of terms; the last launch adds them."""
        size = 2 if len(windows) > 2 else 1
        groups = grouped(terms, lambda term: term[:-size] if size == 2 else term[-size:])
        inner = source.stride(windows[-1].axis)
        if size == 2 and not all(one_pass([t[-2:] for t in g], windows[-2:], inner) for g in groups):
            size, groups = 1, grouped(terms, lambda term: term[-1:])
        inside, rest = windows[-size:], windows[:-size]
        gains = [sum(gain_of(term[-size:]) for term in (g if size == 2 else g[:1])) for g in groups]
        stages = []
        for members, stage in zip(groups, self._scratch([source] * len(groups), inside, gains), strict=True):
            if size == 2:
                self._plane([term[-2:] for term in members], source, stage, inside, 1.0)
                stages.append((stage, [members[0][:-2]]))
            else:
                self._single(members[0][-1], source, stage, inside[0], 1.0)
                stages.append((stage, [term[:-1] for term in members]))
        self._outer(stages, target, rest)

    def _outer(
        self, stages: list[tuple[Operand, list[Term]]], target: Operand, windows: Sequence[Window]
    ) -> None:
        """The remaining axes, innermost first; the last launch sums over all intermediates."""
        while len(windows) > 1:
            work = [(stage, g) for stage, terms in stages for g in grouped(terms, lambda term: term[-1:])]
            gains = [gain_of(g[0][-1:]) for _, g in work]
            results = self._scratch([stage for stage, _ in work], windows[-1:], gains)
            for (stage, members), result in zip(work, results, strict=True):
                self._single(members[0][-1], stage, result, windows[-1], 1.0)
            stages = [
                (result, [term[:-1] for term in g]) for (_, g), result in zip(work, results, strict=True)
            ]
            windows = windows[:-1]
        parts = [(stage, merged([term[0] for term in terms])) for stage, terms in stages]
        if len(parts) == 1:
            self._single(parts[0][1], parts[0][0], target, windows[0], self.divisor)
        else:
            self._columns(parts, target, windows[0], self.divisor)

    def _single(
        self, factor: Factor, source: Operand, target: Operand, window: Window, divisor: float
    ) -> None:
        """One axis."""
        if tap_class(window.taps) is not None:
            self._plane([(factor,)], source, target, [window], divisor)
        elif source.stride(window.axis) <= MOST_STEP:
            self._lines(factor, source, target, window, divisor)
        else:
            self._columns([(source, factor)], target, window, divisor)

    def _scratch(
        self, sources: Sequence[Operand], windows: Sequence[Window], gains: Sequence[float]
    ) -> list[Operand]:
        """Intermediates stacked in one scratch buffer; `gains`: what becomes of their boundary value."""
        shape = list(sources[0].shape)
        for window in windows:
            shape[window.axis] = window.out_size
        slot, storage, size = 2 + len(self.program.scratch), Storage(self.code), math.prod(shape)
        size = -(-size // ALIGNMENT) * ALIGNMENT
        self.program.scratch[slot] = size * len(sources) * storage.itemsize
        return [
            Operand(slot, tuple(shape), storage, border_after(source.cval, gain), i * size)
            for i, (source, gain) in enumerate(zip(sources, gains, strict=True))
        ]

    # ---------------------------------------------------------------------- launches

    def _plane(
        self,
        terms: Sequence[Term],
        source: Operand,
        target: Operand,
        windows: Sequence[Window],
        divisor: float,
    ) -> None:
        """Taps along one axis, or two, by `cuda_plane`."""
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
        ring = source.storage if holds_border(source, windows, self.code) else Storage(self.code)
        repair = self.repair if target.slot == OUTPUT else None
        variant = PlaneVariant(
            taps=klass, terms=len(terms), along=along is not None, down=down is not None, step=step,
            storage=source.storage, ring=ring, result=target.storage, compute=self.code,
            masked=any(mask not in (every, None) for _, mask in (*line, *column)), repaired=repair is not None,
        )  # fmt: skip
        shift = (along.first - fronts[0]) * step - variant.lead if along else 0
        tiles = -(-columns_out // variant.tile)
        places = np.zeros(1, np.int32)
        if along:
            places = column_table(along, shift, tiles * variant.tile + variant.pitch - variant.tile, step)
        row = row_axis(source, target, along, down)
        offsets = np.arange(row.rows, dtype=np.int64) * row.stride_in
        if down:
            offsets = row_table(down, down.first - fronts[1], row.rows + klass - 1, row.stride_in)
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
        warps = self.warps or variant.warps
        arguments = (
            Slot(source.slot), Slot(target.slot), offsets, places, planes.ravel(), len(planes), tiles, strips, strip,
            row.rows, columns_out, columns_in, shift, int(whole and ring == source.storage),
            row.stride_out if vectors else -row.stride_out, source.cval, divisor, *taps, *masks,
            dense_places, dense_weights.astype(self.code), len(dense_weights),
        )  # fmt: skip
        self.program.launches.append(Launch(variant, -(-tasks // warps), warps, arguments, 13, 14))

    def _strip(self, rows: int, others: int, taps: int) -> int:
        """Rows of a task: long, to filter few rows twice, but enough tasks for the device."""
        strip, wanted = LONGEST_STRIP, self.multiprocessors * WARPS_IN_FLIGHT
        while strip > max(SHORTEST_STRIP, 2 * taps) and -(-rows // strip) * others < wanted:
            strip //= 2
        return strip

    def _lines(
        self, factor: Factor, source: Operand, target: Operand, window: Window, divisor: float
    ) -> None:
        """Many taps along contiguous lines, by `cuda_lines`."""
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
        places = column_table(window, shift, tiles * cuda_lines.TILE + count * size, step)
        variant = LinesVariant(source.storage, target.storage, self.code)
        warps = self.warps or variant.warps
        tasks = tiles * -(-lines // cuda_lines.ROWS)
        arguments = (
            Slot(source.slot), Slot(target.slot), places, np.array(segments, np.int64), flat_table(pieces),
            np.array(weights or [0.0], self.code), count, source.base, target.base, lines, tiles,
            window.size * step, window.out_size * step, shift, source.cval, divisor,
        )  # fmt: skip
        self.program.launches.append(Launch(variant, -(-tasks // warps), warps, arguments))

    def _columns(
        self, parts: Sequence[tuple[Operand, Factor]], target: Operand, window: Window | None, divisor: float
    ) -> None:
        """Taps along one axis, or none, summed over stacked operands, by `cuda_columns`."""
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

    def _dense_planes(
        self, weights: Array, source: Operand, target: Operand, windows: Sequence[Window], *, sparse: bool
    ) -> None:
        """Weights over two axes or more: runs down the columns, by `cuda_columns`."""
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
            Slot(source.slot), Slot(target.slot), offsets, places if shifted else np.zeros(1, np.int32),
            np.ascontiguousarray(sources).ravel(), targets, flat_table(pieces), np.array(weights or [0.0], self.code),
            np.array(borders, self.code), len(targets), sources.shape[1], len(pieces), blocks, tiles, rows, columns,
            strides[1], divisor,
        )  # fmt: skip
        self.program.launches.append(Launch(variant, blocks * tiles * len(targets), warps, arguments))
