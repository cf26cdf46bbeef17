"""Bounds on rounding errors, relative to ``||K||_1 max|x|``.

Sources: N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., SIAM 2002: section 3.1
(gamma_k), section 3.5 (complex arithmetic), theorem 24.2 (Fourier transforms).
"""

from __future__ import annotations

import math

from ..arguments.problem import Problem
from .facts import FlatFacts, FormFacts, KernelFacts

INTEGERS = {4: 2.0**24, 8: 2.0**53}  # bytes of the type -> up to where it holds every integer


def unit_roundoff(problem: Problem) -> float:
    """u: half the distance from 1 to the next number of the type that sums are taken in."""
    return float(2.0**-24 if problem.real_dtype.itemsize == 4 else 2.0**-53)


def gamma(k: int, u: float) -> float:
    """``gamma_k = k u / (1 - k u)``, the relative growth of `k` roundings; infinite where that says nothing.

    Examples
    --------
    >>> gamma(3, 2.0**-53) > 3 * 2.0**-53
    True
    """
    return k * u / (1 - k * u) if k * u < 1 else math.inf


def _arithmetic(problem: Problem, facts: KernelFacts, roundings: int) -> float:
    """`gamma` for a chain of real sums, or of complex ones: twice as long, sqrt(2) for the two parts."""
    u = unit_roundoff(problem)
    wide = problem.integer_data and problem.input_dtype.itemsize == 8  # int64 -> float64 rounds
    if facts.complex:
        return math.sqrt(2) * gamma(2 * roundings + wide, u)
    return gamma(roundings + wide, u)


def direct_bound(problem: Problem, facts: KernelFacts) -> float:
    """One product and one sum for each non-zero weight, and the weight's own rounding: ``gamma_{n+1}``."""
    if direct_is_exact(problem, facts):
        return 0.0
    return _arithmetic(problem, facts, facts.nonzeros + 1)


def form_bound(problem: Problem, facts: KernelFacts, form: FormFacts) -> float:
    """``error + gamma_{n+r+1} kappa``, with n the taps of the longest term, all its axes together.

    The r covers the sum over terms, the 1 the rounding of the weights; a division at the end rounds once
    more.
    """
    if form.exact and _sums_are_exact(problem, facts, facts.l1 * form.amplification * abs(form.divisor)):
        return form.error + (0.0 if _power_of_two(form.divisor) else unit_roundoff(problem))
    taps = max((sum(term) for term in form.factors), default=0)
    divided = not _power_of_two(form.divisor)
    return form.error + form.amplification * _arithmetic(problem, facts, taps + form.rank + 1 + divided)


def flat_bound(problem: Problem, facts: KernelFacts, flat: FlatFacts) -> float:
    """``error + gamma_n``, with n the roundings on the longest way from a sample to the result."""
    if _flat_sums_are_exact(problem, facts, flat):
        return flat.error + (0.0 if _power_of_two(flat.divisor) else unit_roundoff(problem))
    return flat.error + _arithmetic(problem, facts, flat.roundings)


ROUNDINGS_PER_LEVEL = 6.7
"""eta / u of theorem 24.2: ``mu + gamma_4 (sqrt(2) + mu)`` with twiddle factors right to mu = u."""


def fft_bound(problem: Problem, facts: KernelFacts, points: int) -> float:
    """Of overlap-save with N points a tile: ``2 log2(N) eta + 4 u``, in float64 one transform more.

    Theorem 24.2 bounds the error of a transform, root mean square over the tile, by ``log2(N) eta`` times
    the root mean square of the result; ``rms(x) <= max|x|`` and ``max|FFT(K)| <= ||K||_1`` make that
    relative to ``||K||_1 max|x|``.  There are two transforms of data; the kernel's own is taken in float64,
    so that it adds a rounding to float32 sums and a third transform to float64 ones.  The largest error of
    a tile exceeds the root mean square by a factor of about 5; the actual rms stays below the worst case by
    more than 20, and the tests look for counterexamples.  The error is spread over the whole tile: unlike
    direct summation it does not shrink where the data are small.
    """
    return transform_bound(problem, points) * (math.sqrt(2) if facts.complex else 1.0)


def transform_bound(problem: Problem, points: int) -> float:
    """`fft_bound` for real weights."""
    u = unit_roundoff(problem)
    levels = math.log2(max(points, 2))
    transforms = 2 if problem.real_dtype.itemsize == 4 else 3
    return (transforms * levels * ROUNDINGS_PER_LEVEL + 4) * u


def fft_largest_sample(problem: Problem, facts: KernelFacts, points: int) -> float:
    """Magnitude of samples up to which no transform of `points` overflows.

    A forward transform is at most ``N max|x|``; the sums of the backward one, by the Cauchy-Schwarz
    inequality and Parseval's theorem, at most ``N^(3/2) max|x| ||K||_1``.  One factor of 2 is kept for
    rounding.
    """
    largest = math.ldexp(1.0, 126 if problem.real_dtype.itemsize == 4 else 1022)
    return largest / points / max(1.0, math.sqrt(points) * facts.l1)


# ------------------------------------------------------------------------------------- exactness


def largest_sample(problem: Problem) -> float | None:
    """Largest magnitude of a sample or of `cval` if all of these are integers; None otherwise."""
    if problem.max_abs is None:
        return None
    if not any(window.boundary.name == "CONSTANT" for window in problem.windows):
        return problem.max_abs
    cval = problem.cval
    if cval.imag or not math.isfinite(cval.real) or cval.real != math.floor(cval.real):
        return None
    return max(problem.max_abs, abs(cval.real))


def _power_of_two(x: float) -> bool:
    return math.isfinite(x) and abs(math.frexp(x)[0]) == 0.5


def _sums_are_exact(problem: Problem, facts: KernelFacts, l1: float) -> bool:
    """Whether integers of magnitudes up to ``l1 max|x|`` in total add up without rounding."""
    sample = largest_sample(problem)
    return sample is not None and not facts.complex and l1 * sample <= INTEGERS[problem.real_dtype.itemsize]


def form_is_exact(problem: Problem, facts: KernelFacts, form: FormFacts) -> bool:
    """Whether a form rounds nothing: integer terms, small enough, a power of two to divide by."""
    if not form.exact or form.error or not _power_of_two(form.divisor):
        return False
    return _sums_are_exact(problem, facts, facts.l1 * form.amplification * abs(form.divisor))


def flat_is_exact(problem: Problem, facts: KernelFacts, flat: FlatFacts) -> bool:
    """Whether shifted sums of rows round nothing: integer weights, small enough, a power of two to divide by."""
    return _flat_sums_are_exact(problem, facts, flat) and not flat.error and _power_of_two(flat.divisor)


def _flat_sums_are_exact(problem: Problem, facts: KernelFacts, flat: FlatFacts) -> bool:
    return flat.exact and _sums_are_exact(problem, facts, facts.l1 * abs(flat.divisor))


def direct_is_exact(problem: Problem, facts: KernelFacts) -> bool:
    """Whether direct summation rounds nothing: integer weights, or integers over a power of two."""
    if facts.integer:
        return _sums_are_exact(problem, facts, facts.l1)
    scales = [abs(f.divisor) for f in facts.forms if f.exact and not f.error and _power_of_two(f.divisor)]
    return bool(scales) and _sums_are_exact(problem, facts, facts.l1 * min(scales))


def fft_is_exact(problem: Problem, facts: KernelFacts, points: int) -> bool:
    """Whether rounding the result to integers gives the exact sum: integers, and an error below 1/2."""
    sample = largest_sample(problem)
    if sample is None or not facts.integer or facts.complex:
        return False
    total = facts.l1 * sample
    return total <= INTEGERS[problem.real_dtype.itemsize] and fft_bound(problem, facts, points) * total < 0.5
