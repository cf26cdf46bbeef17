"""Forms that cost less than the rank suggests: repeated rows, runs of equal taps, a delta or a box plus the rest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .arguments import Array
from .form import Factors
from .lowrank import Spectrum, generic_directions, largest
from .operations import form_operations

_EPS64 = 2.0**-52


def proportional_slices(values: Array, axis: int, *, integral: bool, eps: float = 0.0) -> tuple[Array, Array]:
    """Group the slices across `axis` that are multiples of one another.

    Returns
    -------
    coefficients : (groups, length of axis) array
    patterns : (groups, *other axes) array
        ``values == sum_g coefficients[g] (along axis) x patterns[g]``.  If `integral`, this is exact, with
        integer coefficients and patterns.  Coefficients of equal and opposite slices are exactly 1 and -1.
    """
    moved = np.moveaxis(values, axis, 0) if axis else values
    rows = moved.reshape(len(moved), -1)
    sizes = np.abs(rows)
    sums = sizes.sum(axis=1)
    alive = sums.nonzero()[0]
    if alive.size < len(rows):
        rows, sizes, sums = rows[alive], sizes[alive], sums[alive]
    eps = max(eps, _EPS64)
    first = _first_proportional(rows, sums, eps)
    at = sizes.argmax(axis=1)[first]
    ratio = rows[np.arange(len(rows)), at] / rows[first, at]
    unit = np.sign(ratio.real)
    ratio = np.where(np.abs(ratio - unit) <= 8 * eps, unit, ratio)
    wrong = np.abs(rows - ratio[:, None] * rows[first]).sum(axis=1) > 8 * eps * sums
    if wrong.any():
        first[wrong], ratio[wrong] = np.flatnonzero(wrong), 1
    leaders = np.flatnonzero(first == np.arange(len(first)))
    group = np.searchsorted(leaders, first)
    patterns = rows[leaders]
    if integral:
        common = np.gcd.reduce(patterns.astype(np.int64), axis=1)
        patterns = patterns / common[:, None]
        ratio = np.rint(ratio * common[group])
    coefficients = np.zeros((len(leaders), len(moved)), dtype=values.dtype)
    coefficients[group, alive] = ratio
    return coefficients, patterns.reshape(len(leaders), *moved.shape[1:])


def _first_proportional(rows: Array, sums: Array, eps: float) -> Array:
    """Return, for each row, the index of the first row whose projections on generic directions are proportional.

    `sums` are the sums of the magnitudes of the rows.
    """
    projections = rows @ generic_directions(rows.shape[1]) / sums[:, None]
    key = projections[:, 1] * np.where(projections[:, 0].real < 0, -1.0, 1.0)
    if key.dtype.kind == "c":
        size = np.abs(projections[:, 0])
        key = projections[:, 1] * np.where(
            size == 0, 1, projections[:, 0].conj() / np.where(size == 0, 1, size)
        )
        key = key.real + 0.618 * key.imag
    order = key.argsort(kind="stable")
    ordered = key[order]
    label = np.zeros(len(rows), np.intp)
    np.cumsum(ordered[1:] - ordered[:-1] > 64 * eps, out=label[1:])
    lowest = np.full(label[-1] + 1, len(rows))
    np.minimum.at(lowest, label, order)
    first = np.empty(len(rows), dtype=np.intp)
    first[order] = lowest[label]
    return first


def lines(values: Array, axis: int, *, integral: bool, eps: float = 0.0) -> Factors:
    """Return terms of the distinct slices across `axis`, each written by its own distinct lines."""
    coefficients, patterns = proportional_slices(values, axis, integral=integral, eps=eps)
    return _from_slices(axis, coefficients, patterns, integral=integral, eps=eps)


def _from_slices(axis: int, coefficients: Array, patterns: Array, *, integral: bool, eps: float) -> Factors:
    if patterns.ndim == 2:
        return (coefficients, patterns) if axis == 0 else (patterns, coefficients)
    inner = [cheapest_lines(p, integral=integral, eps=eps) for p in patterns]
    outer = np.repeat(coefficients, [len(f[0]) for f in inner], axis=0)
    rest = [np.concatenate([f[a] for f in inner]) for a in range(patterns.ndim - 1)]
    return (*rest[:axis], outer, *rest[axis:])


def cheapest_lines(values: Array, *, integral: bool, eps: float = 0.0) -> Factors:
    """Return terms of the distinct lines of a matrix, across the axis where that takes the fewest operations.

    With more axes, return terms of the distinct slices across the axis that has the fewest of them.
    """
    if values.ndim == 1:
        return (values[None],)
    symmetric = values.ndim == 2 and values.shape[0] == values.shape[1] and np.array_equal(values, values.T)
    axes = range(1 if symmetric else values.ndim)
    grouped = [proportional_slices(values, axis, integral=integral, eps=eps) for axis in axes]
    if values.ndim > 2:
        axis = int(np.argmin([len(coefficients) for coefficients, _ in grouped]))
        return _from_slices(axis, *grouped[axis], integral=integral, eps=eps)
    candidates = [_from_slices(axis, *pair, integral=integral, eps=eps) for axis, pair in enumerate(grouped)]
    return min(candidates, key=form_operations)


def level(values: Array) -> tuple[complex, Array] | None:
    """Return the most frequent non-zero weight and its mask, if it is frequent but not the only weight."""
    weights, counts = np.unique(values[values != 0], return_counts=True)
    most = int(counts.argmax())
    if len(weights) < 2 or counts[most] < 6 or 5 * counts[most] < counts.sum():
        return None
    return weights[most].item(), values == weights[most]


def concatenate(*forms: Factors) -> Factors:
    """Return the sum of several forms."""
    return tuple(np.concatenate(parts) for parts in zip(*forms, strict=True))


def delta(shape: tuple[int, ...], at: tuple[int, ...], weight: complex) -> Factors:
    """Return a single tap as one separable term, with its weight on the first axis."""
    dtype = np.result_type(type(weight), np.float64)
    factors = []
    for axis, (size, index) in enumerate(zip(shape, at, strict=True)):
        taps = np.zeros((1, size), dtype=dtype)
        taps[0, index] = weight if axis == 0 else 1
        factors.append(taps)
    return tuple(factors)


def box(shape: tuple[int, ...], weight: complex) -> Factors:
    """Return a constant over the whole window as one separable term, with its value on the first axis."""
    dtype = np.result_type(type(weight), np.float64)
    return tuple(
        np.full((1, size), weight if axis == 0 else 1, dtype=dtype) for axis, size in enumerate(shape)
    )


def without_delta(values: Array, *, integral: bool) -> Iterator[tuple[tuple[int, ...], complex, Array]]:
    """Try to explain a kernel as rank one plus a delta; yield (index, weight, remainder) to be tested for rank one.

    The delta is tried at the largest and at the central tap.  The value there is predicted from the lines through
    another pivot, which differs from it in every axis.
    """
    middle = tuple(n // 2 for n in values.shape)
    for at in dict.fromkeys((largest(values), middle)):
        masked = np.abs(values)
        for axis, index in enumerate(at):
            if values.shape[axis] > 1:
                masked[(slice(None),) * axis + (index,)] = 0
        pivot = largest(masked)
        if masked[pivot] == 0:
            continue
        expected = values[pivot]
        for axis, index in enumerate(at):
            expected = expected * (values[(*pivot[:axis], index, *pivot[axis + 1 :])] / values[pivot])
        if integral:
            expected = np.rint(expected)
        rest = values.copy()
        rest[at] = expected
        yield at, (values[at] - expected).item(), rest


def reducing_weight(spectrum: Spectrum, rank: int, column: Array, row: Array, eps: float) -> float | None:
    """Return the weight c for which ``K - c column x row`` has a smaller rank than K; None if there is none.

    Wedderburn: column and row must lie in the column and row space of K; then ``c = 1 / (row K^+ column)``.
    """
    u, vh = spectrum.u[:, :rank], spectrum.vh[:rank]
    doubt = max(1e-9, 8 * eps * spectrum.s[0] / spectrum.s[rank - 1])
    for basis, vector in ((u, column), (vh.T, row)):
        outside = vector - basis @ (basis.conj().T @ vector)
        if np.linalg.norm(outside) > doubt * np.linalg.norm(vector):
            return None
    inverse = spectrum.inverse_form(rank, row, column)
    return 1 / inverse if inverse else None
