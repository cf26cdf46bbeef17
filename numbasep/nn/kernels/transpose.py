"""Transposition between channels first and channels last, in registers."""

from ...cpu.intrinsics.register_blocks import BlockIntrinsics
from ...cpu.intrinsics.vectors import VECTOR_BYTES
from ...cpu.jit import inlined

_square = BlockIntrinsics(0, 1)
read_square, write_square, transpose, add_square = _square.read, _square.write, _square.transpose, _square.add


@inlined
def transpose_matrix(x, at, rows, columns, x_step, y, to, y_step, add):
    """Transpose a matrix: `y[to + j * y_step + i] (+)= x[at + i * x_step + j]` for i < rows, j < columns."""
    n = VECTOR_BYTES // x.itemsize
    whole_rows, whole_columns = rows // n * n, columns // n * n
    for i in range(0, whole_rows, n):
        for j in range(0, whole_columns, n):
            square = transpose(read_square(x, at + i * x_step + j, x_step))
            target = to + j * y_step + i
            if add:
                square = add_square(square, read_square(y, target, y_step))
            write_square(y, target, y_step, square)
    for i in range(rows):
        for j in range(whole_columns if i < whole_rows else 0, columns):
            old = y[to + j * y_step + i] if add else y.dtype.type(0)
            y[to + j * y_step + i] = old + x[at + i * x_step + j]
