"""Kernels ready to run: dense weights and separable terms, in correlation order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from ..factor import Form
from ..factor.recursion import Recursion
from ..factor.runs import Flat
from ..system.caching import cached_property
from .facts import RecursionFacts

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The taps of one term along one axis."""

    taps: Array
    """One weight for each position of the window."""
    start: int
    """First position that multiplies."""
    stop: int
    """One past the last position that multiplies."""
    sparse: bool
    """Whether zero weights are skipped (they then let no NaN through)."""

    @property
    def positions(self) -> Array:
        """Window positions that multiply."""
        if not self.sparse:
            return np.arange(self.start, self.stop)
        return np.flatnonzero(self.taps)

    @property
    def touched(self) -> NDArray[np.bool_]:
        """For each window position whether it multiplies."""
        mask = np.zeros(self.taps.size, bool)
        mask[self.positions] = True
        return mask


def support_factor(taps: Array) -> Factor:
    """Only non-zero weights multiply: how a dense kernel treats its zeros."""
    return Factor(taps, 0, taps.size, sparse=True)


def window_factor(taps: Array) -> Factor:
    """Every weight multiplies, zeros too: how SciPy's 1-D filters treat theirs."""
    return Factor(taps, 0, taps.size, sparse=False)


def identity_factor(taps: int, first: int) -> Factor:
    """The axis is left as it is: weight 1 at the position of the output."""
    delta = np.zeros(taps)
    delta[-first] = 1.0
    return Factor(delta, -first, 1 - first, sparse=True)


def without_subnormals(taps: Array, dtype: np.dtype[Any]) -> Array:
    """Taps that `dtype` can hold at full speed: tiny ones are raised to a number which is still negligible.

    Processors take a hundred cycles for a product with a subnormal number.  Each tap stays what it is to NaN
    and infinities.  The change is below ``u**2 ||taps||_1``, less than what bounds of the form ``gamma_k`` of
    `numbasep.planning.rounding` concede beyond ``k u``; where it would be more, nothing is changed.
    """
    if taps.dtype.kind == "c":
        return taps
    info = np.finfo(dtype)
    floor = float(info.tiny) * 2.0**info.nmant  # room for products with small samples
    size = np.abs(taps)
    small = (size < floor) & (taps != 0)
    count = int(np.count_nonzero(small))
    if not count or count * floor > float(info.eps / 2) ** 2 * float(size.sum()):
        return taps
    return np.where(small, np.copysign(floor, taps), taps)


Term = tuple[Factor, ...]


def touched_taps(terms: Sequence[Term]) -> list[list[NDArray[np.bool_]]] | None:
    """Which taps of each factor multiply; None if these are those that are not zero."""
    if all(f.sparse or (f.start == 0 and f.stop == f.taps.size and f.taps.all()) for t in terms for f in t):
        return None
    return [[f.touched for f in term] for term in terms]


@dataclass(frozen=True, eq=False)
class Operator:
    """The arrays of one kernel; the planner sees only facts about them."""

    forms: tuple[Form, ...]
    """Sums of separable terms that equal the kernel within their stated error."""
    terms: tuple[Term, ...] | None
    """The terms as given, for kernels that were handed over as terms; they are `forms[0]`."""
    dense: Array | None
    """Weights, for kernels that were handed over dense."""
    recursions: tuple[Recursion, ...] = ()
    """Recursive filters close to the kernel, one for each axis, where a tolerance allows such."""
    recursion: RecursionFacts | None = None
    """These, in numbers."""
    flat: Flat | None = None
    """The kernel as sums of rows, if it has few different weights."""

    @cached_property
    def weights(self) -> Array:
        """Dense weights, one axis for each window."""
        undivided, divisor = self.undivided
        return undivided if divisor == 1.0 else undivided / divisor

    @cached_property
    def undivided(self) -> tuple[Array, float]:
        """Dense weights that are still to be divided by a number: whole ones stay whole."""
        if self.dense is not None:
            return self.dense, 1.0
        assert self.terms is not None
        total = sum_of_outer_products([[factor.taps for factor in term] for term in self.terms])
        return total, self.forms[0].divisor

    @cached_property
    def support(self) -> Array:
        """1 where a dense weight is not zero."""
        return np.asarray(self.weights != 0, np.float64)

    @cached_property
    def signs(self) -> Array:
        """The signs of dense real weights."""
        return np.asarray(np.sign(self.weights))

    @cached_property
    def launches(self) -> dict[Any, Any]:
        """Prepared calls by memory layout; filled by the backends."""
        return {}

    @cached_property
    def small(self) -> dict[int | None, Any]:
        """By form, or None for the dense weights: a call on contiguous arrays that is one pass on one thread."""
        return {}

    @cached_property
    def reordered(self) -> dict[tuple[int, ...], Any]:
        """The plans of the same filter for arrays in other memory orders, once there are such (`reorder`)."""
        return {}

    def form_terms(self, form: int) -> tuple[tuple[Term, ...], float]:
        """Terms and divisor of `forms[form]`."""
        if self.terms is not None and form == 0:
            return self.terms, self.forms[0].divisor
        if form not in self._support_terms:
            terms = self.forms[form].terms
            self._support_terms[form] = tuple(tuple(map(support_factor, term)) for term in terms)
        return self._support_terms[form], self.forms[form].divisor

    @cached_property
    def _support_terms(self) -> dict[int, tuple[Term, ...]]:
        return {}


def dense_slices(terms: Sequence[Sequence[Array]]) -> Iterator[Array]:
    """The dense kernel that terms stand for: whole, or from three axes on one slice of the first at a time."""
    if len(terms[0]) < 3:
        yield sum_of_outer_products(terms)
        return
    inner = [sum_of_outer_products([term[1:]]) for term in terms]
    for i in range(terms[0][0].size):
        yield sum((term[0][i] * rest for term, rest in zip(terms, inner, strict=True)), np.zeros(1))


def sum_of_outer_products(terms: Sequence[Sequence[Array]]) -> Array:
    """The dense kernel that terms stand for."""
    total: Array | None = None
    for term in terms:
        product: Array = np.asarray(term[0])
        for taps in term[1:]:
            product = np.multiply.outer(product, taps)
        total = product if total is None else total + product
    assert total is not None
    return total


def split_terms(terms: Sequence[Term]) -> tuple[list[Term], list[Term]]:
    """Real terms whose sums are the real and the imaginary part of complex terms."""
    real: list[Term] = []
    imaginary: list[Term] = []
    for term in terms:
        for choice in itertools.product((0, 1), repeat=len(term)):
            taps = [f.taps.imag if c else np.real(f.taps) for f, c in zip(term, choice, strict=True)]
            if not all(t.any() for t in taps) and not any(not f.sparse for f in term):
                continue
            turns = sum(choice)
            if turns % 4 >= 2:
                taps[0] = -taps[0]
            factors = tuple(replace(f, taps=np.ascontiguousarray(t)) for f, t in zip(term, taps, strict=True))
            (imaginary if turns % 2 else real).append(factors)
    return real, imaginary
