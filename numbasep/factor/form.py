"""A sum of separable terms, with its error and its cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .arguments import Array, ScaledKernel, scale
from .operations import form_operations

#: One matrix per axis; row t holds the taps of term t along that axis.
Factors = tuple[Array, ...]

#: Integers up to here are exact in double precision.
LARGEST_EXACT = 2.0**53
_LARGEST_EXPONENT = 1020  # a divisor with a larger exponent could overflow or lose bits


@dataclass(frozen=True, slots=True)
class Form:
    """A kernel written as a sum of separable terms: ``K = sum(terms) / divisor``, up to `error`."""

    name: str
    """Method that found it: "rank1", "integer", "cross", "svd", "terms", "train", "rows", "columns", "slices", "runs",
    "delta+...", "box+...", "corner+..."."""
    terms: tuple[tuple[Array, ...], ...]
    """The terms.  Each has one float64 or complex128 vector of taps per kernel axis, as long as the axis.
    A factor that all terms share is the same array object in all of them."""
    divisor: float
    """Divisor of the sum of the terms; the division comes last."""
    error: float
    """``||K - sum(terms) / divisor||_1 / ||K||_1``: the largest possible error of the output relative to
    ``||K||_1 max|x|``, in exact arithmetic."""
    amplification: float
    """Cancellation, ``kappa = sum_t prod_a ||f_ta||_1 / (divisor ||K||_1)`` >= 1 - error: the factor by which
    partial sums can exceed the result."""
    operations: int
    """Multiply-adds or additions per output element, see `numbasep.factor.operations`."""
    exact: bool
    """Whether all taps are integers and the kernel is their sum over `divisor`, rounded to the kernel's dtype.
    Integer data then give the exact sum, as long as the partial sums fit the compute type."""
    same_support: bool
    """Whether the terms read exactly the samples whose weight in the kernel is not zero, so that a NaN spreads
    as in direct summation."""

    @property
    def rank(self) -> int:
        """Number of terms."""
        return len(self.terms)

    @property
    def common_axes(self) -> tuple[int, ...]:
        """Axes along which all terms have the same factor, so that one pass is enough for all terms."""
        if self.rank < 2:
            return ()
        first = self.terms[0]
        return tuple(a for a, taps in enumerate(first) if all(term[a] is taps for term in self.terms))

    @property
    def shared_operations(self) -> int:
        """Operations per output element if the pass along each of `common_axes` is done once for all terms."""
        shared = self.common_axes
        if not shared:
            return self.operations
        once = [self.terms[0][a][None] for a in shared]
        rest = [stack(self.terms, a) for a in range(len(self.terms[0])) if a not in shared]
        return form_operations(once) + form_operations(rest)


NOTHING = Form("zero", (), 1.0, error=0.0, amplification=1.0, operations=0, exact=True, same_support=True)
"""Form of a kernel of zeros: a sum without terms."""


def stack(terms: Sequence[Sequence[Array]], axis: int) -> Array:
    """Return the factors of all terms along one axis as a (terms, taps) matrix."""
    return np.stack([term[axis] for term in terms])


def compose(factors: Sequence[Array]) -> Array:
    """Return the dense kernel of a sum of separable terms, given one (terms, taps) matrix per axis."""
    head, *tail = factors
    if not tail:
        return np.asarray(head.sum(axis=0))
    rest = tail[0]
    for f in tail[1:]:
        rest = (rest[:, :, None] * f[:, None, :]).reshape(len(f), -1)
    return (head.T @ rest).reshape([f.shape[1] for f in factors])


def magnitude(factors: Sequence[Array]) -> float:
    """Return the sum of the L1 norms of the terms, which is large if nearly parallel terms cancel."""
    return float(np.prod([np.abs(f).sum(axis=1) for f in factors], axis=0).sum())


def relative_error(kernel: ScaledKernel, approximation: Array) -> float:
    """Return ``||K - A||_1 / ||K||_1`` of the scaled values; 0 if both are zero."""
    difference = float(np.abs(kernel.values - approximation).sum())
    return difference / kernel.l1 if difference else 0.0


def build(name: str, kernel: ScaledKernel, factors: Sequence[Array], divisor: float, operations: int) -> Form:
    """Return a `Form` in the kernel's own scale, with its measured error.

    The stored taps are multiplied out and compared with every weight, so that an error in the search cannot go
    unnoticed.  `factors` reproduce the *scaled* values after division by `divisor`.  The power of two is merged
    into the divisor if the factors are integers; else it is distributed over the axes so that no pass overflows.
    """
    factors = [f.astype(kernel.values.dtype, copy=False) for f in factors]
    kappa = magnitude(factors) / divisor
    integral = (
        kappa * divisor < LARGEST_EXACT
        and abs(math.frexp(divisor)[1] - kernel.exponent) < _LARGEST_EXPONENT
        and all(bool(np.all(f == np.rint(f))) for f in factors)
    )
    if integral:
        approximation = compose(factors) / divisor
        divisor = math.ldexp(divisor, -kernel.exponent)
    else:
        factors[0] = factors[0] / divisor
        divisor = 1.0
        share, rest = divmod(kernel.exponent, len(factors))
        factors = [scale(f, share + rest * (axis == 0)) for axis, f in enumerate(factors)]
        approximation = scale(compose(factors), -kernel.exponent)
    return Form(
        name=name,
        terms=_terms(factors),
        divisor=divisor,
        error=relative_error(kernel, approximation),
        amplification=kappa / kernel.l1 if kernel.l1 else 0.0,
        operations=operations,
        exact=integral and rounds_to(kernel, approximation),
        same_support=_supports_agree(kernel, factors),
    )


def rounds_to(kernel: ScaledKernel, values: Array) -> bool:
    """Return whether `values`, rounded to the dtype in which the kernel was given, equal its weights."""
    if kernel.eps <= 2.0**-52:
        return bool(np.array_equal(kernel.values, values))
    return bool(np.all(np.abs(kernel.values - values) <= kernel.eps / 2 * np.abs(kernel.values)))


def _terms(factors: Sequence[Array]) -> tuple[tuple[Array, ...], ...]:
    """Return the terms as read-only vectors; a factor common to all terms becomes one object."""
    columns: list[list[Array]] = []
    for f in factors:
        rows = f + 0.0  # no negative zeros
        if not rows.flags.c_contiguous:
            rows = np.ascontiguousarray(rows)
        rows.flags.writeable = False
        common = len(rows) > 1 and bool((rows == rows[0]).all())
        columns.append([rows[0]] * len(rows) if common else list(rows))
    return tuple(zip(*columns, strict=True))


def _supports_agree(kernel: ScaledKernel, factors: Sequence[Array]) -> bool:
    touched = compose([(f != 0).astype(np.float64) for f in factors]) > 0
    return bool(np.array_equal(touched, kernel.values != 0))
