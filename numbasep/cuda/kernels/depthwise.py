"""The two halves of a separable convolution over channels: depthwise filter and matrix product.

In the depthwise kernel, a thread computes `OUTPUTS` output elements of a channel and reads each weight once for all of
them.  The lanes of a warp are along the contiguous axis: channels if these are last, otherwise columns.  The product
uses tiles in shared memory; it is for arrays whose library has no matrix product.
"""

from dataclasses import dataclass

import numpy as np
from numba import cuda

from ..intrinsics.vocabulary import LANES, ElementType, intrinsics

OUTPUTS = 4
WARPS = 4
TILE = 32  # rows, columns and depth of a tile of the matrix product
TILE_ROWS = 8  # rows of threads per tile: each thread sums TILE // TILE_ROWS rows


@dataclass(frozen=True, slots=True)
class DepthwiseVariant:
    """Compile-time parameters of a depthwise kernel."""

    storage: ElementType
    """Type of the input and the filters."""
    result: ElementType
    """Type of the output."""
    compute: str
    """Type of the sums, "f4" or "f8"."""
    channels_last: bool
    """Whether the layout is NHWC instead of NCHW."""

    @property
    def pointers(self) -> tuple[np.dtype, ...]:
        """Types of the arrays of a call: input, output, filters."""
        return self.storage.raw, self.result.raw, self.storage.raw

    @property
    def launch_bounds(self) -> tuple[int, int]:
        """(Threads per block, minimum number of resident blocks per multiprocessor)."""
        return LANES * WARPS, 8


@dataclass(frozen=True, slots=True)
class ProductVariant:
    """Compile-time parameters of a matrix product."""

    storage: ElementType
    """Type of the left matrices, which are intermediates."""
    weights: ElementType
    """Type of the right matrix."""
    result: ElementType
    """Type of the output."""
    compute: str
    """Type of the sums, "f4" or "f8"."""

    @property
    def pointers(self) -> tuple[np.dtype, ...]:
        """Types of the arrays of a call: left, output, right."""
        return self.storage.raw, self.result.raw, self.weights.raw

    @property
    def launch_bounds(self) -> tuple[int, int]:
        """(Threads per block, minimum number of resident blocks per multiprocessor)."""
        return TILE * TILE_ROWS, 2


def depthwise_signature(variant: DepthwiseVariant):
    """Return the Numba types of the arguments of `depthwise_kernel`."""
    types, pointer = intrinsics.types, intrinsics.pointer_to
    return (pointer(variant.storage), pointer(variant.result), pointer(variant.storage), *(types.int64,) * 14)


def depthwise_kernel(variant: DepthwiseVariant):
    """Make the kernel of a variant, which Numba compiles at the first launch.

    Arguments of the kernel:

    x, y, filters : input, output, and weights (row taps, column taps, channels, multiplier)
    batch, channels, multiplier : number of images, input channels, and output channels per input channel
    height, width, out_height, out_width : sizes of input and output images
    row_taps, column_taps, stride_y, stride_x, step_y, step_x : numbers of taps, strides, dilations
    before : zero padding before the first row and the first column, as 2**20 * rows + columns
    """
    CHANNELS_LAST = variant.channels_last
    number = np.dtype(variant.compute).type
    read = intrinsics.read_intrinsic(variant.storage, variant.compute)
    write = intrinsics.result_intrinsics(variant.result, variant.compute, 1).write
    SPAN = 1 if CHANNELS_LAST else LANES  # columns from one output element of a thread to the next

    @cuda.jit(**intrinsics.options(variant))
    def depthwise(
        x, y, filters, batch, channels, multiplier, height, width, out_height, out_width, row_taps, column_taps,
        stride_y, stride_x, step_y, step_x, before,
    ):  # fmt: skip
        task = (
            np.int64(cuda.blockIdx.x) * cuda.blockDim.y * LANES + cuda.threadIdx.y * LANES + cuda.threadIdx.x
        )
        results = channels * multiplier
        groups = (out_width + OUTPUTS * SPAN - 1) // (OUTPUTS * SPAN)
        if CHANNELS_LAST:
            result = task % results
            task //= results
            first = task % groups * OUTPUTS
            task //= groups
            row = task % out_height
            image = task // out_height
        else:
            lane = task % LANES
            task //= LANES
            first = task % groups * (OUTPUTS * LANES) + lane
            task //= groups
            row = task % out_height
            task //= out_height
            result = task % results
            image = task // results
        if image >= batch or first >= out_width:
            return
        channel = result // multiplier
        top = row * stride_y - (before >> 20)
        left = first * stride_x - (before & 0xFFFFF)
        ahead = SPAN * stride_x
        column_step = channels if CHANNELS_LAST else 1
        row_step = width * column_step
        plane = image * channels * height * width + (channel if CHANNELS_LAST else channel * height * width)
        a = b = c = d = number(0)
        for i in range(row_taps):
            source_row = top + i * step_y
            if source_row < 0 or source_row >= height:
                continue
            line = plane + source_row * row_step
            for j in range(column_taps):
                weight = read(filters, (i * column_taps + j) * results + result)
                at = left + j * step_x
                if 0 <= at < width:
                    a = cuda.fma(weight, read(x, line + at * column_step), a)
                at += ahead
                if 0 <= at < width:
                    b = cuda.fma(weight, read(x, line + at * column_step), b)
                at += ahead
                if 0 <= at < width:
                    c = cuda.fma(weight, read(x, line + at * column_step), c)
                at += ahead
                if 0 <= at < width:
                    d = cuda.fma(weight, read(x, line + at * column_step), d)
        if CHANNELS_LAST:
            target = ((image * out_height + row) * out_width + first) * results + result
            spread = results
        else:
            target = ((image * results + result) * out_height + row) * out_width + first
            spread = np.int64(SPAN)
        write(y, target, a)
        if first + SPAN < out_width:
            write(y, target + spread, b)
        if first + 2 * SPAN < out_width:
            write(y, target + 2 * spread, c)
        if first + 3 * SPAN < out_width:
            write(y, target + 3 * spread, d)

    return depthwise


def product_signature(variant: ProductVariant):
    """Return the Numba types of the arguments of `product_kernel`."""
    types, pointer = intrinsics.types, intrinsics.pointer_to
    return (pointer(variant.storage), pointer(variant.result), pointer(variant.weights), *(types.int64,) * 10)


def product_kernel(variant: ProductVariant):
    """Make the kernel ``y[b, i, j] = sum_q x[b, i, q] weights[q, j]``, which Numba compiles at the first launch.

    Arguments of the kernel, with all strides in elements:

    x, y, weights : left matrices, products, and the right matrix (depth, columns)
    matrices, rows, depth, columns : sizes
    x_matrix, x_row, x_depth : strides of the matrices, rows and columns of `x`
    y_matrix, y_row, y_column : the same for `y`
    """
    number = np.dtype(variant.compute).type
    read, read_weight = (
        intrinsics.read_intrinsic(s, variant.compute) for s in (variant.storage, variant.weights)
    )
    write = intrinsics.result_intrinsics(variant.result, variant.compute, 1).write
    CELLS = TILE * (TILE + 1)  # rows are padded by one element to avoid bank conflicts

    @cuda.jit(**intrinsics.options(variant))
    def product(
        x, y, weights, matrices, rows, depth, columns, x_matrix, x_row, x_depth, y_matrix, y_row, y_column,
    ):  # fmt: skip
        left = cuda.shared.array(CELLS, number)
        right = cuda.shared.array(CELLS, number)
        tx, ty = np.int64(cuda.threadIdx.x), np.int64(cuda.threadIdx.y)
        across = (columns + TILE - 1) // TILE
        down = (rows + TILE - 1) // TILE
        block = np.int64(cuda.blockIdx.x)
        column = block % across * TILE
        block //= across
        row = block % down * TILE
        matrix = block // down
        a = b = c = d = number(0)
        for start in range(0, depth, TILE):
            for r in range(ty, TILE, TILE_ROWS):
                value = weight = number(0)
                if row + r < rows and start + tx < depth:
                    value = read(x, matrix * x_matrix + (row + r) * x_row + (start + tx) * x_depth)
                if start + r < depth and column + tx < columns:
                    weight = read_weight(weights, (start + r) * columns + column + tx)
                left[r * (TILE + 1) + tx] = value
                right[r * (TILE + 1) + tx] = weight
            cuda.syncthreads()
            for q in range(min(TILE, depth - start)):
                weight = right[q * (TILE + 1) + tx]
                a = cuda.fma(left[ty * (TILE + 1) + q], weight, a)
                b = cuda.fma(left[(ty + TILE_ROWS) * (TILE + 1) + q], weight, b)
                c = cuda.fma(left[(ty + 2 * TILE_ROWS) * (TILE + 1) + q], weight, c)
                d = cuda.fma(left[(ty + 3 * TILE_ROWS) * (TILE + 1) + q], weight, d)
            cuda.syncthreads()
        if column + tx >= columns:
            return
        target = matrix * y_matrix + (column + tx) * y_column
        if row + ty < rows:
            write(y, target + (row + ty) * y_row, a)
        if row + ty + TILE_ROWS < rows:
            write(y, target + (row + ty + TILE_ROWS) * y_row, b)
        if row + ty + 2 * TILE_ROWS < rows:
            write(y, target + (row + ty + 2 * TILE_ROWS) * y_row, c)
        if row + ty + 3 * TILE_ROWS < rows:
            write(y, target + (row + ty + 3 * TILE_ROWS) * y_row, d)

    return product
