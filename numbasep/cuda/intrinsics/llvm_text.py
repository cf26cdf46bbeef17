"""Loads, stores and conversions in LLVM and inline PTX, shared by `device`, `arithmetic` and `results`."""

import functools

import numpy as np
from llvmlite import ir
from numba import cuda

if getattr(cuda, "implementation", "") == "NVIDIA":  # numba-cuda, which has its own types
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
SHARED = 3  # number of the address space in LLVM


def emitted(result, *kinds):
    """Return a decorator that makes an intrinsic of an emitter ``emit(builder, *arguments)``.

    Parameters
    ----------
    result : Numba type, or function of the types of the arguments that returns one
        Type of the result; the emitter returns a list for a tuple, and None for nothing.
    *kinds : Numba type or None
        Types to which the arguments are converted; None for any type.  Arrays are passed as pointers to their first
        element: kernels take either.
    """

    def decorate(emit):
        @numba_intrinsic
        @functools.wraps(emit)
        def defined(typing_context, *given):
            signature = result if isinstance(result, types.Type) else result(*given)
            return signature(*(kind or own for kind, own in zip(kinds, given, strict=True))), emit_on_pointers

        def emit_on_pointers(context, builder, signature, arguments):
            pointers = [
                context.make_array(kind)(context, builder, value).data
                if isinstance(kind, types.Array)
                else value
                for kind, value in zip(signature.args, arguments, strict=True)
            ]
            made = emit(builder, *pointers)
            if isinstance(made, list):
                return context.make_tuple(builder, signature.return_type, made)
            return context.get_dummy_value() if made is None else made

        return defined

    return decorate


def scalar_type(code):
    """Return the Numba type for a NumPy type string."""
    return numpy_support.from_dtype(np.dtype(code))


def pointer_to(storage):
    """Return the Numba type of a pointer to elements of a storage type."""
    return types.CPointer(scalar_type(storage.raw))


def assembly(builder, text, constraints, result, arguments, *, effects=False):
    """Emit inline PTX; with `effects`, LLVM neither moves it nor makes it depend on further conditions."""
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    attributes = ("convergent",) if effects else ()
    called = ir.InlineAsm(function, text, constraints, side_effect=effects)
    return builder.call(called, arguments, attrs=attributes)


def long_(value):
    """Return a 64-bit constant."""
    return ir.Constant(LONG, value)


def to_sum(builder, raw, storage, compute):
    """Convert a loaded element to the type of the sums."""
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
    """Convert a sum to a storage type by the rules of `arguments.casting`; if `wide`, into the low bits of 32."""
    if storage.code == compute:
        return value
    letter = "f" if compute == "f4" else "d"
    source = f"f{8 * int(compute[1])}"
    if storage.code == "f2":
        return assembly(builder, f"cvt.rn.f16.{source} $0, $1;", f"=h,{letter}", SHORT, [value])
    if storage.code[0] == "f":
        return builder.fptrunc(value, FLOATS["f4"]) if compute == "f8" else builder.fpext(value, FLOATS["f8"])
    if storage.saturate:  # PTX conversions clip
        signed = "s" if storage.code[0] == "i" else "u"
        bits = 8 * storage.itemsize
        kind, register = (LONG, "=l") if bits == 64 else (INT, "=r")
        text = f"cvt.rni.{signed}{bits}.{source} $0, $1;"
        whole = assembly(builder, text, f"{register},{letter}", kind, [value])
        if bits == 64 or compute == "f8":  # the others convert NaN to zero (PTX ISA, cvt)
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
    """Truncate to int32 or int64, with the least integer for values out of range."""
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
    """Return the absolute value."""
    double = value.type == FLOATS["f8"]
    text, constraints = ("abs.f64 $0, $1;", "=d,d") if double else ("abs.f32 $0, $1;", "=f,f")
    return assembly(builder, text, constraints, value.type, [value])


def shared_place(builder, ring, element, index, lanes=1):
    """Return a pointer to a vector of `lanes` elements at element `index` of the ring in shared memory."""
    place = shared_bytes(builder, ring, long_(0), index, element_bytes(element))
    kind = ir.VectorType(element, lanes) if lanes > 1 else element
    return builder.bitcast(place, kind.as_pointer(SHARED))


def shared_bytes(builder, memory, start, index, size):
    """Return a pointer to element `index`, of `size` bytes, after byte `start` of shared memory."""
    base = builder.ptrtoint(builder.addrspacecast(memory, BYTE.as_pointer(SHARED)), INT)
    offset = builder.mul(builder.trunc(index, INT), INT(size))
    place = builder.add(builder.add(base, builder.trunc(start, INT)), offset)
    return builder.inttoptr(place, BYTE.as_pointer(SHARED))


def load_shared(builder, address, kind):
    """Load from an aligned 32-bit address of shared memory."""
    loaded = builder.load(builder.inttoptr(address, kind.as_pointer(SHARED)))
    loaded.align = vector_bytes(kind)
    return loaded


def store_shared(builder, place, values, align):
    """Store adjacent numbers to shared memory at once; the address must be a multiple of `align` bytes, or of 16."""
    packed = vector_of(builder, values)
    target = builder.bitcast(place, packed.type.as_pointer(SHARED))
    builder.store(packed, target, align=min(16, align))


def store_address(builder, address, value):
    """Store a number to an aligned address of global memory."""
    builder.store(value, builder.inttoptr(address, value.type.as_pointer(1)), align=vector_bytes(value.type))


def funnel(builder, low, high, bits):
    """Return 32 bits of the concatenated words `low` and `high`, starting at bit `bits` < 32."""
    return assembly(builder, "shf.r.wrap.b32 $0, $1, $2, $3;", "=r,r,r,r", INT, [low, high, bits])


def element_of(storage):
    """Return the LLVM type of elements of a storage type."""
    code = storage.raw.str[1:]
    return FLOATS[code] if code[0] == "f" else ir.IntType(8 * int(code[1:]))


def parts_of(builder, vector, lanes):
    """Return the elements of a vector as a list; a number is a vector of one lane."""
    if lanes == 1:
        return [vector]
    return [builder.extract_element(vector, INT(lane)) for lane in range(lanes)]


def load_global(builder, pointer, index, element, lanes=1, *, constant=False):
    """Load `lanes` elements from global memory; if `constant`, nothing writes them while the kernel runs."""
    kind = ir.VectorType(element, lanes) if lanes > 1 else element
    place = builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())
    loaded = builder.load(builder.addrspacecast(place, kind.as_pointer(1)))
    loaded.align = lanes * element_bytes(element)
    if constant:
        loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
    return loaded


def store_global(builder, pointer, index, values):
    """Store adjacent numbers to global memory at once; the address must be a multiple of their bytes, or of 16."""
    packed = vector_of(builder, values)
    place = builder.bitcast(builder.gep(pointer, [index]), packed.type.as_pointer())
    align = min(16, vector_bytes(packed.type))  # four doubles are two stores, or one of 32 bytes
    builder.store(packed, builder.addrspacecast(place, packed.type.as_pointer(1)), align=align)


def vector_of(builder, values):
    """Pack numbers into a vector; return a single number unchanged."""
    if len(values) == 1:
        return values[0]
    packed = ir.Constant(ir.VectorType(values[0].type, len(values)), ir.Undefined)
    for lane, value in enumerate(values):
        packed = builder.insert_element(packed, value, INT(lane))
    return packed


def stored(builder, values, storage, compute):
    """Convert adjacent sums to a storage type; pack small types into 32-bit words if they fill them."""
    per_word = 4 // storage.itemsize
    if per_word < 2 or len(values) % per_word:
        return [from_sum(builder, value, storage, compute) for value in values]
    raw = [from_sum(builder, value, storage, compute, wide=True) for value in values]
    raw = [value if value.type == INT else builder.zext(value, INT) for value in raw]
    if per_word == 4:
        raw = [permuted(builder, a, b, 0x0040) for a, b in zip(raw[::2], raw[1::2], strict=True)]
    return [permuted(builder, a, b, 0x5410) for a, b in zip(raw[::2], raw[1::2], strict=True)]


def permuted(builder, a, b, order):
    """Select four of the eight bytes of two words with the PTX instruction `prmt`."""
    return assembly(builder, f"prmt.b32 $0, $1, $2, {order:#x};", "=r,r,r", INT, [a, b])


def packed_sum(builder, word, at_byte, storage, compute):
    """Convert the element at byte `at_byte` of a word to the type of the sums.

    Unsigned integers are put into the low bits of the float 2**23, which is then subtracted: exact, and faster than a
    conversion.
    """
    if storage.code in ("u1", "u2") and compute == "f4":
        order = 0x7440 | at_byte if storage.itemsize == 1 else 0x7400 | (at_byte + 1) << 4 | at_byte
        raised = builder.bitcast(permuted(builder, word, INT(0x4B000000), order), FLOATS["f4"])
        return builder.fsub(raised, ir.Constant(FLOATS["f4"], 8388608.0))
    raw = builder.trunc(builder.lshr(word, INT(8 * at_byte)), ir.IntType(8 * storage.itemsize))
    return to_sum(builder, raw, storage, compute)


def vector_bytes(kind):
    """Return the size in bytes of an LLVM number or vector type."""
    return (
        kind.count * element_bytes(kind.element) if isinstance(kind, ir.VectorType) else element_bytes(kind)
    )


def element_bytes(element):
    """Return the size in bytes of an LLVM number type."""
    return {ir.FloatType(): 4, ir.DoubleType(): 8}.get(element) or element.width // 8


def bit_of(builder, mask, k):
    """Return bit k of a mask."""
    return builder.trunc(builder.lshr(mask, long_(k)), ir.IntType(1))
