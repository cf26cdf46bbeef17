"""Taps along rows and down columns of planes, all separable terms in one pass over memory.

A warp owns a strip of a plane: `WIDTH` neighbouring columns a lane, and some hundred rows that it walks down.  The
rows ahead are on their way into a ring in shared memory that only this warp reads (asynchronous copies of sixteen
bytes, no barrier of the block).  Each row that arrives is filtered along itself from a window in registers, and its
sums move on at once through the taps down the columns, which keep ``taps - 1`` unfinished sums a column in registers
(`cuda_ptx.advance_word`).  So every sample is read from memory once and every result written once, whatever the
number of taps and terms.

The tiling of a warp each follows A. Jangda, A. Guha, "Warp overlapped tiling" (2019), the sums in flight P. Chen et
al., "A versatile software systolic execution model for GPU memory-bound kernels" (SC 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import cuda

from ..intrinsics.vocabulary import LANES, Storage, words

CHUNK = 16  # bytes of an asynchronous copy
REGISTERS = 65536  # of a multiprocessor
BOOKKEEPING = 36  # registers for addresses, counts and flags


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

    @property
    def width(self) -> int:
        """Columns of a lane."""
        if self.compute == "f4":
            return 4
        return 2 if self.taps <= 17 else 1

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
    def pitch(self) -> int:
        """Elements of a ring row, whole chunks."""
        return -(-(self.lead + self.tile + self.reach) // self.chunk) * self.chunk

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
        """Shared memory of a warp."""
        return self.depth * self.pitch * self.ring.itemsize

    @property
    def pointers(self) -> tuple[np.dtype, ...]:
        """Types of the arrays of a call: input, output."""
        return self.storage.raw, self.result.raw

    @property
    def launch_bounds(self) -> tuple[int, int]:
        """(threads of a block, blocks that a multiprocessor should hold): what registers are allotted by."""
        held = (self.taps - 1 if self.down else 0) * self.width + self.reach + 3 * self.width
        bookkeeping = BOOKKEEPING * (1.7 if self.repaired or not self.along else 1)
        registers = held * (2 if self.compute == "f8" else 1) + bookkeeping
        return LANES * self.warps, max(1, int(REGISTERS / (LANES * self.warps * registers)))


def plane_signature(variant: PlaneVariant):
    """Numba types of the arguments of `plane_kernel`."""
    types, pointer, number = words.types, words.pointer_to, words.scalar_type(variant.compute)
    taps = types.UniTuple(number, variant.taps * variant.terms)
    masks = types.UniTuple(types.int64, variant.terms)
    integers = types.CPointer(types.int64)
    pointers = (pointer(variant.storage), pointer(variant.result), *(integers,) * 3)
    dense = (types.CPointer(types.int32), types.CPointer(number), types.int64)
    return (*pointers, *(types.int64,) * 13, number, number, taps, taps, masks, masks, *dense)


def plane_kernel(variant: PlaneVariant):
    """The kernel, as a function for Numba to compile.

    Arguments of the kernel, all distances in elements:

    x, y : input and output
    beyond_rows, beyond_columns : the row, or element of a row, that each position before and after the input's own
        shows, or OUTSIDE (`words.source_place`)
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
    DEPTH, PITCH = variant.depth, variant.pitch
    RING_BYTES, PER_WARP = variant.warps * variant.ring_bytes + CHUNK, variant.depth * variant.pitch
    WIDTH, TILE, LEAD, STEP = variant.width, variant.tile, variant.lead, variant.step
    HALO = variant.taps - 1 if variant.down else 0
    PENDING = max(HALO, 1) * WIDTH
    REPAIRED, ALONG = variant.repaired, variant.along
    number = np.dtype(variant.compute).type
    byte = np.uint8
    aligned, commit, warp_barrier = words.aligned, words.commit, words.warp_barrier
    source_place = words.source_place
    ring = words.ring_words(variant.storage, variant.ring, variant.compute, variant.depth, variant.pitch)
    copy_row, copy_one, put, wait = ring.copy_row, ring.copy_one, ring.put, ring.wait
    advance = words.advance_word(variant)
    results = words.result_words(variant.result, variant.compute, WIDTH)
    divided, finite, store, store_some = results.divided, results.finite, results.store, results.store_some
    write, read = results.write, words.read_word(variant.storage, variant.compute)

    def plane(
        x, y, beyond_rows, beyond_columns, planes, plane_count, tiles, strips, strip_rows, rows, columns,
        source_columns, shift, source_rows, row_shift, pitch_in, aligned_in, pitch_out, cval, divisor,
        line_taps, column_taps, line_masks, column_masks,
        dense_places, dense_weights, dense_count,
    ):  # fmt: skip
        lane = np.int64(cuda.threadIdx.x)
        warp = np.int64(cuda.threadIdx.y)
        task = np.int64(cuda.blockIdx.x) * cuda.blockDim.y + warp
        memory = aligned(cuda.shared.array(RING_BYTES, byte))
        pending = cuda.local.array(PENDING, number)
        if task >= tiles * strips * plane_count:
            return
        column = task % tiles * TILE
        strip = task // tiles
        number_of_plane = strip // strips
        source = planes[2 * number_of_plane]
        target = planes[2 * number_of_plane + 1]
        first_row = strip % strips * strip_rows
        last_row = min(first_row + strip_rows, rows)
        slots = warp * PER_WARP
        left = column + shift
        whole = aligned_in != 0 and left >= 0 and left + PITCH <= source_columns
        mine = column + lane * WIDTH

        for i in range(PENDING):
            pending[i] = 0
        ahead = first_row  # the next row to fetch, DEPTH - 1 before the one to filter
        for t in range(first_row - (DEPTH - 1), last_row + HALO):
            if t >= first_row:
                wait()
                warp_barrier()
            if ahead < last_row + HALO:
                start = source_place(beyond_rows, ahead + row_shift, row_shift, source_rows) * pitch_in
                slot = slots + (ahead & (DEPTH - 1)) * PITCH
                if whole and start >= 0:
                    copy_row(memory, slot, x, source + start + left, lane)
                else:
                    for i in range(lane, PITCH, LANES):
                        place = left + i
                        if ALONG:
                            place = source_place(beyond_columns, place, shift, source_columns)
                        else:
                            place = min(place, source_columns - 1)
                        if start < 0 or place < 0:
                            put(memory, slot + i, cval)
                        else:
                            copy_one(memory, slot + i, x, source + start + place)
            ahead += 1
            commit()
            if t < first_row:
                continue
            at = slots + (t & (DEPTH - 1)) * PITCH + lane * WIDTH
            sums = advance(memory, at, pending, line_taps, column_taps, line_masks, column_masks)
            row = t - HALO
            if row < first_row or mine >= columns:
                continue
            if divisor != 1:
                sums = divided(sums, divisor)
            index = target + row * abs(pitch_out) + mine
            if REPAIRED and not finite(sums):
                for v in range(min(WIDTH, columns - mine)):
                    total = number(0)
                    for j in range(dense_count):
                        at_row = row + dense_places[2 * j] + row_shift
                        start = source_place(beyond_rows, at_row, row_shift, source_rows) * pitch_in
                        place = mine + v
                        if ALONG:
                            place += shift + LEAD + STEP * dense_places[2 * j + 1]
                            place = source_place(beyond_columns, place, shift, source_columns)
                        value = cval
                        if start >= 0 and place >= 0:
                            value = read(x, source + start + place)
                        total = cuda.fma(dense_weights[j], value, total)
                    write(y, index + v, total)
            elif pitch_out > 0 and mine + WIDTH <= columns:
                store(y, index, sums)
            else:
                store_some(y, index, sums, columns - mine)

    return plane
