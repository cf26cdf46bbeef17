"""Code for vectors that begin at adjacent elements: few loads, and the others by shuffles in registers.

Unaligned loads that touch two cache lines take twice as long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir


def halves(builder: Any, low: Any, high: Any, picked: Sequence[int]) -> Any:
    """Return the elements `picked` of each half of two vectors of AVX2: the first ones of `low`, as many of `high`.

    These shuffles run beside two multiply-adds a cycle on AMD's processors, other ones do not.  LLVM would combine them
    with others to more instructions.
    """
    binding.initialize_native_asmparser()
    if len(picked) == 2:
        letter, control = "d", sum(at << i for i, at in enumerate([*picked, *picked]))
    else:
        letter, control = "s", sum(at << 2 * i for i, at in enumerate(picked))
    kind = ir.FunctionType(low.type, [low.type, low.type])
    return builder.asm(kind, f"vshufp{letter} $${control}, $2, $1, $0", "=x,x,x", (low, high), False)


def from_element(builder: Any, low: Any, high: Any, first: int) -> Any:
    """Return the vector of AVX-512 that begins at element `first` of `low` and ends with the first ones of `high`.

    LLVM would use a permutation with a table that overwrites an operand, so that sums are spilled.
    """
    if first == 0:
        return low
    binding.initialize_native_asmparser()
    letter = "d" if str(low.type.element) == "float" else "q"
    kind = ir.FunctionType(low.type, [low.type, low.type])
    return builder.asm(kind, f"valign{letter} $${first}, $1, $2, $0", "=v,v,v", (low, high), False)


def adjacent_vectors(builder: Any, load: Callable[[int], Any], taps: int) -> list[Any]:
    """Return the vectors at elements 0, 1 ... `taps` - 1, at most 4, where ``load(k)`` loads the one at element k.

    Nothing beyond the last of them is loaded.
    """
    low, high = load(0), load(taps - 1)
    if taps == 2:
        return [low, high]
    if low.type.count == 4:
        between = high if taps == 3 else load(2)
        return [low, halves(builder, low, between, [1, 0]), between, high][:taps]
    if taps == 3:
        return [low, halves(builder, low, high, [1, 2, 1, 2]), high]
    return [low, *(halves(builder, low, high, picked) for picked in ([1, 2, 0, 1], [2, 3, 1, 2])), high]
