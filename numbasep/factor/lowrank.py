"""Low-rank factors of floating-point kernels, by cross approximation and singular values.

The criterion is always ``||K - K_r||_1 <= budget``: the attained sup-norm bound of the output error.  A cross
(Gaussian elimination with complete pivoting; Wedderburn rank reduction) is made of the kernel's own rows and
columns, so zeros, constants, single taps and bit-exact symmetry survive.  The truncated singular value
decomposition gives the smallest Frobenius error, which bounds the rank from below: ``||E||_1 >= ||E||_F``.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .arguments import Array
from .form import Factors, compose

_EPS64 = 2.0**-52
_SNAP = 2.0**-50

#: Largest amplification of a useful form: with more cancellation, rounding errors outweigh the saved work.
MAX_AMPLIFICATION = 32.0


def l1(values: Array) -> float:
    """Return the sum of the magnitudes."""
    return float(np.abs(values).sum())


def fibres(values: Array, pivot: tuple[int, ...]) -> Factors:
    """Return the rank-one term that agrees with `values` on all lines through a non-zero pivot."""
    factors = []
    for axis in range(values.ndim):
        index: list[int | slice] = list(pivot)
        index[axis] = slice(None)
        line = values[tuple(index)]
        factors.append((line / values[pivot] if axis < values.ndim - 1 else line)[None])
    return tuple(factors)


def largest(values: Array) -> tuple[int, ...]:
    """Return the index of the (first) largest magnitude."""
    return tuple(int(i) for i in np.unravel_index(np.abs(values).argmax(), values.shape))


def rank_one(values: Array, budget: float, eps: float) -> Factors | None:
    """Return one separable term within `budget` (absolute, L1) of an N-D array; None if there is none.

    A product of lines through the pivot has the rounding errors of the kernel's dtype (`eps`) in every entry.  If
    these or the budget are large, the leading singular vectors are tried too: they average the errors.  With more
    than two axes, a few sweeps of alternating least squares take their place.
    """
    term = fibres(values, largest(values))
    error = l1(values - compose(term))
    if error <= budget:
        return term
    if error > max(64 * budget, 64 * eps * l1(values)):
        return None
    if values.ndim == 2:
        term, sweeps = Spectrum.of(values).truncated(1), 0
    else:
        sweeps = 3
    for _ in range(sweeps):
        term = alternate(values, term)
    return snap(term, values, budget) if l1(values - compose(term)) <= budget else None


def alternate(values: Array, factors: Factors) -> Factors:
    """Do one sweep of alternating least squares over the axes, for any number of terms."""
    updated = list(factors)
    for axis in range(values.ndim):
        others = [f for a, f in enumerate(updated) if a != axis]
        product = others[0]
        for f in others[1:]:
            product = (product[:, :, None] * f[:, None, :]).reshape(len(f), -1)
        unfolded = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        updated[axis] = np.linalg.lstsq(product.T, unfolded.T, rcond=None)[0]
    return tuple(updated)


def snap(factors: Factors, values: Array, budget: float) -> Factors:
    """Restore exact symmetry and exact zeros along each axis, unless the error would exceed `budget`."""
    snapped = []
    for axis, f in enumerate(factors):
        parity = symmetry(values, axis)
        even = (f + parity * f[:, ::-1]) / 2 if parity else f
        # Only a factor that already has the kernel's parity may be averaged.
        f = np.where(
            np.abs(even - f).max(axis=1, keepdims=True) <= 2.0**-20 * np.abs(f).max(axis=1, keepdims=True),
            even,
            f,
        )
        snapped.append(np.where(np.abs(f) <= _SNAP * np.abs(f).max(axis=1, keepdims=True), 0, f))
    result = tuple(snapped)
    return result if l1(values - compose(result)) <= budget else factors


def trimmed(factors: Factors) -> Factors | None:
    """Return the terms with negligible taps set to zero; None if there are no such taps."""
    small = [np.abs(f) <= _SNAP * np.abs(f).max(axis=1, keepdims=True) for f in factors]
    if not any(bool(np.any(s & (f != 0))) for s, f in zip(small, factors, strict=True)):
        return None
    return tuple(np.where(s, 0, f) for s, f in zip(small, factors, strict=True))


def symmetry(values: Array, axis: int) -> int:
    """Return +1 if `values` are even about the centre of an axis, -1 if odd, else 0, up to rounding."""
    flipped = np.flip(values, axis)
    scale = 8 * _EPS64 * l1(values)
    if l1(values - flipped) <= scale:
        return 1
    return -1 if l1(values + flipped) <= scale else 0


def cross(
    values: Array, steps: int, budget: float, eps: float, pivot: tuple[int, int] | None = None
) -> Factors:
    """Return at most `steps` terms by Gaussian elimination with complete pivoting, fewer if they meet `budget`.

    Differences below the rounding error of the subtractions are set to zero, so that elimination stops at the
    true rank and the factors keep the zeros of the kernel.
    """
    rest, size = values.copy(), np.abs(values)
    left, right = [], []
    for step in range(steps):
        at = pivot if pivot and step == 0 else largest(rest)
        if rest[at] == 0:
            break
        column, row = rest[:, at[1]] / rest[at], rest[at[0]].copy()
        term = np.outer(column, row)
        size += np.abs(term)
        rest -= term
        rest[np.abs(rest) <= 3 * max(eps, _EPS64) * size] = 0
        left.append(column)
        right.append(row)
        if l1(rest) <= budget:
            break
    shape = values.shape
    return np.array(left).reshape(-1, shape[0]), np.array(right).reshape(-1, shape[1])


@functools.lru_cache(maxsize=64)
def generic_directions(length: int) -> Array:
    """Return two fixed vectors without structure: fractional parts of ``k**2`` times an irrational number."""
    squares = np.arange(1.0, length + 1)[:, None] ** 2
    return np.modf(squares * [2**0.5, 3**0.5])[0] - 0.5


class Spectrum(NamedTuple):
    """Singular value decomposition ``u @ diag(s) @ vh`` of a matrix."""

    u: Array
    s: Array
    vh: Array

    @classmethod
    def of(cls, matrix: Array) -> Spectrum:
        """Decompose a matrix."""
        return cls(*np.linalg.svd(matrix, full_matrices=False))

    def least_rank(self, budget: float) -> int:
        """Return a lower bound on the number of terms of any form within `budget` (L1)."""
        tails = np.append(np.sqrt(np.cumsum(self.s[::-1] ** 2))[::-1], 0.0)
        return max(1, int(np.argmax(tails <= budget)))

    def truncated(self, rank: int) -> Factors:
        """Return the leading terms; both factors take the root of the singular value, and signs are normalized."""
        root = np.sqrt(self.s[:rank])[:, None]
        left, right = root * self.u[:, :rank].T, root * self.vh[:rank]
        at = np.abs(left).argmax(axis=1)
        sign = np.where(left[np.arange(rank), at].real < 0, -1.0, 1.0)[:, None]
        return left * sign, right * sign

    def inverse_form(self, rank: int, row: Array, column: Array) -> float:
        """Return ``row @ pinv(matrix) @ column`` of the leading `rank` terms, 0 if it is below rounding errors."""
        terms = (self.vh[:rank].conj() @ row) * (self.u[:, :rank].conj().T @ column) / self.s[:rank]
        total = terms.sum()
        return float(total.real) if abs(total) > 1e-8 * np.abs(terms).max(initial=0.0) else 0.0


def low_rank(
    values: Array, budget: float, eps: float, max_rank: int | None = None, spectrum: Spectrum | None = None
) -> tuple[str, Factors]:
    """Return the fewest terms of a matrix within `budget`, or the best approximation by `max_rank` terms.

    Returns
    -------
    (name, factors)
        "cross", "svd", or "rows" if no form with fewer terms than rows, or columns, is within the budget.
    """
    spectrum = spectrum or Spectrum.of(values)
    full = len(spectrum.s)
    limit = min(full, max_rank or full)
    least = spectrum.least_rank(budget)
    if least == limit == full:
        return "rows", every_line(values)
    elimination = cross(values, min(limit, 2 * least + 4), budget, eps)
    steps = len(elimination[0]) if l1(values - compose(elimination)) <= budget else full + 1
    for rank in range(min(least, limit), limit + 1):
        if rank >= steps:
            return "cross", elimination
        factors = spectrum.truncated(rank)
        error = l1(values - compose(factors))
        if error <= budget or rank == limit < full:
            return "svd", snap(factors, values, max(budget, error))
    return "rows", every_line(values)


def every_line(values: Array) -> Factors:
    """Return one term for each non-zero line along the longest axis: exact for any array."""
    axis = int(np.argmax(values.shape))
    moved = np.moveaxis(values, axis, -1)
    places = np.argwhere(moved.any(axis=-1)).T
    one_hot = [np.eye(n, dtype=values.dtype)[i] for n, i in zip(moved.shape[:-1], places, strict=True)]
    return (*one_hot[:axis], moved[tuple(places)], *one_hot[axis:])
