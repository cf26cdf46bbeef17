"""Conversions between float16 and float32, also on processors without instructions for float16."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .vectors import HALVES

_SINGLE_INFINITY, _HALF_INFINITY = 0x7F800000, 0x7C00
_EXPONENTS = 112  # difference of the exponent biases of the two types


def _constants(kind: Any, *values: int) -> list[Any]:
    return [ir.Constant(kind, [value] * kind.count) for value in values]


def _floats(bits: Any) -> Any:
    return ir.VectorType(ir.FloatType(), bits.count)


def widen(builder: Any, halves: Any) -> Any:
    """Convert vectors of float16 bits to float32."""
    count = halves.type.count
    if HALVES:
        return builder.fpext(
            builder.bitcast(halves, ir.VectorType(ir.HalfType(), count)),
            ir.VectorType(ir.FloatType(), count),
        )
    kind = ir.VectorType(ir.IntType(32), count)
    magnitudes, shift, sign_shift, infinity, ones = _constants(
        kind, 0x7FFF, 13, 16, _HALF_INFINITY << 13, _SINGLE_INFINITY
    )
    bits = builder.zext(halves, kind)
    magnitude = builder.shl(builder.and_(bits, magnitudes), shift)
    sign = builder.shl(builder.and_(bits, builder.not_(magnitudes)), sign_shift)
    scale = ir.Constant(_floats(kind), [2.0**_EXPONENTS] * count)  # also correct for subnormals
    scaled = builder.bitcast(builder.fmul(builder.bitcast(magnitude, _floats(kind)), scale), kind)
    special = builder.icmp_unsigned(">=", magnitude, infinity)
    wide = builder.select(special, builder.or_(magnitude, ones), scaled)
    return builder.bitcast(builder.or_(wide, sign), _floats(kind))


def narrow(builder: Any, singles: Any) -> Any:
    """Convert vectors of float32 to float16 bits, rounding half to even."""
    count = singles.type.count
    small = ir.VectorType(ir.IntType(16), count)
    if HALVES:
        return builder.bitcast(builder.fptrunc(singles, ir.VectorType(ir.HalfType(), count)), small)
    kind = ir.VectorType(ir.IntType(32), count)
    one, shift, sign_shift, sign_bit, infinity, nan, half_infinity = _constants(
        kind, 1, 13, 16, 1 << 31, _SINGLE_INFINITY, 0x7E00, _HALF_INFINITY
    )
    too_large, least_normal, half = _constants(kind, 0x47800000, 0x38800000, 0x3F000000)
    bias = ir.Constant(kind, [0xFFF - (_EXPONENTS << 23)] * count)
    bits = builder.bitcast(singles, kind)
    sign = builder.and_(bits, sign_bit)
    magnitude = builder.xor(bits, sign)
    # adding 0.5 shifts the bits of a subnormal float16 to the end of the significand and rounds them
    moved = builder.fadd(builder.bitcast(magnitude, _floats(kind)), builder.bitcast(half, _floats(kind)))
    subnormal = builder.sub(builder.bitcast(moved, kind), half)
    odd = builder.and_(builder.lshr(magnitude, shift), one)
    normal = builder.lshr(builder.add(builder.add(magnitude, bias), odd), shift)
    special = builder.select(builder.icmp_unsigned(">", magnitude, infinity), nan, half_infinity)
    result = builder.select(builder.icmp_unsigned("<", magnitude, least_normal), subnormal, normal)
    result = builder.select(builder.icmp_unsigned(">=", magnitude, too_large), special, result)
    return builder.trunc(builder.or_(result, builder.lshr(sign, sign_shift)), small)
