"""Kernels ready to run: dense weights and separable terms, in correlation order."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..factor import Form
from ..factor.recursion import Recursion
from ..factor.runs import Flat
from ..system.caching import cached_property
from ..system.types import Array
from .facts import RecursionFacts


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The taps of one term along one axis."""

    taps: Array
    """Weight of each window position."""
    start: int
    """First position whose sample is multiplied."""
    stop: int
    """One past the last position whose sample is multiplied."""
    sparse: bool
    """Whether zero weights are skipped, so that NaN under them have no effect."""

    @property
    def positions(self) -> Array:
        """Window positions whose samples are multiplied."""
        if not self.sparse:
            return np.arange(self.start, self.stop)
        return np.flatnonzero(self.taps)

    @property
    def touched(self) -> NDArray[np.bool_]:
        """Mask of `positions` over the window."""
        mask = np.zeros(self.taps.size, bool)
        mask[self.positions] = True
        return mask


def support_factor(taps: Array) -> Factor:
    """Return a factor whose zero weights are skipped, as in dense kernels."""
    return Factor(taps, 0, taps.size, sparse=True)


def window_factor(taps: Array) -> Factor:
    """Return a factor whose zero weights are multiplied too, as in SciPy's 1-D filters."""
    return Factor(taps, 0, taps.size, sparse=False)


def identity_factor(taps: int, first: int) -> Factor:
    """Return a factor that leaves an axis unchanged: weight 1 at the position of the output."""
    delta = np.zeros(taps)
    delta[-first] = 1.0
    return Factor(delta, -first, 1 - first, sparse=True)


def without_subnormals(taps: Array, dtype: np.dtype[Any]) -> Array:
    """Replace subnormal taps by a small normal number that is still negligible.

    Processors take a hundred cycles for a product with a subnormal number.  Signs are kept, and no tap becomes
    zero, so that NaN and infinities have the same effect.  The total change is below ``u**2 ||taps||_1``, less
    than the margin of ``gamma_k`` over ``k u`` in `numbasep.planning.rounding`; else nothing is changed.
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
    """Return masks of the taps of each factor that are multiplied; None if these are just the non-zero taps."""
    if all(f.sparse or (f.start == 0 and f.stop == f.taps.size and f.taps.all()) for t in terms for f in t):
        return None
    return [[f.touched for f in term] for term in terms]


@dataclass(frozen=True, eq=False)
class Operator:
    """The arrays of one kernel, which the backends read; the planner sees only `KernelFacts`."""

    forms: tuple[Form, ...]
    """Sums of separable terms that equal the kernel within their stated error."""
    terms: tuple[Term, ...] | None
    """Terms of a kernel that was given as terms, which are `forms[0]`; else None."""
    dense: Array | None
    """Weights of a kernel that was given as a dense array; else None."""
    recursions: tuple[Recursion, ...] = ()
    """Recursive filters close to the kernel, one for each axis, if a tolerance allows them."""
    recursion: RecursionFacts | None = None
    """Facts of the recursive filters."""
    flat: Flat | None = None
    """The kernel as sums of rows, if it has few different weights."""

    @cached_property
    def weights(self) -> Array:
        """Dense weights, with one axis for each window."""
        undivided, divisor = self.undivided
        return undivided if divisor == 1.0 else undivided / divisor

    @cached_property
    def undivided(self) -> tuple[Array, float]:
        """Dense weights before the division, and the divisor: integer weights stay integers."""
        if self.dense is not None:
            return self.dense, 1.0
        assert self.terms is not None
        total = sum_of_outer_products([[factor.taps for factor in term] for term in self.terms])
        return total, self.forms[0].divisor

    @cached_property
    def support(self) -> Array:
        """Float64 array with 1 where a dense weight is not zero, else 0."""
        return np.asarray(self.weights != 0, np.float64)

    @cached_property
    def signs(self) -> Array:
        """The signs of dense real weights."""
        return np.asarray(np.sign(self.weights))

    @cached_property
    def launches(self) -> dict[Any, Any]:
        """Prepared calls, by memory layout; filled by the backends."""
        return {}

    @cached_property
    def again(self) -> dict[int | None, Any]:
        """Functions that filter a contiguous array into another; by form, or None for the dense weights.

        They return False, without writing, if the call must be prepared anew.
        """
        return {}

    @cached_property
    def reordered(self) -> dict[tuple[int, ...], Any]:
        """Plans of the same filter for arrays in other memory orders; filled by `memory_order.reordered`."""
        return {}

    @cached_property
    def decisions(self) -> dict[str, Any]:
        """Decisions about the plan of the kernel, by name; filled by `memory_order.copied_order`."""
        return {}

    def form_terms(self, form: int) -> tuple[tuple[Term, ...], float]:
        """Return the terms and the divisor of `forms[form]`."""
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
    """Yield the dense kernel of a sum of terms: as a whole, or slice by slice along the first of three or more axes."""
    if len(terms[0]) < 3:
        yield sum_of_outer_products(terms)
        return
    inner = [sum_of_outer_products([term[1:]]) for term in terms]
    for i in range(terms[0][0].size):
        yield sum((term[0][i] * rest for term, rest in zip(terms, inner, strict=True)), np.zeros(1))


def sum_of_outer_products(terms: Sequence[Sequence[Array]]) -> Array:
    """Return the dense kernel of a sum of terms."""
    total: Array | None = None
    for term in terms:
        product: Array = np.asarray(term[0])
        for taps in term[1:]:
            product = np.multiply.outer(product, taps)
        total = product if total is None else total + product
    assert total is not None
    return total


def split_terms(terms: Sequence[Term]) -> tuple[list[Term], list[Term]]:
    """Return two lists of real terms, whose sums are the real and the imaginary part of the complex terms."""
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
