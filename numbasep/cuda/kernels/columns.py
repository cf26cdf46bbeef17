"""Vertical sums over any weights and planes: dense kernels, long filters along outer axes, sums of stacked planes.

The weights are passed as a table of pieces, each a few adjacent taps down a column of a source plane.  Kernels are not
compiled for a number of taps.  A warp computes a block of `ROWS` rows by 128 columns in registers.  For a piece of n
taps, it loads ``ROWS + n - 1`` samples per column once and adds each to all sums that it contributes to, with up to
`ROWS` multiply-adds per sample.  The warps of a thread block are below each other and share samples in the first-level
cache.  Zero weights can be left out of the pieces, so that they do not spread NaN.
"""

from dataclasses import dataclass

import numpy as np
from numba import cuda

from ..intrinsics.vocabulary import LANES, ElementType, intrinsics

ROWS = 8
COLUMNS = 4
TILE = LANES * COLUMNS
WARPS = 8
LENGTHS = (8, 4, 2, 1)
"""Possible numbers of taps of a piece; each has its own straight-line code."""
SOURCE, SHIFT, ROW, LENGTH, WEIGHT, PIECE = range(6)
"""Columns of the table of pieces, and the number of columns."""


@dataclass(frozen=True, slots=True)
class ColumnsVariant:
    """Compile-time parameters of a kernel of this family."""

    storage: ElementType
    """Type of the input."""
    result: ElementType
    """Type of the output."""
    compute: str
    """Type of the sums, "f4" or "f8"."""
    shifted: bool
    """Whether pieces are in different columns, so that columns are read from the table `places`."""
    outside: bool
    """Whether samples can be beyond a constant boundary."""

    @property
    def pointers(self) -> tuple[np.dtype, ...]:
        """Types of the arrays of a call: input, output."""
        return self.storage.raw, self.result.raw

    @property
    def launch_bounds(self) -> tuple[int, int]:
        """(Threads per block, minimum number of resident blocks per multiprocessor)."""
        return LANES * WARPS, 2 if self.compute == "f4" and not self.outside else 1


def columns_signature(variant: ColumnsVariant):
    """Return the Numba types of the arguments of `columns_kernel`."""
    types, pointer, number = intrinsics.types, intrinsics.pointer_to, intrinsics.scalar_type(variant.compute)
    integers, numbers = types.CPointer(types.int64), types.CPointer(number)
    arrays = (pointer(variant.storage), pointer(variant.result))
    return (*arrays, *(integers,) * 5, numbers, numbers, *(types.int64,) * 8, number)


def columns_kernel(variant: ColumnsVariant):
    """Make the kernel of a variant, which Numba compiles at the first launch.

    Arguments of the kernel, with all offsets and strides in elements:

    x, y : input and output
    offsets : offset in its plane of each row of the extended input, or OUTSIDE beyond a constant boundary
    places : if `variant.shifted`, the input column that each column of the extended input copies, or OUTSIDE
    sources : (planes, source_count), offsets of the source planes of each output plane, or OUTSIDE
    targets : offsets of the output planes
    pieces, weights : table of pieces, (piece_count, PIECE), and their taps
    borders : (source_count,), value beyond a constant boundary of each source
    rows, columns, pitch_out : size and row stride of an output plane
    divisor : divisor of the final sums
    """
    SHIFTED, SUMS = variant.shifted, ROWS * COLUMNS
    number = np.dtype(variant.compute).type
    storage, compute = variant.storage, variant.compute
    eight, four, two, one = (
        intrinsics.accumulate_intrinsic(storage, compute, n, ROWS, COLUMNS, outside=variant.outside)
        for n in LENGTHS
    )
    write = intrinsics.result_intrinsics(variant.result, compute, 1).write

    @cuda.jit(**intrinsics.options(variant))
    def plane(
        x, y, offsets, places, sources, targets, pieces, weights, borders, plane_count, source_count, piece_count,
        row_blocks, tiles, rows, columns, pitch_out, divisor,
    ):  # fmt: skip
        block = np.int64(cuda.blockIdx.x)
        column = block % tiles * TILE + cuda.threadIdx.x
        block //= tiles
        row = (block % row_blocks * cuda.blockDim.y + cuda.threadIdx.y) * ROWS
        plane_number = block // row_blocks
        if plane_number >= plane_count or row >= rows or column >= columns:
            return
        sums = cuda.local.array(SUMS, number)
        for i in range(SUMS):
            sums[i] = 0
        last = columns - 1
        for p in range(piece_count):
            piece = p * PIECE
            tap = pieces[piece + SOURCE]
            source = sources[plane_number * source_count + tap]
            if SHIFTED:
                shift = pieces[piece + SHIFT]
                c0 = places[column + shift]
                c1 = places[min(column + LANES, last) + shift]
                c2 = places[min(column + 2 * LANES, last) + shift]
                c3 = places[min(column + 3 * LANES, last) + shift]
            else:
                c0 = np.int64(column)
                c1 = np.int64(min(column + LANES, last))
                c2 = np.int64(min(column + 2 * LANES, last))
                c3 = np.int64(min(column + 3 * LANES, last))
            if source < 0:
                c0 = c1 = c2 = c3 = np.int64(-1)
            else:
                c0 = c0 + source if c0 >= 0 else c0
                c1 = c1 + source if c1 >= 0 else c1
                c2 = c2 + source if c2 >= 0 else c2
                c3 = c3 + source if c3 >= 0 else c3
            across = (c0, c1, c2, c3)
            t, w, cval = row + pieces[piece + ROW], pieces[piece + WEIGHT], borders[tap]
            length = pieces[piece + LENGTH]
            if length == 8:
                eight(sums, x, across, offsets, t, weights, w, cval)
            elif length == 4:
                four(sums, x, across, offsets, t, weights, w, cval)
            elif length == 2:
                two(sums, x, across, offsets, t, weights, w, cval)
            else:
                one(sums, x, across, offsets, t, weights, w, cval)
        start = targets[plane_number]
        for i in range(ROWS):
            for c in range(COLUMNS):
                if row + i < rows and column + c * LANES < columns:
                    total = sums[i * COLUMNS + c]
                    if divisor != 1:
                        total /= divisor
                    write(y, start + (row + i) * pitch_out + column + c * LANES, total)

    return plane
