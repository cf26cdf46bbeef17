"""Loads, stores and conversions in LLVM and inline PTX, of which `device` and `arithmetic` are made."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import cuda

if getattr(cuda, "implementation", "") == "NVIDIA":  # numba-cuda has its own types
    from numba.cuda import types
    from numba.cuda.extending import intrinsic as intrinsic
    from numba.cuda.np import numpy_support
else:
    from numba.core import types
    from numba.core.extending import intrinsic as intrinsic
    from numba.np import numpy_support

LANES = 32
BYTE, SHORT, INT, LONG = (ir.IntType(bits) for bits in (8, 16, 32, 64))
FLOATS = {"f4": ir.FloatType(), "f8": ir.DoubleType()}
SHARED = 3  # LLVM's number of the address space


def scalar_type(code):
    """Numba's type of a NumPy type."""
    return numpy_support.from_dtype(np.dtype(code))


def pointer_to(storage):
    """Type of a kernel's pointer argument."""
    return types.CPointer(scalar_type(storage.raw))


def assembly(builder, text, constraints, result, arguments, *, effects=False):
    """Inline PTX; with `effects` it stays where it is, and is not made conditional on more than it was."""
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    attributes = ("convergent",) if effects else ()
    called = ir.InlineAsm(function, text, constraints, side_effect=effects)
    return builder.call(called, arguments, attrs=attributes)


def long_(value):
    """A constant of 64 bits."""
    return ir.Constant(LONG, value)


def to_sum(builder, raw, storage, compute):
    """A number as it was loaded, in the type of the sums."""
    target = FLOATS[compute]
    kind = storage.code[0]
    if storage.code == compute:
        return raw
    if storage.code == "f2":
        constraint = "=f,h" if compute == "f4" else "=d,h"
        return assembly(builder, f"cvt.f{8 * int(compute[1])}.f16 $0, $1;", constraint, target, [raw])
    if kind == "f":
        return builder.fpext(raw, target) if compute == "f8" else builder.fptrunc(raw, target)
    if kind == "b":
        raw = builder.zext(builder.icmp_unsigned("!=", raw, ir.Constant(raw.type, 0)), INT)
    return builder.sitofp(raw, target) if kind == "i" else builder.uitofp(raw, target)


def from_sum(builder, value, storage, compute):
    """A sum as it is stored: the rules are those of `numbasep.arguments.casting`."""
    if storage.code == compute:
        return value
    letter = "f" if compute == "f4" else "d"
    source = f"f{8 * int(compute[1])}"
    if storage.code == "f2":
        return assembly(builder, f"cvt.rn.f16.{source} $0, $1;", f"=h,{letter}", SHORT, [value])
    if storage.code[0] == "f":
        return builder.fptrunc(value, FLOATS["f4"]) if compute == "f8" else builder.fpext(value, FLOATS["f8"])
    if storage.saturate:  # conversions of PTX clip
        signed = "s" if storage.code[0] == "i" else "u"
        bits = 8 * storage.itemsize
        wide, register = (LONG, "=l") if bits == 64 else (INT, "=r")
        text = f"cvt.rni.{signed}{bits}.{source} $0, $1;"
        whole = assembly(builder, text, f"{register},{letter}", wide, [value])
        if bits == 64 or compute == "f8":  # only shorter ones make NaN zero (PTX ISA, cvt)
            whole = builder.select(builder.fcmp_ordered("ord", value, value), whole, ir.Constant(wide, 0))
    else:
        whole = _c_cast(builder, value, storage, source, letter)
    bits = 8 * storage.itemsize
    if storage.code == "b1":
        return builder.zext(builder.icmp_unsigned("!=", builder.trunc(whole, BYTE), BYTE(0)), BYTE)
    return whole if whole.type.width == bits else builder.trunc(whole, ir.IntType(bits))


def _c_cast(builder, value, storage, source, letter):
    """Towards zero through int32 or int64, whose least number stands for what they cannot hold."""
    if storage.code == "u8":
        size = magnitude(builder, value)
        whole = assembly(builder, f"cvt.rzi.u64.{source} $0, $1;", f"=l,{letter}", LONG, [size])
        negative = builder.fcmp_ordered("<=", value, ir.Constant(value.type, -1.0))
        return builder.select(negative, builder.neg(whole), whole)
    bits = 32 if storage.itemsize < 4 or storage.code == "i4" else 64
    register, wide = ("=r", INT) if bits == 32 else ("=l", LONG)
    whole = assembly(builder, f"cvt.rzi.s{bits}.{source} $0, $1;", f"{register},{letter}", wide, [value])
    limit = ir.Constant(value.type, 2.0 ** (bits - 1))
    fits = builder.fcmp_ordered("<", magnitude(builder, value), limit)
    return builder.select(fits, whole, ir.Constant(wide, -(2 ** (bits - 1))))


def magnitude(builder, value):
    """Absolute value."""
    double = value.type == FLOATS["f8"]
    text, constraints = ("abs.f64 $0, $1;", "=d,d") if double else ("abs.f32 $0, $1;", "=f,f")
    return assembly(builder, text, constraints, value.type, [value])


def shared_place(builder, ring, element, index, lanes=1):
    """Address of element `index` of the shared ring, as a vector of `lanes` elements."""
    base = builder.addrspacecast(ring, BYTE.as_pointer(SHARED))
    typed = builder.bitcast(base, element.as_pointer(SHARED))
    place = builder.gep(typed, [index])
    kind = ir.VectorType(element, lanes) if lanes > 1 else element
    return builder.bitcast(place, kind.as_pointer(SHARED))


def element_of(storage):
    """LLVM's type of what lies in memory."""
    code = storage.raw.str[1:]
    return FLOATS[code] if code[0] == "f" else ir.IntType(8 * int(code[1:]))


def parts_of(builder, vector, lanes):
    """The elements of a vector, or the number itself."""
    if lanes == 1:
        return [vector]
    return [builder.extract_element(vector, INT(lane)) for lane in range(lanes)]


def load_global(builder, pointer, index, element, lanes=1, *, constant=False):
    """A number, or a vector of them, of global memory; `constant`: nothing writes there while the kernel runs."""
    kind = ir.VectorType(element, lanes) if lanes > 1 else element
    place = builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())
    loaded = builder.load(builder.addrspacecast(place, kind.as_pointer(1)))
    loaded.align = lanes * element_bytes(element)
    if constant:
        loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
    return loaded


def store_global(builder, pointer, index, values):
    """Write adjacent numbers at once; the address is a multiple of their bytes, or of 16."""
    element = values[0].type
    kind, packed = element, values[0]
    if len(values) > 1:
        kind = ir.VectorType(element, len(values))
        packed = ir.Constant(kind, ir.Undefined)
        for lane, value in enumerate(values):
            packed = builder.insert_element(packed, value, INT(lane))
    place = builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())
    align = min(16, len(values) * element_bytes(element))  # four doubles are two stores, or one of 32 bytes
    builder.store(packed, builder.addrspacecast(place, kind.as_pointer(1)), align=align)


def element_bytes(element):
    """Bytes of an LLVM number."""
    return {ir.FloatType(): 4, ir.DoubleType(): 8}.get(element) or element.width // 8


def bit_of(builder, mask, k):
    """Bit k."""
    return builder.trunc(builder.lshr(mask, long_(k)), ir.IntType(1))
