"""Gather rows with strided columns into contiguous rows, and scatter rows back.

Examples are every second column, a colour channel, the real part of complex numbers, a mirrored image.  Filtered in
place, they would be read element by element in every pass.  Nothing is checked.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types

from ..intrinsics.memory import (
    Storage,
    _decode_vector,
    _elements,
    _memory,
    copy_element,
    load_first,
    store_as,
    store_first,
)
from ..intrinsics.vectors import LLVM_TYPES, Line, Vector, call, lanes, lanes_of, splat, vector_intrinsic
from ..jit import address, kernel, named, parallel, serial
from .table_entries import OUTSIDE_PLANE

STRIDES = (-1, 2, 3, 4)  # strides that are gathered by whole vectors
COLUMNS, INNER, STRIDE, SIZES = range(4)  # entries of sizes[...], of the rows that are moved


def _every(step: int) -> Any:
    """Return an intrinsic that loads a vector of elements `step` apart, by whole vectors that contain them."""

    def reference(memory: np.ndarray, offset: int, storage: Storage, like: Any) -> np.ndarray:
        dtype = np.asarray(like).dtype
        count = lanes(dtype)
        first = offset if step > 0 else offset - count + 1
        raw = _elements(memory, first, count * abs(step), storage)
        raw = raw.byteswap() if storage.swapped else raw
        return raw[:: abs(step)][:: 1 if step > 0 else -1].astype(dtype)

    @vector_intrinsic(reference)
    def load_every(typingctx: Any, memory: Any, offset: Any, storage: Any, like: Any) -> Any:
        vector = Vector(like)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            count = vector.lanes
            wide = ir.VectorType(LLVM_TYPES[storage.element], count * abs(step))
            first = args[1] if step > 0 else builder.sub(args[1], ir.IntType(64)(count - 1))
            raw = builder.load(_memory(context, builder, args[0], first, storage.element, wide), align=1)
            picks = list(range(0, count * step, step)) if step > 0 else list(range(count - 1, -1, -1))
            mask = ir.Constant(ir.VectorType(ir.IntType(32), count), picks)
            picked = builder.shuffle_vector(raw, ir.Constant(wide, ir.Undefined), mask)
            return _decode_vector(builder, storage, picked, context.get_value_type(vector))

        return vector(memory, types.intp, storage, like), codegen

    return load_every


load_reversed, load_second, load_third, load_fourth = map(_every, STRIDES)


@functools.cache
def gatherer(storage: Storage, compute: Storage) -> Any:
    """Return the kernel that gathers the columns of a row and converts them to the compute type."""

    @kernel
    @named(f"{storage.suffix}{compute.suffix}")
    def gather_row(x, start, y, target, sizes, constants):
        """Gather a row from element `start` of `x` to `y[target]`; copy constants if `start` is OUTSIDE_PLANE."""
        columns, inner, stride = sizes[COLUMNS], sizes[INNER], sizes[STRIDE]
        like = constants[0]
        width = lanes_of(constants)
        if start == OUTSIDE_PLANE:
            for j in range(columns * inner):
                store_first(y, target + j, 1, compute, splat(constants[j % constants.size]))
            return
        done = 0
        if inner == 1:
            while done + width < columns and stride == 2:
                store_as(y, target + done, compute, load_second(x, start + 2 * done, storage, like))
                done += width
            while done + width < columns and stride == 3:
                store_as(y, target + done, compute, load_third(x, start + 3 * done, storage, like))
                done += width
            while done + width < columns and stride == 4:
                store_as(y, target + done, compute, load_fourth(x, start + 4 * done, storage, like))
                done += width
            while done + width < columns and stride == -1:
                store_as(y, target + done, compute, load_reversed(x, start - done, storage, like))
                done += width
        for column in range(done, columns):
            for j in range(0, inner, width):
                part = min(width, inner - j)
                vector = load_first(x, start + column * stride + j, part, storage, like)
                store_first(y, target + column * inner + j, part, compute, vector)

    return gather_row


@functools.cache
def scatterer(storage: Storage) -> Any:
    """Return the kernel that scatters the columns of a row without conversion."""

    @kernel
    @named(storage.suffix)
    def scatter_row(x, start, y, target, sizes, constants):
        """Scatter a row from element `start` of `x` to element `target` of `y`."""
        inner, stride = sizes[INNER], sizes[STRIDE]
        if inner == 1:
            for column in range(sizes[COLUMNS]):
                copy_element(x, start + column, y, target + column * stride, storage)
            return
        for column in range(sizes[COLUMNS]):
            for j in range(inner):
                copy_element(x, start + column * inner + j, y, target + column * stride + j, storage)

    return scatter_row


@serial
def move_serial(move, x, y, starts, targets, sizes, constants):
    """Move all rows on the calling thread."""
    for row in range(starts.size):
        call(move, (x, starts[row], y, targets[row], sizes, constants))


@parallel
def move_parallel(move, x, y, starts, targets, sizes, constants):
    """Move all rows on Numba's threads."""
    for row in prange(starts.size):
        call(move, (x, starts[row], y, targets[row], sizes, constants))


def move_address(function: Any, compute: np.dtype[Any]) -> Any:
    """Return the address of a gathering or scattering kernel."""
    memory, n = Line(types.uint8), types.int64
    line = types.Array(numba.from_dtype(compute), 1, "C")
    return address(function, (memory, n, memory, n, Line(types.int64), line))
