"""Intrinsic for flat kernels: interprets a small program of row sums and shifts on a block of columns, in registers.

Input rows are added to S and T, the sums of two adjacent output rows, which are `extra` vectors wider than the results.
For a column of a disk, the input rows of both output rows are the same except for one at each end.  Extending S and T
from one column length to the next takes three additions together, and would take two for each alone.  When the sums for
a column of the kernel are complete, they are shifted to it, multiplied by its weight and added to the results, so that
they are never stored.

Shifts of float32 and float64 are `valign` instructions, which contain the distance: there is one case of a switch for
each distance.  A permutation by a vector of indices could shift by any distance, but reads three registers, as a
multiply-add does, and the processor does not run both at once.

Lower bound on one core of Zen 4 at 3.7 GHz, for 16 results in float32: loading and adding a row takes 0.28 ns, a shift
and its multiply-add 0.36 ns (0.52 ns by a permutation), one of each together 0.43 ns.  A disk of radius 16 takes 26
rows times ``1 + extra / vectors``, and 31 shifts: 15 ns.  The same instructions without jumps take 16 to 17.5 ns, this
program 17 ns; radius 6 takes 7 ns, radius 11 takes 12 ns, and sums of bytes 4, 7 and 12 ns.  Radius 25 takes 37 ns,
7 ns of them for rows that do not fit the first-level cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from .vectors import (
    VECTOR_BYTES,
    Vector,
    call_intrinsic,
    fused,
    pointer_to,
    span,
    spread,
    vector_intrinsic,
)

AVAILABLE = VECTOR_BYTES == 64

# A stroke (an instruction of the program) is 64 bits: a code, an amount, and three operands, which some codes have
CODE_BITS, AMOUNT_BITS, OPERAND_BITS = 10, 6, 16
FIRST, SECOND, THIRD = (CODE_BITS + AMOUNT_BITS + OPERAND_BITS * n for n in range(3))
MOST_ROWS = 1 << (OPERAND_BITS - 1)  # entries of the row table have smaller indices: strokes are signed
CLEAR, ROW, TWO_ROWS, ROWS, EACH, TWO_EACH, ALL_EACH, LEAN, MORE, GROW, SAVE, RESTORE, OPEN, FLUSH, DOUBLE = (
    range(15)
)
"""Codes of strokes.  S is the sum for the first output row, T for the second; each has its results.

CLEAR: S = T = 0.  ROW, TWO_ROWS, ROWS: S += one, two or three rows of the row table.  EACH, TWO_EACH, ALL_EACH: the
same, and T += the next entry of the row table after each.  LEAN: T = S + row FIRST.  MORE: T += row FIRST.  GROW:
S += row FIRST; T = S + row SECOND; S += row THIRD.  SAVE, RESTORE: store S in the workspace or load it, at the offset
that the operands hold together.  OPEN, FLUSH: multiply 16-bit results by their weight; write them to the output, or
add them to it.  From DOUBLE on: add S and T to themselves, shifted by ``DOUBLES[code - DOUBLE]`` elements."""
DOUBLES = (1, 2, 4)
SHIFT = DOUBLE + len(DOUBLES)
BOTH, LATER, EARLIER = range(3)
"""Kinds of shifts, whose codes (`shift_code`) begin at SHIFT: add S and T to the results of the first and second output
row; add T to those of the second row; add T to those of the first row."""


def stroke_word(code: int, *operands: int, amount: int = 0) -> int:
    """Return a stroke as an integer."""
    word = code | amount << CODE_BITS
    for n, operand in enumerate(operands):
        word |= operand << (FIRST + OPERAND_BITS * n)
    return word


def shift_code(kind: int, elements: int, extra: int, count: int) -> tuple[int, int]:
    """Return code and amount of a shift by `elements` elements, in vectors of `count` elements."""
    if count > 16:
        return SHIFT + kind * (extra + 1) + elements // count, elements % count
    return SHIFT + kind * (extra * count + 1) + elements, 0


def strokes_intrinsic(extra: int, vectors: int, small: bool) -> Callable[..., Any]:
    """Return the intrinsic ``(work, table, strokes, weights, count, row, here, target, pitch)`` for a block.

    It runs `count` strokes, each with its weight.  Entries of the row table count from `row` on, and elements of rows
    from `here` on.  The results of the two output rows go to `target` and ``target + pitch``.  If `small`, rows hold
    16-bit integers, two in the place of a float32, and so do sums and results until they are flushed.
    """

    def emit(
        typingctx: Any, work: Any, table: Any, strokes: Any, weights: Any, count: Any, row: Any, here: Any, target: Any,
        pitch: Any,
    ) -> Any:  # fmt: skip
        n = types.int64

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            binding.initialize_native_asmparser()
            _Strokes(context, builder, sig, args, extra, vectors, small).run()
            return context.get_dummy_value()

        return types.void(work, table, strokes, weights, n, n, n, n, n), codegen

    def reference(
        work: np.ndarray, table: np.ndarray, strokes: np.ndarray, weights: np.ndarray, count: int, row: int, here: int,
        target: int, pitch: int,
    ) -> None:  # fmt: skip
        _Reference(work, extra, vectors, small).run(table, strokes[:count], weights, row, here, target, pitch)

    return vector_intrinsic(reference)(emit)


class _Strokes:
    """Emitter of the loop over the strokes: a switch with a case for each code."""

    def __init__(
        self, context: Any, builder: Any, sig: Any, args: Any, extra: int, vectors: int, small: bool
    ) -> None:
        self.context, self.builder, self.sig, self.args = context, builder, sig, args
        self.extra, self.small, self.whole = extra, small, ir.IntType(64)
        number = sig.args[0].dtype
        self.vector = context.get_value_type(Vector(number))
        self.lanes = self.vector.count * (2 if small else 1)
        self.kind = ir.VectorType(ir.IntType(16), self.lanes) if small else self.vector
        self.align = 2 if small else number.bitwidth // 8
        self.sums = [self._registers(vectors + extra) for _ in range(2)]
        self.results = [self._registers(vectors) for _ in range(2)]
        self.end: Any = None

    def _registers(self, count: int) -> list[Any]:
        nothing = ir.Constant(self.kind, None)
        slots = [cgutils.alloca_once_value(self.builder, nothing) for _ in range(count)]
        self._clear(slots)
        return slots

    def _clear(self, slots: list[Any]) -> None:
        for slot in slots:
            self.builder.store(ir.Constant(self.kind, None), slot)

    def run(self) -> None:
        """Emit the loop and the stores after it."""
        builder, whole = self.builder, self.whole
        with cgutils.for_range_slice(builder, whole(0), self.args[4], whole(1)) as (i, _):
            self.stroke, self.word = i, self._number(2, i, whole)
            self.end = builder.append_basic_block("stroke_done")
            self.switch = builder.switch(builder.and_(self.word, whole((1 << CODE_BITS) - 1)), self.end)
            self._rows()
            self._moves()
            self._shifts()
            if self.small:
                self._case(OPEN, lambda: self._flush(opens=True))
                self._case(FLUSH, lambda: self._flush(opens=False))
            builder.position_at_end(self.end)
        for which, results in enumerate(self.results if not self.small else []):
            for r, slot in enumerate(results):
                builder.store(builder.load(slot), self._target(which, r), align=self.align)

    def _case(self, value: int, body: Callable[[], None]) -> None:
        here = self.builder.append_basic_block(f"stroke_{value}")
        self.switch.add_case(self.whole(value), here)
        self.builder.position_at_end(here)
        body()
        self.builder.branch(self.end)

    def _number(self, array: int, at: Any, kind: Any) -> Any:
        pointer = pointer_to(self.context, self.builder, self.sig.args[array], self.args[array], at, kind)
        return self.builder.load(pointer)

    def _field(self, start: int, bits: int) -> Any:
        moved = self.builder.lshr(self.word, self.whole(start))
        return self.builder.and_(moved, self.whole((1 << bits) - 1))

    def _weight(self) -> Any:
        return spread(self.builder, self._number(3, self.stroke, self.vector.element), self.vector.count)

    def _place(self, at: Any, kind: Any) -> Any:
        return pointer_to(self.context, self.builder, self.sig.args[0], self.args[0], at, kind)

    def _row(self, field: int, further: int = 0) -> list[Any]:
        """Return pointers to the vectors of the row in an operand, or of that `further` entries after it."""
        builder = self.builder
        here = builder.ashr(self.args[6], self.whole(1)) if self.small else self.args[6]
        at = builder.add(self._field(field, OPERAND_BITS), builder.add(self.args[5], self.whole(further)))
        entry = self._number(1, at, self.whole)
        return self._vectors(builder.add(entry, here))

    def _vectors(self, at: Any) -> list[Any]:
        start = self._place(at, self.kind)
        return [self.builder.gep(start, [self.whole(v)]) for v in range(len(self.sums[0]))]

    def _target(self, which: int, r: int) -> Any:
        builder = self.builder
        at = builder.add(self.args[7], builder.mul(self.args[8], self.whole(which)))
        return self._place(builder.add(at, self.whole(r * self.vector.count)), self.vector)

    def _plus(self, one: Any, other: Any) -> Any:
        return self.builder.add(one, other) if self.small else self.builder.fadd(one, other)

    def _rows(self) -> None:
        """Emit the strokes that add rows."""
        builder, (s, t) = self.builder, self.sums

        def add(field: int, source: list[Any], to: list[Any], further: int = 0) -> Callable[[], None]:
            def body() -> None:
                for pointer, before, after in zip(self._row(field, further), source, to, strict=True):
                    row = builder.load(pointer, align=self.align)
                    builder.store(self._plus(builder.load(before), row), after)

            return body

        def one_by_one(*bodies: Callable[[], None]) -> Callable[[], None]:
            return lambda: [body() for body in bodies] and None

        first, second, third = (add(field, s, s) for field in (FIRST, SECOND, THIRD))
        each = [one_by_one(add(field, s, s), add(field, t, t, 1)) for field in (FIRST, SECOND, THIRD)]
        two, three = one_by_one(first, second), one_by_one(first, second, third)
        rows = {ROW: first, TWO_ROWS: two, ROWS: three, LEAN: add(FIRST, s, t), MORE: add(FIRST, t, t)}
        pairs = {EACH: each[0], TWO_EACH: one_by_one(*each[:2]), ALL_EACH: one_by_one(*each)}
        grow = {GROW: one_by_one(first, add(SECOND, s, t), third)}
        for code, body in (rows | pairs | grow).items():
            self._case(code, body)

    def _moves(self) -> None:
        """Emit the strokes that clear, save, restore and double sums."""
        builder, s = self.builder, self.sums[0]

        def save() -> None:
            for pointer, slot in zip(
                self._vectors(builder.lshr(self.word, self.whole(FIRST))), s, strict=True
            ):
                builder.store(builder.load(slot), pointer, align=self.align)

        def restore() -> None:
            for pointer, slot in zip(
                self._vectors(builder.lshr(self.word, self.whole(FIRST))), s, strict=True
            ):
                builder.store(builder.load(pointer, align=self.align), slot)

        def double(distance: int) -> None:
            for sums in self.sums:
                old = [builder.load(slot) for slot in sums]
                for low, high, slot in zip(old, [*old[1:], old[-1]], sums, strict=True):
                    moved = (
                        self._moved(low, high, self.whole(distance))
                        if self.small
                        else self._aligned(low, high, distance)
                    )
                    builder.store(self._plus(low, moved), slot)

        self._case(CLEAR, lambda: self._clear([*self.sums[0], *self.sums[1]]))
        self._case(SAVE, save)
        self._case(RESTORE, restore)
        for i, distance in enumerate(DOUBLES):
            self._case(DOUBLE + i, lambda distance=distance: double(distance))

    def _shifts(self) -> None:
        """Emit the strokes that add sums to results."""
        (s, t), (first, second) = self.sums, self.results
        pairs = {BOTH: [(s, first), (t, second)], LATER: [(t, second)], EARLIER: [(t, first)]}
        codes = self.extra + 1 if self.small else self.extra * self.lanes + 1
        for kind, wanted in pairs.items():
            for n in range(codes):
                self._case(SHIFT + kind * codes + n, functools.partial(self._shift, n, wanted))

    def _shift(self, n: int, pairs: list[tuple[list[Any], list[Any]]]) -> None:
        by, distance = (n, 0) if self.small else divmod(n, self.lanes)
        operand = self._field(CODE_BITS, AMOUNT_BITS) if self.small else self._weight()
        for sums, results in pairs:
            for r, result in enumerate(results):
                low, high = (self.builder.load(sums[min(r + by + more, len(sums) - 1)]) for more in (0, 1))
                before = self.builder.load(result)
                if self.small:
                    after = self.builder.add(before, self._moved(low, high, operand))
                else:
                    after = self._weighed(low, high, distance, operand, before)
                self.builder.store(after, result)

    def _weighed(self, low: Any, high: Any, distance: int, weight: Any, total: Any) -> Any:
        """Return `total` plus `weight` times the vector at element `distance` of two adjacent vectors.

        This is assembly because LLVM would emit a permutation by a vector of indices, and copies of the totals.
        """
        if not distance:
            return fused(self.builder, weight, low, total)
        size, number = ("d", "ps") if self.lanes == 16 else ("q", "pd")
        code = f"valign{size} $${distance}, $4, $3, $1\nvfmadd231{number} $1, $2, $0"
        kind = ir.FunctionType(ir.LiteralStructType([low.type] * 2), [low.type] * 4)
        both = self.builder.asm(kind, code, "=v,=&v,v,v,v,0", (weight, high, low, total), False)
        return self.builder.extract_value(both, 0)

    def _aligned(self, low: Any, high: Any, distance: int) -> Any:
        """Return the vector at element `distance` of two adjacent vectors."""
        size = "d" if self.lanes == 16 else "q"
        kind = ir.FunctionType(low.type, [low.type] * 2)
        return self.builder.asm(kind, f"valign{size} $${distance}, $2, $1, $0", "=v,v,v", (high, low), False)

    def _moved(self, low: Any, high: Any, by: Any) -> Any:
        """Return the vector at element `by`, a run-time number, of two adjacent vectors of 16-bit integers."""
        builder, short = self.builder, ir.IntType(16)
        steps = ir.Constant(self.kind, list(range(self.lanes)))
        places = builder.add(spread(builder, builder.trunc(by, short), self.lanes), steps)
        return call_intrinsic(builder, "llvm.x86.avx512.vpermi2var.hi.512", self.kind, low, places, high)

    def _flush(self, *, opens: bool) -> None:
        builder, weight = self.builder, self._weight()
        for which, results in enumerate(self.results):
            for r, slot in enumerate(results):
                for half in range(2):
                    number = _half(builder, builder.load(slot), half, self.vector)
                    place = self._target(which, 2 * r + half)
                    before = ir.Constant(self.vector, None) if opens else builder.load(place, align=4)
                    builder.store(fused(builder, weight, number, before), place, align=4)
            self._clear(results)


class _Reference:
    """Reference implementation of the intrinsic in NumPy."""

    def __init__(self, work: np.ndarray, extra: int, vectors: int, small: bool) -> None:
        self.work, self.extra, self.small = work, extra, small
        self.kind = np.dtype(np.uint16) if small else work.dtype
        self.lanes = VECTOR_BYTES // self.kind.itemsize
        self.count = vectors * self.lanes

    def _place(self, at: int) -> np.ndarray:
        size = (self.count + self.extra * self.lanes) * self.kind.itemsize // self.work.itemsize
        return span(self.work, at, size).view(self.kind)

    def run(
        self, table: np.ndarray, strokes: np.ndarray, weights: np.ndarray, row: int, here: int, target: int, pitch: int
    ) -> None:  # fmt: skip
        """Run the strokes; see `strokes_intrinsic`."""
        here = here // (2 if self.small else 1)
        s = np.zeros(self.count + self.extra * self.lanes, self.kind)
        t = s.copy()
        results = np.zeros((2, self.count), self.kind)
        outputs = [span(self.work, target + which * pitch, self.count) for which in range(2)]
        codes = self.extra + 1 if self.small else self.extra * self.lanes + 1
        for i, word in enumerate(strokes.tolist()):
            code, amount = word % (1 << CODE_BITS), (word >> CODE_BITS) % (1 << AMOUNT_BITS)
            operands = [(word >> start) % (1 << OPERAND_BITS) for start in (FIRST, SECOND, THIRD)]
            used = {TWO_ROWS: 2, ROWS: 3, TWO_EACH: 2, ALL_EACH: 3, GROW: 3}.get(code, ROW <= code <= MORE)
            rows = [self._place(table[entry + row] + here) for entry in operands[:used]]
            if code >= SHIFT:
                kind, n = divmod(code - SHIFT, codes)
                at = n * self.lanes + amount if self.small else n
                both = ((0, s), (1, t))
                for which, sums in {LATER: ((1, t),), EARLIER: ((0, t),)}.get(kind, both):
                    results[which] += (1 if self.small else weights[i]) * span(sums, at, self.count)
            elif code == GROW:
                t = s + rows[0] + rows[1]
                s = s + rows[0] + rows[2]
            elif code == CLEAR:
                s[:] = t[:] = 0
            elif code <= ALL_EACH:
                for one, entry in zip(rows, operands, strict=False):
                    s += one
                    if code >= EACH:
                        t += self._place(table[entry + row + 1] + here)
            elif code == LEAN:
                t = s + rows[0]
            elif code == MORE:
                t += rows[0]
            elif code == SAVE:
                self._place(word >> FIRST)[:] = s
            elif code == RESTORE:
                s[:] = self._place(word >> FIRST)
            elif code in (OPEN, FLUSH):
                for output, result in zip(outputs, results, strict=True):
                    output[:] = weights[i] * result + (output if code == FLUSH else 0)
                results[:] = 0
            elif code < SHIFT:
                distance = DOUBLES[code - DOUBLE]
                s, t = (v + np.append(v[distance:], v[:distance]) for v in (s, t))
        for output, result in zip(outputs, results if not self.small else [], strict=False):
            output[:] = result


def _half(builder: Any, integers: Any, half: int, to: Any) -> Any:
    """Return the first or second half of a vector of unsigned 16-bit integers as float32."""
    mask = ir.Constant(
        ir.VectorType(ir.IntType(32), to.count), [half * to.count + i for i in range(to.count)]
    )
    part = builder.shuffle_vector(integers, integers, mask)
    whole = builder.zext(part, ir.VectorType(ir.IntType(32), to.count))
    return builder.sitofp(whole, to)
