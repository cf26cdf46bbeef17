"""Intrinsics of the CUDA kernels for memory, as LLVM and inline PTX; `vocabulary` describes them all."""

from __future__ import annotations

from types import SimpleNamespace

from llvmlite import ir

from .arithmetic import accumulate_word, advance_word, line_word
from .llvm_text import (
    BYTE,
    FLOATS,
    INT,
    LANES,
    LONG,
    SHARED,
    assembly,
    element_of,
    from_sum,
    intrinsic,
    load_global,
    long_,
    magnitude,
    pointer_to,
    scalar_type,
    shared_place,
    store_global,
    to_sum,
    types,
)

__all__ = [
    "accumulate_word", "advance_word", "aligned", "commit", "line_word", "math_words", "pointer_to", "read_word",
    "result_words", "ring_words", "scalar_type", "source_place", "types", "warp_barrier",
]  # fmt: skip


# ------------------------------------------------------------------------------ a ring of rows in shared memory


@intrinsic
def aligned(typing_context, memory):
    """The start of a shared byte array, rounded up to sixteen bytes."""

    def emit(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.ptrtoint(builder.addrspacecast(array.data, BYTE.as_pointer(SHARED)), INT)
        rounded = builder.and_(builder.add(address, INT(15)), INT(-16))
        return builder.addrspacecast(builder.inttoptr(rounded, BYTE.as_pointer(SHARED)), BYTE.as_pointer())

    return types.CPointer(types.uint8)(memory), emit


@intrinsic
def commit(typing_context):
    """Close the group of asynchronous copies issued since the last one."""

    def emit(context, builder, signature, arguments):
        assembly(builder, "cp.async.commit_group;", "~{memory}", ir.VoidType(), [], effects=True)
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def warp_barrier(typing_context):
    """Every lane of the warp has arrived, and sees what the others wrote to shared memory."""

    def emit(context, builder, signature, arguments):
        assembly(builder, "bar.warp.sync 0xffffffff;", "~{memory}", ir.VoidType(), [], effects=True)
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def source_place(typing_context, table, position, first, size):
    """The sample that a position of a continued axis shows: itself inside, an entry of the table beyond the ends.

    The table holds the positions from `first` on that lie before sample 0, and then those after the last one.
    """

    def emit(context, builder, signature, arguments):
        table, position, first, size = arguments
        before = builder.icmp_signed("<", position, long_(0))
        outside = builder.or_(before, builder.icmp_signed(">=", position, size))
        lead = builder.select(builder.icmp_signed("<", first, long_(0)), first, long_(0))
        index = builder.sub(builder.sub(position, lead), builder.select(before, long_(0), size))
        here = builder.basic_block
        with builder.if_then(outside):
            entry = load_global(builder, table, index, LONG, constant=True)
            there = builder.basic_block
        place = builder.phi(LONG)
        place.add_incoming(position, here)
        place.add_incoming(entry, there)
        return place

    return types.int64(table, types.int64, types.int64, types.int64), emit


def ring_words(storage, ring, compute, depth, pitch):
    """Words that fill a ring of `depth` rows of `pitch` `ring` numbers from an array of `storage` numbers.

    Returns
    -------
    copy_row(memory, at, x, index, lane) : a row, asynchronously; both addresses are multiples of sixteen bytes
    copy_one(memory, at, x, index) : one number, converted where the types differ
    put(memory, at, value) : a sum
    wait() : all copies but those of the last ``depth - 2`` groups have arrived
    """
    element, kept = element_of(storage), element_of(ring)
    asynchronous = storage == ring and storage.itemsize in (4, 8)

    def copy(builder, arguments, nbytes, cache):
        memory, at, x, index = arguments
        target = builder.ptrtoint(shared_place(builder, memory, kept, at), INT)
        source = builder.ptrtoint(builder.gep(x, [index]), LONG)
        text = f"cp.async.{cache}.shared.global [$0], [$1], {nbytes};"
        assembly(builder, text, "r,l,~{memory}", ir.VoidType(), [target, source], effects=True)

    @intrinsic
    def copy_row(typing_context, memory, at, x, index, lane):
        def emit(context, builder, signature, arguments):
            memory, at, x, index, lane = arguments
            chunk = 16 // storage.itemsize
            chunks = pitch // chunk
            mine = builder.mul(lane, long_(chunk))
            at, index = builder.add(at, mine), builder.add(index, mine)
            for first in range(0, chunks, LANES):
                ahead = long_(first * chunk)
                one = (memory, builder.add(at, ahead), x, builder.add(index, ahead))
                if first + LANES <= chunks:
                    copy(builder, one, 16, "cg")
                else:
                    with builder.if_then(builder.icmp_signed("<", lane, long_(chunks - first))):
                        copy(builder, one, 16, "cg")
            return context.get_dummy_value()

        return types.void(memory, types.int64, x, types.int64, types.int64), emit

    @intrinsic
    def copy_one(typing_context, memory, at, x, index):
        def emit(context, builder, signature, arguments):
            if asynchronous:
                copy(builder, arguments, storage.itemsize, "ca")
                return context.get_dummy_value()
            memory, at, x, index = arguments
            value = load_global(builder, x, index, element, constant=True)
            if storage != ring:
                value = to_sum(builder, value, storage, compute)
            builder.store(value, shared_place(builder, memory, kept, at))
            return context.get_dummy_value()

        return types.void(memory, types.int64, x, types.int64), emit

    @intrinsic
    def put(typing_context, memory, at, value):
        def emit(context, builder, signature, arguments):
            memory, at, value = arguments
            stored = from_sum(builder, value, ring, compute)
            builder.store(stored, shared_place(builder, memory, kept, at))
            return context.get_dummy_value()

        return types.void(memory, types.int64, scalar_type(compute)), emit

    @intrinsic
    def wait(typing_context):
        def emit(context, builder, signature, arguments):
            text = f"cp.async.wait_group {depth - 2};"
            assembly(builder, text, "~{memory}", ir.VoidType(), [], effects=True)
            return context.get_dummy_value()

        return types.void(), emit

    return SimpleNamespace(copy_row=copy_row, copy_one=copy_one, put=put, wait=wait)


# ------------------------------------------------------------------------------ results


def result_words(result, compute, width):
    """Words that turn sums into numbers of the output.

    Returns
    -------
    divided(sums, divisor) : every sum over a number, rounded once
    finite(sums) : whether none is infinite or NaN
    store(y, index, sums) : all `width`, at once; the address is a multiple of their bytes
    store_some(y, index, sums, count) : the first `count`
    write(y, index, value) : one
    """
    number = scalar_type(compute)
    tuples = types.UniTuple(number, width)

    def unpacked(builder, values):
        return [builder.extract_value(values, v) for v in range(width)]

    @intrinsic
    def divided(typing_context, sums, divisor):
        def emit(context, builder, signature, arguments):
            quotients = [builder.fdiv(value, arguments[1]) for value in unpacked(builder, arguments[0])]
            return context.make_tuple(builder, signature.return_type, quotients)

        return tuples(tuples, number), emit

    @intrinsic
    def finite(typing_context, sums):
        def emit(context, builder, signature, arguments):
            infinity = ir.Constant(FLOATS[compute], float("inf"))
            good = None
            for value in unpacked(builder, arguments[0]):
                one = builder.fcmp_ordered("<", magnitude(builder, value), infinity)
                good = one if good is None else builder.and_(good, one)
            return good

        return types.boolean(tuples), emit

    @intrinsic
    def store(typing_context, y, index, sums):
        def emit(context, builder, signature, arguments):
            y, index, values = arguments
            store_global(
                builder, y, index, [from_sum(builder, v, result, compute) for v in unpacked(builder, values)]
            )
            return context.get_dummy_value()

        return types.void(y, types.int64, tuples), emit

    @intrinsic
    def store_some(typing_context, y, index, sums, count):
        def emit(context, builder, signature, arguments):
            y, index, values, count = arguments
            for v, value in enumerate(unpacked(builder, values)):
                with builder.if_then(builder.icmp_signed("<", long_(v), count)):
                    stored = from_sum(builder, value, result, compute)
                    store_global(builder, y, builder.add(index, long_(v)), [stored])
            return context.get_dummy_value()

        return types.void(y, types.int64, tuples, types.int64), emit

    @intrinsic
    def write(typing_context, y, index, value):
        def emit(context, builder, signature, arguments):
            y, index, value = arguments
            store_global(builder, y, index, [from_sum(builder, value, result, compute)])
            return context.get_dummy_value()

        return types.void(y, types.int64, number), emit

    return SimpleNamespace(divided=divided, finite=finite, store=store, store_some=store_some, write=write)


def math_words(compute):
    """``truncated(value)``, towards zero, and ``root(value)``, both rounded once."""
    number, letter = scalar_type(compute), {"f4": "f", "f8": "d"}[compute]
    kind = f"f{8 * int(compute[1:])}"

    @intrinsic
    def truncated(typing_context, value):
        def emit(context, builder, signature, arguments):
            text = f"cvt.rzi.{kind}.{kind} $0, $1;"
            return assembly(builder, text, f"={letter},{letter}", FLOATS[compute], arguments)

        return number(number), emit

    @intrinsic
    def root(typing_context, value):
        def emit(context, builder, signature, arguments):
            return assembly(
                builder, f"sqrt.rn.{kind} $0, $1;", f"={letter},{letter}", FLOATS[compute], arguments
            )

        return number(number), emit

    return truncated, root


def read_word(storage, compute):
    """``read(x, index)``: one number of an array, as a sum."""

    @intrinsic
    def read(typing_context, x, index):
        def emit(context, builder, signature, arguments):
            raw = load_global(builder, *arguments, element_of(storage), constant=True)
            return to_sum(builder, raw, storage, compute)

        return scalar_type(compute)(x, types.int64), emit

    return read
