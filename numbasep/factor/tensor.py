"""Sums of separable terms in three and more dimensions.

Axes that separate from the others are split off first (a cut of rank one of the tensor train).  The
remainder is written ``K = sum_i a_i x C_i`` along one axis, and each cofactor C_i, with one dimension less, is
decomposed in turn.  Any basis a_i of the fibres is correct; a good one makes the cofactors simple:

* an eigenbasis of a pencil of two mixtures of slices gives cofactors of rank one wherever the kernel is a
  sum of as many separable terms (differences of Gaussians), by Jennrich's simultaneous diagonalisation;
* a double eigenvalue without a second eigenvector (the Laplacian of a Gaussian, a limit of such sums) still
  gives one;
* pivot fibres keep the kernel's own slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from .arguments import Array
from .form import Factors, compose, magnitude
from .lowrank import (
    MAX_AMPLIFICATION,
    Spectrum,
    alternate,
    fibres,
    generic_directions,
    l1,
    largest,
    low_rank,
    rank_one,
    snap,
)
from .operations import form_operations

_MAX_PENCIL = 6
_POLISHING_SWEEPS = 12
_NOISE = 1e4


def decompose(values: Array, budget: float, eps: float) -> Factors:
    """Return few separable terms within `budget` (absolute, L1), for any number of axes."""
    if values.ndim == 1:
        return (values[None].copy(),)
    if not values.any():
        return tuple(np.zeros((0, n), dtype=values.dtype) for n in values.shape)
    term = rank_one(values, budget, eps)
    if term is not None:
        return term
    if values.ndim == 2:
        return low_rank(values, budget, eps)[1]
    parted = split(values, budget, eps)
    if parted is not None:
        axes, one, other = parted
        return join(axes, decompose(one, budget, eps), decompose(other, budget, eps))
    found = [
        f
        for f in _expansions(values, budget, eps)
        if l1(values - compose(f)) <= budget and magnitude(f) <= MAX_AMPLIFICATION * l1(values)
    ]
    return min(found or [_slices(values, budget, eps)], key=lambda f: (len(f[0]), form_operations(f)))


def train(values: Array, budget: float, eps: float) -> Factors | None:
    """Return a tensor train of three axes as terms, ``sum_ij a_i x B_ij x v_j``; None if it exceeds `budget`.

    It has more terms than `decompose` returns, but they share the taps of the first and of the last axis, so that
    they take ``r n_1 + r s n_2 + s n_3`` operations.  That is fewer if the slices across the first axis share their
    rows, as in waves that are oblique in all three axes (I. V. Oseledets, "Tensor-train decomposition", 2011).
    """
    if values.ndim != 3:
        return None
    size = l1(values)
    first, rest = low_rank(unfold(values, 0), budget / 4, eps)[1]
    share = budget / (4 * max(1.0, float(np.abs(first).sum(axis=1).max())))
    middle, last = low_rank(rest.reshape(-1, values.shape[2]), share, eps)[1]
    r, s = len(first), len(last)
    blocks = middle.reshape(s, r, values.shape[1])
    factors = (
        np.repeat(first, s, axis=0),
        blocks.transpose(1, 0, 2).reshape(r * s, -1),
        np.tile(last, (r, 1)),
    )
    keep = np.array([bool(row.any()) for row in factors[1]])
    factors = tuple(f[keep] for f in factors)
    sound = l1(values - compose(factors)) <= budget and magnitude(factors) <= MAX_AMPLIFICATION * size
    return factors if sound else None


def shared_operations(factors: Factors) -> int:
    """Return the non-zero taps of all passes, if terms share passes of equal taps along the outer axes and the last."""
    terms = range(len(factors[0]))
    taps = [np.count_nonzero(f, axis=1).tolist() for f in factors]
    keys = [[row.tobytes() for row in f] for f in factors]
    made = [b""] * len(terms)
    total = sum(taps[-2])
    for axis in range(len(factors) - 2):
        made = [made[t] + keys[axis][t] for t in terms]
        total += sum(taps[axis][t] for t in {made[t]: t for t in terms}.values())
    return int(total + sum(taps[-1][t] for t in {keys[-1][t]: t for t in terms}.values()))


def split(values: Array, budget: float, eps: float) -> tuple[tuple[int, ...], Array, Array] | None:
    """Find axes whose product with the remaining axes is the kernel, ``K = one(axes) x other(rest)``.

    Tries every group of at most half the axes, smallest first; None if there is no such group.
    """
    pivot = largest(values)
    for count in range(1, values.ndim // 2 + 1):
        for axes in combinations(range(values.ndim), count):
            rest = tuple(a for a in range(values.ndim) if a not in axes)
            moved = values.transpose(axes + rest)
            shape = moved.shape[:count]
            matrix = moved.reshape(int(np.prod(shape)), -1)
            row = np.ravel_multi_index([pivot[a] for a in axes], shape)
            # A look at one column of the residual first avoids most of the full comparisons.
            at = (int(row), int(np.abs(matrix[row]).argmax()))
            outer = matrix[:, at[1]] / matrix[at]
            if l1(matrix[:, 0] - outer * matrix[at[0], 0]) > max(budget, 64 * eps * l1(values)):
                continue
            term = rank_one(matrix, budget, eps)
            if term is not None:
                return axes, term[0][0].reshape(shape), term[1][0].reshape(moved.shape[count:])
    return None


def join(axes: tuple[int, ...], one: Factors, other: Factors) -> Factors:
    """Return all products of the terms of two kernels on complementary axes."""
    first = iter([np.repeat(f, len(other[0]), axis=0) for f in one])
    second = iter([np.tile(f, (len(one[0]), 1)) for f in other])
    return tuple(next(first) if a in axes else next(second) for a in range(len(one) + len(other)))


def unfold(values: Array, axis: int) -> Array:
    """Return the slices across an axis as the rows of a matrix."""
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _expansions(values: Array, budget: float, eps: float) -> Iterator[Factors]:
    """Yield candidate decompositions along each axis of least unfolding rank."""
    spectra = [Spectrum.of(unfold(values, axis)) for axis in range(values.ndim)]
    ranks = [spectrum.least_rank(budget) for spectrum in spectra]
    least = min(ranks)
    for axis in (a for a in range(values.ndim) if ranks[a] == least):
        partner = next((a for a in range(values.ndim) if a != axis and ranks[a] == least), None)
        if partner is not None and 1 < least <= _MAX_PENCIL:
            pair = spectra[axis].u[:, :least], spectra[partner].u[:, :least]
            for basis in _pencil_bases(values, axis, partner, *pair, eps):
                # The basis and the cofactors are noisy; least squares on the whole sum removes the noise.
                yield _refined(values, _along(values, axis, basis, _NOISE * budget, eps), budget)
        if least < values.shape[axis]:
            yield _along(values, axis, low_rank(unfold(values, axis), budget, eps)[1][0].T, budget, eps)


def _pencil_bases(values: Array, axis: int, partner: int, u: Array, v: Array, eps: float) -> Iterator[Array]:
    """Yield bases along `axis` from a pencil of two mixtures of the slices that contain `axis` and `partner`."""
    moved = np.moveaxis(values, (axis, partner), (0, 1)).reshape(len(u), len(v), -1)
    mixing = generic_directions(moved.shape[2])
    core = np.einsum("ia,ijk,jb->kab", u.conj(), moved @ mixing, v.conj(), optimize=True)
    if np.linalg.cond(core[1]) > 1e12:
        return
    pencil = core[0] @ np.linalg.inv(core[1])
    roots, vectors = np.linalg.eig(pencil)
    size = np.abs(roots).max()
    spread = np.abs(roots[:, None] - roots + size * np.eye(len(roots))).min()
    doubt = 100 * np.sqrt(max(eps, 2.0**-52)) * size  # rounding splits a double root by its square root
    real = values.dtype.kind != "c"
    if spread > 1e-8 * size and (not real or np.abs(roots.imag).max() <= 1e-8 * size):
        yield np.asarray(u @ (vectors.real if real else vectors))
    if len(roots) == 2 and spread <= doubt:
        defect = pencil - np.trace(pencil) / 2 * np.eye(2)
        shared = u @ np.linalg.svd(defect)[2][1].conj()
        at = int(np.abs(shared).argmax())
        # Any other direction is correct; this one is zero where the shared one is largest.
        yield np.stack([shared, u[:, 0] * u[at, 1] - u[:, 1] * u[at, 0]], axis=1)


def _along(values: Array, axis: int, basis: Array, budget: float, eps: float) -> Factors:
    """Expand in a basis of the fibres along an axis and decompose each cofactor."""
    cofactors = np.linalg.lstsq(basis, unfold(values, axis), rcond=None)[0]
    return _assemble(axis, basis.T, cofactors.reshape(-1, *np.delete(values.shape, axis)), budget, eps)


def _slices(values: Array, budget: float, eps: float) -> Factors:
    """Decompose each slice across the shortest axis separately: exact at any rank."""
    axis = int(np.argmin(values.shape))
    return _assemble(axis, np.eye(values.shape[axis]), np.moveaxis(values, axis, 0), budget, eps)


def _assemble(axis: int, basis: Array, cofactors: Array, budget: float, eps: float) -> Factors:
    """Join each basis vector with the terms of its cofactor, which has a share of the budget."""
    parts = []
    for taps, cofactor in zip(basis, cofactors, strict=True):
        share = budget / (len(basis) * l1(taps)) if taps.any() else np.inf
        parts.append(join((axis,), (taps[None],), decompose(cofactor, share, eps)))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def truncated(values: Array, terms: int, budget: float, eps: float) -> Factors:
    """Return at most `terms` terms: the largest of a full decomposition, improved by alternating least squares."""
    factors = fibres(values, largest(values)) if terms == 1 else decompose(values, budget, eps)
    weight = np.prod([np.linalg.norm(f, axis=1) for f in factors], axis=0)
    keep = np.sort(np.argsort(-weight, kind="stable")[:terms])
    best = factors = tuple(f[keep] for f in factors)
    for _ in range(_POLISHING_SWEEPS):
        factors = alternate(values, factors)
        if l1(values - compose(factors)) < l1(values - compose(best)):
            best = factors
    return best


def _refined(values: Array, factors: Factors, budget: float) -> Factors:
    """Improve terms of an ill-conditioned basis by least squares, then restore symmetry and zeros."""
    if not len(factors[0]):
        return factors
    for _ in range(3):
        if l1(values - compose(factors)) <= budget:
            break
        factors = alternate(values, factors)
    return snap(factors, values, budget)
