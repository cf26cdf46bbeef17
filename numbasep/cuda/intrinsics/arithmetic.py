"""Arithmetic of the CUDA kernels in registers, emitted as LLVM: part of the intrinsics of `cuda.intrinsics.device`.

All loops are emitted unrolled: NVVM keeps local arrays in memory if longer loops index them, but in registers if the
code is straight-line with constant indices.
"""

import itertools

from llvmlite import ir

from .llvm_text import (
    BYTE,
    FLOATS,
    INT,
    LONG,
    bit_of,
    element_of,
    emitted,
    funnel,
    load_global,
    load_shared,
    long_,
    packed_sum,
    parts_of,
    scalar_type,
    shared_place,
    to_sum,
    types,
)


def window_of(builder, g, memory, at, displaced):
    """Load the samples under the taps of all columns of a lane, converted to the type of the sums.

    Rows of small types that were copied from unaligned addresses are `displaced` by some elements, or None; their words
    are shifted.
    """
    size, count = g.ring.itemsize, g.width + g.reach
    nbytes = g.width * size
    if size >= 4:
        element, step, first = element_of(g.ring), min(g.width, 16 // size), g.lead
        samples = {}
        for chunk in range(first // step, (first + count - 1) // step + 1):
            place = shared_place(builder, memory, element, builder.add(at, long_(chunk * step)), step)
            vector = builder.load(place)
            vector.align = step * size
            for lane, raw in enumerate(parts_of(builder, vector, step)):
                samples[chunk * step + lane - first] = raw
        return [to_sum(builder, samples[i], g.ring, g.compute) for i in range(count)]
    step = min(16, nbytes) if nbytes >= 4 else 4
    start = builder.mul(builder.trunc(at, INT), INT(size))
    bits = None
    skipped = g.lead * size
    if nbytes < 4:  # the columns of a lane can start inside a word
        start = builder.add(start, INT(skipped))
        bits = builder.and_(start, INT(3))
        start, skipped = builder.and_(start, INT(-4)), 0
    if displaced is not None:
        moved = builder.mul(builder.trunc(displaced, INT), INT(size))
        bits = moved if bits is None else builder.add(bits, moved)
    chunk = skipped // step * step
    base = builder.ptrtoint(shared_place(builder, memory, BYTE, long_(chunk)), INT)
    place, words = builder.add(base, start), []
    shifts = (bits is not None) + (nbytes < 4 and displaced is not None)
    kind = ir.VectorType(INT, step // 4) if step > 4 else INT
    while len(words) < -(-(skipped - chunk + count * size) // 4) + shifts:
        words += parts_of(
            builder, load_shared(builder, builder.add(place, INT(4 * len(words))), kind), step // 4
        )
    if nbytes < 4 and displaced is not None:  # both shifts together can exceed a word
        beyond = builder.icmp_unsigned(">=", bits, INT(4))
        words = [builder.select(beyond, b, a) for a, b in itertools.pairwise(words)]
        bits = builder.and_(bits, INT(3))
    if bits is not None:
        bits = builder.mul(bits, INT(8))
        words = [funnel(builder, a, b, bits) for a, b in itertools.pairwise(words)]
    places = [skipped - chunk + i * size for i in range(count)]
    return [packed_sum(builder, words[at // 4], at % 4, g.ring, g.compute) for at in places]


def advance_intrinsic(g, *, displaced=False):
    """Return the intrinsic that filters one row of the ring by all terms, along the row, then down the columns.

    ``advance(memory, at, by, pending, line_taps, column_taps, line_masks, column_masks)`` returns the finished sums
    of `g.width` columns.  If `displaced`, the row starts `by` elements late.  Down the columns, the filter is in
    transposed form: ``pending[k - 1]`` is the partial sum over the taps before tap k, of the output element that tap k
    contributes to next.  Each row adds its product to all of them and moves them by one, which is free since a fused
    multiply-add has a separate destination.  All terms add to the same sums.

    A masked variant adds only the taps whose bit is set, so that NaN is not spread by weights of zero.
    """
    number = scalar_type(g.compute)
    outputs = types.UniTuple(number, g.width)

    def add(builder, tap, value, total, chosen):
        """Return ``total + tap * value``, or `total` if `chosen` is a false bit."""
        new = builder.fmul(tap, value) if total is None else builder.fma(tap, value, total)
        if chosen is None:
            return new
        return builder.select(chosen, new, ir.Constant(value.type, 0.0) if total is None else total)

    def along_row(builder, samples, taps, mask, term):
        sums = [None] * g.width
        for k in range(g.taps):
            tap = builder.extract_value(taps, term * g.taps + k)
            chosen = bit_of(builder, mask, k) if mask else None
            for v in range(g.width):
                sums[v] = add(builder, tap, samples[v + k * g.step], sums[v], chosen)
        return sums

    def down_columns(builder, pending, sums, taps, mask, term, finished):
        def place(k, v):
            return builder.gep(pending, [long_((k - 1) * g.width + v)])

        last = g.taps - 1
        for k in range(last, -1, -1):
            tap = builder.extract_value(taps, term * g.taps + k)
            chosen = bit_of(builder, mask, k) if mask else None
            for v in range(g.width):
                if term:
                    total = finished[v] if k == last else builder.load(place(k + 1, v))
                else:
                    total = builder.load(place(k, v)) if k else None
                total = add(builder, tap, sums[v], total, chosen)
                if k == last:
                    finished[v] = total
                else:
                    builder.store(total, place(k + 1, v))
        return finished

    @emitted(outputs, None, types.int64, types.int64, None, None, None, None, None)
    def advance(builder, memory, at, by, pending, line_taps, column_taps, line_masks, column_masks):
        samples = window_of(builder, g, memory, at, by if displaced else None)
        finished = [None] * g.width
        for term in range(g.terms):
            mask = [builder.extract_value(m, term) if g.masked else None for m in (line_masks, column_masks)]
            sums = [samples[v] for v in range(g.width)]
            if g.along:
                sums = along_row(builder, samples, line_taps, mask[0], term)
            if g.down:
                finished = down_columns(builder, pending, sums, column_taps, mask[1], term, finished)
            else:
                finished = sums
        return finished

    return advance


def accumulate_intrinsic(storage, compute, length, rows, columns, *, outside):
    """Return the intrinsic that adds `length` taps down the columns to a register block of `rows` x `columns` sums.

    ``accumulate(sums, x, places, offsets, t, weights, w, cval)`` reads rows t, t + 1, ... of the table `offsets`, at
    the columns `places`.  Each sample is loaded once and added to all sums that it contributes to.  The taps are
    `weights` from `w` on.  If `outside`, a negative offset or column is a sample beyond a constant boundary, `cval`.
    """
    number = FLOATS[compute]
    element = element_of(storage)

    @emitted(
        types.void,
        None,
        None,
        types.UniTuple(types.int64, columns),
        types.CPointer(types.int64),
        types.int64,
        None,
        types.int64,
        scalar_type(compute),
    )
    def accumulate(builder, block, x, places, offsets, t, weights, w, cval):
        taps = [
            load_global(builder, weights, builder.add(w, long_(k)), number, constant=True)
            for k in range(length)
        ]
        across = [builder.extract_value(places, c) for c in range(columns)]
        for j in range(length + rows - 1):
            row = load_global(builder, offsets, builder.add(t, long_(j)), LONG, constant=True)
            for c in range(columns):
                value = sample(builder, x, row, across[c], cval)
                for i in range(max(0, j - length + 1), min(rows, j + 1)):
                    place = builder.gep(block, [long_(i * columns + c)])
                    builder.store(builder.fma(taps[j - i], value, builder.load(place)), place)

    def sample(builder, x, row, column, cval):
        index = builder.add(row, column)
        if outside:
            beyond = builder.or_(
                builder.icmp_signed("<", row, long_(0)), builder.icmp_signed("<", column, long_(0))
            )
            index = builder.select(beyond, long_(0), index)
        value = to_sum(builder, load_global(builder, x, index, element, constant=True), storage, compute)
        return builder.select(beyond, cval, value) if outside else value

    return accumulate


def line_intrinsic(compute, length, rows, width, pitch):
    """Return the intrinsic that adds `length` taps along `rows` rows of shared memory, for `width` columns per lane.

    ``accumulate(sums, memory, at, weights, w)``: the samples of the first row under tap 0 start at element `at`, and
    each next row `pitch` elements later.  For more than one tap, samples are loaded in vectors, and `at` must be a
    multiple of `width`.
    """
    element = FLOATS[compute]
    size = int(compute[1:])
    lanes = 1 if length == 1 else 16 // size

    @emitted(types.void, None, None, types.int64, None, types.int64)
    def accumulate(builder, block, memory, at, weights, w):
        taps = [
            load_global(builder, weights, builder.add(w, long_(k)), element, constant=True)
            for k in range(length)
        ]
        for r in range(rows):
            samples = []
            while len(samples) < length + width - 1:
                index = builder.add(at, long_(r * pitch + len(samples)))
                vector = builder.load(shared_place(builder, memory, element, index, lanes))
                vector.align = lanes * size
                samples += parts_of(builder, vector, lanes)
            for v in range(width):
                place = builder.gep(block, [long_(r * width + v)])
                total = builder.load(place)
                for k in range(length):
                    total = builder.fma(taps[k], samples[v + k], total)
                builder.store(total, place)

    return accumulate
