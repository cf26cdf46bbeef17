"""The words of the CUDA kernels as LLVM and inline PTX; see `cuda_words`.

Everything is emitted unrolled: NVVM leaves longer loops over local arrays in memory, where straight-line code with
constant indices ends up in registers.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from llvmlite import ir
from numba import cuda

if getattr(cuda, "implementation", "") == "NVIDIA":  # numba-cuda has its own types
    from numba.cuda import types
    from numba.cuda.extending import intrinsic
    from numba.cuda.np import numpy_support
else:
    from numba.core import types
    from numba.core.extending import intrinsic
    from numba.np import numpy_support

LANES = 32
BYTE, SHORT, INT, LONG = (ir.IntType(bits) for bits in (8, 16, 32, 64))
FLOATS = {"f4": ir.FloatType(), "f8": ir.DoubleType()}
SHARED = 3  # LLVM's number of the address space


def scalar_type(code):
    """Numba's type of a NumPy type."""
    return numpy_support.from_dtype(np.dtype(code))


def pointer_to(storage):
    """Type of a kernel's pointer argument."""
    return types.CPointer(scalar_type(storage.raw))


# ------------------------------------------------------------------------------ emission


def _assembly(builder, text, constraints, result, arguments, *, effects=False):
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(ir.InlineAsm(function, text, constraints, side_effect=effects), arguments)


def _long(value):
    return ir.Constant(LONG, value)


def _wide(builder, value, signed=True):
    if value.type.width == 64:
        return value
    return builder.sext(value, LONG) if signed else builder.zext(value, LONG)


def _to_sum(builder, raw, storage, compute):
    """A number as it was loaded, in the type of the sums."""
    target = FLOATS[compute]
    kind = storage.code[0]
    if storage.code == compute:
        return raw
    if storage.code == "f2":
        constraint = "=f,h" if compute == "f4" else "=d,h"
        return _assembly(builder, f"cvt.f{8 * int(compute[1])}.f16 $0, $1;", constraint, target, [raw])
    if kind == "f":
        return builder.fpext(raw, target) if compute == "f8" else builder.fptrunc(raw, target)
    if kind == "b":
        raw = builder.zext(builder.icmp_unsigned("!=", raw, ir.Constant(raw.type, 0)), INT)
    return builder.sitofp(raw, target) if kind == "i" else builder.uitofp(raw, target)


def _from_sum(builder, value, storage, compute):
    """A sum as it is stored: the rules are those of `numbasep.casting`."""
    if storage.code == compute:
        return value
    letter = "f" if compute == "f4" else "d"
    source = f"f{8 * int(compute[1])}"
    if storage.code == "f2":
        return _assembly(builder, f"cvt.rn.f16.{source} $0, $1;", f"=h,{letter}", SHORT, [value])
    if storage.code[0] == "f":
        return builder.fptrunc(value, FLOATS["f4"]) if compute == "f8" else builder.fpext(value, FLOATS["f8"])
    if storage.saturate:  # conversions of PTX clip, and make NaN zero
        signed = "s" if storage.code[0] == "i" else "u"
        bits = 8 * storage.itemsize
        wide, register = (LONG, "=l") if bits == 64 else (INT, "=r")
        text = f"cvt.rni.{signed}{bits}.{source} $0, $1;"
        whole = _assembly(builder, text, f"{register},{letter}", wide, [value])
    else:
        whole = _c_cast(builder, value, storage, source, letter)
    bits = 8 * storage.itemsize
    if storage.code == "b1":
        return builder.zext(builder.icmp_unsigned("!=", builder.trunc(whole, BYTE), BYTE(0)), BYTE)
    return whole if whole.type.width == bits else builder.trunc(whole, ir.IntType(bits))


def _c_cast(builder, value, storage, source, letter):
    """Towards zero through int32 or int64, whose least number stands for what they cannot hold."""
    if storage.code == "u8":
        magnitude = _magnitude(builder, value)
        whole = _assembly(builder, f"cvt.rzi.u64.{source} $0, $1;", f"=l,{letter}", LONG, [magnitude])
        negative = builder.fcmp_ordered("<=", value, ir.Constant(value.type, -1.0))
        return builder.select(negative, builder.neg(whole), whole)
    bits = 32 if storage.itemsize < 4 or storage.code == "i4" else 64
    register, wide = ("=r", INT) if bits == 32 else ("=l", LONG)
    whole = _assembly(builder, f"cvt.rzi.s{bits}.{source} $0, $1;", f"{register},{letter}", wide, [value])
    limit = ir.Constant(value.type, 2.0 ** (bits - 1))
    fits = builder.fcmp_ordered("<", _magnitude(builder, value), limit)
    return builder.select(fits, whole, ir.Constant(wide, -(2 ** (bits - 1))))


def _magnitude(builder, value):
    double = value.type == FLOATS["f8"]
    text, constraints = ("abs.f64 $0, $1;", "=d,d") if double else ("abs.f32 $0, $1;", "=f,f")
    return _assembly(builder, text, constraints, value.type, [value])


def _shared(builder, ring, element, index, lanes=1):
    """Address of element `index` of the shared ring, as a vector of `lanes` elements."""
    base = builder.addrspacecast(ring, BYTE.as_pointer(SHARED))
    typed = builder.bitcast(base, element.as_pointer(SHARED))
    place = builder.gep(typed, [index])
    kind = ir.VectorType(element, lanes) if lanes > 1 else element
    return builder.bitcast(place, kind.as_pointer(SHARED))


def _element(storage):
    code = storage.raw.str[1:]
    return FLOATS[code] if code[0] == "f" else ir.IntType(8 * int(code[1:]))


def _parts(builder, vector, lanes):
    if lanes == 1:
        return [vector]
    return [builder.extract_element(vector, INT(lane)) for lane in range(lanes)]


def _load(builder, pointer, index, element, lanes=1, *, constant=False):
    """A number, or a vector of them, of global memory; `constant`: nothing writes there while the kernel runs."""
    kind = ir.VectorType(element, lanes) if lanes > 1 else element
    place = builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())
    loaded = builder.load(builder.addrspacecast(place, kind.as_pointer(1)))
    loaded.align = lanes * element_bytes(element)
    if constant:
        loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
    return loaded


def _store(builder, pointer, index, values):
    element = values[0].type
    kind, packed = element, values[0]
    if len(values) > 1:
        kind = ir.VectorType(element, len(values))
        packed = ir.Constant(kind, ir.Undefined)
        for lane, value in enumerate(values):
            packed = builder.insert_element(packed, value, INT(lane))
    place = builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())
    builder.store(
        packed, builder.addrspacecast(place, kind.as_pointer(1)), align=len(values) * element_bytes(element)
    )


def element_bytes(element):
    """Bytes of an LLVM number."""
    return {ir.FloatType(): 4, ir.DoubleType(): 8}.get(element) or element.width // 8


def _bit(builder, mask, k):
    return builder.trunc(builder.lshr(mask, _long(k)), ir.IntType(1))


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
        _assembly(builder, "cp.async.commit_group;", "~{memory}", ir.VoidType(), [], effects=True)
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def warp_barrier(typing_context):
    """Every lane of the warp has arrived, and sees what the others wrote to shared memory."""

    def emit(context, builder, signature, arguments):
        _assembly(builder, "bar.warp.sync 0xffffffff;", "~{memory}", ir.VoidType(), [], effects=True)
        return context.get_dummy_value()

    return types.void(), emit


def ring_words(storage, ring, compute, depth, pitch):
    """Words that fill a ring of `depth` rows of `pitch` `ring` numbers from an array of `storage` numbers.

    Returns
    -------
    copy_row(memory, at, x, index, lane) : a row, asynchronously; both addresses are multiples of sixteen bytes
    copy_one(memory, at, x, index) : one number, converted where the types differ
    put(memory, at, value) : a sum
    wait() : all copies but those of the last ``depth - 2`` groups have arrived
    """
    element, kept = _element(storage), _element(ring)
    asynchronous = storage == ring and storage.itemsize in (4, 8)

    def copy(builder, arguments, nbytes, cache):
        memory, at, x, index = arguments
        target = builder.ptrtoint(_shared(builder, memory, kept, at), INT)
        source = builder.ptrtoint(builder.gep(x, [index]), LONG)
        text = f"cp.async.{cache}.shared.global [$0], [$1], {nbytes};"
        _assembly(builder, text, "r,l,~{memory}", ir.VoidType(), [target, source], effects=True)

    @intrinsic
    def copy_row(typing_context, memory, at, x, index, lane):
        def emit(context, builder, signature, arguments):
            memory, at, x, index, lane = arguments
            chunk = 16 // storage.itemsize
            chunks = pitch // chunk
            mine = builder.mul(lane, _long(chunk))
            at, index = builder.add(at, mine), builder.add(index, mine)
            for first in range(0, chunks, LANES):
                ahead = _long(first * chunk)
                one = (memory, builder.add(at, ahead), x, builder.add(index, ahead))
                if first + LANES <= chunks:
                    copy(builder, one, 16, "cg")
                else:
                    with builder.if_then(builder.icmp_signed("<", lane, _long(chunks - first))):
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
            value = _load(builder, x, index, element, constant=True)
            if storage != ring:
                value = _to_sum(builder, value, storage, compute)
            builder.store(value, _shared(builder, memory, kept, at))
            return context.get_dummy_value()

        return types.void(memory, types.int64, x, types.int64), emit

    @intrinsic
    def put(typing_context, memory, at, value):
        def emit(context, builder, signature, arguments):
            memory, at, value = arguments
            stored = _from_sum(builder, value, ring, compute)
            builder.store(stored, _shared(builder, memory, kept, at))
            return context.get_dummy_value()

        return types.void(memory, types.int64, scalar_type(compute)), emit

    @intrinsic
    def wait(typing_context):
        def emit(context, builder, signature, arguments):
            text = f"cp.async.wait_group {depth - 2};"
            _assembly(builder, text, "~{memory}", ir.VoidType(), [], effects=True)
            return context.get_dummy_value()

        return types.void(), emit

    return SimpleNamespace(copy_row=copy_row, copy_one=copy_one, put=put, wait=wait)


# ------------------------------------------------------------------------------ arithmetic on a row of the ring


def advance_word(g):
    """One row of the ring through all terms: taps along the row, then down the columns.

    ``advance(memory, at, pending, line_taps, column_taps, line_masks, column_masks)`` returns the finished sums of
    `g.width` columns.  Down the columns the filter is in transposed form: ``pending[k - 1]`` is the sum of the taps
    before tap k of the output that tap k is next to reach; each row adds its product to all of them and moves them on,
    which costs nothing as a fused multiply-add has a destination of its own.  All terms add to the same sums.

    A masked variant adds only the taps whose bit is set, so that a weight of zero lets no NaN through.
    """
    number = scalar_type(g.compute)
    outputs = types.UniTuple(number, g.width)
    element = _element(g.ring)

    def window(builder, memory, at):
        """Samples under the taps of all columns of a lane, as sums."""
        first, last = g.lead, g.lead + g.width - 1 + g.reach
        found = {}
        for chunk in range(first // g.width, last // g.width + 1):
            place = _shared(builder, memory, element, builder.add(at, _long(chunk * g.width)), g.width)
            vector = builder.load(place)
            vector.align = g.width * g.ring.itemsize
            for lane, raw in enumerate(_parts(builder, vector, g.width)):
                found[chunk * g.width + lane - g.lead] = raw
        return {
            i: _to_sum(builder, raw, g.ring, g.compute) for i, raw in found.items() if 0 <= i <= last - first
        }

    def add(builder, tap, value, total, chosen):
        """``total + tap * value``, or `total` where the tap is not `chosen`."""
        new = builder.fmul(tap, value) if total is None else builder.fma(tap, value, total)
        if chosen is None:
            return new
        return builder.select(chosen, new, ir.Constant(value.type, 0.0) if total is None else total)

    def along_row(builder, samples, taps, mask, term):
        sums = [None] * g.width
        for k in range(g.taps):
            tap = builder.extract_value(taps, term * g.taps + k)
            chosen = _bit(builder, mask, k) if mask else None
            for v in range(g.width):
                sums[v] = add(builder, tap, samples[v + k * g.step], sums[v], chosen)
        return sums

    def down_columns(builder, pending, sums, taps, mask, term, finished):
        def place(k, v):
            return builder.gep(pending, [_long((k - 1) * g.width + v)])

        last = g.taps - 1
        for k in range(last, -1, -1):
            tap = builder.extract_value(taps, term * g.taps + k)
            chosen = _bit(builder, mask, k) if mask else None
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

    @intrinsic
    def advance(typing_context, memory, at, pending, line_taps, column_taps, line_masks, column_masks):
        def emit(context, builder, signature, arguments):
            memory, at, pending, line_taps, column_taps, line_masks, column_masks = arguments
            pending = context.make_array(signature.args[2])(context, builder, pending).data
            samples = window(builder, memory, at)
            finished = [None] * g.width
            for term in range(g.terms):
                mask = [
                    builder.extract_value(m, term) if g.masked else None for m in (line_masks, column_masks)
                ]
                sums = [samples[v] for v in range(g.width)]
                if g.along:
                    sums = along_row(builder, samples, line_taps, mask[0], term)
                if g.down:
                    finished = down_columns(builder, pending, sums, column_taps, mask[1], term, finished)
                else:
                    finished = sums
            return context.make_tuple(builder, signature.return_type, finished)

        given = (memory, types.int64, pending, line_taps, column_taps, line_masks, column_masks)
        return outputs(*given), emit

    return advance


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
                one = builder.fcmp_ordered("<", _magnitude(builder, value), infinity)
                good = one if good is None else builder.and_(good, one)
            return good

        return types.boolean(tuples), emit

    @intrinsic
    def store(typing_context, y, index, sums):
        def emit(context, builder, signature, arguments):
            y, index, values = arguments
            _store(
                builder, y, index, [_from_sum(builder, v, result, compute) for v in unpacked(builder, values)]
            )
            return context.get_dummy_value()

        return types.void(y, types.int64, tuples), emit

    @intrinsic
    def store_some(typing_context, y, index, sums, count):
        def emit(context, builder, signature, arguments):
            y, index, values, count = arguments
            for v, value in enumerate(unpacked(builder, values)):
                with builder.if_then(builder.icmp_signed("<", _long(v), count)):
                    stored = _from_sum(builder, value, result, compute)
                    _store(builder, y, builder.add(index, _long(v)), [stored])
            return context.get_dummy_value()

        return types.void(y, types.int64, tuples, types.int64), emit

    @intrinsic
    def write(typing_context, y, index, value):
        def emit(context, builder, signature, arguments):
            y, index, value = arguments
            _store(builder, y, index, [_from_sum(builder, value, result, compute)])
            return context.get_dummy_value()

        return types.void(y, types.int64, number), emit

    return SimpleNamespace(divided=divided, finite=finite, store=store, store_some=store_some, write=write)


def read_word(storage, compute):
    """``read(x, index)``: one number of an array, as a sum."""

    @intrinsic
    def read(typing_context, x, index):
        def emit(context, builder, signature, arguments):
            raw = _load(builder, *arguments, _element(storage), constant=True)
            return _to_sum(builder, raw, storage, compute)

        return scalar_type(compute)(x, types.int64), emit

    return read


def accumulate_word(storage, compute, length, rows, columns, *, outside):
    """`length` taps down the columns, for a block of `rows` x `columns` sums that stays in registers.

    ``accumulate(sums, x, places, offsets, t, weights, w, cval)``: the samples under the block are those of rows t,
    t + 1, ... of the table `offsets`, at the columns `places`; each is loaded once and goes to every sum it belongs
    to.  Where samples can lie `outside` a constant boundary, a negative offset or place stands for `cval`.
    """
    number = FLOATS[compute]
    element = _element(storage)

    @intrinsic
    def accumulate(typing_context, sums, x, places, offsets, t, weights, w, cval):
        def emit(context, builder, signature, arguments):
            sums, x, places, offsets, t, weights, w, cval = arguments
            block = context.make_array(signature.args[0])(context, builder, sums).data
            taps = [
                _load(builder, weights, builder.add(w, _long(k)), number, constant=True)
                for k in range(length)
            ]
            across = [builder.extract_value(places, c) for c in range(columns)]
            for j in range(length + rows - 1):
                row = _load(builder, offsets, builder.add(t, _long(j)), LONG, constant=True)
                for c in range(columns):
                    value = sample(builder, x, row, across[c], cval)
                    for i in range(max(0, j - length + 1), min(rows, j + 1)):
                        place = builder.gep(block, [_long(i * columns + c)])
                        builder.store(builder.fma(taps[j - i], value, builder.load(place)), place)
            return context.get_dummy_value()

        places_type = types.UniTuple(types.int64, columns)
        pointers = (types.CPointer(types.int64), types.int64, weights, types.int64)
        return types.void(sums, x, places_type, *pointers, scalar_type(compute)), emit

    def sample(builder, x, row, column, cval):
        index = builder.add(row, column)
        if outside:
            beyond = builder.or_(
                builder.icmp_signed("<", row, _long(0)), builder.icmp_signed("<", column, _long(0))
            )
            index = builder.select(beyond, _long(0), index)
        value = _to_sum(builder, _load(builder, x, index, element, constant=True), storage, compute)
        return builder.select(beyond, cval, value) if outside else value

    return accumulate


def line_word(compute, length, rows, width, pitch):
    """`length` taps along `rows` lines of shared memory, for `width` columns a lane.

    ``accumulate(sums, memory, at, weights, w)``: the samples of the first line under tap 0 begin at `at`, those of the
    next lines `pitch` further on.  Windows of more than one tap are loaded in vectors: `at` is then a multiple of
    `width`.
    """
    element = FLOATS[compute]
    size = int(compute[1:])
    lanes = 1 if length == 1 else 16 // size

    @intrinsic
    def accumulate(typing_context, sums, memory, at, weights, w):
        def emit(context, builder, signature, arguments):
            sums, memory, at, weights, w = arguments
            block = context.make_array(signature.args[0])(context, builder, sums).data
            taps = [
                _load(builder, weights, builder.add(w, _long(k)), element, constant=True)
                for k in range(length)
            ]
            for r in range(rows):
                samples = []
                while len(samples) < length + width - 1:
                    index = builder.add(at, _long(r * pitch + len(samples)))
                    vector = builder.load(_shared(builder, memory, element, index, lanes))
                    vector.align = lanes * size
                    samples += _parts(builder, vector, lanes)
                for v in range(width):
                    place = builder.gep(block, [_long(r * width + v)])
                    total = builder.load(place)
                    for k in range(length):
                        total = builder.fma(taps[k], samples[v + k], total)
                    builder.store(total, place)
            return context.get_dummy_value()

        return types.void(sums, memory, types.int64, weights, types.int64), emit

    return accumulate
