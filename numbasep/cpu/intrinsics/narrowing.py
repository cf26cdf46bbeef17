"""Code that converts adjacent vectors of float32 to 8- and 16-bit integers by the pack instructions of x86.

They saturate and work within parts of 16 bytes, so that one permutation of the result restores the order.  LLVM would
permute after every instruction.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .vectors import TARGET, VECTOR_BYTES, call_intrinsic, suffix

PART_BYTES = 16  # pack instructions work within parts of this size
PACKS = TARGET.x86 and VECTOR_BYTES > PART_BYTES
_PREFIX, _WIDTH = ("llvm.x86.avx2", "") if VECTOR_BYTES == 32 else ("llvm.x86.avx512", ".512")


def packable(storage: Any, vectors: list[Any]) -> bool:
    """Return whether `pack_vectors` converts these vectors to this storage type."""
    small = storage.element.bitwidth in (8, 16) and vectors[0].type.element == ir.FloatType()
    return PACKS and small and len(vectors) == 4


def pack_vectors(builder: Any, storage: Any, vectors: list[Any]) -> list[Any]:
    """Convert four vectors to vectors of integers, in the native byte order and by the storage's rule."""
    bits, signed = storage.element.bitwidth, storage.element.signed
    convert = _rounded if storage.storage.saturate else _wrapped
    numbers = [convert(builder, vector, storage.element) for vector in vectors]
    wraps = not storage.storage.saturate  # masked numbers are not negative
    halves = "packusdw" if wraps or (bits == 16 and not signed) else "packssdw"
    packed = [_pack(builder, halves, *numbers[i : i + 2]) for i in (0, 2)]
    if bits == 8:
        packed = [_pack(builder, "packuswb" if wraps or not signed else "packsswb", *packed)]
    return [_in_order(builder, vector, 4 // len(packed)) for vector in packed]


def _wrapped(builder: Any, value: Any, element: Any) -> Any:
    """Truncate to integers of 32 bits, the least one if out of range, and keep the lowest bits."""
    kind = ir.VectorType(ir.IntType(32), value.type.count)
    mask = ir.Constant(kind, [(1 << element.bitwidth) - 1] * kind.count)
    return builder.and_(builder.fptosi(value, kind), mask)


def _rounded(builder: Any, value: Any, element: Any) -> Any:
    """Round half to even, to at most the largest number of the element type; NaN becomes 0 after packing."""
    kind = ir.VectorType(ir.IntType(32), value.type.count)
    if element.signed:  # conversion makes NaN the least integer, which packing to unsigned integers makes 0
        zero = ir.Constant(value.type, [0.0] * kind.count)
        value = builder.select(builder.fcmp_ordered("ord", value, value), value, zero)
    largest = ir.Constant(value.type, [float(element.maxval)] * kind.count)
    value = builder.select(builder.fcmp_ordered("<", largest, value), largest, value)
    if VECTOR_BYTES == 32:
        return call_intrinsic(builder, "llvm.x86.avx.cvt.ps2dq.256", kind, value)
    whole = call_intrinsic(builder, f"llvm.rint.{suffix(value.type)}", value.type, value)
    return builder.fptosi(whole, kind)


def _pack(builder: Any, name: str, low: Any, high: Any) -> Any:
    kind = ir.VectorType(ir.IntType(low.type.element.width // 2), 2 * low.type.count)
    return call_intrinsic(builder, f"{_PREFIX}.{name}{_WIDTH}", kind, low, high)


def _in_order(builder: Any, packed: Any, vectors: int) -> Any:
    """Restore the order of packed numbers: part p of vector v is at p * vectors + v."""
    parts = VECTOR_BYTES // PART_BYTES
    piece = ir.IntType(8 * PART_BYTES // vectors)
    mask = [part * vectors + vector for vector in range(vectors) for part in range(parts)]
    pieces = builder.bitcast(packed, ir.VectorType(piece, parts * vectors))
    order = ir.Constant(ir.VectorType(ir.IntType(32), len(mask)), mask)
    return builder.bitcast(builder.shuffle_vector(pieces, pieces, order), packed.type)
