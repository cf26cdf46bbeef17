"""Recursive Gaussian filters along an axis: forward and backward recursions with three pairs of complex poles.

A task filters as many lines as a vector has lanes, interleaved in the workspace: first `2 margin + out` samples of each
line, extended beyond the edges, then `out` results.  Arrays are contiguous, ``(outer, axis, inner)``; nothing is
checked.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import prange, types

from ..intrinsics.vectors import Line, add, call, fma, lanes_of, load, peek, poke, splat, store
from ..jit import address, inlined, kernel, parallel, serial
from .packed_sums import read_square, transpose, write_square

OUTER, SIZE, INNER, OUT, MARGIN, LOW, HIGH, SIDE, GEOMETRY = range(9)
"""Entries of `geometry`: sizes in elements; the range of samples whose positions increase by one; the number of
vectors of adjacent lines per task (0 for a single vector of lines that are not adjacent)."""
COEFFICIENTS = 13
"""Number of coefficients: real and imaginary parts of three poles and their residues, and the centre weight."""


@kernel
def forwards(work, count, margin, results, c):
    """Compute ``y[n] = centre x[n] + sum_{k>0} h(k) x[n-k]`` for `count` vectors from `margin` on, from zero state."""
    lanes = lanes_of(work)
    like = work[0]
    ar, ai, br, bi, cr, ci = splat(c[0]), splat(c[1]), splat(c[2]), splat(c[3]), splat(c[4]), splat(c[5])
    an, bn, cn = splat(-c[1]), splat(-c[3]), splat(-c[5])
    ur, un, vr, vn, wr, wn = splat(c[6]), splat(-c[7]), splat(c[8]), splat(-c[9]), splat(c[10]), splat(-c[11])
    centre = splat(c[12])
    zero = splat(like - like)
    pr, pi, qr, qi, rr, ri = zero, zero, zero, zero, zero, zero
    for n in range(margin + count):
        x = load(work, n * lanes)
        if n >= margin:
            y = fma(centre, x, fma(ur, pr, fma(vr, qr, fma(wr, rr, zero))))
            z = fma(un, pi, fma(vn, qi, fma(wn, ri, zero)))
            store(work, results + (n - margin) * lanes, add(y, z))
        pr, pi = fma(ar, pr, fma(an, pi, x)), fma(ai, pr, fma(ar, pi, zero))
        qr, qi = fma(br, qr, fma(bn, qi, x)), fma(bi, qr, fma(br, qi, zero))
        rr, ri = fma(cr, rr, fma(cn, ri, x)), fma(ci, rr, fma(cr, ri, zero))


@kernel
def backwards(work, count, margin, results, c):
    """Add ``sum_{k>0} h(k) x[n+k]`` to the results."""
    lanes = lanes_of(work)
    like = work[0]
    ar, ai, br, bi, cr, ci = splat(c[0]), splat(c[1]), splat(c[2]), splat(c[3]), splat(c[4]), splat(c[5])
    an, bn, cn = splat(-c[1]), splat(-c[3]), splat(-c[5])
    ur, un, vr, vn, wr, wn = splat(c[6]), splat(-c[7]), splat(c[8]), splat(-c[9]), splat(c[10]), splat(-c[11])
    zero = splat(like - like)
    pr, pi, qr, qi, rr, ri = zero, zero, zero, zero, zero, zero
    last = margin + count
    for n in range(last + margin - 1, margin - 1, -1):
        x = load(work, n * lanes)
        if n < last:
            at = results + (n - margin) * lanes
            y = fma(ur, pr, fma(vr, qr, fma(wr, rr, load(work, at))))
            z = fma(un, pi, fma(vn, qi, fma(wn, ri, zero)))
            store(work, at, add(y, z))
        pr, pi = fma(ar, pr, fma(an, pi, x)), fma(ai, pr, fma(ar, pi, zero))
        qr, qi = fma(br, qr, fma(bn, qi, x)), fma(bi, qr, fma(br, qi, zero))
        rr, ri = fma(cr, rr, fma(cn, ri, x)), fma(ci, rr, fma(cr, ri, zero))


@inlined
def gather(x, starts, stride, first, last, positions, cval, work):
    """Copy samples [first, last) of every line to the workspace one by one."""
    lanes = starts.size
    for n in range(first, last):
        position = positions[n]
        for lane in range(lanes):
            value = cval if position < 0 else peek(x, starts[lane] + position * stride)
            poke(work, n * lanes + lane, value)


@inlined
def scatter(work, results, first, last, y, starts, stride):
    """Copy results [first, last) of every line to the output one by one."""
    lanes = starts.size
    for n in range(first, last):
        for lane in range(lanes):
            poke(y, starts[lane] + n * stride, peek(work, results + n * lanes + lane))


@kernel
def filter_lines(ahead, back, x, y, task, geometry, positions, coefficients, cval, work, starts):
    """Run a task; `starts` is scratch of two rows for the offsets of the lines in `x` and in `y`."""
    lanes = lanes_of(work)
    outer, size, inner = geometry[OUTER], geometry[SIZE], geometry[INNER]
    count, margin = geometry[OUT], geometry[MARGIN]
    low, high = geometry[LOW], geometry[HIGH]
    total = count + 2 * margin
    results = total * lanes
    side = geometry[SIDE]
    if side:
        width = side * lanes
        tiles = (inner + width - 1) // width
        column = min(
            task % tiles * width, inner - width
        )  # the last tile overlaps the previous one, with equal results
        source, target = task // tiles * size * inner + column, task // tiles * count * inner + column
        part = (total + count) * lanes
        outside = splat(cval)
        for n in range(total):
            position = positions[n]
            for j in range(side):
                sample = outside if position < 0 else load(x, source + position * inner + j * lanes)
                store(work, j * part + n * lanes, sample)
        for j in range(side):
            tile = work[j * part : (j + 1) * part]
            call(ahead, (tile, count, margin, results, coefficients))
            call(back, (tile, count, margin, results, coefficients))
        for n in range(count):
            for j in range(side):
                store(y, target + n * inner + j * lanes, load(work, j * part + results + n * lanes))
        return
    lines = outer * inner
    first = max(min(task * lanes, lines - lanes), 0)
    for lane in range(lanes):
        line = min(first + lane, lines - 1)
        starts[0, lane] = line // inner * size * inner + line % inner
        starts[1, lane] = line // inner * count * inner + line % inner
    whole = inner == 1 and lines >= lanes
    done = low
    gather(x, starts[0], inner, 0, low, positions, cval, work)
    while whole and done + lanes <= high:
        square = read_square(x, starts[0, 0] + positions[done], size)
        write_square(work, done * lanes, lanes, transpose(square))
        done += lanes
    gather(x, starts[0], inner, done, total, positions, cval, work)
    call(ahead, (work, count, margin, results, coefficients))
    call(back, (work, count, margin, results, coefficients))
    done = 0
    while whole and done + lanes <= count:
        square = read_square(work, results + done * lanes, lanes)
        write_square(y, starts[1, 0] + done, count, transpose(square))
        done += lanes
    scatter(work, results, done, count, y, starts[1], inner)


@serial
def run_serial(lines, ahead, back, x, y, first, last, geometry, positions, coefficients, cval, work, starts):
    """Run tasks [first, last) on the calling thread."""
    for task in range(first, last):
        call(lines, (ahead, back, x, y, task, geometry, positions, coefficients, cval, work[0], starts[0]))


@parallel
def run_parallel(
    lines, ahead, back, x, y, first, last, geometry, positions, coefficients, cval, work, starts
):
    """Run tasks [first, last) on Numba's threads, each of which owns a row of the workspaces."""
    for task in prange(first, last):
        thread = numba.get_thread_id()
        call(
            lines,
            (ahead, back, x, y, task, geometry, positions, coefficients, cval, work[thread], starts[thread]),
        )


@functools.cache
def kernel_addresses(compute: np.dtype[Any]) -> tuple[Any, ...]:
    """Return the addresses of `filter_lines`, `forwards` and `backwards`."""
    number = numba.from_dtype(compute)
    line, n = Line(number), types.int64
    integers, pairs = Line(types.int64), Line(types.int64, 2)
    ahead = address(forwards, (line, n, n, n, line))
    back = address(backwards, (line, n, n, n, line))
    lines = address(filter_lines, (n, n, line, line, n, integers, integers, line, number, line, pairs))
    return lines, ahead, back
