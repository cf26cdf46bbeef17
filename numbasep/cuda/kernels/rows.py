"""Horizontal filters of any number of taps, for kernels too long for the registers of `cuda.kernels.plane`.

A warp computes 128 adjacent columns, four per lane, of `ROWS` rows.  For each segment of the taps, it converts and
copies the samples under them to shared memory that only this warp reads.  It then adds the pieces of the segment,
a few adjacent taps each, by straight-line code from windows in registers.  A piece is loaded once for all rows.
"""

from dataclasses import dataclass

import numpy as np
from numba import cuda

from ..intrinsics.vocabulary import LANES, ElementType, intrinsics

ROWS = 4
WIDTH = 4
TILE = LANES * WIDTH
SEGMENT = 128
"""Elements of the window per segment, in shared memory at a time."""
PITCH = TILE + SEGMENT
LENGTHS = (16, 4, 1)
"""Possible numbers of taps of a piece; pieces of more than one start at a multiple of `WIDTH` in their segment."""
START, LENGTH, WEIGHT, PIECE = range(4)
"""Columns of the table of pieces, and the number of columns."""
WARPS = 4


@dataclass(frozen=True, slots=True)
class LinesVariant:
    """Compile-time parameters of a kernel of this family."""

    storage: ElementType
    """Type of the input."""
    result: ElementType
    """Type of the output."""
    compute: str
    """Type of the sums, "f4" or "f8"."""

    @property
    def warps(self) -> int:
        """Warps per block, so that 48 KiB of shared memory suffice."""
        return WARPS if self.compute == "f4" else WARPS // 2

    @property
    def ring_bytes(self) -> int:
        """Bytes of shared memory per warp."""
        return ROWS * PITCH * int(self.compute[1:])

    @property
    def pointers(self) -> tuple[np.dtype, ...]:
        """Types of the arrays of a call: input, output."""
        return self.storage.raw, self.result.raw

    @property
    def launch_bounds(self) -> tuple[int, int]:
        """(Threads per block, minimum number of resident blocks per multiprocessor)."""
        return LANES * self.warps, 4


def lines_signature(variant: LinesVariant):
    """Return the Numba types of the arguments of `lines_kernel`."""
    types, pointer, number = intrinsics.types, intrinsics.pointer_to, intrinsics.scalar_type(variant.compute)
    integers = types.CPointer(types.int64)
    arrays = (pointer(variant.storage), pointer(variant.result), integers)
    return (*arrays, integers, integers, types.CPointer(number), *(types.int64,) * 8, number, number)


def lines_kernel(variant: LinesVariant):
    """Make the kernel of a variant, which Numba compiles at the first launch.

    Arguments of the kernel, with all offsets and strides in elements:

    x, y : input and output, with contiguous rows
    beyond : the element that each position before and after a row copies, or OUTSIDE (`intrinsics.source_place`)
    segments : (segment_count + 1,), index of the first piece of each segment
    pieces, weights : table of pieces, (pieces, PIECE), and their taps
    first_in, first_out : offsets of the first row in `x` and in `y`
    lines, tiles : number of rows, and of tiles per row
    columns_in, columns_out : elements per row of `x` and `y`
    shift : input column under the first tap for output column 0
    cval, divisor : value beyond a constant boundary; divisor of the final sums
    """
    number = np.dtype(variant.compute).type
    byte = np.uint8
    MEMORY, PER_WARP, SUMS = variant.warps * variant.ring_bytes + 16, ROWS * PITCH, ROWS * WIDTH
    kept = ElementType(variant.compute)
    aligned, warp_barrier, source_place = intrinsics.aligned, intrinsics.warp_barrier, intrinsics.source_place
    ring = intrinsics.ring_intrinsics(variant.storage, kept, variant.compute, 2, PITCH)
    copy_one, put, commit, wait = ring.copy_one, ring.put, intrinsics.commit, ring.wait
    sixteen, four, one = (intrinsics.line_intrinsic(variant.compute, n, ROWS, WIDTH, PITCH) for n in LENGTHS)
    results = intrinsics.result_intrinsics(variant.result, variant.compute, 1)
    write = results.write

    @cuda.jit(**intrinsics.options(variant))
    def plane(
        x, y, beyond, segments, pieces, weights, segment_count, first_in, first_out, lines, tiles, columns_in,
        columns_out, shift, cval, divisor,
    ):  # fmt: skip
        lane = np.int64(cuda.threadIdx.x)
        warp = np.int64(cuda.threadIdx.y)
        task = np.int64(cuda.blockIdx.x) * cuda.blockDim.y + warp
        memory = aligned(cuda.shared.array(MEMORY, byte), 0)
        sums = cuda.local.array(SUMS, number)
        column = task % tiles * TILE
        line = task // tiles * ROWS
        if line >= lines:
            return
        for i in range(SUMS):
            sums[i] = 0
        slots = warp * PER_WARP
        for segment in range(segment_count):
            begin, end = segments[segment], segments[segment + 1]
            if begin == end:
                continue
            left = column + segment * SEGMENT + shift
            whole = left >= 0 and left + PITCH <= columns_in
            warp_barrier()
            for r in range(ROWS):
                start = first_in + min(line + r, lines - 1) * columns_in
                for i in range(lane, PITCH, LANES):
                    place = left + i
                    if not whole:
                        place = source_place(beyond, place, shift, columns_in)
                    if place < 0:
                        put(memory, slots + r * PITCH + i, cval)
                    else:
                        copy_one(memory, slots + r * PITCH + i, x, start + place)
            commit()
            wait()
            warp_barrier()
            for p in range(begin, end):
                at = slots + lane * WIDTH + pieces[p * PIECE + START]
                w, length = pieces[p * PIECE + WEIGHT], pieces[p * PIECE + LENGTH]
                if length == 16:
                    sixteen(sums, memory, at, weights, w)
                elif length == 4:
                    four(sums, memory, at, weights, w)
                else:
                    one(sums, memory, at, weights, w)
        for r in range(ROWS):
            for v in range(WIDTH):
                c = column + lane * WIDTH + v
                if line + r < lines and c < columns_out:
                    total = sums[r * WIDTH + v]
                    if divisor != 1:
                        total /= divisor
                    write(y, first_out + (line + r) * columns_out + c, total)

    return plane
