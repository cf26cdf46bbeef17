"""Intrinsics of the CUDA kernels for memory, in LLVM and inline PTX; see `vocabulary`."""

from types import SimpleNamespace

from llvmlite import ir

from .arithmetic import accumulate_intrinsic, advance_intrinsic, line_intrinsic
from .llvm_text import (
    BYTE,
    FLOATS,
    INT,
    LANES,
    LONG,
    SHARED,
    assembly,
    element_of,
    emitted,
    from_sum,
    load_global,
    long_,
    pointer_to,
    scalar_type,
    shared_place,
    to_sum,
    types,
)
from .results import result_intrinsics

__all__ = [
    "accumulate_intrinsic", "advance_intrinsic", "aligned", "commit", "line_intrinsic", "math_intrinsics",
    "moved", "options", "pointer_to", "read_intrinsic", "result_intrinsics", "ring_intrinsics",
    "scalar_type", "source_place", "types", "warp_barrier",
]  # fmt: skip


CHUNK = 16  # bytes of the largest asynchronous copy


def options(variant):
    """Return the options of `cuda.jit` for a kernel."""
    return {"launch_bounds": variant.launch_bounds}


# ------------------------------------------------------------------------------ a ring of rows in shared memory


@emitted(types.CPointer(types.uint8), None, types.int64)
def aligned(builder, memory, offset):
    """Return the start of a shared byte array, rounded up to sixteen bytes, plus `offset` bytes."""
    address = builder.ptrtoint(builder.addrspacecast(memory, BYTE.as_pointer(SHARED)), INT)
    rounded = builder.and_(builder.add(address, INT(15)), INT(-16))
    moved = builder.add(rounded, builder.trunc(offset, INT))
    return builder.addrspacecast(builder.inttoptr(moved, BYTE.as_pointer(SHARED)), BYTE.as_pointer())


@emitted(lambda x, _: types.CPointer(x.dtype), None, types.int64)
def moved(builder, x, count):
    """Return the pointer `x` advanced by `count` elements."""
    return builder.gep(x, [count])


@emitted(types.void)
def commit(builder):
    """Commit the asynchronous copies issued since the last call as a group."""
    assembly(builder, "cp.async.commit_group;", "~{memory}", ir.VoidType(), [], effects=True)


@emitted(types.void)
def warp_barrier(builder):
    """Wait for all lanes of the warp; their writes to shared memory are visible afterwards."""
    assembly(builder, "bar.warp.sync 0xffffffff;", "~{memory}", ir.VoidType(), [], effects=True)


@emitted(types.int64, None, types.int64, types.int64, types.int64)
def source_place(builder, table, position, first, size):
    """Return the input sample at a position of an extended axis: the position itself, or a table entry beyond the ends.

    The table has an entry for each position from `first` to -1, then for those after the last sample.
    """
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


def ring_intrinsics(storage, ring, compute, depth, pitch):
    """Return the intrinsics that copy rows of `storage` to a ring of `depth` rows of `pitch` elements of `ring`.

    Returns
    -------
    copy_row(memory, at, x, lane) : copy a row asynchronously in chunks of sixteen bytes; `x` points to the first chunk
        of the lane, and the row must start at a multiple of sixteen bytes
    copy_words(memory, at, x, begin, end, every, lane) : copy elements `begin` to `end` of a row, or all if `every`,
        asynchronously in words of at least four bytes, from the word that contains element 0 at `x` on; returns the
        number of elements by which that displaces the row
    copy_one(memory, at, x, index) : copy one element, converted if the types differ
    put(memory, at, value) : store a number of the type of the sums, converted
    wait() : wait for all copies but those of the last ``depth - 2`` groups
    """
    element, kept = element_of(storage), element_of(ring)
    asynchronous = storage == ring and storage.itemsize in (4, 8)

    def copy_ahead(builder, target, source, offset, nbytes):
        """Copy asynchronously from global to shared memory, both `offset` bytes further on."""
        cache = "cg" if nbytes == CHUNK else "ca"
        text = f"cp.async.{cache}.shared.global [$0+{offset}], [$1+{offset}], {nbytes};"
        assembly(builder, text, "r,l,~{memory}", ir.VoidType(), [target, source], effects=True)

    @emitted(types.void, None, types.int64, None, types.int64)
    def copy_row(builder, memory, at, x, lane):
        place = builder.trunc(lane, INT)
        first = builder.ptrtoint(shared_place(builder, memory, kept, at), INT)
        target = builder.add(first, builder.mul(place, INT(CHUNK)))
        chunks = pitch * storage.itemsize // CHUNK
        for number in range(0, chunks, LANES):
            if number + LANES <= chunks:
                copy_ahead(builder, target, x, number * CHUNK, CHUNK)
            else:
                with builder.if_then(builder.icmp_signed("<", place, INT(chunks - number))):
                    copy_ahead(builder, target, x, number * CHUNK, CHUNK)

    @emitted(types.int64, None, types.int64, None, types.int64, types.int64, types.int64, types.int64)
    def copy_words(builder, memory, at, x, begin, end, every, lane):
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
            copy_ahead(builder, target, source, number * size, size)

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

    @emitted(types.void, None, types.int64, None, types.int64)
    def copy_one(builder, memory, at, x, index):
        if asynchronous:
            target = builder.ptrtoint(shared_place(builder, memory, kept, at), INT)
            copy_ahead(builder, target, builder.gep(x, [index]), 0, storage.itemsize)
            return
        value = load_global(builder, x, index, element, constant=True)
        if storage != ring:
            value = to_sum(builder, value, storage, compute)
        builder.store(value, shared_place(builder, memory, kept, at))

    @emitted(types.void, None, types.int64, scalar_type(compute))
    def put(builder, memory, at, value):
        stored = from_sum(builder, value, ring, compute)
        builder.store(stored, shared_place(builder, memory, kept, at))

    @emitted(types.void)
    def wait(builder):
        text = f"cp.async.wait_group {depth - 2};"
        assembly(builder, text, "~{memory}", ir.VoidType(), [], effects=True)

    return SimpleNamespace(copy_row=copy_row, copy_words=copy_words, copy_one=copy_one, put=put, wait=wait)


def math_intrinsics(compute):
    """Return the intrinsics ``truncated(value)``, rounding towards zero, and ``root(value)``, rounded once."""
    number, letter = scalar_type(compute), {"f4": "f", "f8": "d"}[compute]
    kind = f"f{8 * int(compute[1:])}"

    @emitted(number, number)
    def truncated(builder, value):
        text = f"cvt.rzi.{kind}.{kind} $0, $1;"
        return assembly(builder, text, f"={letter},{letter}", FLOATS[compute], [value])

    @emitted(number, number)
    def root(builder, value):
        return assembly(builder, f"sqrt.rn.{kind} $0, $1;", f"={letter},{letter}", FLOATS[compute], [value])

    return truncated, root


def read_intrinsic(storage, compute, *, constant=True):
    """Return the intrinsic ``read(x, index)``, which loads an element and converts it to the type of the sums.

    If `constant`, no thread may write to the array while the kernel runs.
    """

    @emitted(scalar_type(compute), None, types.int64)
    def read(builder, x, index):
        raw = load_global(builder, x, index, element_of(storage), constant=constant)
        return to_sum(builder, raw, storage, compute)

    return read
