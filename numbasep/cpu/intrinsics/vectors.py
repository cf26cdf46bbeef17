"""SIMD vectors for Numba: each intrinsic has a reference implementation in NumPy.

A *vector* is a register of the host with `lanes(dtype)` numbers of a compute type (float32 or float64).
`memory` adds loads and stores of any storage type, `register_blocks` rectangles of vectors.

Each is a Numba intrinsic that emits one or two LLVM instructions.  With ``NUMBA_DISABLE_JIT=1``, the same
name is bound to a NumPy function, which also checks that accesses are inside the array.  Offsets count
elements of a flat array; only non-temporal stores assume alignment.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config
from numba.core.datamodel.models import ArrayModel, PrimitiveModel
from numba.extending import intrinsic, lower_builtin, register_model
from numba.np.arrayobj import getitem_arraynd_intp

from ...lowering.target import host_target

TARGET = host_target()
VECTOR_BYTES = TARGET.vector_bytes
REGISTERS = TARGET.registers
FUSES = TARGET.fma  # without FMA instructions, LLVM would call a function for every number
HALVES = TARGET.float16  # whether there are instructions for float16
LINE_BYTES = 64  # bytes of a cache line
LANES32 = VECTOR_BYTES // 4
LANES64 = VECTOR_BYTES // 8


# Rows of a block, which share each loaded vector, and vectors per row, which share each weight.  Sums, the sliding
# window of rows and weights must fit the registers: 4 x 3 + 3 x 3 + 4 of 32, 4 + 3 + 2 of 16.
BLOCK_ROWS, BLOCK_COLUMNS = 4, TARGET.box_vectors


def lanes(dtype: np.dtype[Any]) -> int:
    """Return how many numbers of a compute type are in a vector."""
    return VECTOR_BYTES // dtype.itemsize


# --------------------------------------------------------------------------- types


class Vector(types.Type):
    """The Numba type of a vector of a compute type."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}x{self.lanes})")


class Block(types.Type):
    """The Numba type of `rows` x `columns` vectors in registers."""

    def __init__(self, dtype: types.Type, rows: int, columns: int) -> None:
        self.vector, self.rows, self.columns = Vector(dtype), rows, columns
        super().__init__(name=f"Block({rows}x{columns} of {self.vector.name})")


class Line(types.Array):
    """The Numba type of a contiguous array without negative indices.

    Numba emits 20 instructions to index an array, because of negative indices and strides; a line needs three, which
    compile faster.
    """

    def __init__(self, dtype: types.Type, ndim: int = 1) -> None:
        super().__init__(dtype, ndim, "C", name=f"Line({dtype}, {ndim})")

    def __repr__(self) -> str:
        return self.name

    def copy(
        self, dtype: Any = None, ndim: int | None = None, layout: str | None = None, readonly: Any = None
    ) -> Any:
        """Return the type of a part of the array."""
        if layout not in (None, "C") or readonly:
            return super().copy(dtype, ndim, layout, readonly)
        return Line(dtype or self.dtype, self.ndim if ndim is None else ndim)


LLVM_TYPES = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.uint8: ir.IntType(8),
    types.int8: ir.IntType(8),
    types.uint16: ir.IntType(16),
    types.int16: ir.IntType(16),
    types.uint32: ir.IntType(32),
    types.int32: ir.IntType(32),
    types.uint64: ir.IntType(64),
    types.int64: ir.IntType(64),
}


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(LLVM_TYPES[fe_type.dtype], fe_type.lanes))


@register_model(Block)
class _BlockModel(PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Block) -> None:
        vector = ir.VectorType(LLVM_TYPES[fe_type.vector.dtype], fe_type.vector.lanes)
        super().__init__(dmm, fe_type, ir.ArrayType(vector, fe_type.rows * fe_type.columns))


register_model(Line)(ArrayModel)


def _element(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Return a pointer to the element of a line at an index or at a pair of indices."""
    line, index = sig.args[:2]
    if isinstance(index, types.BaseTuple):
        row, at = cgutils.unpack_tuple(builder, args[1])
        row, at = (
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip((row, at), index, strict=True)
        )
        shape = builder.extract_value(args[0], context.data_model_manager[line].get_field_position("shape"))
        at = builder.add(builder.mul(row, builder.extract_value(shape, 1)), at)
    else:
        at = context.cast(builder, args[1], index, types.intp)
    return builder.gep(start_of(context, builder, line, args[0]), [at])


@lower_builtin(operator.getitem, Line, types.Integer)
@lower_builtin(operator.getitem, Line, types.BaseTuple)
def _get_element(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    if sig.args[0].ndim == 2 and isinstance(sig.args[1], types.Integer):  # a row
        return getitem_arraynd_intp(context, builder, sig, args)
    return builder.load(_element(context, builder, sig, args))


@lower_builtin(operator.setitem, Line, types.Integer, types.Any)
@lower_builtin(operator.setitem, Line, types.BaseTuple, types.Any)
def _set_element(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    value = context.cast(builder, args[2], sig.args[2], sig.args[0].dtype)
    builder.store(value, _element(context, builder, sig, args))


def vector_intrinsic(reference: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Bind a name to the intrinsic, or to its reference implementation if the JIT is disabled."""

    def bind(emit: Callable[..., Any]) -> Callable[..., Any]:
        return reference if config.DISABLE_JIT else intrinsic(emit)

    return bind


# --------------------------------------------------------------------------- LLVM helpers


def start_of(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    """Return a pointer to the first element of an array.

    Numba's `make_array` would emit five times the instructions.
    """
    return builder.extract_value(array, context.data_model_manager[array_type].get_field_position("data"))


def pointer_to(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, to: Any) -> Any:
    """Return a pointer of type `to` to element `offset` of an array."""
    return builder.bitcast(
        builder.gep(start_of(context, builder, array_type, array), [offset]), to.as_pointer()
    )


def opaque(builder: Any, pointer: Any) -> Any:
    """Hide from LLVM how a pointer was computed.

    Otherwise LLVM keeps a separate pointer for each row that a loop reads and increments all of them.
    """
    binding.initialize_native_asmparser()
    kind = ir.FunctionType(pointer.type, [pointer.type])
    return builder.asm(kind, "", "=r,0", (pointer,), False)


def call_intrinsic(builder: Any, name: str, result: Any, *args: Any) -> Any:
    """Call an LLVM intrinsic by its full name."""
    signature = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), args)


def spread(builder: Any, value: Any, lanes: int) -> Any:
    """Return a vector with `value` in every lane."""
    undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(first, undefined, mask)


def suffix(vector: Any) -> str:
    """Return the suffix of LLVM's intrinsics for a vector type, such as "v16f32"."""
    bits = {"float": "f32", "double": "f64"}.get(str(vector.element)) or f"i{vector.element.width}"
    return f"v{vector.count}{bits}"


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return `a * b + c`, rounded once if the processor has FMA instructions."""
    if not FUSES:
        return builder.fadd(builder.fmul(a, b), c)
    return call_intrinsic(builder, f"llvm.fma.{suffix(a.type)}", a.type, a, b, c)


# --------------------------------------------------------------------------- reference implementations


def span(array: np.ndarray, offset: int, n: int) -> np.ndarray:
    """Return a view of `n` elements from `offset` on; raise IndexError beyond the ends, unlike a slice."""
    if offset < 0 or offset + n > array.size:
        raise IndexError(f"vector [{offset}, {offset + n}) outside an array of {array.size}")
    return array[offset : offset + n]


def _load_reference(array: np.ndarray, offset: int) -> np.ndarray:
    return span(array, offset, lanes(array.dtype)).copy()


def _store_reference(array: np.ndarray, offset: int, value: np.ndarray) -> None:
    span(array, offset, value.size)[:] = value


def _splat_reference(scalar: Any) -> np.ndarray:
    return np.full(lanes(np.asarray(scalar).dtype), scalar)


# --------------------------------------------------------------------------- vectors


@vector_intrinsic(_load_reference)
def load(typingctx: Any, array: Any, offset: Any) -> Any:
    """Load the vector at `array[offset]`."""
    vector = Vector(array.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], *args, context.get_value_type(vector))
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), codegen


@vector_intrinsic(_store_reference)
def store(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Store a vector to `array[offset]`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], args[2].type)
        builder.store(args[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@vector_intrinsic(lambda array: lanes(array.dtype))
def lanes_of(typingctx: Any, array: Any) -> Any:
    """Return the lanes of a vector of the array's type; a constant for LLVM, unlike `array.itemsize`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.get_constant(types.intp, Vector(array.dtype).lanes)

    return types.intp(array), codegen


@vector_intrinsic(lambda array, offset: span(array, offset, 1)[0])
def peek(typingctx: Any, array: Any, offset: Any) -> Any:
    """Return `array[offset]` without Python's wrap-around of negative indices."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(pointer_to(context, builder, sig.args[0], *args, LLVM_TYPES[array.dtype]))

    return array.dtype(array, types.intp), codegen


@vector_intrinsic(lambda array, offset, value: _store_reference(array, offset, np.asarray(value)))
def poke(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Set `array[offset] = value` without Python's wrap-around of negative indices."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], pointer_to(context, builder, sig.args[0], args[0], args[1], args[2].type))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), codegen


@vector_intrinsic(_splat_reference)
def splat(typingctx: Any, scalar: Any) -> Any:
    """Return a vector with a number in every lane."""
    vector = Vector(scalar)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return spread(builder, args[0], vector.lanes)

    return vector(scalar), codegen


@vector_intrinsic(lambda a, b, c: (a * b + c).astype(a.dtype))
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return `a * b + c`, rounded once if the processor has FMA instructions."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return fused(builder, *args)

    return a(a, b, c), codegen


@vector_intrinsic(lambda a, b, c: (c - a * b).astype(a.dtype))
def fnma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return `c - a * b`, rounded once if the processor has FMA instructions."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return fused(builder, builder.fneg(args[0]), *args[1:])

    return a(a, b, c), codegen


@vector_intrinsic(lambda a, b: a + b)
def add(typingctx: Any, a: Any, b: Any) -> Any:
    """Return `a + b`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fadd(*args)

    return a(a, b), codegen


@vector_intrinsic(lambda a, b: a - b)
def sub(typingctx: Any, a: Any, b: Any) -> Any:
    """Return `a - b`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fsub(*args)

    return a(a, b), codegen


@vector_intrinsic(lambda a, b: a * b)
def mul(typingctx: Any, a: Any, b: Any) -> Any:
    """Return `a * b`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fmul(*args)

    return a(a, b), codegen


@vector_intrinsic(lambda a, b: a / b)
def div(typingctx: Any, a: Any, b: Any) -> Any:
    """Return `a / b`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fdiv(*args)

    return a(a, b), codegen


# --------------------------------------------------------------------------- calls


@vector_intrinsic(lambda function, arguments: function(*arguments))
def call(typingctx: Any, function: Any, arguments: Any) -> Any:
    """Call the kernel at an address (`jit.address`) with a tuple of arguments: arrays and int64."""
    signature = [
        types.int64 if isinstance(t, types.Integer) else t for t in map(types.unliteral, arguments.types)
    ]

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = context.call_conv.get_function_type(types.none, signature)
        target = builder.inttoptr(args[0], kind.as_pointer())
        values = []
        for i, (given, wanted) in enumerate(zip(arguments.types, signature, strict=True)):
            values.append(context.cast(builder, builder.extract_value(args[1], i), given, wanted))
        status, _ = context.call_conv.call_function(builder, target, types.none, signature, values)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.none(types.int64, arguments), codegen
