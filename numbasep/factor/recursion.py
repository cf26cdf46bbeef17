"""Gaussians as recursive filters, with a certified error.

A Gaussian is, on each side of its centre, nearly a sum of three damped oscillations (R. Deriche, "Recursively
implementing the Gaussian and its derivatives", INRIA RR-1893, 1993, with two).  The poles below minimise the L1
distance to ``exp(-t**2 / 2)``; they scale with the width.  The residues are fitted to the given taps.  The error
is the L1 distance between the whole impulse response and these taps, which bounds the error over all data.

Boundaries: each line is extended by `margin` samples on both sides, where the filters start from a state of zero.
The error includes the response to samples beyond the margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .arguments import Array

POLES = np.array([2.21590391 + 0.52882552j, 2.1875151 + 1.62219156j, 2.1204907 + 2.86446305j])
"""Exponents z of the oscillations ``exp(-z t)``, with t in standard deviations."""
LEAST_TAPS = 33  # shorter filters are faster as sums over taps
_REACH = 7.0  # standard deviations over which the response is fitted and lines are extended
_TAIL = 30.0  # standard deviations over which the response is summed; the rest is negligible
_REFITS = 6
OPERATIONS = 37
"""Multiply-adds per sample: each of 3 poles takes 4 and its residue 2, in both directions; the centre takes 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Recursion:
    """A symmetric filter along one axis: ``y[n] = centre x[n] + sum_{k>0} h(k) (x[n-k] + x[n+k])``."""

    poles: Array
    """(3,) complex: ``h(k) = Re sum_j residues[j] poles[j] ** (k - 1)``."""
    residues: Array
    """(3,) complex."""
    centre: float
    """Weight of the central sample."""
    margin: int
    """Number of samples by which lines are extended beyond both ends of the output."""
    gain: float
    """Sum of the taps."""
    error: float
    """``||h - taps||_1 / ||taps||_1``, plus a bound on all rounding errors of the compute type."""

    @property
    def coefficients(self) -> Array:
        """Poles, residues and centre as real numbers, in the order that `cpu.kernels.recursive` expects."""
        pairs = np.concatenate([self.poles, self.residues]).view(np.float64)
        return np.append(pairs, self.centre)


def fit_all(
    terms: Sequence[Sequence[Array]], dtype: np.dtype[np.floating]
) -> tuple[tuple[Recursion, ...], float] | None:
    """Fit a filter to each axis of a single term; return them and their total error, or None if one has no fit."""
    if len(terms) != 1:
        return None
    found = []
    for taps in terms[0]:
        recursion = fit(taps, dtype)
        if recursion is None:
            return None
        found.append(recursion)
    return tuple(found), math.prod(1 + recursion.error for recursion in found) - 1


def fit(taps: Array, dtype: np.dtype[np.floating]) -> Recursion | None:
    """Fit a recursive filter to taps that are many, odd in number, symmetric and non-negative; else return None.

    Parameters
    ----------
    taps : 1-D ndarray
        Weights, float64.
    dtype : numpy.dtype
        Type that the filter computes in.

    Returns
    -------
    Recursion or None

    Examples
    --------
    >>> t = np.arange(-80, 81) / 20.0
    >>> gaussian = np.exp(-t * t / 2)
    >>> fit(gaussian / gaussian.sum(), np.dtype(np.float32)).error < 2e-4
    True
    >>> fit(np.ones(161), np.dtype(np.float32)).error > 0.1
    True
    """
    n = taps.size
    if n < LEAST_TAPS or n % 2 == 0 or taps.dtype.kind == "c" or taps.min() < 0:
        return None
    radius, total = n // 2, float(taps.sum())
    if not total or np.abs(taps - taps[::-1]).sum() > 16 * np.finfo(np.float64).eps * total:
        return None
    positions = np.arange(-radius, radius + 1)
    sigma = float(np.sqrt((positions**2 * taps).sum() / total))
    if sigma < 2:
        return None
    margin = int(np.ceil(_REACH * sigma))
    poles = _rounded(np.exp(-POLES / sigma), dtype)
    wanted = np.zeros(max(margin, radius) + 1)
    wanted[: radius + 1] = taps[radius:] / total
    residues = _rounded(_residues(poles, wanted[1:]), dtype)
    response = _response(poles, residues, int(_TAIL * sigma) + wanted.size)
    distance = (
        np.abs(response[: wanted.size - 1] - wanted[1:]).sum() + np.abs(response[wanted.size - 1 :]).sum()
    )
    unseen = np.abs(response[margin:]).sum()  # the largest share of samples beyond the margin
    centre = float(dtype.type(wanted[0]))
    error = 2 * float(distance + unseen) + _rounding(poles, residues, centre, dtype)
    return Recursion(poles, _rounded(residues * total, dtype), centre * total, margin, total, error)


def _rounded(values: Array, dtype: np.dtype[np.floating]) -> Array:
    """Round the real and imaginary parts to `dtype`."""
    return values.astype(np.complex64 if dtype.itemsize == 4 else np.complex128).astype(np.complex128)


def _residues(poles: Array, wanted: Array) -> Array:
    """Fit residues by least absolute deviations, with iteratively reweighted least squares."""
    powers = poles[None, :] ** np.arange(wanted.size)[:, None]
    design = np.concatenate([powers.real, -powers.imag], axis=1)
    weights = np.ones(wanted.size)
    best: Array = np.zeros(6)
    least = np.inf
    for _ in range(_REFITS):
        found = np.linalg.lstsq(design * weights[:, None], wanted * weights, rcond=None)[0]
        off = np.abs(design @ found - wanted)
        if off.sum() < least:
            best, least = found, float(off.sum())
        weights = 1 / np.sqrt(off + 1e-3 * off.max() + 1e-300)
    return np.asarray(best[:3] + 1j * best[3:])


def _response(poles: Array, residues: Array, count: int) -> Array:
    """Return ``h(1), h(2), ..., h(count)``."""
    return np.asarray((poles[None, :] ** np.arange(count)[:, None] @ residues).real)


def _rounding(poles: Array, residues: Array, centre: float, dtype: np.dtype[np.floating]) -> float:
    """Return a bound on the rounding errors, relative to a filter of unit L1 norm.

    A state is at most ``max|x| / (1 - |p|)``.  Each step adds a rounding error of at most 3 u of that, which decays
    at the rate 1 - |p|.  A result is 14 fused operations on such states, and its coefficients are rounded, too.
    """
    u = float(np.finfo(dtype).eps) / 2
    growth = 1 / (1 - np.abs(poles))
    return float((2 * np.abs(residues) * (3 * growth**2 + 16 * growth)).sum() + 16 * centre) * u
