"""The search for separable forms: cheap tests first, later ones only where they can still win."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import integer, structure, tensor
from .arguments import Array, ScaledKernel
from .form import Factors, compose, magnitude
from .lowrank import (
    MAX_AMPLIFICATION,
    Spectrum,
    cross,
    fibres,
    l1,
    largest,
    low_rank,
    rank_one,
    trimmed,
)
from .operations import form_operations

_MAX_SVD = 256  # larger matrices are not decomposed: an elimination of few steps decides if the rank is low
_MAX_PROBED_RANK = 32
_MAX_ECHELON = 1024  # entries of the matrix of distinct rows and columns
_MAX_DEFLATED_RANK = 6
_MIN_WEIGHTS = 12  # with at most this many non-zero weights, terms save less time than packing rows takes
_MIN_LEVELS = 20  # with at most this many operations, runs plus a remainder are no improvement
_SHORTER = 0.9  # a tensor train, which has more terms, must take less than this share of the operations
_MAX_REPLACEABLE = 4.0  # largest useful amplification of a form that a cross of as many terms can replace


class FormCandidate(NamedTuple):
    """A sum of terms of the scaled kernel values, whose error has not been measured yet."""

    name: str
    factors: Factors
    divisor: float
    operations: int


class Search:
    """Search for the forms of one kernel without axes of length one.

    A `thorough` search also returns forms that take more operations than direct summation.
    """

    def __init__(
        self, kernel: ScaledKernel, allowed: float, *, lossless: bool = True, thorough: bool = False
    ) -> None:
        self.values = kernel.values
        self.eps = kernel.eps
        self.budget = allowed * kernel.l1
        self.allowed = allowed
        self.lossless = lossless
        self.thorough = thorough
        self.l1 = kernel.l1
        self.nonzeros = kernel.nonzeros
        found = integer.as_integers(kernel)
        self.integral = found is not None
        self.work, self.divisor = found if found is not None else (self.values, 1.0)
        self.candidates: list[FormCandidate] = []
        self.bars: list[
            tuple[int, int]
        ] = []  # (operations, terms) of forms within the budget that have the kernel's support

    def run(self) -> list[FormCandidate]:
        """Return all candidates; if one term is enough, there are no others."""
        if self._rank_one() or self._split():
            return self.candidates
        if self.values.ndim == 2:
            self._matrix()
        else:
            self._tensor()
        return self.candidates

    def _offer(self, name: str, factors: Factors, divisor: float = 1.0, *, tight: bool = False) -> None:
        """Add a form to the candidates unless direct summation or a `tight` candidate dominates it.

        A `tight` form has the support of the kernel, so fewer operations and terms are enough to dominate.
        """
        operations, rank = form_operations(factors), len(factors[0])
        if operations >= self.nonzeros and not self.thorough:
            return
        if any(o <= operations and r <= rank for o, r in self.bars):
            return
        self.candidates.append(FormCandidate(name, factors, divisor, operations))
        if tight and l1(self.values - compose(factors) / divisor) <= self.budget:
            self.bars.append((operations, rank))

    def _offer_exact(self, name: str, factors: Factors, *, tight: bool = False) -> None:
        """Offer a form of `work`: of the integers, or of the float values if there are no integers."""
        self._offer(name, factors, self.divisor, tight=tight)

    # ------------------------------------------------------------------ products
    def _rank_one(self) -> bool:
        if self.integral:
            factors = integer.rank_one(self.work)
            if factors is not None:
                self._offer_rank_one(factors, self.divisor)
                return True
            if 2 * self.allowed * l1(self.work) * np.abs(self.work).max() < 1:
                return False  # some 2x2 minor is at least one, so no rank-one matrix is within the tolerance
        factors = rank_one(self.values, self.budget, self.eps)
        if factors is None:
            return False
        self._offer_rank_one(factors, 1.0)
        return True

    def _offer_rank_one(self, factors: Factors, divisor: float) -> None:
        self.candidates.append(FormCandidate("rank1", factors, divisor, form_operations(factors)))
        if divisor == 1.0 and (small := trimmed(factors)) is not None:
            self.candidates.append(FormCandidate("rank1", small, divisor, form_operations(small)))

    def _split(self) -> bool:
        """Split the axes into two groups if the kernel is a product over them; offer all products of their forms."""
        parted = tensor.split(self.values, self.budget, self.eps) if self.values.ndim > 2 else None
        if parted is None:
            return False
        axes, *arrays = parted
        parts = []
        for array in arrays:
            # The parts have the same relative rounding error as the kernel.
            search = Search(
                ScaledKernel(array, 0, self.eps), self.allowed, lossless=self.lossless, thorough=True
            )
            parts.append(sorted(search.run(), key=lambda c: c.operations)[:4])
        for a in parts[0]:
            for b in parts[1]:
                factors = tensor.join(axes, a.factors, b.factors)
                name = "split:" + (b.name if a.name == "rank1" else f"{a.name}*{b.name}")
                self.candidates.append(
                    FormCandidate(name, factors, a.divisor * b.divisor, form_operations(factors))
                )
        return True

    # ------------------------------------------------------------------ matrices
    def _matrix(self) -> None:
        spectrum = self._spectrum()
        rank = spectrum.least_rank(self.budget) if spectrum else 0
        if (rank <= 2 and self._delta_beside_rank_one()) or self._tiny:
            return
        rows, columns = self.values.shape
        symmetric = rows == columns and np.array_equal(self.values, self.values.T)
        left, patterns = structure.proportional_slices(self.work, 0, integral=self.integral, eps=self.eps)
        self._offer_exact("rows", (left, patterns), tight=True)
        if not symmetric:
            right = structure.lines(self.work, 1, integral=self.integral, eps=self.eps)
            self._offer_exact("columns", right, tight=True)
        if self._best() > _MIN_LEVELS:
            self._levels()
        if self.integral:
            rank = self._echelon(left, patterns, symmetric)
            if self.lossless and any(len(c.factors[0]) <= rank for c in self.candidates):
                return
        elif rank <= 2:
            self._corner()
        if min(rows, columns) > _MAX_SVD and not self.thorough:
            self._offer("cross", cross(self.values, _MAX_PROBED_RANK, self.budget, self.eps))
        else:
            self._low_rank(spectrum or Spectrum.of(self.values))

    def _spectrum(self) -> Spectrum | None:
        """Return the singular value decomposition, unless the matrix is too large or integers make it unnecessary."""
        if self.integral or min(self.values.shape) > _MAX_SVD:
            return None
        return Spectrum.of(self.values)

    @property
    def _tiny(self) -> bool:
        return self.nonzeros <= _MIN_WEIGHTS and not self.thorough

    def _best(self) -> int:
        """Return the fewest operations so far; direct summation takes one for each non-zero weight."""
        return min((c.operations for c in self.candidates), default=self.nonzeros)

    def _levels(self) -> None:
        """Offer the most frequent weight, as runs or as a box over the whole window, plus the remainder."""
        found = structure.level(self.work)
        if found is None:
            return
        weight, mask = found
        integral, eps = self.integral, self.eps
        runs = structure.cheapest_lines(mask.astype(self.work.dtype), integral=integral, eps=eps)
        rest = structure.cheapest_lines(np.where(mask, 0, self.work), integral=integral, eps=eps)
        self._offer_exact("runs", structure.concatenate((runs[0] * weight, *runs[1:]), rest), tight=True)
        if 2 * np.count_nonzero(mask) > mask.size:
            rest = structure.cheapest_lines(np.where(mask, 0, self.work - weight), integral=integral, eps=eps)
            self._offer_exact("box+rows", structure.concatenate(structure.box(mask.shape, weight), rest))

    def _delta_beside_rank_one(self) -> bool:
        """Offer a rank-one kernel plus a delta; return whether there is one, with the kernel's support."""
        for at, weight, rest in structure.without_delta(self.work, integral=self.integral):
            single = integer.rank_one(rest) if self.integral else rank_one(rest, self.budget, self.eps)
            if single is not None:
                spike = structure.delta(self.work.shape, at, weight)
                touched = bool(self.work[at] != 0)  # else the terms read one more sample
                self._offer_exact("delta+rank1", structure.concatenate(single, spike), tight=touched)
                return touched
        return False

    def _echelon(self, left: Array, rows: Array, symmetric: bool) -> int:
        """Offer integer factors of any rank, from the lattice of the distinct rows or columns; return the rank."""
        right, columns = structure.proportional_slices(rows, 1, integral=True)
        core = np.ascontiguousarray(columns.T)
        rank = Spectrum.of(core).least_rank(1e-10 * l1(core))
        # If the rank is full, there are as few distinct rows or columns, each of which is a term.
        if rank == min(core.shape) > 4 or core.size > _MAX_ECHELON:
            return rank
        for transpose in (False,) if symmetric else (False, True):
            factors = integer.row_basis(core.T if transpose else core, rank)
            if factors is not None:
                a, b = factors[::-1] if transpose else factors
                expanded = a @ left, b @ right
                if magnitude(expanded) <= MAX_AMPLIFICATION * l1(self.work):
                    self._offer_exact("integer", expanded)
        return rank

    def _corner(self) -> None:
        """Offer a sum of two products of different sizes: only the larger one reaches the corners."""
        corner = (0,) * self.values.ndim
        if self.values[corner] == 0 or corner == largest(self.values):
            return
        frame = fibres(self.values, corner)
        product = compose(frame)
        rest = self.values - product
        rest[np.abs(rest) <= 3 * max(self.eps, 2.0**-52) * (np.abs(self.values) + np.abs(product))] = 0
        single = rank_one(rest, self.budget, self.eps) if rest.any() else None
        if single is not None and l1(product) + l1(rest) <= _MAX_REPLACEABLE * self.l1:
            self._offer("corner+rank1", structure.concatenate(frame, single))

    def _low_rank(self, spectrum: Spectrum) -> None:
        rank = spectrum.least_rank(self.budget)
        # In a cross, each term has two taps fewer for each earlier pivot, four fewer in a symmetric kernel.
        taps, lost = sum(self.values.shape), rank - 1
        hopeless = rank * (taps - lost) >= self.values.size or rank * (taps - 2 * lost) >= 1.25 * self._best()
        if hopeless and not self.thorough:
            return
        name, factors = low_rank(self.values, self.budget, self.eps, spectrum=spectrum)
        self._offer(name, factors)
        if (small := trimmed(factors)) is not None:
            self._offer(name, small)
        if 1 < rank <= _MAX_DEFLATED_RANK:
            self._deflated(spectrum, rank)

    def _deflated(self, spectrum: Spectrum, rank: int) -> None:
        """Offer a box or a delta plus the remainder, if the remainder has a lower rank."""
        atoms = {"box": structure.box(self.values.shape, 1.0)}
        if rank > 2:  # `_delta_beside_rank_one` has tried rank two
            atoms["delta"] = structure.delta(self.values.shape, largest(self.values), 1.0)
        for name, (column, row) in atoms.items():
            weight = structure.reducing_weight(spectrum, rank, column[0], row[0], self.eps)
            if weight is None:
                continue
            rest = self.values - weight * np.outer(column[0], row[0])
            inner = Spectrum.of(rest)
            if inner.least_rank(self.budget) < rank:
                how, factors = low_rank(rest, self.budget, self.eps, spectrum=inner)
                self._offer(f"{name}+{how}", structure.concatenate((column * weight, row), factors))

    # ------------------------------------------------------------------ three and more axes
    def _tensor(self) -> None:
        self._delta_beside_rank_one()
        if self._tiny:
            return
        if not self.integral:
            self._corner()
        if not self.candidates:
            if self.nonzeros > _MIN_LEVELS:
                self._levels()
            if not (self.integral and self.lossless):
                self._terms()
        if self._best() > self.nonzeros / 16:
            self._offer_exact(
                "slices", structure.cheapest_lines(self.work, integral=self.integral, eps=self.eps)
            )

    def _terms(self) -> None:
        ranks = [
            Spectrum.of(tensor.unfold(self.values, a)).least_rank(self.budget)
            for a in range(self.values.ndim)
        ]
        if self.thorough or max(ranks) * sum(self.values.shape) <= 1.2 * self.nonzeros:
            factors = tensor.decompose(self.values, self.budget, self.eps)
            train = tensor.train(self.values, self.budget, self.eps) if len(factors[0]) > 2 else None
            if train and tensor.shared_operations(train) < _SHORTER * tensor.shared_operations(factors):
                self._offer("train", train)
            else:
                self._offer("terms", factors)
