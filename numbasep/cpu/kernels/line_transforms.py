"""Filters along rows by Fourier transforms of as many tiles at a time as a vector has lanes.

A tile of N real samples x is the polynomial ``sum x[n] z^n``.  Modulo ``z^N + 1``, where ``z^(N/2)`` is the imaginary
unit, it has N/2 complex coefficients ``x[n] + i x[n + N/2]``.  A transform reduces ``z^m - c`` to its factors
``z^(m/2) - sqrt(c)`` and ``z^(m/2) + sqrt(c)`` until m is 1; the values are multiplied by those of the kernel, and the
inverse steps give the product modulo ``z^N + 1``, whose first ``N - taps + 1`` coefficients are results (overlap-save).
No step reorders numbers, and c is one number for a whole block, so that each lane transforms a tile of its own.

A kernel of several parts, as long as the step from tile to tile, is applied to the spectra of as many adjacent tiles
(W. G. Gardner, "Efficient convolution without input-output delay", J. Audio Eng. Soc. 43, 1995).
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import config

from ..intrinsics.memory import Storage, load_as, load_first, store_as, store_first
from ..intrinsics.vectors import Line, add, call, fma, fnma, lanes_of, load, mul, splat, store, sub
from ..jit import address, driver, inlined, kernel, named
from .nan_aware import finite_of
from .packed_sums import read_square, transpose, write_square
from .pass_arguments import integers, number_row, numbers
from .row_conversion import index_of

INNER = 64  # points that the cache holds during several steps; a power of 4

# Tables of a pass in one block (`pass_arguments`), then the entries of SIZES_TABLE
SIZES_TABLE, SOURCES_TABLE, TARGETS_TABLE, TWIDDLES_TABLE, SPECTRUM_TABLE, WORK_TABLE = range(6)
(
    POINTS,  # complex points of a transform
    PARTS,  # parts of the kernel
    STEP,  # outputs per tile
    SPAN,  # tiles of a row, including those that only later parts of the kernel read
    TILES,  # tiles of a row that have outputs
    TOTAL,  # tiles of all rows
    TOGETHER,  # output tiles per task
    SIZE,  # input samples of a row
    BOUNDARY,
    FIRST,  # input position of the first tap for the first output
    STOP,  # end of the positions that windows reach
    OUTPUTS,  # output samples of a row
    ROW,  # offset of rows of samples in the workspace ...
    PITCH,  # ... and from one to the next
    SPECTRA,  # offset of the spectra of a task's tiles, which only kernels of several parts need, in the workspace ...
    WIDE,  # ... and from one point to the next
    SIZES,
) = range(17)
SPLIT, MULTIPLY, JOIN, ADD, KEEP, LOAD, STORE, READ, WRITE, KERNELS = range(10)  # entries of `kernels`


@inlined
def split_pair(ar, ai, br, bi, wr, wi):
    """Return ``a + w b`` and ``a - w b``."""
    tr, ti = fnma(wi, bi, mul(wr, br)), fma(wi, br, mul(wr, bi))
    return add(ar, tr), add(ai, ti), sub(ar, tr), sub(ai, ti)


@inlined
def join_pair(ar, ai, br, bi, wr, wi):
    """Return ``a + b`` and ``(a - b) / w`` for ``|w| = 1``."""
    dr, di = sub(ar, br), sub(ai, bi)
    return add(ar, br), add(ai, bi), fma(wi, di, mul(wr, dr)), fnma(wi, dr, mul(wr, di))


@inlined
def split_turned(ar, ai, br, bi, wr, wi):
    """Return ``a + i w b`` and ``a - i w b``."""
    tr, ti = fnma(wi, bi, mul(wr, br)), fma(wi, br, mul(wr, bi))
    return sub(ar, ti), add(ai, tr), add(ar, ti), sub(ai, tr)


@inlined
def join_turned(ar, ai, br, bi, wr, wi):
    """Return ``a + b`` and ``(a - b) / (i w)`` for ``|w| = 1``."""
    dr, di = sub(br, ar), sub(bi, ai)
    return add(ar, br), add(ai, bi), fnma(wr, di, mul(wi, dr)), fma(wi, di, mul(wr, dr))


@inlined
def split_loaded(work, i, j, m, n, wr, wi, vr, vi):
    """Load the values at `i`, `j`, `m` and `n`, and split them twice."""
    lanes = lanes_of(work)
    ar, ai, cr, ci = split_pair(
        load(work, i), load(work, i + lanes), load(work, m), load(work, m + lanes), wr, wi
    )
    br, bi, dr, di = split_pair(
        load(work, j), load(work, j + lanes), load(work, n), load(work, n + lanes), wr, wi
    )
    ar, ai, br, bi = split_pair(ar, ai, br, bi, vr, vi)
    cr, ci, dr, di = split_turned(cr, ci, dr, di, vr, vi)
    return ar, ai, br, bi, cr, ci, dr, di


@inlined
def store_four(work, i, j, m, n, ar, ai, br, bi, cr, ci, dr, di):
    """Store values at `i`, `j`, `m` and `n`."""
    lanes = lanes_of(work)
    store(work, i, ar)
    store(work, i + lanes, ai)
    store(work, j, br)
    store(work, j + lanes, bi)
    store(work, m, cr)
    store(work, m + lanes, ci)
    store(work, n, dr)
    store(work, n + lanes, di)


@inlined
def join_stored(work, i, j, m, n, ar, ai, br, bi, cr, ci, dr, di, wr, wi):
    """Join pairs of joined values once more, and store them at `i`, `j`, `m` and `n`."""
    ar, ai, cr, ci = join_pair(ar, ai, cr, ci, wr, wi)
    br, bi, dr, di = join_pair(br, bi, dr, di, wr, wi)
    store_four(work, i, j, m, n, ar, ai, br, bi, cr, ci, dr, di)


@kernel
def split(work, at, size, least, node, twiddles):
    """Reduce polynomials modulo ``z^size - c`` to those modulo factors of degree `least`.

    Factors are the nodes of a binary tree, from 1 on; the children of node k are 2 k and 2 k + 1.
    """
    lanes = lanes_of(work)
    wide, count = 2 * lanes, 1
    pairs = size
    while pairs > least:
        pairs //= 4
    if pairs < least:
        half = size // 2 * wide
        wr, wi = splat(twiddles[2 * node]), splat(twiddles[2 * node + 1])
        for i in range(at, at + half, wide):
            j = i + half
            ar, ai, br, bi = split_pair(
                load(work, i), load(work, i + lanes), load(work, j), load(work, j + lanes), wr, wi
            )
            store(work, i, ar)
            store(work, i + lanes, ai)
            store(work, j, br)
            store(work, j + lanes, bi)
        size, count = size // 2, 2
    while size > least:
        quarter = size // 4 * wide
        for block in range(count):
            k = 2 * (node * count + block)
            wr, wi = splat(twiddles[k]), splat(twiddles[k + 1])
            vr, vi = splat(twiddles[2 * k]), splat(twiddles[2 * k + 1])
            start = at + block * 4 * quarter
            for i in range(start, start + quarter, wide):
                j, m, n = i + quarter, i + 2 * quarter, i + 3 * quarter
                ar, ai, br, bi, cr, ci, dr, di = split_loaded(work, i, j, m, n, wr, wi, vr, vi)
                store_four(work, i, j, m, n, ar, ai, br, bi, cr, ci, dr, di)
        size, count = size // 4, 4 * count


@kernel
def join(work, at, size, least, node, twiddles):
    """Invert `split`, apart from a factor of ``size / least``."""
    lanes = lanes_of(work)
    wide = 2 * lanes
    step = least
    while 4 * step <= size:
        quarter, count = step * wide, size // (4 * step)
        for block in range(count):
            k = 2 * (node * count + block)
            wr, wi = splat(twiddles[k]), splat(twiddles[k + 1])
            vr, vi = splat(twiddles[2 * k]), splat(twiddles[2 * k + 1])
            start = at + block * 4 * quarter
            for i in range(start, start + quarter, wide):
                j, m, n = i + quarter, i + 2 * quarter, i + 3 * quarter
                ar, ai, br, bi = join_pair(
                    load(work, i), load(work, i + lanes), load(work, j), load(work, j + lanes), vr, vi
                )
                cr, ci, dr, di = join_turned(
                    load(work, m), load(work, m + lanes), load(work, n), load(work, n + lanes), vr, vi
                )
                join_stored(work, i, j, m, n, ar, ai, br, bi, cr, ci, dr, di, wr, wi)
        step *= 4
    if step < size:
        half = size // 2 * wide
        wr, wi = splat(twiddles[2 * node]), splat(twiddles[2 * node + 1])
        for i in range(at, at + half, wide):
            j = i + half
            ar, ai, br, bi = join_pair(
                load(work, i), load(work, i + lanes), load(work, j), load(work, j + lanes), wr, wi
            )
            store(work, i, ar)
            store(work, i + lanes, ai)
            store(work, j, br)
            store(work, j + lanes, bi)


@inlined
def scale(ar, ai, spectrum, k):
    """Return the product of a value and that of the kernel."""
    wr, wi = splat(spectrum[k]), splat(spectrum[k + 1])
    return fnma(wi, ai, mul(wr, ar)), fma(wi, ar, mul(wr, ai))


@kernel
def multiply(work, at, count, node, twiddles, spectrum, leaf):
    """Multiply polynomials of degree 4 by the kernel: `count` of them from `node` and value `leaf` of the kernel on."""
    lanes = lanes_of(work)
    for block in range(count):
        i, k, value = at + block * 8 * lanes, 2 * (node + block), 2 * (leaf + 4 * block)
        wr, wi = splat(twiddles[k]), splat(twiddles[k + 1])
        vr, vi = splat(twiddles[2 * k]), splat(twiddles[2 * k + 1])
        j, m, n = i + 2 * lanes, i + 4 * lanes, i + 6 * lanes
        ar, ai, br, bi, cr, ci, dr, di = split_loaded(work, i, j, m, n, wr, wi, vr, vi)
        ar, ai = scale(ar, ai, spectrum, value)
        br, bi = scale(br, bi, spectrum, value + 2)
        cr, ci = scale(cr, ci, spectrum, value + 4)
        dr, di = scale(dr, di, spectrum, value + 6)
        ar, ai, br, bi = join_pair(ar, ai, br, bi, vr, vi)
        cr, ci, dr, di = join_turned(cr, ci, dr, di, vr, vi)
        join_stored(work, i, j, m, n, ar, ai, br, bi, cr, ci, dr, di, wr, wi)


@kernel
def add_parts(work, points, spectra, wide, parts, spectrum):
    """Sum the products of the parts of the kernel and the spectra of adjacent tiles."""
    lanes = lanes_of(work)
    like = spectrum[0]
    zero = splat(like - like)
    for point in range(points):
        at, value = spectra + 2 * point * wide, 2 * point * parts
        ar, ai, br, bi = zero, zero, zero, zero
        for part in range(parts):
            wr, wi = splat(spectrum[value + 2 * part]), splat(spectrum[value + 2 * part + 1])
            xr, xi = load(work, at + part), load(work, at + wide + part)
            ar, ai = fma(wr, xr, ar), fma(wr, xi, ai)
            br, bi = fma(wi, xi, br), fma(wi, xr, bi)
        store(work, 2 * point * lanes, sub(ar, br))
        store(work, (2 * point + 1) * lanes, add(ai, bi))


@functools.cache
def row_reader(storage: Storage) -> Any:
    """Return the kernel that copies a piece of a row, extended beyond its ends; NaN and infinities become 0."""

    @kernel
    @named(storage.suffix)
    def read_row(x, origin, size, boundary, start, stop, constants, work, to):
        """Copy positions [start, stop); up to a vector behind them is overwritten."""
        like, lanes = work[0], lanes_of(work)
        outside = splat(constants[0, 0])
        at = start
        while at < stop:
            if 0 <= at < size:
                if at + lanes <= size:
                    store(work, to + at - start, finite_of(load_as(x, origin + at, storage, like)))
                else:
                    store(
                        work, to + at - start, finite_of(load_first(x, origin + at, size - at, storage, like))
                    )
                at += min(lanes, size - at)
            else:
                source = index_of(at, size, boundary)
                if source < 0:
                    store(work, to + at - start, outside)
                    at += min(lanes, -at) if at < 0 else lanes
                else:
                    store(work, to + at - start, finite_of(load_first(x, origin + source, 1, storage, like)))
                    at += 1

    return read_row


@functools.cache
def row_writer(storage: Storage) -> Any:
    """Return the kernel that copies results from the workspace to a row."""

    @kernel
    @named(storage.suffix)
    def write_row(work, at, y, to, count):
        """Copy `count` numbers."""
        lanes = lanes_of(work)
        for n in range(0, count - lanes + 1, lanes):
            store_as(y, to + n, storage, load(work, at + n))
        rest = count % lanes
        if rest:
            store_first(y, to + count - rest, rest, storage, load(work, at + count - rest))

    return write_row


@kernel
def load_tiles(kernels, x, first, count, block, work, constants):
    """Copy `count` tiles from `first` on to the lanes of the workspace."""
    sizes, sources = integers(block, SIZES_TABLE), integers(block, SOURCES_TABLE)
    lanes, points, pitch, row = lanes_of(work), sizes[POINTS], sizes[PITCH], sizes[ROW]
    like = numbers(block, TWIDDLES_TABLE, constants)[2]  # a finite number; the workspace may hold any
    zero = splat(like - like)
    for lane in range(min(count, lanes)):
        tile, to = first + lane, row + lane * pitch
        start = sizes[FIRST] + tile % sizes[SPAN] * sizes[STEP]
        stop = max(min(start + 2 * points, sizes[STOP]), start)
        call(kernels[READ], (
            x, sources[tile // sizes[SPAN]], sizes[SIZE], sizes[BOUNDARY], start, stop, constants, work, to,
        ))  # fmt: skip
        for n in range(stop - start, 2 * points, lanes):
            store(work, to + n, zero)
    for n in range(0, points, lanes):
        square = read_square(work, row + n, pitch)
        write_square(work, 2 * n * lanes, 2 * lanes, transpose(square))
        square = read_square(work, row + points + n, pitch)
        write_square(work, (2 * n + 1) * lanes, 2 * lanes, transpose(square))


@kernel
def store_tiles(kernels, y, first, count, block, work):
    """Copy the results of `count` tiles from `first` on to the output."""
    sizes, targets = integers(block, SIZES_TABLE), integers(block, TARGETS_TABLE)
    lanes, points, pitch, row = lanes_of(work), sizes[POINTS], sizes[PITCH], sizes[ROW]
    for n in range(0, min(points, sizes[STEP]), lanes):
        square = read_square(work, 2 * n * lanes, 2 * lanes)
        write_square(work, row + n, pitch, transpose(square))
    for n in range(0, sizes[STEP] - points, lanes):
        square = read_square(work, (2 * n + 1) * lanes, 2 * lanes)
        write_square(work, row + points + n, pitch, transpose(square))
    for lane in range(min(count, lanes)):
        tile = (first + lane) % sizes[SPAN]
        if tile < sizes[TILES]:
            start = tile * sizes[STEP]
            outputs = min(sizes[STEP], sizes[OUTPUTS] - start)
            to = targets[(first + lane) // sizes[SPAN]] + start
            call(kernels[WRITE], (work, row + lane * pitch, y, to, outputs))


@kernel
def keep_spectra(work, points, to, wide):
    """Copy transforms to the spectra of a task."""
    lanes = lanes_of(work)
    for i in range(2 * points):
        store(work, to + i * wide, load(work, i * lanes))


@driver
def filter_lines(kernels, x, y, task, thread, block, constants):
    """Run a task, with the signature of `plane_driver.filter_tile`: the next tiles, in groups of a vector's lanes."""
    sizes = integers(block, SIZES_TABLE)
    twiddles, spectrum = numbers(block, TWIDDLES_TABLE, constants), numbers(block, SPECTRUM_TABLE, constants)
    work = number_row(block, WORK_TABLE, thread, constants)
    lanes, points, parts = lanes_of(work), sizes[POINTS], sizes[PARTS]
    first = task * sizes[TOGETHER]
    count = min(sizes[TOGETHER], sizes[TOTAL] - first)
    inner = min(points, INNER)
    if parts == 1:
        for i in range(0, count, lanes):
            call(kernels[LOAD], (kernels, x, first + i, count - i, block, work, constants))
            call(kernels[SPLIT], (work, 0, points, inner, 1, twiddles))
            for j in range(points // inner):
                at, node = j * inner * 2 * lanes, points // inner + j
                call(kernels[SPLIT], (work, at, inner, 4, node, twiddles))
                call(kernels[MULTIPLY], (
                    work, at, inner // 4, node * inner // 4, twiddles, spectrum, j * inner
                ))  # fmt: skip
                call(kernels[JOIN], (work, at, inner, 4, node, twiddles))
            call(kernels[JOIN], (work, 0, points, inner, 1, twiddles))
            call(kernels[STORE], (kernels, y, first + i, count - i, block, work))
        return
    spectra, wide = sizes[SPECTRA], sizes[WIDE]
    for i in range(0, count + parts - 1, lanes):
        call(kernels[LOAD], (kernels, x, first + i, count + parts - 1 - i, block, work, constants))
        call(kernels[SPLIT], (work, 0, points, inner, 1, twiddles))
        for j in range(points // inner):
            call(kernels[SPLIT], (work, j * inner * 2 * lanes, inner, 1, points // inner + j, twiddles))
        call(kernels[KEEP], (work, points, spectra + i, wide))
    for i in range(0, count, lanes):
        call(kernels[ADD], (work, points, spectra + i, wide, parts, spectrum))
        for j in range(points // inner):
            call(kernels[JOIN], (work, j * inner * 2 * lanes, inner, 1, points // inner + j, twiddles))
        call(kernels[JOIN], (work, 0, points, inner, 1, twiddles))
        call(kernels[STORE], (kernels, y, first + i, count - i, block, work))


@functools.cache
def kernel_addresses(compute: np.dtype[Any], storage_in: Storage, storage_out: Storage) -> tuple[Any, Any]:
    """Return the addresses of `filter_lines`, for the drivers of `plane_driver`, and of the kernels that it calls."""
    number = numba.from_dtype(compute)
    line, table = Line(number), types.Array(number, 2, "C")
    memory, whole, n = Line(types.uint8), Line(types.int64), types.int64
    at: list[Any] = [0] * KERNELS
    at[SPLIT] = address(split, (line, n, n, n, n, line))
    at[MULTIPLY] = address(multiply, (line, n, n, n, line, line, n))
    at[JOIN] = address(join, (line, n, n, n, n, line))
    at[ADD] = address(add_parts, (line, n, n, n, n, line))
    at[KEEP] = address(keep_spectra, (line, n, n, n))
    at[LOAD] = address(load_tiles, (whole, memory, n, n, whole, line, table))
    at[STORE] = address(store_tiles, (whole, memory, n, n, whole, line))
    at[READ] = address(row_reader(storage_in), (memory, n, n, n, n, n, table, line, n))
    at[WRITE] = address(row_writer(storage_out), (line, n, memory, n, n))
    lines = address(filter_lines, (whole, memory, memory, n, n, whole, table))
    return lines, at if config.DISABLE_JIT else np.array(at, np.int64)
