"""Bounds on rounding errors, relative to ``||K||_1 max|x|``.

Sources: N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., SIAM 2002: section 3.1
(gamma_k), section 3.5 (complex arithmetic), theorem 24.2 (Fourier transforms).
"""

import math

from ..arguments.problem import Problem
from .facts import FlatFacts, FormFacts, KernelFacts

INTEGERS = {4: 2.0**24, 8: 2.0**53}  # itemsize of a float type -> all integers up to here are exact


def unit_roundoff(problem: Problem) -> float:
    """Return u, half the distance from 1 to the next number of the compute dtype."""
    return float(2.0**-24 if problem.real_dtype.itemsize == 4 else 2.0**-53)


def gamma(k: int, u: float) -> float:
    """Return ``gamma_k = k u / (1 - k u)``, the bound on `k` roundings; infinite if ``k u >= 1``.

    Examples
    --------
    >>> gamma(3, 2.0**-53) > 3 * 2.0**-53
    True
    """
    return k * u / (1 - k * u) if k * u < 1 else math.inf


def _arithmetic(problem: Problem, facts: KernelFacts, roundings: int) -> float:
    """Return `gamma` for a chain of real operations; complex ones count twice, times sqrt(2) for the two parts."""
    u = unit_roundoff(problem)
    wide = problem.integer_data and problem.input_dtype.itemsize == 8  # int64 -> float64 rounds
    if facts.complex:
        return math.sqrt(2) * gamma(2 * roundings + wide, u)
    return gamma(roundings + wide, u)


def direct_bound(problem: Problem, facts: KernelFacts) -> float:
    """Return ``gamma_{n+1}``: a product and a sum for each of n non-zero weights, and the rounding of a weight."""
    if direct_is_exact(problem, facts):
        return 0.0
    return _arithmetic(problem, facts, facts.nonzeros + 1)


def form_bound(problem: Problem, facts: KernelFacts, form: FormFacts) -> float:
    """Return ``error + gamma_{n+r+1} kappa``, where n is the largest number of taps of a term on all axes together.

    The r covers the sum over terms, and the 1 the rounding of the weights; a final division adds one rounding.
    """
    if form.exact and _sums_are_exact(problem, facts, facts.l1 * form.amplification * abs(form.divisor)):
        return form.error + (0.0 if _power_of_two(form.divisor) else unit_roundoff(problem))
    taps = max((sum(term) for term in form.factors), default=0)
    divided = not _power_of_two(form.divisor)
    return form.error + form.amplification * _arithmetic(problem, facts, taps + form.rank + 1 + divided)


def flat_bound(problem: Problem, facts: KernelFacts, flat: FlatFacts) -> float:
    """Return ``error + gamma_n``, where n is the largest number of roundings on the way from a sample to the result."""
    if _flat_sums_are_exact(problem, facts, flat):
        return flat.error + (0.0 if _power_of_two(flat.divisor) else unit_roundoff(problem))
    return flat.error + _arithmetic(problem, facts, flat.roundings)


ROUNDINGS_PER_LEVEL = 6.7
"""eta / u of theorem 24.2: ``mu + gamma_4 (sqrt(2) + mu)``, with twiddle factors accurate to mu = u."""


def fft_bound(problem: Problem, facts: KernelFacts, points: int, parts: int = 1) -> float:
    """Return the bound for overlap-save with N points per tile: ``2 log2(N) eta + 4 u``, 3 instead of 2 in float64.

    Theorem 24.2 bounds the error of a transform, root mean square over the tile, by ``log2(N) eta`` times
    the root mean square of the result; with ``rms(x) <= max|x|`` and ``max|FFT(K)| <= ||K||_1`` this is
    relative to ``||K||_1 max|x|``.  Two transforms are of data.  That of the kernel is computed in float64:
    it adds one rounding to float32 sums, and counts as a third transform of float64 sums.  The largest error in
    a tile exceeds the root mean square by a factor of about 5, but the actual rms is below the worst case by
    more than 20, and the tests look for counterexamples.  The error is spread over the whole tile: unlike that
    of direct summation, it is not smaller where the data are small.  Each further part of a kernel of several parts
    adds a product and a sum.
    """
    return transform_bound(problem, points, parts) * (math.sqrt(2) if facts.complex else 1.0)


def transform_bound(problem: Problem, points: int, parts: int = 1) -> float:
    """Return `fft_bound` for real weights."""
    u = unit_roundoff(problem)
    levels = math.log2(max(points, 2))
    transforms = 2 if problem.real_dtype.itemsize == 4 else 3
    return (transforms * levels * ROUNDINGS_PER_LEVEL + 4 * parts) * u


def fft_largest_sample(problem: Problem, facts: KernelFacts, points: int) -> float:
    """Return the largest magnitude of samples with which no transform of `points` overflows.

    A forward transform is at most ``N max|x|``.  The sums of the backward transform are, by the Cauchy-Schwarz
    inequality and Parseval's theorem, at most ``N^(3/2) max|x| ||K||_1``.  A factor of 2 is reserved for rounding.
    """
    largest = math.ldexp(1.0, 126 if problem.real_dtype.itemsize == 4 else 1022)
    return largest / points / max(1.0, math.sqrt(points) * facts.l1)


# ------------------------------------------------------------------------------------- exactness


def largest_sample(problem: Problem) -> float | None:
    """Return the largest magnitude of samples and `cval` if all of them are integers, else None."""
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
    """Return whether sums of integers with a total magnitude of up to ``l1 max|x|`` are exact."""
    sample = largest_sample(problem)
    return sample is not None and not facts.complex and l1 * sample <= INTEGERS[problem.real_dtype.itemsize]


def form_is_exact(problem: Problem, facts: KernelFacts, form: FormFacts) -> bool:
    """Return whether a form is free of rounding: small integer terms over a power of two."""
    if not form.exact or form.error or not _power_of_two(form.divisor):
        return False
    return _sums_are_exact(problem, facts, facts.l1 * form.amplification * abs(form.divisor))


def flat_is_exact(problem: Problem, facts: KernelFacts, flat: FlatFacts) -> bool:
    """Return whether shifted sums of rows are free of rounding: small integer weights over a power of two."""
    return _flat_sums_are_exact(problem, facts, flat) and not flat.error and _power_of_two(flat.divisor)


def _flat_sums_are_exact(problem: Problem, facts: KernelFacts, flat: FlatFacts) -> bool:
    return flat.exact and _sums_are_exact(problem, facts, facts.l1 * abs(flat.divisor))


def direct_is_exact(problem: Problem, facts: KernelFacts) -> bool:
    """Return whether direct summation is free of rounding: small integer weights, or these over a power of two."""
    if facts.integer:
        return _sums_are_exact(problem, facts, facts.l1)
    scales = [abs(f.divisor) for f in facts.forms if f.exact and not f.error and _power_of_two(f.divisor)]
    return bool(scales) and _sums_are_exact(problem, facts, facts.l1 * min(scales))


def fft_is_exact(problem: Problem, facts: KernelFacts, points: int, parts: int = 1) -> bool:
    """Return whether rounding the result to integers gives the exact sum: integer data and weights, error below 1/2."""
    sample = largest_sample(problem)
    if sample is None or not facts.integer or facts.complex:
        return False
    total = facts.l1 * sample
    error = fft_bound(problem, facts, points, parts) * total
    return total <= INTEGERS[problem.real_dtype.itemsize] and error < 0.5
