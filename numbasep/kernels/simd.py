"""The SIMD vocabulary: every explicit vector word the CPU kernels use, and its plain-Python twin.

A *vector* holds `lanes(dtype)` numbers of a compute type (float32 or float64) in one register of the host.
A *block* is a rectangle of vectors, rows by columns, that lives in registers: the accumulators of a kernel.

Each word is a Numba intrinsic that emits one or two LLVM instructions.  Under ``NUMBA_DISABLE_JIT=1`` the
same name is bound to a NumPy function instead, which also checks that nothing outside the array is touched.
Offsets count elements of a flat array; alignment is never assumed except by `stream`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config
from numba.core.datamodel.models import OpaqueModel, PrimitiveModel
from numba.core.imputils import lower_constant
from numba.extending import intrinsic, register_model, typeof_impl


def _host_vector_bytes() -> int:
    """Width of the widest vector register that the host's Numba target will use."""
    named = config.CPU_FEATURES
    features = named.split(",") if named else [k for k, on in binding.get_host_cpu_features().items() if on]
    names = {feature.lstrip("+") for feature in features if not feature.startswith("-")}
    return 64 if {"avx512f", "avx512vl", "avx512bw", "avx512dq"} <= names else 32 if "avx2" in names else 16


VECTOR_BYTES = _host_vector_bytes()
REGISTERS = 32 if VECTOR_BYTES in (16, 64) else 16
LANES32 = VECTOR_BYTES // 4
LANES64 = VECTOR_BYTES // 8


# Rows that share every vector they load, and vectors of a row that share every weight.  Accumulators and the
# sliding window of rows must fit the registers together: 4 x 3 + 3 x 3 + 4 of 32, 4 + 3 + 2 of 16.
BLOCK_ROWS, BLOCK_COLUMNS = (4, 3) if REGISTERS == 32 else (4, 1)
STEP_ROWS = 16  # output rows computed together: whole blocks, and whole vectors when a tile is transposed


def lanes(dtype: np.dtype[Any]) -> int:
    """Numbers of a compute type in one vector."""
    return VECTOR_BYTES // dtype.itemsize


# --------------------------------------------------------------------------- types


class Vector(types.Type):
    """A register of `lanes` numbers of one compute type."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}x{self.lanes})")


class Block(types.Type):
    """`rows` x `columns` vectors held in registers."""

    def __init__(self, dtype: types.Type, rows: int, columns: int) -> None:
        self.vector, self.rows, self.columns = Vector(dtype), rows, columns
        super().__init__(name=f"Block({rows}x{columns} of {self.vector.name})")


_LLVM = {
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


_BYTES = types.Array(types.uint8, 1, "C")


@dataclass(frozen=True)
class Storage:
    """How numbers lie in memory; a compile-time constant of the kernels that move rows."""

    code: str
    """Native element type without byte order: "f4", "u1", "f2" ..."""
    swapped: bool = False
    """Whether elements have the other byte order."""
    saturate: bool = False
    """Whether numbers become integers by rounding and clipping instead of C's cast."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type, in native byte order."""
        return np.dtype(self.code)

    @property
    def suffix(self) -> str:
        """What tells the kernels of this storage from those of others."""
        return f"_{self.code}{'_swapped' * self.swapped}{'_saturated' * self.saturate}"


class StorageType(types.Type):
    """The Numba type of one `Storage`."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.half = storage.code == "f2"
        self.element = types.uint16 if self.half else getattr(types, storage.dtype.name)
        super().__init__(name=f"Storage({storage})")


@typeof_impl.register(Storage)
def _typeof_storage(value: Storage, c: Any) -> StorageType:
    return StorageType(value)


register_model(StorageType)(OpaqueModel)


@lower_constant(StorageType)
def _constant_storage(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.get_dummy_value()


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(_LLVM[fe_type.dtype], fe_type.lanes))


@register_model(Block)
class _BlockModel(PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Block) -> None:
        vector = ir.VectorType(_LLVM[fe_type.vector.dtype], fe_type.vector.lanes)
        super().__init__(dmm, fe_type, ir.ArrayType(vector, fe_type.rows * fe_type.columns))


def word(twin: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Bind a name to the intrinsic, or to its plain-Python twin when the JIT is switched off."""

    def bind(emit: Callable[..., Any]) -> Callable[..., Any]:
        return twin if config.DISABLE_JIT else intrinsic(emit)

    return bind


# --------------------------------------------------------------------------- LLVM helpers


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, to: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), to.as_pointer())


def _memory(context: Any, builder: Any, memory: Any, offset: Any, element: Any, to: Any) -> Any:
    """Pointer to element `offset`, of type `element`, of a flat array of bytes."""
    data = context.make_array(_BYTES)(context, builder, memory).data
    elements = builder.bitcast(data, _LLVM[element].as_pointer())
    return builder.bitcast(builder.gep(elements, [offset]), to.as_pointer())


def _call(builder: Any, name: str, result: Any, *args: Any) -> Any:
    signature = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), args)


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(first, undefined, mask)


def _suffix(vector: Any) -> str:
    bits = {"float": "f32", "double": "f64"}.get(str(vector.element)) or f"i{vector.element.width}"
    return f"v{vector.count}{bits}"


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _call(builder, f"llvm.fma.{_suffix(a.type)}", a.type, a, b, c)


# --------------------------------------------------------------------------- twins


def _span(array: np.ndarray, offset: int, n: int) -> np.ndarray:
    if offset < 0 or offset + n > array.size:
        raise IndexError(f"vector [{offset}, {offset + n}) outside an array of {array.size}")
    return array[offset : offset + n]


def _load_twin(array: np.ndarray, offset: int) -> np.ndarray:
    return _span(array, offset, lanes(array.dtype)).copy()


def _store_twin(array: np.ndarray, offset: int, value: np.ndarray) -> None:
    _span(array, offset, value.size)[:] = value


def _splat_twin(scalar: Any) -> np.ndarray:
    return np.full(lanes(np.asarray(scalar).dtype), scalar)


def _elements(memory: np.ndarray, offset: int, count: int, storage: Storage) -> np.ndarray:
    """`count` elements in a flat array of bytes."""
    item = storage.dtype.itemsize
    return _span(memory, offset * item, count * item).view(storage.dtype)


def _load_first_twin(memory: np.ndarray, offset: int, count: int, storage: Storage, like: Any) -> np.ndarray:
    wide = np.zeros(lanes(np.asarray(like).dtype), np.asarray(like).dtype)
    raw = _elements(memory, offset, min(count, wide.size), storage)
    wide[: raw.size] = raw.byteswap() if storage.swapped else raw
    return wide


def _load_as_twin(memory: np.ndarray, offset: int, storage: Storage, like: Any) -> np.ndarray:
    return _load_first_twin(memory, offset, lanes(np.asarray(like).dtype), storage, like)


def round_cast(values: np.ndarray, dtype: np.dtype[Any], saturate: bool) -> np.ndarray:
    """`values` as integers of `dtype`: C truncation that wraps, or round half to even and clip."""
    if saturate:
        info = np.iinfo(dtype)
        clipped = np.clip(np.rint(np.nan_to_num(values.astype(np.float64), nan=0.0)), info.min, info.max)
        # the largest int64/uint64 are not doubles: clip again as integers
        top = clipped >= float(info.max)
        return np.where(top, info.max, np.where(top, 0, clipped).astype(dtype)).astype(dtype)
    with np.errstate(invalid="ignore"):
        if dtype.itemsize < 4:
            return values.astype(np.int32).astype(dtype)
        if dtype == np.uint64:
            negative = values <= -1
            magnitude = np.abs(values).astype(np.uint64)
            return np.where(negative, np.uint64(0) - magnitude, magnitude)
        return values.astype(np.int32 if dtype == np.int32 else np.int64).astype(dtype)


def _store_as_twin(memory: np.ndarray, offset: int, storage: Storage, value: np.ndarray) -> None:
    target = _elements(memory, offset, value.size, storage)
    target[:] = round_cast(value, storage.dtype, storage.saturate) if storage.dtype.kind in "iu" else value


def _store_first_twin(
    memory: np.ndarray, offset: int, count: int, storage: Storage, value: np.ndarray
) -> None:
    _store_as_twin(memory, offset, storage, value[:count])


# --------------------------------------------------------------------------- vectors


@word(_load_twin)
def load(typingctx: Any, array: Any, offset: Any) -> Any:
    """The vector at `array[offset]`."""
    vector = Vector(array.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], *args, context.get_value_type(vector))
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), codegen


@word(_store_twin)
def store(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write a vector to `array[offset]`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1], args[2].type)
        builder.store(args[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


def _stream_twin(memory: np.ndarray, offset: int, value: np.ndarray) -> None:
    _span(memory, offset * value.itemsize, value.nbytes).view(value.dtype)[:] = value


@word(_stream_twin)
def stream(typingctx: Any, memory: Any, offset: Any, value: Any) -> Any:
    """Write a vector past the caches; element `offset` of `memory` must be aligned to the vector."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _memory(context, builder, args[0], args[1], value.dtype, args[2].type)
        instruction = builder.store(args[2], pointer, align=VECTOR_BYTES)
        one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        instruction.set_metadata("nontemporal", one)
        return context.get_dummy_value()

    return types.void(memory, types.intp, value), codegen


@word(lambda memory, offset: (memory.ctypes.data + offset) % VECTOR_BYTES)
def misalignment(typingctx: Any, memory: Any, offset: Any) -> Any:
    """Bytes by which byte `offset` lies past a vector boundary."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], *args, ir.IntType(8))
        return builder.and_(
            builder.ptrtoint(pointer, ir.IntType(64)), ir.Constant(ir.IntType(64), VECTOR_BYTES - 1)
        )

    return types.intp(memory, types.intp), codegen


def _prefetch_twin(*_: Any) -> None:
    pass


@word(_prefetch_twin)
def prefetch(typingctx: Any, memory: Any, offset: Any, storage: Any) -> Any:
    """Ask for the cache line of an element that is read soon; any offset is harmless."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _memory(context, builder, args[0], args[1], storage.element, ir.IntType(8))
        numbers = [ir.Constant(ir.IntType(32), value) for value in (0, 3, 1)]
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, *[n.type for n in numbers]])
        builder.call(
            cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0"), [pointer, *numbers]
        )
        return context.get_dummy_value()

    return types.void(memory, types.intp, storage), codegen


def _copy_twin(source: np.ndarray, at: int, target: np.ndarray, to: int, storage: Storage) -> None:
    _elements(target, to, 1, storage)[:] = _elements(source, at, 1, storage)


@word(_copy_twin)
def copy_element(typingctx: Any, source: Any, at: Any, target: Any, to: Any, storage: Any) -> Any:
    """Copy one element between flat arrays of bytes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        element = storage.element
        value = builder.load(_memory(context, builder, args[0], args[1], element, _LLVM[element]), align=1)
        builder.store(value, _memory(context, builder, args[2], args[3], element, _LLVM[element]), align=1)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, storage), codegen


@word(lambda array, offset: _span(array, offset, 1)[0])
def peek(typingctx: Any, array: Any, offset: Any) -> Any:
    """`array[offset]` without Python's wrap-around of negative positions."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, sig.args[0], *args, _LLVM[array.dtype]))

    return array.dtype(array, types.intp), codegen


@word(lambda array, offset, value: _store_twin(array, offset, np.asarray(value)))
def poke(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """`array[offset] = value` without Python's wrap-around of negative positions."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(context, builder, sig.args[0], args[0], args[1], args[2].type))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), codegen


@word(_splat_twin)
def splat(typingctx: Any, scalar: Any) -> Any:
    """A vector with the same number in every lane."""
    vector = Vector(scalar)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _splat(builder, args[0], vector.lanes)

    return vector(scalar), codegen


@word(lambda a, b, c: (a * b + c).astype(a.dtype))
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """`a * b + c`, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _fma(builder, *args)

    return a(a, b, c), codegen


@word(lambda a, b: a + b)
def add(typingctx: Any, a: Any, b: Any) -> Any:
    """`a + b`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fadd(*args)

    return a(a, b), codegen


@word(lambda a, b: a - b)
def sub(typingctx: Any, a: Any, b: Any) -> Any:
    """`a - b`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fsub(*args)

    return a(a, b), codegen


@word(lambda a, b: a * b)
def mul(typingctx: Any, a: Any, b: Any) -> Any:
    """`a * b`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fmul(*args)

    return a(a, b), codegen


@word(lambda a, b: a / b)
def div(typingctx: Any, a: Any, b: Any) -> Any:
    """`a / b`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fdiv(*args)

    return a(a, b), codegen


# --------------------------------------------------------------------------- conversions


def _byte_swap(builder: Any, bits: Any) -> Any:
    return (
        bits
        if bits.type.element.width == 8
        else _call(builder, f"llvm.bswap.{_suffix(bits.type)}", bits.type, bits)
    )


def _mask(builder: Any, count: Any, lanes: int) -> Any:
    """The first `count` of `lanes` lanes."""
    index = count.type
    position = ir.Constant(ir.VectorType(index, lanes), list(range(lanes)))
    return builder.icmp_signed("<", position, _splat(builder, count, lanes))


def _masked_load(builder: Any, pointer: Any, mask: Any, kind: Any) -> Any:
    zero = ir.Constant(kind, [ir.Constant(kind.element, 0)] * kind.count)
    name = f"llvm.masked.load.{_suffix(kind)}.p0"
    arguments = [pointer.type, ir.IntType(32), mask.type, kind]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, arguments), name)
    return builder.call(function, [pointer, ir.Constant(ir.IntType(32), 1), mask, zero])


def _masked_store(builder: Any, value: Any, pointer: Any, mask: Any) -> None:
    name = f"llvm.masked.store.{_suffix(value.type)}.p0"
    arguments = [value.type, pointer.type, ir.IntType(32), mask.type]
    kind = ir.FunctionType(ir.VoidType(), arguments)
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    builder.call(function, [value, pointer, ir.Constant(ir.IntType(32), 1), mask])


def _decode_vector(builder: Any, storage: Any, raw: Any, to: Any) -> Any:
    """A vector of stored elements as numbers of the compute type."""
    element, count = storage.element, raw.type.count
    if storage.storage.swapped:
        bits = ir.VectorType(ir.IntType(element.bitwidth), count)
        raw = builder.bitcast(_byte_swap(builder, builder.bitcast(raw, bits)), raw.type)
    if storage.half:
        single = ir.VectorType(ir.FloatType(), count)
        wide = builder.fpext(builder.bitcast(raw, ir.VectorType(ir.HalfType(), count)), single)
        return wide if to == single else builder.fpext(wide, to)
    if isinstance(element, types.Integer):
        return (builder.sitofp if element.signed else builder.uitofp)(raw, to)
    if raw.type == to:
        return raw
    return (builder.fpext if element.bitwidth < 64 else builder.fptrunc)(raw, to)


@word(_load_as_twin)
def load_as(typingctx: Any, memory: Any, offset: Any, storage: Any, like: Any) -> Any:
    """Stored elements as a vector of the type of `like`."""
    vector = Vector(like)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(_LLVM[storage.element], vector.lanes)
        raw = builder.load(_memory(context, builder, args[0], args[1], storage.element, kind), align=1)
        return _decode_vector(builder, storage, raw, context.get_value_type(vector))

    return vector(memory, types.intp, storage, like), codegen


@word(_load_first_twin)
def load_first(typingctx: Any, memory: Any, offset: Any, count: Any, storage: Any, like: Any) -> Any:
    """As `load_as`, reading no more than `count` elements; the other lanes are zero."""
    vector = Vector(like)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(_LLVM[storage.element], vector.lanes)
        pointer = _memory(context, builder, args[0], args[1], storage.element, kind)
        raw = _masked_load(builder, pointer, _mask(builder, args[2], vector.lanes), kind)
        return _decode_vector(builder, storage, raw, context.get_value_type(vector))

    return vector(memory, types.intp, types.intp, storage, like), codegen


def _clamp(builder: Any, value: Any, low: float, high: float) -> Any:
    def constant(number: float) -> Any:
        return ir.Constant(value.type, [number] * value.type.count)

    low, high = constant(low), constant(high)
    value = builder.select(builder.fcmp_ordered(">", value, low), value, low)  # NaN becomes `low`
    return builder.select(builder.fcmp_ordered("<", value, high), value, high)


def _truncate(builder: Any, storage: Any, value: Any) -> Any:
    """C's cast to an integer, wrap-around included: scipy.ndimage's rule."""
    count, to = value.type.count, ir.VectorType(_LLVM[storage], value.type.count)
    if storage == types.uint64:
        magnitude = _call(builder, f"llvm.fabs.{_suffix(value.type)}", value.type, value)
        bits = builder.fptoui(magnitude, to)
        negative = builder.fcmp_ordered("<=", value, ir.Constant(value.type, [-1.0] * count))
        return builder.select(negative, builder.sub(ir.Constant(to, [0] * count), bits), bits)
    wide = 32 if storage.bitwidth < 32 or storage == types.int32 else 64
    bits = builder.fptosi(value, ir.VectorType(ir.IntType(wide), count))
    return bits if wide == storage.bitwidth else builder.trunc(bits, to)


def _saturate(builder: Any, storage: Any, value: Any) -> Any:
    """Round half to even and clip to the range of the storage type: OpenCV's rule.  NaN becomes 0."""
    count, to = value.type.count, ir.VectorType(_LLVM[storage], value.type.count)
    zero = ir.Constant(value.type, [0.0] * count)
    value = builder.select(builder.fcmp_ordered("ord", value, value), value, zero)
    value = _call(builder, f"llvm.rint.{_suffix(value.type)}", value.type, value)
    if storage.bitwidth < 32:
        value = _clamp(builder, value, float(storage.minval), float(storage.maxval))
        return builder.trunc(builder.fptosi(value, ir.VectorType(ir.IntType(32), count)), to)
    kind = "fptosi" if storage.signed else "fptoui"
    return _call(builder, f"llvm.{kind}.sat.{_suffix(to)}.{_suffix(value.type)}", to, value)


def _single_to_odd(builder: Any, number: Any) -> Any:
    """Doubles as floats rounded to odd, so that rounding them once more rounds the doubles correctly.

    (S. Boldo, G. Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding
    to odd", IEEE Trans. Computers 57, 2008.)  A direct conversion of doubles
    to float16 would call a function that LLVM's JIT lacks.
    """
    kind, count = number.type, number.type.count
    if kind.element == ir.FloatType():
        return number
    bits = ir.VectorType(ir.IntType(32), count)
    one = ir.Constant(bits, [1] * count)
    single = builder.fptrunc(number, ir.VectorType(ir.FloatType(), count))
    back = builder.fpext(single, kind)
    inexact = builder.fcmp_ordered("!=", back, number)
    sizes = [_call(builder, f"llvm.fabs.{_suffix(kind)}", kind, value) for value in (back, number)]
    away = builder.fcmp_ordered(">", *sizes)
    raw = builder.bitcast(single, bits)
    raw = builder.select(away, builder.sub(raw, one), raw)
    return builder.bitcast(builder.select(inexact, builder.or_(raw, one), raw), single.type)


def _encode_vector(builder: Any, storage: Any, number: Any) -> Any:
    """A vector of compute numbers as elements of the storage type."""
    element, count = storage.element, number.type.count
    if storage.half:
        number = _single_to_odd(builder, number)
        halves = builder.fptrunc(number, ir.VectorType(ir.HalfType(), count))
        return builder.bitcast(halves, ir.VectorType(ir.IntType(16), count))
    if isinstance(element, types.Integer):
        return (_saturate if storage.storage.saturate else _truncate)(builder, element, number)
    to = ir.VectorType(_LLVM[element], count)
    if to == number.type:
        return number
    return (builder.fptrunc if element.bitwidth == 32 else builder.fpext)(number, to)


@word(_store_as_twin)
def store_as(typingctx: Any, memory: Any, offset: Any, storage: Any, value: Any) -> Any:
    """A vector as stored elements: C's cast or round half to even and clip, as the storage says."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        stored = _encode_vector(builder, storage, args[3])
        pointer = _memory(context, builder, args[0], args[1], storage.element, stored.type)
        builder.store(stored, pointer, align=1)
        return context.get_dummy_value()

    return types.void(memory, types.intp, storage, value), codegen


@word(_store_first_twin)
def store_first(typingctx: Any, memory: Any, offset: Any, count: Any, storage: Any, value: Any) -> Any:
    """As `store_as` for the first `count` lanes; nothing else is written."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        stored = _encode_vector(builder, storage, args[4])
        pointer = _memory(context, builder, args[0], args[1], storage.element, stored.type)
        _masked_store(builder, stored, pointer, _mask(builder, args[2], stored.type.count))
        return context.get_dummy_value()

    return types.void(memory, types.intp, types.intp, storage, value), codegen


# --------------------------------------------------------------------------- calls


@word(lambda function, arguments: function(*arguments))
def call(typingctx: Any, function: Any, arguments: Any) -> Any:
    """Run the kernel at an address (`jit.address`) on a tuple of arguments: arrays and int64."""
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


# --------------------------------------------------------------------------- blocks


class BlockWords:
    """The words on blocks of one shape: `BlockWords(rows, columns)` holds a set of intrinsics.

    A block's vectors are adjacent along its columns; its rows are `stride`-d or listed in a table.  Zero rows
    stand for as many as a vector has lanes: a square, which can be transposed.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.zero = _block_zero(rows, columns)
        self.read = _block_read(rows, columns)
        self.write = _block_write(rows, columns)
        self.window = _window(rows, columns)
        self.push = _push(rows, columns)
        self.fma = _block_fma(rows, columns)
        self.add = _block_add()
        self.read_adjacent = _read_adjacent(rows, skip=0)
        self.write_adjacent = _write_adjacent()
        self.window_adjacent = _read_adjacent(rows, skip=1)
        self.push_adjacent = _push_adjacent()
        self.transpose = _transpose()


def _items(builder: Any, block: Any) -> list[Any]:
    return [builder.extract_value(block, i) for i in range(block.type.count)]


def _pack(builder: Any, kind: Any, items: list[Any]) -> Any:
    block = ir.Constant(kind, ir.Undefined)
    for i, item in enumerate(items):
        block = builder.insert_value(block, item, i)
    return block


def _block_zero(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, like: Any) -> Any:
        block = Block(like, rows or Vector(like).lanes, columns)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return ir.Constant(context.get_value_type(block), None)

        return block(like), codegen

    def twin(like: Any) -> np.ndarray:
        dtype = np.asarray(like).dtype
        return np.zeros((rows or lanes(dtype), columns * lanes(dtype)), dtype)

    return word(twin)(emit)


def _block_read(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, array: Any, offset: Any, stride: Any) -> Any:
        block = Block(array.dtype, rows or Vector(array.dtype).lanes, columns)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = context.get_value_type(block)
            items = []
            for row in range(block.rows):
                for column in range(columns):
                    at = _block_offset(builder, args[1], args[2], row, column * block.vector.lanes)
                    pointer = _pointer(context, builder, sig.args[0], args[0], at, kind.element)
                    items.append(builder.load(pointer, align=array.dtype.bitwidth // 8))
            return _pack(builder, kind, items)

        return block(array, types.intp, types.intp), codegen

    def twin(array: np.ndarray, offset: int, stride: int) -> np.ndarray:
        n = columns * lanes(array.dtype)
        return np.stack([_span(array, offset + row * stride, n) for row in range(rows or lanes(array.dtype))])

    return word(twin)(emit)


def _read_adjacent(rows: int, skip: int) -> Callable[..., Any]:
    """The word ``(array, offset)``: a block of one column whose vectors follow each other.

    With `skip` = 1 it is a window: the first vector is undefined, to be pushed out.
    """

    def emit(typingctx: Any, array: Any, offset: Any) -> Any:
        block = Block(array.dtype, rows or Vector(array.dtype).lanes, 1)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = context.get_value_type(block)
            first = _pointer(context, builder, sig.args[0], *args, kind.element)
            vectors = [ir.Constant(kind.element, ir.Undefined)] * skip
            for row in range(block.rows - skip):
                at = builder.gep(first, [ir.Constant(ir.IntType(32), row)])
                vectors.append(builder.load(at, align=array.dtype.bitwidth // 8))
            return _pack(builder, kind, vectors)

        return block(array, types.intp), codegen

    def twin(array: np.ndarray, offset: int) -> np.ndarray:
        n = lanes(array.dtype)
        vectors = _span(array, offset, ((rows or n) - skip) * n).reshape(-1, n)
        return np.concatenate([np.full((skip, n), np.nan, array.dtype), vectors])

    return word(twin)(emit)


def _write_adjacent() -> Callable[..., Any]:
    """The word ``(array, offset, block)``: the vectors of a block of one column, one after the other."""

    def emit(typingctx: Any, array: Any, offset: Any, block: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vectors = _items(builder, args[2])
            first = _pointer(context, builder, sig.args[0], args[0], args[1], vectors[0].type)
            for row, vector in enumerate(vectors):
                at = builder.gep(first, [ir.Constant(ir.IntType(32), row)])
                builder.store(vector, at, align=array.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(array, types.intp, block), codegen

    def twin(array: np.ndarray, offset: int, block: np.ndarray) -> None:
        _span(array, offset, block.size)[:] = block.reshape(-1)

    return word(twin)(emit)


def _push_adjacent() -> Callable[..., Any]:
    """The word ``(window, array, offset)``: drop the first vector, append the one at ``array[offset]``."""

    def emit(typingctx: Any, window: Any, array: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            items = _items(builder, args[0])
            pointer = _pointer(context, builder, sig.args[1], args[1], args[2], items[0].type)
            newest = builder.load(pointer, align=array.dtype.bitwidth // 8)
            return _pack(builder, args[0].type, [*items[1:], newest])

        return window(window, array, types.intp), codegen

    def twin(window: np.ndarray, array: np.ndarray, offset: int) -> np.ndarray:
        return np.concatenate([window[1:], _span(array, offset, window.shape[1])[None]])

    return word(twin)(emit)


def _block_offset(builder: Any, offset: Any, stride: Any, row: int, extra: int) -> Any:
    index = offset.type
    at = builder.add(offset, builder.mul(stride, ir.Constant(index, row))) if row else offset
    return builder.add(at, ir.Constant(index, extra)) if extra else at


def _block_write(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, array: Any, offset: Any, stride: Any, block: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            items = _items(builder, args[3])
            for row in range(block.rows):
                for column in range(columns):
                    at = _block_offset(builder, args[1], args[2], row, column * block.vector.lanes)
                    item = items[row * columns + column]
                    pointer = _pointer(context, builder, sig.args[0], args[0], at, item.type)
                    builder.store(item, pointer, align=array.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(array, types.intp, types.intp, block), codegen

    def twin(array: np.ndarray, offset: int, stride: int, block: np.ndarray) -> None:
        for row in range(block.shape[0]):
            _span(array, offset + row * stride, block.shape[1])[:] = block[row]

    return word(twin)(emit)


def _window(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, array: Any, table: Any, first: Any, offset: Any) -> Any:
        block = Block(array.dtype, rows, columns)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = context.get_value_type(block)
            items = [ir.Constant(kind.element, ir.Undefined)] * columns
            for row in range(rows - 1):
                items += _table_row(context, builder, sig, args, row, block)
            return _pack(builder, kind, items)

        return block(array, table, types.intp, types.intp), codegen

    def twin(array: np.ndarray, table: np.ndarray, first: int, offset: int) -> np.ndarray:
        n = columns * lanes(array.dtype)
        rows_read = [_span(array, table[first + row] + offset, n) for row in range(rows - 1)]
        return np.stack([np.full(n, np.nan, array.dtype), *rows_read])

    return word(twin)(emit)


def _table_row(context: Any, builder: Any, sig: Any, args: Any, row: int, block: Block) -> list[Any]:
    """The vectors of the row whose start stands at `table[first + row]`, shifted by `offset`."""
    array, table, first, offset = args
    index = builder.add(first, ir.Constant(first.type, row))
    start = builder.load(_pointer(context, builder, sig.args[1], table, index, ir.IntType(64)), align=8)
    start = builder.add(start, offset)
    vector = context.get_value_type(block.vector)
    loads = []
    for column in range(block.columns):
        at = builder.add(start, ir.Constant(start.type, column * block.vector.lanes))
        pointer = _pointer(context, builder, sig.args[0], array, at, vector)
        loads.append(builder.load(pointer, align=block.vector.dtype.bitwidth // 8))
    return loads


def _push(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, window: Any, array: Any, table: Any, row: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            items = _items(builder, args[0])[columns:]
            shifted = sig.return_type(*sig.args[1:])
            items += _table_row(context, builder, shifted, args[1:], 0, window)
            return _pack(builder, args[0].type, items)

        return window(window, array, table, types.intp, types.intp), codegen

    def twin(window: np.ndarray, array: np.ndarray, table: np.ndarray, row: int, offset: int) -> np.ndarray:
        return np.concatenate([window[1:], _span(array, table[row] + offset, window.shape[1])[None]])

    return word(twin)(emit)


def _block_fma(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, weight: Any, window: Any, block: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            spread = _splat(builder, args[0], block.vector.lanes)
            pairs = zip(_items(builder, args[1]), _items(builder, args[2]), strict=True)
            return _pack(builder, args[2].type, [_fma(builder, spread, a, c) for a, c in pairs])

        return block(weight, window, block), codegen

    def twin(weight: Any, window: np.ndarray, block: np.ndarray) -> np.ndarray:
        return (weight * window + block).astype(block.dtype)

    return word(twin)(emit)


def _block_add() -> Callable[..., Any]:
    def emit(typingctx: Any, one: Any, other: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pairs = zip(_items(builder, args[0]), _items(builder, args[1]), strict=True)
            return _pack(builder, args[0].type, [builder.fadd(a, b) for a, b in pairs])

        return one(one, other), codegen

    return word(lambda one, other: one + other)(emit)


def _transpose() -> Callable[..., Any]:
    def emit(typingctx: Any, block: Any) -> Any:
        lanes = block.vector.lanes

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            rows = _items(builder, args[0])
            step = 1
            while step < lanes:  # swap the off-diagonal quarters of all squares of 2 * step
                low = [lane if not lane & step else lanes + lane - step for lane in range(lanes)]
                high = [lane + step if not lane & step else lanes + lane for lane in range(lanes)]
                masks = [ir.Constant(ir.VectorType(ir.IntType(32), lanes), mask) for mask in (low, high)]
                for row in range(lanes):
                    if not row & step:
                        one, other = rows[row], rows[row + step]
                        rows[row] = builder.shuffle_vector(one, other, masks[0])
                        rows[row + step] = builder.shuffle_vector(one, other, masks[1])
                step *= 2
            return _pack(builder, args[0].type, rows)

        return block(block), codegen

    return word(lambda block: block.T.copy())(emit)
