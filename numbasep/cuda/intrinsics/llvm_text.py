"""Loads, stores and conversions in LLVM and inline PTX, of which `device` and `arithmetic` are made."""

from __future__ import annotations

import functools

import numpy as np
from llvmlite import ir
from numba import cuda

if getattr(cuda, "implementation", "") == "NVIDIA":  # numba-cuda has its own types
    from numba.cuda import types
    from numba.cuda.extending import intrinsic as numba_intrinsic
    from numba.cuda.np import numpy_support
else:
    from numba.core import types
    from numba.core.extending import intrinsic as numba_intrinsic
    from numba.np import numpy_support

LANES = 32
BYTE, SHORT, INT, LONG = (ir.IntType(bits) for bits in (8, 16, 32, 64))
FLOATS = {"f4": ir.FloatType(), "f8": ir.DoubleType()}
SHARED = 3  # LLVM's number of the address space


def intrinsic(define):
    """Numba's `intrinsic`, for which arrays are pointers to their first element: kernels take either."""

    @numba_intrinsic
    @functools.wraps(define)
    def defined(typing_context, *arguments):
        signature, emit = define(typing_context, *arguments)

        def emit_on_pointers(context, builder, signature, arguments):
            given = [
                context.make_array(kind)(context, builder, value).data
                if isinstance(kind, types.Array)
                else value
                for kind, value in zip(signature.args, arguments, strict=True)
            ]
            return emit(context, builder, signature, given)

        return signature, emit_on_pointers

    return defined


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


def from_sum(builder, value, storage, compute, *, wide=False):
    """A sum as it is stored, or as the low bits of what is `wide`: by the rules of `arguments.casting`."""
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
        kind, register = (LONG, "=l") if bits == 64 else (INT, "=r")
        text = f"cvt.rni.{signed}{bits}.{source} $0, $1;"
        whole = assembly(builder, text, f"{register},{letter}", kind, [value])
        if bits == 64 or compute == "f8":  # only shorter ones make NaN zero (PTX ISA, cvt)
            whole = builder.select(builder.fcmp_ordered("ord", value, value), whole, ir.Constant(kind, 0))
    else:
        whole = _c_cast(builder, value, storage, source, letter)
    bits = 8 * storage.itemsize
    if storage.code == "b1":
        return builder.zext(builder.icmp_unsigned("!=", builder.trunc(whole, BYTE), BYTE(0)), BYTE)
    if wide and whole.type == INT:
        return whole
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
    if storage.bounded:
        return whole
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
    place = shared_bytes(builder, ring, long_(0), index, element_bytes(element))
    kind = ir.VectorType(element, lanes) if lanes > 1 else element
    return builder.bitcast(place, kind.as_pointer(SHARED))


def shared_bytes(builder, memory, start, index, size):
    """Address of element `index`, of `size` bytes, after `start` bytes of shared memory: arithmetic of 32 bits."""
    base = builder.ptrtoint(builder.addrspacecast(memory, BYTE.as_pointer(SHARED)), INT)
    offset = builder.mul(builder.trunc(index, INT), INT(size))
    place = builder.add(builder.add(base, builder.trunc(start, INT)), offset)
    return builder.inttoptr(place, BYTE.as_pointer(SHARED))


def load_shared(builder, address, kind):
    """What lies at a 32-bit address of shared memory, a multiple of its bytes."""
    loaded = builder.load(builder.inttoptr(address, kind.as_pointer(SHARED)))
    loaded.align = vector_bytes(kind)
    return loaded


def store_shared(builder, place, values, align):
    """Write adjacent numbers to shared memory at once; the address is a multiple of `align` bytes, or of 16."""
    packed = vector_of(builder, values)
    target = builder.bitcast(place, packed.type.as_pointer(SHARED))
    builder.store(packed, target, align=min(16, align))


def store_address(builder, address, value):
    """Write a number at an address of global memory, a multiple of its bytes."""
    builder.store(value, builder.inttoptr(address, value.type.as_pointer(1)), align=vector_bytes(value.type))


def funnel(builder, low, high, bits):
    """32 of the 64 bits of two words, from bit `bits`, less than 32, on."""
    return assembly(builder, "shf.r.wrap.b32 $0, $1, $2, $3;", "=r,r,r,r", INT, [low, high, bits])


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
    packed = vector_of(builder, values)
    place = builder.bitcast(builder.gep(pointer, [index]), packed.type.as_pointer())
    align = min(16, vector_bytes(packed.type))  # four doubles are two stores, or one of 32 bytes
    builder.store(packed, builder.addrspacecast(place, packed.type.as_pointer(1)), align=align)


def vector_of(builder, values):
    """Numbers as one vector, or the number itself."""
    if len(values) == 1:
        return values[0]
    packed = ir.Constant(ir.VectorType(values[0].type, len(values)), ir.Undefined)
    for lane, value in enumerate(values):
        packed = builder.insert_element(packed, value, INT(lane))
    return packed


def stored(builder, values, storage, compute):
    """Adjacent sums as they are stored: small types packed into words of 32 bits where they fill them."""
    per_word = 4 // storage.itemsize
    if per_word < 2 or len(values) % per_word:
        return [from_sum(builder, value, storage, compute) for value in values]
    raw = [from_sum(builder, value, storage, compute, wide=True) for value in values]
    raw = [value if value.type == INT else builder.zext(value, INT) for value in raw]
    if per_word == 4:
        raw = [permuted(builder, a, b, 0x0040) for a, b in zip(raw[::2], raw[1::2], strict=True)]
    return [permuted(builder, a, b, 0x5410) for a, b in zip(raw[::2], raw[1::2], strict=True)]


def permuted(builder, a, b, order):
    """Four of the eight bytes of two words, by the PTX instruction `prmt`."""
    return assembly(builder, f"prmt.b32 $0, $1, $2, {order:#x};", "=r,r,r", INT, [a, b])


def packed_sum(builder, word, at_byte, storage, compute):
    """The number at a byte of a word, in the type of the sums.

    Unsigned numbers go into the low bits of 2**23, from which that is subtracted: quicker than a conversion, and exact.
    """
    if storage.code in ("u1", "u2") and compute == "f4":
        order = 0x7440 | at_byte if storage.itemsize == 1 else 0x7400 | (at_byte + 1) << 4 | at_byte
        raised = builder.bitcast(permuted(builder, word, INT(0x4B000000), order), FLOATS["f4"])
        return builder.fsub(raised, ir.Constant(FLOATS["f4"], 8388608.0))
    raw = builder.trunc(builder.lshr(word, INT(8 * at_byte)), ir.IntType(8 * storage.itemsize))
    return to_sum(builder, raw, storage, compute)


def vector_bytes(kind):
    """Bytes of an LLVM number, or of a vector of them."""
    return (
        kind.count * element_bytes(kind.element) if isinstance(kind, ir.VectorType) else element_bytes(kind)
    )


def element_bytes(element):
    """Bytes of an LLVM number."""
    return {ir.FloatType(): 4, ir.DoubleType(): 8}.get(element) or element.width // 8


def bit_of(builder, mask, k):
    """Bit k."""
    return builder.trunc(builder.lshr(mask, long_(k)), ir.IntType(1))
