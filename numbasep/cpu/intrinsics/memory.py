"""Intrinsics for memory access: loads and stores of any storage type, byte order and alignment.

Offsets count elements of the storage type, not bytes.  See `vectors` for the rules of these intrinsics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import OpaqueModel
from numba.core.imputils import lower_constant
from numba.extending import register_model, typeof_impl

from .float16 import narrow, widen
from .vectors import (
    LINE_BYTES,
    LLVM_TYPES,
    TARGET,
    VECTOR_BYTES,
    Vector,
    call_intrinsic,
    lanes,
    pointer_to,
    span,
    spread,
    start_of,
    suffix,
    vector_intrinsic,
)


@dataclass(frozen=True)
class Storage:
    """Storage type of an array: a compile-time constant of the kernels that load and store rows."""

    code: str
    """Type string without byte order: "f4", "u1", "f2" ..."""
    swapped: bool = False
    """Whether elements are not in native byte order."""
    saturate: bool = False
    """Whether numbers are converted to integers by rounding and clipping instead of C's cast."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type, in native byte order."""
        return np.dtype(self.code)

    @property
    def suffix(self) -> str:
        """Suffix of the names of kernels for this storage."""
        return f"_{self.code}{'_swapped' * self.swapped}{'_saturated' * self.saturate}"


class StorageType(types.Type):
    """The Numba type of a `Storage`."""

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


_BYTES = types.Array(types.uint8, 1, "C")
CONVERTS_TO_LEAST = TARGET.x86  # numbers out of range are converted to the least integer


def _memory(context: Any, builder: Any, memory: Any, offset: Any, element: Any, to: Any) -> Any:
    """Return a pointer to element `offset`, of type `element`, of a flat array of bytes."""
    elements = builder.bitcast(start_of(context, builder, _BYTES, memory), LLVM_TYPES[element].as_pointer())
    return builder.bitcast(builder.gep(elements, [offset]), to.as_pointer())


# --------------------------------------------------------------------------- reference implementations


def _elements(memory: np.ndarray, offset: int, count: int, storage: Storage) -> np.ndarray:
    """Return a view of `count` elements in a flat array of bytes."""
    item = storage.dtype.itemsize
    return span(memory, offset * item, count * item).view(storage.dtype)


def _load_first_reference(
    memory: np.ndarray, offset: int, count: int, storage: Storage, like: Any
) -> np.ndarray:
    wide = np.zeros(lanes(np.asarray(like).dtype), np.asarray(like).dtype)
    raw = _elements(memory, offset, min(count, wide.size), storage)
    wide[: raw.size] = raw.byteswap() if storage.swapped else raw
    return wide


def _load_as_reference(memory: np.ndarray, offset: int, storage: Storage, like: Any) -> np.ndarray:
    return _load_first_reference(memory, offset, lanes(np.asarray(like).dtype), storage, like)


def round_cast(values: np.ndarray, dtype: np.dtype[Any], saturate: bool) -> np.ndarray:
    """Convert `values` to integers of `dtype`: truncate and wrap as in C, or round half to even and clip."""
    if saturate:
        info = np.iinfo(dtype)
        clipped = np.clip(np.rint(np.nan_to_num(values.astype(np.float64), nan=0.0)), info.min, info.max)
        # the largest int64 and uint64 are not representable as doubles: clip again as integers
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


def _store_as_reference(memory: np.ndarray, offset: int, storage: Storage, value: np.ndarray) -> None:
    target = _elements(memory, offset, value.size, storage)
    target[:] = round_cast(value, storage.dtype, storage.saturate) if storage.dtype.kind in "iu" else value
    target[:] = target.byteswap() if storage.swapped else target


def _store_first_reference(
    memory: np.ndarray, offset: int, count: int, storage: Storage, value: np.ndarray
) -> None:
    _store_as_reference(memory, offset, storage, value[:count])


# --------------------------------------------------------------------------- bytes


def _stream_reference(memory: np.ndarray, offset: int, value: np.ndarray) -> None:
    span(memory, offset * value.itemsize, value.nbytes).view(value.dtype)[:] = value


@vector_intrinsic(_stream_reference)
def stream(typingctx: Any, memory: Any, offset: Any, value: Any) -> Any:
    """Store a vector with a non-temporal store; element `offset` of `memory` must be aligned to the vector."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _memory(context, builder, args[0], args[1], value.dtype, args[2].type)
        instruction = builder.store(args[2], pointer, align=VECTOR_BYTES)
        one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        instruction.set_metadata("nontemporal", one)
        return context.get_dummy_value()

    return types.void(memory, types.intp, value), codegen


@vector_intrinsic(lambda memory, offset: (memory.ctypes.data + offset) % LINE_BYTES)
def misalignment(typingctx: Any, memory: Any, offset: Any) -> Any:
    """Return the number of bytes from the start of a cache line to byte `offset`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], *args, ir.IntType(8))
        address = builder.ptrtoint(pointer, ir.IntType(64))
        return builder.and_(address, ir.Constant(address.type, LINE_BYTES - 1))

    return types.intp(memory, types.intp), codegen


def _prefetch_reference(*_: Any) -> None:
    pass


@vector_intrinsic(_prefetch_reference)
def prefetch(typingctx: Any, memory: Any, offset: Any, storage: Any) -> Any:
    """Prefetch the cache line of an element; offsets outside the array are harmless."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _memory(context, builder, args[0], args[1], storage.element, ir.IntType(8))
        numbers = [ir.Constant(ir.IntType(32), value) for value in (0, 3, 1)]
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, *[n.type for n in numbers]])
        builder.call(
            cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0"), [pointer, *numbers]
        )
        return context.get_dummy_value()

    return types.void(memory, types.intp, storage), codegen


def _copy_reference(source: np.ndarray, at: int, target: np.ndarray, to: int, storage: Storage) -> None:
    _elements(target, to, 1, storage)[:] = _elements(source, at, 1, storage)


@vector_intrinsic(_copy_reference)
def copy_element(typingctx: Any, source: Any, at: Any, target: Any, to: Any, storage: Any) -> Any:
    """Copy an element between flat arrays of bytes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        element = storage.element
        value = builder.load(
            _memory(context, builder, args[0], args[1], element, LLVM_TYPES[element]), align=1
        )
        builder.store(
            value, _memory(context, builder, args[2], args[3], element, LLVM_TYPES[element]), align=1
        )
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, storage), codegen


# --------------------------------------------------------------------------- conversions


def _ordered(builder: Any, storage: Any, raw: Any) -> Any:
    """Swap the bytes of elements if the storage has the other byte order."""
    if not storage.storage.swapped or storage.element.bitwidth == 8:
        return raw
    bits = ir.VectorType(ir.IntType(storage.element.bitwidth), raw.type.count)
    swapped = call_intrinsic(builder, f"llvm.bswap.{suffix(bits)}", bits, builder.bitcast(raw, bits))
    return builder.bitcast(swapped, raw.type)


def _mask(builder: Any, count: Any, lanes: int) -> Any:
    """Return the mask of the first `count` of `lanes` lanes."""
    index = count.type
    position = ir.Constant(ir.VectorType(index, lanes), list(range(lanes)))
    return builder.icmp_signed("<", position, spread(builder, count, lanes))


def _masked_load(builder: Any, pointer: Any, mask: Any, kind: Any) -> Any:
    zero = ir.Constant(kind, [ir.Constant(kind.element, 0)] * kind.count)
    name = f"llvm.masked.load.{suffix(kind)}.p0"
    arguments = [pointer.type, ir.IntType(32), mask.type, kind]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, arguments), name)
    return builder.call(function, [pointer, ir.Constant(ir.IntType(32), 1), mask, zero])


def _masked_store(builder: Any, value: Any, pointer: Any, mask: Any) -> None:
    name = f"llvm.masked.store.{suffix(value.type)}.p0"
    arguments = [value.type, pointer.type, ir.IntType(32), mask.type]
    kind = ir.FunctionType(ir.VoidType(), arguments)
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    builder.call(function, [value, pointer, ir.Constant(ir.IntType(32), 1), mask])


def _decode_vector(builder: Any, storage: Any, raw: Any, to: Any) -> Any:
    """Convert a vector of stored elements to the compute type."""
    element, raw = storage.element, _ordered(builder, storage, raw)
    if storage.half:
        wide = widen(builder, raw)
        return wide if to == wide.type else builder.fpext(wide, to)
    if isinstance(element, types.Integer):
        return (builder.sitofp if element.signed else builder.uitofp)(raw, to)
    if raw.type == to:
        return raw
    return (builder.fpext if element.bitwidth < 64 else builder.fptrunc)(raw, to)


@vector_intrinsic(_load_as_reference)
def load_as(typingctx: Any, memory: Any, offset: Any, storage: Any, like: Any) -> Any:
    """Load stored elements as a vector of the type of `like`."""
    vector = Vector(like)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(LLVM_TYPES[storage.element], vector.lanes)
        raw = builder.load(_memory(context, builder, args[0], args[1], storage.element, kind), align=1)
        return _decode_vector(builder, storage, raw, context.get_value_type(vector))

    return vector(memory, types.intp, storage, like), codegen


@vector_intrinsic(_load_first_reference)
def load_first(typingctx: Any, memory: Any, offset: Any, count: Any, storage: Any, like: Any) -> Any:
    """Load as `load_as`, but only the first `count` elements; the other lanes are zero."""
    vector = Vector(like)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(LLVM_TYPES[storage.element], vector.lanes)
        pointer = _memory(context, builder, args[0], args[1], storage.element, kind)
        raw = _masked_load(builder, pointer, _mask(builder, args[2], vector.lanes), kind)
        return _decode_vector(builder, storage, raw, context.get_value_type(vector))

    return vector(memory, types.intp, types.intp, storage, like), codegen


def _clamp(builder: Any, value: Any, low: float, high: float) -> Any:
    low, high = (ir.Constant(value.type, [bound] * value.type.count) for bound in (low, high))
    value = builder.select(builder.fcmp_ordered(">", value, low), value, low)  # converts NaN to `low`
    return builder.select(builder.fcmp_ordered("<", value, high), value, high)


def _truncate(builder: Any, storage: Any, value: Any) -> Any:
    """Convert to an integer as C compilers for x86-64 do, with wrap-around, which is scipy.ndimage's rule there.

    Convert by int32, or int64 for int64 and uint32, with the least integer if out of range; uint64 by magnitude.
    """
    count, to = value.type.count, ir.VectorType(LLVM_TYPES[storage], value.type.count)
    if storage == types.uint64:
        magnitude = call_intrinsic(builder, f"llvm.fabs.{suffix(value.type)}", value.type, value)
        bits = builder.fptoui(magnitude, to)
        negative = builder.fcmp_ordered("<=", value, ir.Constant(value.type, [-1.0] * count))
        return builder.select(negative, builder.sub(ir.Constant(to, [0] * count), bits), bits)
    wide = 32 if storage.bitwidth < 32 or storage == types.int32 else 64
    if not CONVERTS_TO_LEAST:
        value = _within(builder, value, wide)
    bits = builder.fptosi(value, ir.VectorType(ir.IntType(wide), count))
    return bits if wide == storage.bitwidth else builder.trunc(bits, to)


def _within(builder: Any, value: Any, bits: int) -> Any:
    """Replace NaN and numbers that a signed integer of `bits` bits cannot represent by the least integer."""
    bound = 2.0 ** (bits - 1)
    least, limit = (ir.Constant(value.type, [x] * value.type.count) for x in (-bound, bound))
    inside = builder.and_(builder.fcmp_ordered(">=", value, least), builder.fcmp_ordered("<", value, limit))
    return builder.select(inside, value, least)


def _saturate(builder: Any, storage: Any, value: Any) -> Any:
    """Round half to even and clip to the range of the storage type, as OpenCV does; convert NaN to 0."""
    count, to = value.type.count, ir.VectorType(LLVM_TYPES[storage], value.type.count)
    zero = ir.Constant(value.type, [0.0] * count)
    value = builder.select(builder.fcmp_ordered("ord", value, value), value, zero)
    value = call_intrinsic(builder, f"llvm.rint.{suffix(value.type)}", value.type, value)
    if storage.bitwidth < 32:
        value = _clamp(builder, value, float(storage.minval), float(storage.maxval))
        return builder.trunc(builder.fptosi(value, ir.VectorType(ir.IntType(32), count)), to)
    kind = "fptosi" if storage.signed else "fptoui"
    return call_intrinsic(builder, f"llvm.{kind}.sat.{suffix(to)}.{suffix(value.type)}", to, value)


def _single_to_odd(builder: Any, number: Any) -> Any:
    """Round doubles to floats, to odd, so that a second rounding gives the doubles correctly rounded.

    (S. Boldo, G. Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding
    to odd", IEEE Trans. Computers 57, 2008.)  A direct conversion of doubles to float16 would call a function
    that LLVM's JIT does not have.
    """
    kind, count = number.type, number.type.count
    if kind.element == ir.FloatType():
        return number
    bits = ir.VectorType(ir.IntType(32), count)
    one = ir.Constant(bits, [1] * count)
    single = builder.fptrunc(number, ir.VectorType(ir.FloatType(), count))
    back = builder.fpext(single, kind)
    inexact = builder.fcmp_ordered("!=", back, number)
    sizes = [call_intrinsic(builder, f"llvm.fabs.{suffix(kind)}", kind, value) for value in (back, number)]
    away = builder.fcmp_ordered(">", *sizes)
    raw = builder.bitcast(single, bits)
    raw = builder.select(away, builder.sub(raw, one), raw)
    return builder.bitcast(builder.select(inexact, builder.or_(raw, one), raw), single.type)


def _encode_vector(builder: Any, storage: Any, number: Any) -> Any:
    """Convert a vector of the compute type to elements of the storage type."""
    return _ordered(builder, storage, _converted(builder, storage, number))


def _converted(builder: Any, storage: Any, number: Any) -> Any:
    element, count = storage.element, number.type.count
    if storage.half:
        return narrow(builder, _single_to_odd(builder, number))
    if isinstance(element, types.Integer):
        return (_saturate if storage.storage.saturate else _truncate)(builder, element, number)
    to = ir.VectorType(LLVM_TYPES[element], count)
    if to == number.type:
        return number
    return (builder.fptrunc if element.bitwidth == 32 else builder.fpext)(number, to)


@vector_intrinsic(_store_as_reference)
def store_as(typingctx: Any, memory: Any, offset: Any, storage: Any, value: Any) -> Any:
    """Convert a vector to the storage type, by the storage's rule for integers, and store it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        stored = _encode_vector(builder, storage, args[3])
        pointer = _memory(context, builder, args[0], args[1], storage.element, stored.type)
        builder.store(stored, pointer, align=1)
        return context.get_dummy_value()

    return types.void(memory, types.intp, storage, value), codegen


@vector_intrinsic(_store_first_reference)
def store_first(typingctx: Any, memory: Any, offset: Any, count: Any, storage: Any, value: Any) -> Any:
    """Store as `store_as`, but only the first `count` lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        stored = _encode_vector(builder, storage, args[4])
        pointer = _memory(context, builder, args[0], args[1], storage.element, stored.type)
        _masked_store(builder, stored, pointer, _mask(builder, args[2], stored.type.count))
        return context.get_dummy_value()

    return types.void(memory, types.intp, types.intp, storage, value), codegen
