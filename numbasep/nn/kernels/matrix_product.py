"""Matrix product of a tile, with sums in register blocks and both factors in cache.

`total[i, j] (+)= sum_k left[i, k] * right[k, j]`, where a producer (`depthwise`, `im2col`) has just written
`left`. The callers cut the loop over `k` at DEPTH products, so that both factors of a block fit the first-level
cache. Long sums are thus sums of short ones that start from zero, which keeps the rounding error small.
"""

from ...cpu.intrinsics.vectors import REGISTERS, VECTOR_BYTES
from ...cpu.jit import inlined, kernel
from .intrinsics import block_add, block_prefetch, block_read, block_stream, block_write, block_zeros, outer

# The sums, a row of the right factor and a broadcast element must fit the registers: 28 + 2 + 1 of 32,
# 12 + 2 + 1 of 16.
BLOCK_COLUMNS = 2
BLOCK_ROWS = 14 if REGISTERS == 32 else 6
DEPTH = 256
PRODUCED = 2 * DEPTH  # columns of the left factor that are computed together

WRITE, ADD, STREAM = range(3)  # how a block of sums is stored; STREAM uses non-temporal stores


def _block_product(rows):
    """Return a function that computes a block of `rows` x BLOCK_COLUMNS vectors; `rows` is a compile-time constant."""

    @inlined
    def multiply(scratch, left_at, left_row, left_k, right_at, right_k, depth, total, at, stride, how):
        block = block_zeros(rows, BLOCK_COLUMNS, scratch)
        for _ in range(depth):
            block = outer(block, scratch, left_at, left_row, scratch, right_at)
            left_at += left_k
            right_at += right_k
        if how == ADD:
            block = block_add(block, block_read(block, total, at, stride))
        if how == STREAM:
            block_stream(block, total, at, stride)
        else:
            block_write(block, total, at, stride)

    return multiply


_product14, _product12, _product10 = _block_product(14), _block_product(12), _block_product(10)
_product8, _product6, _product4, _product2 = (_block_product(rows) for rows in (8, 6, 4, 2))


@inlined
def _multiply_block(
    size, scratch, left_at, left_row, left_k, right_at, right_k, depth, total, at, stride, how
):
    if size > 12:
        _product14(scratch, left_at, left_row, left_k, right_at, right_k, depth, total, at, stride, how)
    elif size > 10:
        _product12(scratch, left_at, left_row, left_k, right_at, right_k, depth, total, at, stride, how)
    elif size > 8:
        _product10(scratch, left_at, left_row, left_k, right_at, right_k, depth, total, at, stride, how)
    elif size > 6:
        _product8(scratch, left_at, left_row, left_k, right_at, right_k, depth, total, at, stride, how)
    elif size > 4:
        _product6(scratch, left_at, left_row, left_k, right_at, right_k, depth, total, at, stride, how)
    elif size > 2:
        _product4(scratch, left_at, left_row, left_k, right_at, right_k, depth, total, at, stride, how)
    else:
        _product2(scratch, left_at, left_row, left_k, right_at, right_k, depth, total, at, stride, how)


@kernel
def multiply_panel(
    scratch,
    left_at,
    left_block,
    left_row,
    left_k,
    right_at,
    right_k,
    depth,
    spare,
    total,
    at,
    stride,
    rows,
    count,
    how,
    ahead,
    ahead_at,
    ahead_step,
):
    """Compute `rows` x `count` sums into `total[at + i * stride + j]`, with `count` at most the width of a block.

    The left factor of block n is `scratch[left_at + n * left_block + i * left_row + k * left_k]`, the right
    factor `scratch[right_at + k * right_k + j]`; both must be readable up to whole blocks.  Partial blocks of the
    result are first computed at `scratch[spare]`.  The next panel, `ahead[ahead_at + k * ahead_step]`, is prefetched.
    """
    width = BLOCK_COLUMNS * (VECTOR_BYTES // total.itemsize)
    line = block_zeros(1, BLOCK_COLUMNS, total)
    each = (depth * BLOCK_ROWS + rows - 1) // rows
    asked = 0
    for first in range(0, rows, BLOCK_ROWS):
        for _ in range(asked, min(asked + each, depth)):
            block_prefetch(line, ahead, ahead_at, 0)
            ahead_at += ahead_step
        asked += each
        here = min(BLOCK_ROWS, rows - first)
        even = (here + 1) // 2 * 2
        target = at + first * stride
        whole = here == even and count == width
        if whole:
            _multiply_block(
                here, scratch, left_at, left_row, left_k, right_at, right_k, depth, total, target, stride, how
            )
        else:
            _multiply_block(
                here,
                scratch,
                left_at,
                left_row,
                left_k,
                right_at,
                right_k,
                depth,
                scratch,
                spare,
                width,
                WRITE,
            )
            for i in range(here):
                for j in range(count):
                    old = total[target + i * stride + j] if how == ADD else scratch.dtype.type(0)
                    total[target + i * stride + j] = old + scratch[spare + i * width + j]
        left_at += left_block
