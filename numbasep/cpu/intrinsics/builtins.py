"""Intrinsics for `min`, `max` and `int`, which Numba would compile as functions for each type of their arguments."""

from __future__ import annotations

from typing import Any

from numba import types

from .vectors import vector_intrinsic


def _select(typingctx: Any, one: Any, other: Any, comparison: str) -> Any:
    """Return the signature and the code of ``other if other COMPARISON one else one``."""
    kind = typingctx.unify_types(types.unliteral(one), types.unliteral(other))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b = (context.cast(builder, arg, of, kind) for arg, of in zip(args, sig.args, strict=True))
        if isinstance(kind, types.Float):
            compare = builder.fcmp_ordered
        else:
            compare = builder.icmp_signed if kind.signed else builder.icmp_unsigned
        return builder.select(compare(comparison, b, a), b, a)

    return kind(one, other), codegen


@vector_intrinsic(min)
def smaller(typingctx: Any, one: Any, other: Any) -> Any:
    """Return the smaller of two numbers, as `min`."""
    return _select(typingctx, one, other, "<")


@vector_intrinsic(max)
def larger(typingctx: Any, one: Any, other: Any) -> Any:
    """Return the larger of two numbers, as `max`."""
    return _select(typingctx, one, other, ">")


@vector_intrinsic(int)
def integer(typingctx: Any, value: Any) -> Any:
    """Convert a boolean or an integer to int64, as `int`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.cast(builder, args[0], sig.args[0], types.int64)

    return types.int64(value), codegen


INTRINSICS: dict[Any, Any] = {min: smaller, max: larger, int: integer}
