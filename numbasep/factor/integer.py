"""Exact factors of integer and scaled integer kernels.

Rank one.  If an integer tensor is an outer product, each of its fibres is a rational multiple of the
primitive (gcd 1) vector of a non-zero fibre; a rational multiple of a primitive vector with integer entries
is an integer multiple (Gauss's lemma).  So ``K = c f_1 x ... x f_d`` with primitive fibres f_a through one
non-zero pivot and an integer c.

Any rank.  A row-echelon basis R of the lattice spanned by the rows (Hermite's normal form, without reducing
above the pivots) gives ``K = L R`` with integer L and R.
"""

from __future__ import annotations

import math

import numpy as np

from .arguments import Array, ScaledKernel
from .form import LARGEST_EXACT, Factors, rounds_to

_MAX_DENOMINATOR = 64
_MAX_BITS = 24
_MAX_SCALED = 2**_MAX_BITS


def as_integers(kernel: ScaledKernel) -> tuple[Array, float] | None:
    """Write the scaled values as integers over a divisor, if possible.

    Returns
    -------
    (integers, divisor) or None
        Float64 array of integers with ``kernel.values == integers / divisor`` up to the rounding of the
        kernel's dtype, and exactly if some double-precision divisor allows it.
    """
    values = kernel.values
    if values.dtype.kind == "c" or kernel.l1 == 0:
        return None
    if 0 < kernel.exponent <= 53:
        integers = np.ldexp(values, kernel.exponent)
        if np.array_equal(integers, np.rint(integers)):
            # A large common power of two would leave too few bits for exact sums.
            common = _common_power_of_two(integers) if kernel.exponent > _MAX_BITS else 0
            return np.ldexp(integers, -common), 2.0 ** (kernel.exponent - common)
    return _as_scaled_integers(kernel)


def _common_power_of_two(integers: Array) -> int:
    union = int(np.bitwise_or.reduce(np.abs(integers).astype(np.int64).ravel()))
    return (union & -union).bit_length() - 1


def _as_scaled_integers(kernel: ScaledKernel) -> tuple[Array, float] | None:
    """Try to make integers of the ratios to the smallest magnitude, with a small common denominator."""
    magnitude = np.abs(kernel.values[kernel.values != 0])
    smallest, largest = magnitude.min(), magnitude.max()
    eps = max(kernel.eps, 2.0**-52)
    if largest > min(_MAX_SCALED, 1 / (64 * eps)) * smallest:
        return None
    sample = np.append(magnitude[:: -(-magnitude.size // 4)], largest) / smallest
    multiples = np.arange(1.0, _MAX_DENOMINATOR + 1)[:, None] * sample
    near = np.abs(multiples - np.rint(multiples)) <= 2 * eps * multiples
    for row in np.flatnonzero(near.all(axis=1)):
        factor = (row + 1) / smallest
        scaled = kernel.values * factor
        integers = np.rint(scaled)
        if np.all(np.abs(scaled - integers) <= 3 * eps * np.abs(scaled)):
            return integers, _best_divisor(kernel, integers, factor)
    return None


def _best_divisor(kernel: ScaledKernel, integers: Array, guess: float) -> float:
    """Return a divisor that reproduces every weight exactly, or else the best one in the least-squares sense."""
    original = math.ldexp(guess, -kernel.exponent) if abs(kernel.exponent) < 900 else 0.5
    whole = [math.ldexp(round(original), kernel.exponent)] if 0.75 < original < LARGEST_EXACT else []
    pivot = np.unravel_index(np.abs(integers).argmax(), integers.shape)
    ratio = float(integers[pivot] / kernel.values[pivot])
    fitted = float((integers * integers).sum() / (integers * kernel.values).sum())
    near = [float(np.nextafter(guess, side)) for side in (0.0, np.inf)]
    for divisor in [*whole, ratio, guess, *near, fitted]:
        if rounds_to(kernel, integers / divisor):
            return divisor
    return fitted


def rank_one(integers: Array) -> Factors | None:
    """Return integer factors of a non-zero array, primitive except on the first axis; None if the rank is not one."""
    pivot = np.unravel_index(np.abs(integers).argmax(), integers.shape)
    fibres = []
    corner = 1
    for axis in range(integers.ndim):
        index = list(pivot)
        index[axis] = slice(None)  # type: ignore[call-overload]
        fibre = integers[tuple(index)].astype(np.int64)
        fibre //= np.gcd.reduce(fibre) * (-1 if fibre.sum() < 0 else 1)
        corner *= int(fibre[pivot[axis]])
        fibres.append(fibre)
    multiplier, remainder = divmod(int(integers[pivot]), corner)
    # The outer product contains the product of its factors' largest entries; `integers` has no entry that large.
    if remainder or abs(multiplier) * math.prod(int(np.abs(f).max()) for f in fibres) > LARGEST_EXACT:
        return None
    product = np.array(multiplier, dtype=np.int64)
    for fibre in fibres:
        product = np.multiply.outer(product, fibre)
    if not np.array_equal(product, integers):
        return None
    if multiplier < 0:  # the sign goes to the factor with the smallest sum: a difference, not a smoothing
        multiplier = -multiplier
        odd = int(np.argmin([f.sum() for f in fibres]))
        fibres[odd] = -fibres[odd]
    fibres[0] = fibres[0] * multiplier
    return tuple(f.astype(np.float64)[None] for f in fibres)


def row_basis(integers: Array, max_rank: int) -> Factors | None:
    """Return integer matrices with ``integers == left.T @ right``, `right` in row-echelon form.

    None if the rank is above `max_rank` or the entries grow beyond double precision.
    """
    rows = [[int(v) for v in row] for row in integers.tolist()]
    basis: list[list[int]] = []
    pivots = []
    for column in range(integers.shape[1]):
        pivot = _clear_column(rows, column)
        if pivot is None:
            continue
        basis.append(pivot)
        pivots.append(column)
        if len(basis) > max_rank:
            return None
        if not rows:
            break
    if max((abs(v) for row in basis for v in row), default=0) > LARGEST_EXACT:
        return None
    right = np.array(basis, dtype=np.float64).reshape(-1, integers.shape[1])
    left = np.zeros((len(basis), integers.shape[0]))
    rest = integers.copy()
    for k, column in enumerate(pivots):
        left[k] = rest[:, column] / right[k, column]
        rest -= np.outer(left[k], right[k])
    exact = not rest.any() and (np.abs(left).sum(axis=1) * np.abs(right).sum(axis=1)).sum() < LARGEST_EXACT
    return (left, right) if exact else None


def _clear_column(rows: list[list[int]], column: int) -> list[int] | None:
    """Clear a column by Euclid's algorithm; remove the one row that keeps a non-zero entry and return it."""
    while True:
        alive = [i for i, row in enumerate(rows) if row[column]]
        if not alive:
            return None
        smallest = min(alive, key=lambda i: abs(rows[i][column]))
        if len(alive) == 1:
            return rows.pop(smallest)
        pivot = rows[smallest]
        for i in alive:
            if i != smallest:
                quotient = rows[i][column] // pivot[column]
                rows[i] = [a - quotient * b for a, b in zip(rows[i], pivot, strict=True)]
