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
    pointer_to,
    scalar_type,
    shared_place,
    to_sum,
    types,
)
from .results import result_words

__all__ = [
    "accumulate_word", "advance_word", "aligned", "commit", "line_word", "math_words", "moved", "options", "pointer_to",
    "read_word", "result_words", "ring_words", "scalar_type", "source_place", "types", "warp_barrier",
]  # fmt: skip


CHUNK = 16  # bytes of the largest asynchronous copy


def options(variant):
    """What `cuda.jit` is told about a kernel."""
    return {"launch_bounds": variant.launch_bounds}


# ------------------------------------------------------------------------------ a ring of rows in shared memory


@intrinsic
def aligned(typing_context, memory, offset):
    """The start of a shared byte array, rounded up to sixteen bytes, and some bytes further on."""

    def emit(context, builder, signature, arguments):
        address = builder.ptrtoint(builder.addrspacecast(arguments[0], BYTE.as_pointer(SHARED)), INT)
        rounded = builder.and_(builder.add(address, INT(15)), INT(-16))
        moved = builder.add(rounded, builder.trunc(arguments[1], INT))
        return builder.addrspacecast(builder.inttoptr(moved, BYTE.as_pointer(SHARED)), BYTE.as_pointer())

    return types.CPointer(types.uint8)(memory, types.int64), emit


@intrinsic
def moved(typing_context, x, count):
    """A pointer some elements further on."""

    def emit(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return types.CPointer(x.dtype)(x, types.int64), emit


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
    copy_row(memory, at, x, lane) : a row, asynchronously, in chunks of sixteen bytes; `x` points to the first one of
        the lane, and the row begins at a multiple of a chunk
    copy_words(memory, at, x, begin, end, all, lane) : elements of a row from `begin` to `end`, or all of them,
        asynchronously, in words of four bytes from one at or before that of `x` on; returns the elements by which that
        displaces the row
    copy_one(memory, at, x, index) : one number, converted where the types differ
    put(memory, at, value) : a sum
    wait() : all copies but those of the last ``depth - 2`` groups have arrived
    """
    element, kept = element_of(storage), element_of(ring)
    asynchronous = storage == ring and storage.itemsize in (4, 8)

    def copying(target, source, offset, nbytes):
        """An asynchronous copy between addresses of shared and global memory, both `offset` bytes further on."""
        cache = "cg" if nbytes == CHUNK else "ca"
        text = f"cp.async.{cache}.shared.global [$0+{offset}], [$1+{offset}], {nbytes};"

        def emit(builder):
            assembly(builder, text, "r,l,~{memory}", ir.VoidType(), [target, source], effects=True)

        return emit

    @intrinsic
    def copy_row(typing_context, memory, at, x, lane):
        def emit(context, builder, signature, arguments):
            memory, at, x, lane = arguments
            place = builder.trunc(lane, INT)
            first = builder.ptrtoint(shared_place(builder, memory, kept, at), INT)
            target = builder.add(first, builder.mul(place, INT(CHUNK)))
            chunks = pitch * storage.itemsize // CHUNK
            for number in range(0, chunks, LANES):
                one = copying(target, x, number * CHUNK, CHUNK)
                if number + LANES <= chunks:
                    one(builder)
                else:
                    with builder.if_then(builder.icmp_signed("<", place, INT(chunks - number))):
                        one(builder)
            return context.get_dummy_value()

        return types.void(memory, types.int64, x, types.int64), emit

    @intrinsic
    def copy_words(typing_context, memory, at, x, begin, end, every, lane):
        def emit(context, builder, signature, arguments):
            memory, at, x, begin, end, every, lane = arguments
            size = max(storage.itemsize, 4)
            per_word = size // storage.itemsize
            count = pitch // per_word
            address = builder.ptrtoint(x, LONG)
            by = ir.Constant(INT, 0)
            if per_word > 1:
                by = builder.and_(builder.trunc(address, INT), INT(3))
                address = builder.and_(address, long_(-4))
            first = builder.ptrtoint(shared_place(builder, memory, kept, at), INT)
            place = builder.trunc(lane, INT)
            target = builder.add(first, builder.mul(place, INT(size)))
            source = builder.add(address, builder.mul(lane, long_(size)))
            low, high = (builder.udiv(builder.trunc(n, INT), INT(per_word)) for n in (begin, end))

            def copy_word(number):
                copying(target, source, number * size, size)(builder)

            with builder.if_else(builder.trunc(every, ir.IntType(1))) as (whole, part):
                with whole:
                    for number in range(0, count - LANES + 1, LANES):
                        copy_word(number)
                    if count % LANES:
                        with builder.if_then(builder.icmp_signed("<", place, INT(count % LANES))):
                            copy_word(count // LANES * LANES)
                with part:
                    for number in range(0, count, LANES):
                        word = builder.add(place, INT(number))
                        chosen = builder.icmp_unsigned("<", builder.sub(word, low), builder.sub(high, low))
                        with builder.if_then(chosen):
                            copy_word(number)
            return builder.zext(builder.lshr(by, INT(storage.itemsize.bit_length() - 1)), LONG)

        given = (memory, types.int64, x, types.int64, types.int64, types.int64, types.int64)
        return types.int64(*given), emit

    @intrinsic
    def copy_one(typing_context, memory, at, x, index):
        def emit(context, builder, signature, arguments):
            if asynchronous:
                memory, at, x, index = arguments
                target = builder.ptrtoint(shared_place(builder, memory, kept, at), INT)
                copying(target, builder.gep(x, [index]), 0, storage.itemsize)(builder)
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

    return SimpleNamespace(copy_row=copy_row, copy_words=copy_words, copy_one=copy_one, put=put, wait=wait)


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


def read_word(storage, compute, *, constant=True):
    """``read(x, index)``: one number of an array, as a sum; `constant`: of one that nobody writes to meanwhile."""

    @intrinsic
    def read(typing_context, x, index):
        def emit(context, builder, signature, arguments):
            raw = load_global(builder, *arguments, element_of(storage), constant=constant)
            return to_sum(builder, raw, storage, compute)

        return scalar_type(compute)(x, types.int64), emit

    return read
