"""Horizontal and vertical taps over planes, with all separable terms in one pass over memory.

A warp computes a strip of a plane, `WIDTH` adjacent columns per lane and a few hundred rows, from top to bottom.  Rows
are copied ahead of use to a ring in shared memory that only this warp reads, asynchronously and without a barrier of
the block.  Each row is filtered horizontally from a window in registers.  Its sums then pass through the vertical taps,
with ``taps - 1`` partial sums per column in registers (`arithmetic.advance_intrinsic`).  Samples are read from memory
once and results written once for any number of taps and terms, except that strips overlap by the kernel.

Two loops without bounds checks compute the rows whose input is inside the array.  If all rows are aligned, the first
copies chunks of sixteen bytes and stores vectors.  Otherwise the second copies words of four bytes, and orders results
by address in shared memory before it stores them; small types are then displaced within their words, which is undone
in registers.  A third loop computes the rows near edges.

Tiles of a warp follow A. Jangda, A. Guha, "Warp overlapped tiling" (2019); partial sums in registers follow P. Chen et
al., "A versatile software systolic execution model for GPU memory-bound kernels" (SC 2019).
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import cuda

from ..intrinsics.vocabulary import LANES, ElementType, intrinsics

CHUNK = 16  # bytes of the largest asynchronous copy
WORD = 4  # bytes of the smallest asynchronous copy
SUMS_IN_FLIGHT = 128  # registers per thread for partial sums, if narrower lanes are possible
MOST_HELD = 240  # samples and partial sums that fit the registers of a thread
REGISTERS = 65536  # per multiprocessor
BOOKKEEPING = 44  # registers for addresses, counts and flags


@dataclass(frozen=True, slots=True)
class PlaneVariant:
    """Compile-time parameters of a plane kernel."""

    taps: int
    """Number of taps along either axis, one of `planning.cuda_limits.TAP_CLASSES`."""
    terms: int
    """Number of separable terms: 1 to `MOST_TERMS`."""
    along: bool
    """Whether there are horizontal taps."""
    down: bool
    """Whether there are vertical taps."""
    step: int
    """Elements from one horizontal tap to the next: the number of interleaved channels."""
    storage: ElementType
    """Type of the input."""
    ring: ElementType
    """Type of the rows in shared memory: that of the input or, if that cannot represent `cval`, that of the sums."""
    result: ElementType
    """Type of the output."""
    compute: str
    """Type of the sums, "f4" or "f8"."""
    masked: bool = False
    """Whether only the taps whose bit is set are used."""
    repaired: bool = False
    """Whether results that are not finite are recomputed with the dense weights, which spread NaN less far."""
    divided: bool = False
    """Whether the final sums are divided."""

    @property
    def width(self) -> int:
        """Columns per lane: sixteen bytes of the input if there are registers for their partial sums."""
        if self.compute == "f8":
            return 2 if self.taps <= 17 else 1
        if (self.masked and self.taps * self.terms > 50) or self.reach + 4 * self.taps > MOST_HELD:
            return 2
        widest = CHUNK // min(self.ring.itemsize, 4)
        return next((n for n in (16, 8) if n <= widest and n * (self.taps - 1) <= SUMS_IN_FLIGHT), 4)

    @property
    def tile(self) -> int:
        """Columns per warp."""
        return LANES * self.width

    @property
    def reach(self) -> int:
        """Elements from the first horizontal tap to the last."""
        return (self.taps - 1) * self.step if self.along else 0

    @property
    def chunk(self) -> int:
        """Elements of a chunk, the largest asynchronous copy."""
        return CHUNK // self.ring.itemsize

    @property
    def lead(self) -> int:
        """Elements from the start of a ring row, aligned to a chunk, to tap 0 of a centred kernel."""
        return -(self.taps // 2 * self.step) % self.chunk if self.along else 0

    @property
    def slack(self) -> int:
        """Spare elements per ring row for small types, which copies in aligned words can displace."""
        return 3 * WORD // self.ring.itemsize if self.ring.itemsize < WORD else 0

    @property
    def pitch(self) -> int:
        """Elements of a ring row, a multiple of a chunk."""
        return -(-(self.lead + self.tile + self.reach + self.slack) // self.chunk) * self.chunk

    @property
    def depth(self) -> int:
        """Rows of the ring, a power of two; more for small types, to keep as many bytes in flight."""
        return 8 if self.ring.itemsize < 4 else 4

    @property
    def warps(self) -> int:
        """Warps per block; they share no data."""
        return 4

    @property
    def ring_bytes(self) -> int:
        """Bytes of shared memory for the ring of a warp."""
        return self.depth * self.pitch * self.ring.itemsize

    @property
    def stage_bytes(self) -> int:
        """Bytes of shared memory in which a warp orders its results by address."""
        return self.tile * self.result.itemsize + CHUNK  # words are read in pairs

    @property
    def pointers(self) -> tuple[np.dtype, ...]:
        """Types of the arrays of a call: input, output."""
        return self.storage.raw, self.result.raw

    @property
    def launch_bounds(self) -> tuple[int, int]:
        """(Threads per block, minimum number of resident blocks per multiprocessor), which limit the registers."""
        held = (self.taps - 1 if self.down else 0) * self.width + self.reach + 3 * self.width
        held *= 2 if self.compute == "f8" else 1
        more = (self.repaired or not self.along) / 2 + (self.compute == "f8" or self.ring != self.storage)
        more += (self.step > 1) / 4 + self.masked
        registers = held + BOOKKEEPING * (1 + more)
        return LANES * self.warps, max(1, int(REGISTERS / (LANES * self.warps * registers)))

    @property
    def quick_inside(self) -> bool:
        """Whether rows inside the input have their own loops: these triple the code, which is too much with masks."""
        return not (self.masked and self.taps * self.terms > 20)


def plane_signature(variant: PlaneVariant):
    """Return the Numba types of the arguments of `plane_kernel`."""
    types, pointer, number = intrinsics.types, intrinsics.pointer_to, intrinsics.scalar_type(variant.compute)
    taps = types.UniTuple(number, variant.taps * variant.terms)
    masks = types.UniTuple(types.int64, variant.terms)
    integers = types.CPointer(types.int64)
    pointers = (pointer(variant.storage), pointer(variant.result), *(integers,) * 3)
    dense = (types.CPointer(types.int32), types.CPointer(number), types.int64)
    return (*pointers, *(types.int64,) * 13, number, number, taps, taps, masks, masks, *dense)


def plane_kernel(variant: PlaneVariant):
    """Make the kernel of a variant, which Numba compiles at the first launch.

    Arguments of the kernel, with all offsets and strides in elements:

    x, y : input and output
    beyond_rows, beyond_columns : the input row, or element of a row, that each position before and after the input
        copies, or OUTSIDE (`intrinsics.source_place`)
    planes : (planes, 2), offsets of each plane in `x` and `y`
    plane_count, tiles, strips : numbers of planes, of tiles across a plane, and of strips down a plane
    strip_rows, rows, columns : output rows per strip; size of an output plane
    source_columns, shift : columns of the input; input column at element 0 of a ring row for output column 0
    source_rows, row_shift, pitch_in : rows of the input; input row under tap 0 for output row 0; row stride of `x`
    aligned_in, pitch_out : whether rows can be copied in chunks; row stride of `y`, negative if not aligned
    cval, divisor : value beyond a constant boundary; divisor of the final sums
    line_taps, column_taps, line_masks, column_masks : horizontal and vertical taps and masks, term by term
    dense_places, dense_weights, dense_count : dense kernel for the repair, with (row, column) for each weight
    """
    AHEAD, COPIED = variant.depth - 1, variant.chunk
    PITCH, WIDTH, TILE, LEAD = variant.pitch, variant.width, variant.tile, variant.lead
    STEP, REACH, HALO = variant.step, variant.reach, variant.taps - 1 if variant.down else 0
    WARP_BYTES, RING_BYTES = variant.ring_bytes + variant.stage_bytes, variant.ring_bytes
    SHARED_BYTES = variant.warps * WARP_BYTES + CHUNK
    PENDING = max(HALO, 1) * WIDTH
    SMALL = variant.slack > 0
    ELEMENTS = WORD // variant.ring.itemsize if SMALL else 1  # per word
    BEYOND = ELEMENTS if SMALL else 0
    AS_STORED = variant.storage == variant.ring
    REPAIRED, ALONG, DIVIDED = variant.repaired, variant.along, variant.divided
    FLOATING, QUICK = not variant.result.is_integer, variant.quick_inside
    number = np.dtype(variant.compute).type
    byte, small = np.uint8, np.int32
    aligned, commit, warp_barrier = intrinsics.aligned, intrinsics.commit, intrinsics.warp_barrier
    source_place, moved = intrinsics.source_place, intrinsics.moved
    ring = intrinsics.ring_intrinsics(
        variant.storage, variant.ring, variant.compute, variant.depth, variant.pitch
    )
    copy_row, copy_words, copy_one, put, wait = (
        ring.copy_row,
        ring.copy_words,
        ring.copy_one,
        ring.put,
        ring.wait,
    )
    advance, advance_displaced = (
        intrinsics.advance_intrinsic(variant),
        intrinsics.advance_intrinsic(variant, displaced=SMALL),
    )
    results = intrinsics.result_intrinsics(variant.result, variant.compute, WIDTH)
    divided, finite, store, stage = results.divided, results.finite, results.store, results.stage
    flush, write, read = (
        results.flush,
        results.write,
        intrinsics.read_intrinsic(variant.storage, variant.compute),
    )
    read_result = intrinsics.read_intrinsic(variant.result, variant.compute, constant=False)

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
        # Elements from `begin` to `end` of a ring row are copied in words, other `needed` elements one by one.
        needed = small(LEAD + REACH + (count + WIDTH - 1) // WIDTH * WIDTH)
        low = (max(ELEMENTS - 1 - left, 0) + ELEMENTS - 1) // ELEMENTS * ELEMENTS
        high = (min(PITCH, source_columns - left) - BEYOND) // ELEMENTS * ELEMENTS
        in_words = AS_STORED and high > low
        begin, end = (small(low), small(high + BEYOND)) if in_words else (small(LEAD), small(LEAD))
        inside = in_words and begin == 0 and end == PITCH
        # Rows of the strip that are inside the input, and those for which the row to be copied ahead is inside, too.
        first_inside = small(min(max(0, -top), stop))
        stop_inside = small(min(stop, max(source_rows - top, first_inside)))
        steady = small(max(0, first_inside - AHEAD))
        steady_stop = small(stop_inside - AHEAD)
        if not QUICK or steady >= steady_stop or not inside or count < TILE:
            steady = stop

        for i in range(PENDING):
            pending[i] = 0
        displaced = small(0)  # displacement of each row in the ring, two bits per row
        unsound_first, unsound_last = stop, small(0)  # rows with results that are not finite
        there = source + top * pitch_in + left  # offset of the row to copy
        place = target + (first_row - AHEAD - HALO) * row_pitch + column  # offset of the results of a row
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
            warp_barrier()  # results written by other lanes must be visible
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
