"""Facts of a kernel that the choice of a route depends on.

They contain no arrays: they are frozen, hashable and small, so that a choice can be tested, cached and printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..lowering.task import Weights
from ..lowering.terms import factor_counts

if TYPE_CHECKING:
    from ..factor import Form
    from ..factor.runs import Flat

GIVEN = "given"  # name of a form whose terms the caller gave
# With at least this many columns, direct summation is faster if mirrored columns are added first.
FOLDED_COLUMNS = 6
NO_CANCELLATION = 1e-6  # amplification beyond 1 that can be rounding


@dataclass(frozen=True, slots=True)
class FormFacts:
    """Facts of one form, a kernel written as a sum of separable terms."""

    name: str
    """Method that found the form: "rank1", "svd", "delta+rank1", ..."""
    factors: tuple[tuple[int, ...], ...]
    """Number of non-zero taps of each term along each axis."""
    runs: tuple[tuple[int, ...], ...]
    """Number of runs of consecutive non-zero taps of each factor."""
    boxes: tuple[tuple[bool, ...], ...]
    """Whether each factor is one run of at least two equal taps."""
    groups: tuple[tuple[int, ...], ...]
    """Index of the first term with the same taps along the axis, for each factor."""
    divisor: float
    """Divisor of the sum of the terms; the division comes last."""
    error: float
    """``||K - K_form||_1 / ||K||_1``."""
    amplification: float
    """Cancellation, ``kappa = sum_t prod_a ||f_ta||_1 / ||K||_1``."""
    operations: int
    """Multiply-adds per output element."""
    exact: bool
    """Whether the terms are integers that give the weights exactly."""
    same_support: bool
    """Whether the terms read exactly the samples under non-zero weights."""
    coherent: bool
    """Whether no two terms weigh the same sample with opposite signs, so that an infinity does not become NaN."""
    given: bool
    """Whether the caller gave these terms, so that they define the result."""

    @property
    def rank(self) -> int:
        """Number of separable terms."""
        return len(self.factors)


@dataclass(frozen=True, slots=True)
class RecursionFacts:
    """Facts of recursive filters along all axes."""

    error: float
    """``||K - K_recursive||_1 / ||K||_1``, plus a bound on all rounding errors."""
    margins: tuple[int, ...]
    """Number of samples by which lines are extended at both ends, for each axis."""
    operations: int
    """Multiply-adds per sample and axis."""


@dataclass(frozen=True, slots=True)
class FlatFacts:
    """Facts of a kernel of few different weights, written as shifted sums of rows."""

    rows: int
    """Rows added per row of output."""
    moves: int
    """Sums that are saved to be continued later, counted twice: they are stored and loaded."""
    columns: int
    """Shifted sums added per output element, without sums of neighbours."""
    row_loads: float
    """Vectors of rows loaded per vector of output, if sums go to row buffers."""
    sums: int
    """Stored sums of rows and of neighbours, if sums go to row buffers."""
    shifted: int
    """Vectors of sums loaded per vector of output, if sums go to row buffers."""
    operations: int
    """Additions and multiplications per output element."""
    paired_operations: int
    """The same if sums stay in registers, where two output rows share the additions of common rows."""
    roundings: int
    """Largest number of roundings on the way from a sample to the result."""
    divisor: float
    """Divisor of the result."""
    error: float
    """``||K - sum||_1 / ||K||_1``."""
    exact: bool
    """Whether the weights are integers that, over the divisor, give the kernel exactly."""
    weighted: bool
    """Whether there are several different weights."""


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """Facts of a kernel in canonical (correlation) orientation."""

    shape: tuple[int, ...]
    """Taps along each filtered axis."""
    nonzeros: int
    """Number of non-zero weights."""
    runs: int
    """Number of runs of consecutive non-zero weights along the last axis but one (the only axis, in 1-D)."""
    planes: int
    """Number of planes of the last two axes with a non-zero weight."""
    columns: int
    """Number of positions along the last axis with a non-zero weight."""
    full_support: bool
    """Whether no weight is zero."""
    integer: bool
    """Whether all weights are integers."""
    complex: bool
    """Whether the kernel has a complex dtype."""
    l1: float
    """Sum of the magnitudes of the weights."""
    forms: tuple[FormFacts, ...]
    """Forms of the kernel; the first, if any, is the plain factorization."""
    folded: tuple[int, int] | None = None
    """Number of non-zero weights and runs in the first half of the columns, if the kernel is even or odd along them."""
    recursion: RecursionFacts | None = None
    """Recursive filter close to the kernel, if a tolerance allows one."""
    flat: FlatFacts | None = None
    """Shifted sums of rows, if the kernel has few different weights."""

    @property
    def size(self) -> int:
        """Number of weights, zero or not."""
        return math.prod(self.shape)

    def weights(self, footprint: str) -> Weights:
        """Return the weights of direct summation: the non-zero ones, or all for the footprint "window"."""
        if footprint != "window":
            return Weights(self.nonzeros, self.runs, self.planes, self.columns, self.folded)
        runs = self.size // self.shape[-2] if len(self.shape) > 1 else 1
        columns = self.shape[-1]
        folded = None
        if self.folded is not None:
            folded = (self.size // columns * -(-columns // 2), runs // columns * -(-columns // 2))
        return Weights(self.size, runs, math.prod(self.shape[:-2]), columns, folded)


def kernel_facts(weights: NDArray[Any], forms: Sequence[Form] = (), flat: Flat | None = None) -> KernelFacts:
    """Return the facts of a kernel and of its forms.

    Parameters
    ----------
    weights : ndarray
        The kernel, of any number of dimensions, real or complex.
    forms : sequence of Form
        Result of `numbasep.factor.forms`.
    flat : Flat, optional
        Result of `numbasep.factor.runs.find`.

    Returns
    -------
    KernelFacts

    Examples
    --------
    >>> facts = kernel_facts(np.array([[1.0, 0.0, -1.0]] * 3))
    >>> facts.nonzeros, facts.runs, facts.integer, facts.full_support, facts.l1
    (6, 2, True, False, 6.0)
    """
    nonzero = weights != 0
    nonzeros = int(np.count_nonzero(nonzero))
    is_complex = weights.dtype.kind == "c"
    return KernelFacts(
        shape=tuple(int(n) for n in weights.shape),
        nonzeros=nonzeros,
        runs=_count_runs(nonzero),
        planes=int(np.count_nonzero(nonzero.any(axis=(-2, -1)))) if nonzero.ndim > 2 else 1,
        columns=int(np.count_nonzero(nonzero.any(axis=tuple(range(nonzero.ndim - 1)))))
        if nonzero.ndim
        else 1,
        full_support=nonzeros == weights.size,
        integer=not is_complex and bool(np.all(weights == np.rint(weights))),
        complex=is_complex,
        l1=float(np.abs(weights).sum(dtype=np.float64)),
        forms=tuple(_form_facts(form) for form in forms),
        folded=_folded(weights, nonzero),
        flat=None if flat is None else _flat_facts(flat),
    )


def _flat_facts(flat: Flat) -> FlatFacts:
    doubles = len(flat.doubles)
    return FlatFacts(
        rows=sum(len(one.rows) for one in flat.sums), moves=2 * len(flat.continued),
        columns=sum(map(len, flat.columns)), row_loads=flat.row_loads, sums=len(flat.sums) + doubles,
        shifted=len(flat.shifted) + 2 * doubles, operations=flat.operations,
        paired_operations=flat.paired_operations, roundings=flat.roundings, divisor=flat.divisor, error=flat.error,
        exact=flat.exact, weighted=flat.weighted,
    )  # fmt: skip


def _folded(weights: NDArray[Any], nonzero: NDArray[np.bool_]) -> tuple[int, int] | None:
    if weights.ndim < 2 or weights.dtype.kind == "c":
        return None
    columns = np.flatnonzero(nonzero.any(axis=tuple(range(weights.ndim - 1))))
    mirrored = weights[..., ::-1]
    if columns.size < FOLDED_COLUMNS or not (
        np.array_equal(weights, mirrored) or np.array_equal(weights, -mirrored)
    ):
        return None
    half = nonzero[..., : -(-weights.shape[-1] // 2)]
    return int(np.count_nonzero(half)), _count_runs(half)


def term_facts(
    factors: Sequence[Sequence[NDArray[Any]]],
    slices: Iterable[NDArray[Any]],
    divisor: float,
    forms: Sequence[Form],
    touched: Sequence[Sequence[NDArray[np.bool_]]] | None = None,
) -> KernelFacts:
    """Return the facts of a kernel given as separable terms, without its dense weights if it is large.

    Parameters
    ----------
    factors : sequence of sequences of 1-D ndarray
        The taps of each term along each axis.
    slices : iterable of ndarray
        The dense weights before the division, as a whole or slice by slice along the first of three or more axes;
        only read if there is more than one term.
    divisor : float
        Divisor of the sum of the terms.
    forms : sequence of Form
        As for `kernel_facts`.
    touched : sequence of sequences of ndarray of bool, optional
        Masks of the taps that are multiplied, in the given form.  By default, the non-zero taps.

    Examples
    --------
    >>> found = term_facts([[np.ones(3), np.array([1.0, 0.0, -1.0])]], [], 6.0, ())
    >>> found.nonzeros, found.runs, found.integer, found.full_support, found.l1
    (6, 2, False, False, 1.0)
    """
    if len(factors) == 1:
        parts = [kernel_facts(taps) for taps in factors[0]]
        down = max(len(parts) - 2, 0)
        runs = math.prod(part.runs if a == down else part.nonzeros for a, part in enumerate(parts))
        planes = math.prod(part.nonzeros for part in parts[:-2])
        integer = divisor == 1.0 and all(part.integer for part in parts)
        fold: Callable[[Iterable[float]], float] = math.prod
        nonzeros, full = math.prod(part.nonzeros for part in parts), all(part.full_support for part in parts)
        columns = parts[-1].nonzeros if nonzeros else 0
        folded = _folded_product(factors[0][-1], nonzeros, runs) if down < len(parts) - 1 else None
    else:
        dense = [part / divisor if divisor != 1.0 else part for part in slices]
        parts = [kernel_facts(part) for part in dense]
        columns = int(np.count_nonzero(np.any([_columns(part != 0) for part in dense], axis=0)))
        runs, nonzeros = sum(part.runs for part in parts), sum(part.nonzeros for part in parts)
        inside = len(factors[0]) < 3  # else each part is a slice
        planes = 1 if inside else sum(part.planes * (part.nonzeros > 0) for part in parts)
        integer, full, fold = all(p.integer for p in parts), all(p.full_support for p in parts), sum
        folded = parts[0].folded if inside else None
    return KernelFacts(
        shape=tuple(int(taps.size) for taps in factors[0]),
        nonzeros=nonzeros,
        runs=runs,
        planes=planes,
        columns=columns,
        full_support=full,
        integer=integer,
        complex=any(part.complex for part in parts),
        l1=fold(part.l1 for part in parts) / (divisor if len(factors) == 1 else 1.0),
        forms=tuple(_form_facts(form, touched if form.name == GIVEN else None) for form in forms),
        folded=folded,
    )


def _folded_product(columns: NDArray[Any], nonzeros: int, runs: int) -> tuple[int, int] | None:
    """Return `_folded` of a single term whose taps along the last axis are `columns`."""
    count = int(np.count_nonzero(columns))
    mirrored = columns[::-1]
    if columns.dtype.kind == "c" or count < FOLDED_COLUMNS:
        return None
    if not (np.array_equal(columns, mirrored) or np.array_equal(columns, -mirrored)):
        return None
    half = int(np.count_nonzero(columns[: -(-columns.size // 2)]))
    return nonzeros // count * half, runs // count * half


def _columns(nonzero: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask of the positions along the last axis with a non-zero weight."""
    return np.asarray(nonzero.any(axis=tuple(range(nonzero.ndim - 1))))


def _count_runs(nonzero: NDArray[np.bool_]) -> int:
    if nonzero.ndim == 0:
        return int(nonzero)
    down = np.moveaxis(nonzero, -2, 0) if nonzero.ndim > 1 else nonzero
    starts = int(np.count_nonzero(down[:1]))
    return starts + int(np.count_nonzero(down[1:] & ~down[:-1]))


def _form_facts(form: Form, touched: Sequence[Sequence[NDArray[np.bool_]]] | None = None) -> FormFacts:
    counts, runs, boxes, groups = factor_counts(form.terms, touched)
    return FormFacts(
        name=form.name,
        factors=tuple(zip(*counts, strict=True)),
        runs=tuple(zip(*runs, strict=True)),
        boxes=tuple(zip(*boxes, strict=True)),
        groups=tuple(zip(*groups, strict=True)),
        divisor=float(form.divisor),
        error=float(form.error),
        amplification=float(form.amplification),
        operations=int(form.operations),
        exact=bool(form.exact),
        same_support=bool(form.same_support),
        coherent=_is_coherent(form),
        given=form.name == GIVEN,
    )


def _is_coherent(form: Form) -> bool:
    """Return whether all terms weigh each sample with the same sign.

    If they do, nothing cancels and the amplification is 1, which decides most cases.
    """
    if any(taps.dtype.kind == "c" for term in form.terms for taps in term):
        return False
    if len(form.terms) < 2:
        return True
    if form.amplification > 1 + NO_CANCELLATION:
        return False
    rank = len(form.terms)
    if all(not bool((taps < 0).any()) for taps in {id(t): t for term in form.terms for t in term}.values()):
        return True
    alike, opposite = np.ones((rank, rank), bool), np.zeros((rank, rank), bool)
    for factors in zip(*form.terms, strict=True):  # signs that products of two terms can have
        above, below = np.array(factors) > 0, np.array(factors) < 0
        same = (above @ above.T) | (below @ below.T)
        other = (above @ below.T) | (below @ above.T)
        alike, opposite = (alike & same) | (opposite & other), (alike & other) | (opposite & same)
    return not bool(opposite.any())
