"""Intrinsics of the CUDA kernels that store sums: conversions, vector stores, stores to unaligned rows."""

from types import SimpleNamespace

from llvmlite import ir

from .llvm_text import (
    FLOATS,
    INT,
    LANES,
    LONG,
    emitted,
    from_sum,
    funnel,
    load_shared,
    long_,
    magnitude,
    scalar_type,
    shared_bytes,
    store_address,
    store_global,
    store_shared,
    stored,
    types,
)


def result_intrinsics(result, compute, width):
    """Return the intrinsics that convert and store `width` sums per lane.

    Returns
    -------
    divided(sums, divisor) : divide each sum, with one rounding
    finite(sums, count) : whether the first `count` sums are finite
    store(y, index, sums) : store all sums as a vector; the address must be a multiple of its size
    stage(memory, start, at, sums) : store all sums as elements from `at` on in shared memory after byte `start`
    flush(y, memory, start, count, every, lane) : copy the first `count` staged elements of a warp, or all if `every`,
        to global memory in adjacent words
    write(y, index, value) : store one sum
    """
    number = scalar_type(compute)
    tuples = types.UniTuple(number, width)

    def unpacked(builder, values):
        return [builder.extract_value(values, v) for v in range(width)]

    @emitted(tuples, tuples, number)
    def divided(builder, sums, divisor):
        return [builder.fdiv(value, divisor) for value in unpacked(builder, sums)]

    @emitted(types.boolean, tuples, types.int64)
    def finite(builder, sums, count):
        infinity, good = ir.Constant(FLOATS[compute], float("inf")), ir.Constant(ir.IntType(1), 1)
        for v, value in enumerate(unpacked(builder, sums)):
            one = builder.fcmp_ordered("<", magnitude(builder, value), infinity)
            beyond = builder.icmp_signed(">=", long_(v), count)
            good = builder.and_(good, builder.or_(one, beyond))
        return good

    @emitted(types.void, None, types.int64, tuples)
    def store(builder, y, index, values):
        store_global(builder, y, index, stored(builder, unpacked(builder, values), result, compute))

    @emitted(types.void, None, types.int64, types.int64, tuples)
    def stage(builder, memory, start, at, values):
        parts = stored(builder, unpacked(builder, values), result, compute)
        place = shared_bytes(builder, memory, start, at, result.itemsize)
        store_shared(builder, place, parts, width * result.itemsize)

    @emitted(types.void, None, None, types.int64, types.int64, types.int64, types.int64)
    def flush(builder, y, memory, start, count, every, lane):
        emit_flush(builder, result.itemsize, width, y, memory, start, count, every, lane)

    @emitted(types.void, None, types.int64, number)
    def write(builder, y, index, value):
        store_global(builder, y, index, [from_sum(builder, value, result, compute)])

    return SimpleNamespace(divided=divided, finite=finite, store=store, stage=stage, flush=flush, write=write)


def emit_flush(builder, size, width, y, memory, start, count, every, lane):
    """Emit `flush`: copy staged bytes to an output row of any alignment in aligned 32-bit words."""
    address, every = builder.ptrtoint(y, LONG), builder.trunc(every, ir.IntType(1))
    offset, nbytes = (builder.mul(builder.trunc(n, INT), INT(s)) for n, s in ((lane, 4), (count, size)))
    base = builder.ptrtoint(shared_bytes(builder, memory, start, long_(0), 1), INT)
    words = LANES * width * size // 4
    at, target = builder.add(base, offset), builder.add(address, builder.mul(lane, long_(4)))
    inside, ahead = nbytes, None
    if (
        size < 4
    ):  # aligned word w inside the output row is the 4 bytes that start `ahead` bytes after staged word w
        ahead = builder.and_(builder.neg(builder.trunc(address, INT)), INT(3))
        ahead = builder.select(builder.icmp_unsigned("<", ahead, nbytes), ahead, nbytes)
        inside = builder.and_(builder.sub(nbytes, ahead), INT(-4))
        target = builder.add(target, builder.zext(ahead, LONG))
    for number in range(0, words, LANES):
        here = builder.icmp_signed("<", builder.add(offset, INT(4 * number)), inside)
        if size >= 4 or number + LANES < words:
            here = builder.or_(every, here)
        with builder.if_then(here):
            word = load_shared(builder, builder.add(at, INT(4 * number)), INT)
            if size < 4:
                after = load_shared(builder, builder.add(at, INT(4 * number + 4)), INT)
                word = funnel(builder, word, after, builder.mul(ahead, INT(8)))
            store_address(builder, builder.add(target, long_(4 * number)), word)
    if size < 4:  # less than a word remains at each end: one element per lane
        mine = builder.mul(builder.trunc(lane, INT), INT(size))
        mine = builder.add(mine, builder.select(builder.icmp_signed("<", mine, ahead), INT(0), inside))
        with builder.if_then(builder.icmp_signed("<", mine, nbytes)):
            value = load_shared(builder, builder.add(base, mine), ir.IntType(8 * size))
            store_address(builder, builder.add(address, builder.zext(mine, LONG)), value)
