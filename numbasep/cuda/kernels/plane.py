"""Taps along rows and down columns of planes, all separable terms in one pass over memory.

A warp owns a strip of a plane: `WIDTH` neighbouring columns a lane, and some hundred rows that it walks down.  The
rows ahead are on their way into a ring in shared memory that only this warp reads (asynchronous copies, no barrier of
the block).  Each row that arrives is filtered along itself from a window in registers, and its
sums move on at once through the taps down the columns, which keep ``taps - 1`` unfinished sums a column in registers
(`cuda_ptx.advance_word`).  So every sample is read from memory once and every result written once, whatever the
number of taps and terms.

Where all rows of a strip are inside of the input, two loops without tests walk down: one copies chunks of sixteen bytes
and stores vectors, where every row starts at a multiple of them; the other copies words of four bytes, and brings
results into the order of their addresses through shared memory.  Small types are then displaced within their words,
which is undone in registers.  What is left, near edges, goes through a third loop.

The tiling of a warp each follows A. Jangda, A. Guha, "Warp overlapped tiling" (2019), the sums in flight P. Chen et
al., "A versatile software systolic execution model for GPU memory-bound kernels" (SC 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import cuda

from ..intrinsics.vocabulary import LANES, Storage, intrinsics

CHUNK = 16  # bytes of an asynchronous copy, at most
WORD = 4  # bytes of one, at least
SUMS_IN_FLIGHT = 128  # registers of a thread for them, where there is a choice
MOST_HELD = 240  # samples and sums that fit the registers of a thread
REGISTERS = 65536  # of a multiprocessor
BOOKKEEPING = 44  # registers for addresses, counts and flags


@dataclass(frozen=True, slots=True)
class PlaneVariant:
    """What is fixed when a plane kernel is compiled."""

    taps: int
    """One of `cuda_classes.TAP_CLASSES`."""
    terms: int
    """Separable terms that are summed: 1 to `MOST_TERMS`."""
    along: bool
    """Whether there are taps along the rows."""
    down: bool
    """Whether there are taps down the columns."""
    step: int
    """Elements between neighbouring taps along a row: the interleaved channels."""
    storage: Storage
    """The input."""
    ring: Storage
    """What shared memory holds: the input as it is or, where `cval` does not fit into that, numbers to compute with."""
    result: Storage
    """The output."""
    compute: str
    """What sums are taken in, "f4" or "f8"."""
    masked: bool = False
    """Whether only the taps whose bit is set multiply."""
    repaired: bool = False
    """Whether results that are not finite are summed again over the dense weights, which spread NaN less far."""
    divided: bool = False
    """Whether sums are divided at the end."""

    @property
    def width(self) -> int:
        """Columns of a lane: sixteen bytes of the input where there are registers for the sums in flight."""
        if self.compute == "f8":
            return 2 if self.taps <= 17 else 1
        if (self.masked and self.taps * self.terms > 50) or self.reach + 4 * self.taps > MOST_HELD:
            return 2
        widest = CHUNK // min(self.ring.itemsize, 4)
        return next((n for n in (16, 8) if n <= widest and n * (self.taps - 1) <= SUMS_IN_FLIGHT), 4)

    @property
    def tile(self) -> int:
        """Columns of a warp."""
        return LANES * self.width

    @property
    def reach(self) -> int:
        """Columns from the first tap to the last."""
        return (self.taps - 1) * self.step if self.along else 0

    @property
    def chunk(self) -> int:
        """Elements of an asynchronous copy."""
        return CHUNK // self.ring.itemsize

    @property
    def lead(self) -> int:
        """Elements from the start of a ring row, which is a multiple of a chunk, to tap 0 of a centred kernel."""
        return -(self.taps // 2 * self.step) % self.chunk if self.along else 0

    @property
    def slack(self) -> int:
        """Elements by which rows of small types, copied in words from where a word begins, may be displaced."""
        return 3 * WORD // self.ring.itemsize if self.ring.itemsize < WORD else 0

    @property
    def pitch(self) -> int:
        """Elements of a ring row, whole chunks."""
        return -(-(self.lead + self.tile + self.reach + self.slack) // self.chunk) * self.chunk

    @property
    def depth(self) -> int:
        """Rows of the ring, a power of two: more of them for small types, to keep as many bytes in flight."""
        return 8 if self.ring.itemsize < 4 else 4

    @property
    def warps(self) -> int:
        """Warps of a block; they share nothing."""
        return 4

    @property
    def ring_bytes(self) -> int:
        """Shared memory of the ring of a warp."""
        return self.depth * self.pitch * self.ring.itemsize

    @property
    def stage_bytes(self) -> int:
        """Shared memory of a warp in which results are put into the order of their addresses."""
        return self.tile * self.result.itemsize + CHUNK  # words are read in pairs

    @property
    def pointers(self) -> tuple[np.dtype, ...]:
        """Types of the arrays of a call: input, output."""
        return self.storage.raw, self.result.raw

    @property
    def launch_bounds(self) -> tuple[int, int]:
        """(threads of a block, blocks that a multiprocessor should hold): what registers are allotted by."""
        held = (self.taps - 1 if self.down else 0) * self.width + self.reach + 3 * self.width
        held *= 2 if self.compute == "f8" else 1
        more = (self.repaired or not self.along) / 2 + (self.compute == "f8" or self.ring != self.storage)
        more += (self.step > 1) / 4 + self.masked
        registers = held + BOOKKEEPING * (1 + more)
        return LANES * self.warps, max(1, int(REGISTERS / (LANES * self.warps * registers)))

    @property
    def quick_inside(self) -> bool:
        """Whether rows inside of the input have loops of their own: three times the code, too much with masks."""
        return not (self.masked and self.taps * self.terms > 20)


def plane_signature(variant: PlaneVariant):
    """Numba types of the arguments of `plane_kernel`."""
    types, pointer, number = intrinsics.types, intrinsics.pointer_to, intrinsics.scalar_type(variant.compute)
    taps = types.UniTuple(number, variant.taps * variant.terms)
    masks = types.UniTuple(types.int64, variant.terms)
    integers = types.CPointer(types.int64)
    pointers = (pointer(variant.storage), pointer(variant.result), *(integers,) * 3)
    dense = (types.CPointer(types.int32), types.CPointer(number), types.int64)
    return (*pointers, *(types.int64,) * 13, number, number, taps, taps, masks, masks, *dense)


def plane_kernel(variant: PlaneVariant):
    """The kernel, which Numba compiles when it is launched.

    Arguments of the kernel, all distances in elements:

    x, y : input and output
    beyond_rows, beyond_columns : the row, or element of a row, that each position before and after the input's own
        shows, or OUTSIDE (`intrinsics.source_place`)
    planes : (planes, 2), where each plane starts in `x` and in `y`
    plane_count, tiles, strips : how many tasks there are
    strip_rows, rows, columns : rows of a task; rows and columns of a plane of the output
    source_columns, shift : columns of the input; input column under element 0 of a ring row for output column 0
    source_rows, row_shift, pitch_in : rows of the input; input row under tap 0 for output row 0; input row length
    aligned_in, pitch_out : whether chunks may be copied whole; output row length, negative if not aligned
    cval, divisor : beyond a constant boundary; of all sums, at the end
    line_taps, column_taps, line_masks, column_masks : term by term
    dense_places, dense_weights, dense_count : the dense kernel, as (row, column) pairs of taps, to repair with
    """
    AHEAD, COPIED = variant.depth - 1, variant.chunk
    PITCH, WIDTH, TILE, LEAD = variant.pitch, variant.width, variant.tile, variant.lead
    STEP, REACH, HALO = variant.step, variant.reach, variant.taps - 1 if variant.down else 0
    WARP_BYTES, RING_BYTES = variant.ring_bytes + variant.stage_bytes, variant.ring_bytes
    SHARED_BYTES = variant.warps * WARP_BYTES + CHUNK
    PENDING = max(HALO, 1) * WIDTH
    SMALL = variant.slack > 0
    ELEMENTS = WORD // variant.ring.itemsize if SMALL else 1  # of a word
    BEYOND = ELEMENTS if SMALL else 0
    AS_STORED = variant.storage == variant.ring
    REPAIRED, ALONG, DIVIDED = variant.repaired, variant.along, variant.divided
    FLOATING, QUICK = not variant.result.is_integer, variant.quick_inside
    number = np.dtype(variant.compute).type
    byte, small = np.uint8, np.int32
    aligned, commit, warp_barrier = intrinsics.aligned, intrinsics.commit, intrinsics.warp_barrier
    source_place, moved = intrinsics.source_place, intrinsics.moved
    ring = intrinsics.ring_words(variant.storage, variant.ring, variant.compute, variant.depth, variant.pitch)
    copy_row, copy_words, copy_one, put, wait = (
        ring.copy_row,
        ring.copy_words,
        ring.copy_one,
        ring.put,
        ring.wait,
    )
    advance, advance_displaced = (
        intrinsics.advance_word(variant),
        intrinsics.advance_word(variant, displaced=SMALL),
    )
    results = intrinsics.result_words(variant.result, variant.compute, WIDTH)
    divided, finite, store, stage = results.divided, results.finite, results.store, results.stage
    flush, write, read = results.flush, results.write, intrinsics.read_word(variant.storage, variant.compute)
    read_result = intrinsics.read_word(variant.result, variant.compute, constant=False)

    @cuda.jit(**intrinsics.options(variant))
    def plane(
        x, y, beyond_rows, beyond_columns, planes, plane_count, tiles, strips, strip_rows, rows, columns,
        source_columns, shift, source_rows, row_shift, pitch_in, aligned_in, pitch_out, cval, divisor,
        line_taps, column_taps, line_masks, column_masks,
        dense_places, dense_weights, dense_count,
    ):  # fmt: skip
        lane = np.int64(cuda.threadIdx.x)
        warp = np.int64(cuda.threadIdx.y)
        task = np.int64(cuda.blockIdx.x) * cuda.blockDim.y + warp
        memory = aligned(cuda.shared.array(SHARED_BYTES, byte), warp * WARP_BYTES)
        pending = cuda.local.array(PENDING, number)
        if task >= tiles * strips * plane_count:
            return
        column = task % tiles * TILE
        strip = task // tiles
        source = planes[2 * (strip // strips)]
        target = planes[2 * (strip // strips) + 1]
        first_row = strip % strips * strip_rows
        stop = small(min(strip_rows, rows - first_row) + HALO)
        count = small(min(columns - column, TILE))
        left = column + shift
        mine = small(lane * WIDTH)
        row_pitch = abs(pitch_out)
        top = first_row + row_shift
        # Elements from `begin` to `end` of a ring row are copied in words, the others that are `needed` one by one.
        needed = small(LEAD + REACH + (count + WIDTH - 1) // WIDTH * WIDTH)
        low = (max(ELEMENTS - 1 - left, 0) + ELEMENTS - 1) // ELEMENTS * ELEMENTS
        high = (min(PITCH, source_columns - left) - BEYOND) // ELEMENTS * ELEMENTS
        in_words = AS_STORED and high > low
        begin, end = (small(low), small(high + BEYOND)) if in_words else (small(LEAD), small(LEAD))
        inside = in_words and begin == 0 and end == PITCH
        # Rows of the input among those of the strip; and those that the steady loop filters, with whole chunks ahead.
        first_inside = small(min(max(0, -top), stop))
        stop_inside = small(min(stop, max(source_rows - top, first_inside)))
        steady = small(max(0, first_inside - AHEAD))
        steady_stop = small(stop_inside - AHEAD)
        if not QUICK or steady >= steady_stop or not inside or count < TILE:
            steady = stop

        for i in range(PENDING):
            pending[i] = 0
        displaced = small(0)  # of each row in the ring, two bits
        unsound_first, unsound_last = stop, small(0)  # rows with results that are not finite
        there = source + top * pitch_in + left  # where the row to fetch begins
        place = target + (first_row - AHEAD - HALO) * row_pitch + column  # and where the results of a row go
        t = small(-AHEAD)
        while t < stop:
            if QUICK and t == steady:
                source_row, target_row = moved(x, there + lane * COPIED), moved(y, place + mine)
                there += (steady_stop - t) * pitch_in
                place += (steady_stop - t) * row_pitch
                if aligned_in != 0 and pitch_out > 0:
                    while t < steady_stop:
                        wait()
                        warp_barrier()
                        copy_row(memory, small((t + AHEAD) & AHEAD) * PITCH, source_row, lane)
                        commit()
                        at = small((t & AHEAD) * PITCH + mine)
                        sums = advance(
                            memory, at, 0, pending, line_taps, column_taps, line_masks, column_masks
                        )
                        if t >= HALO:
                            if DIVIDED:
                                sums = divided(sums, divisor)
                            store(target_row, 0, sums)
                            if REPAIRED and not finite(sums, WIDTH):
                                unsound_first, unsound_last = min(unsound_first, t), t
                        source_row, target_row = moved(source_row, pitch_in), moved(target_row, pitch_out)
                        t = small(t + 1)
                source_row, target_row = moved(source_row, -lane * COPIED), moved(target_row, -mine)
                while t < steady_stop:
                    wait()
                    warp_barrier()
                    slot = small((t + AHEAD) & AHEAD) * PITCH
                    by = small(copy_words(memory, slot, source_row, begin, end, 1, lane))
                    if SMALL:
                        displaced = small((displaced << 2) | by)
                        by = small((displaced >> (2 * AHEAD)) & 3)
                    commit()
                    at = small((t & AHEAD) * PITCH + mine)
                    sums = advance_displaced(
                        memory, at, by, pending, line_taps, column_taps, line_masks, column_masks
                    )
                    if t >= HALO:
                        if DIVIDED:
                            sums = divided(sums, divisor)
                        stage(memory, RING_BYTES, mine, sums)
                        if REPAIRED and not finite(sums, WIDTH):
                            unsound_first, unsound_last = min(unsound_first, t), t
                        warp_barrier()
                        flush(target_row, memory, RING_BYTES, TILE, 1, lane)
                    source_row, target_row = moved(source_row, pitch_in), moved(target_row, row_pitch)
                    t = small(t + 1)
            wait()
            warp_barrier()
            ahead, by = small(t + AHEAD), small(0)
            if ahead < stop:
                slot = small((ahead & AHEAD) * PITCH)
                start, outside = there, False
                if ahead < first_inside or ahead >= stop_inside:
                    row = source_place(beyond_rows, ahead + top, row_shift, source_rows)
                    start, outside = source + row * pitch_in + left, row < 0
                before, after = small(LEAD), small(LEAD)
                if in_words and not outside:
                    by = small(copy_words(memory, slot, moved(x, start), begin, end, int(inside), lane))
                    before, after = small(max(begin - by, LEAD)), small(min(end - by, needed))
                if outside or not inside:
                    before = small(before - LEAD)
                    for i in range(lane, before + needed - after, LANES):
                        i += LEAD if i < before else after - before
                        column_in = min(left + i, source_columns - 1)
                        if ALONG:
                            column_in = source_place(beyond_columns, left + i, shift, source_columns)
                        if outside or column_in < 0:
                            put(memory, slot + i + by, cval)
                        else:
                            copy_one(memory, slot + i + by, x, start - left + column_in)
            displaced = small((displaced << 2) | by)
            there += pitch_in
            place += row_pitch
            commit()
            if t >= 0:
                at = small((t & AHEAD) * PITCH + mine)
                by = small((displaced >> (2 * AHEAD)) & 3)
                sums = advance_displaced(
                    memory, at, by, pending, line_taps, column_taps, line_masks, column_masks
                )
                if t >= HALO:
                    if DIVIDED:
                        sums = divided(sums, divisor)
                    stage(memory, RING_BYTES, mine, sums)
                    if REPAIRED and not finite(sums, count - mine):
                        unsound_first, unsound_last = min(unsound_first, t), t
                    warp_barrier()
                    flush(moved(y, place - row_pitch), memory, RING_BYTES, count, 0, lane)
            t = small(t + 1)

        if REPAIRED:
            warp_barrier()  # what another lane has written here comes first
            place = target + (first_row - HALO) * row_pitch + column + mine
            for t in range(unsound_first, unsound_last + 1):
                for v in range(min(WIDTH, count - mine)):
                    if FLOATING and math.isfinite(read_result(y, place + t * row_pitch + v)):
                        continue
                    total = number(0)
                    for j in range(dense_count):
                        row = t - HALO + top + dense_places[2 * j]
                        row = source_place(beyond_rows, row, row_shift, source_rows)
                        column_in = left + LEAD + mine + v
                        if ALONG:
                            column_in += STEP * dense_places[2 * j + 1]
                            column_in = source_place(beyond_columns, column_in, shift, source_columns)
                        value = cval
                        if row >= 0 and column_in >= 0:
                            value = read(x, source + row * pitch_in + column_in)
                        total = cuda.fma(dense_weights[j], value, total)
                    write(y, place + t * row_pitch + v, total)

    return plane
