"""`factorize`, `is_separable` and `SeparableKernel`."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import integer, runs, tensor
from .arguments import Array, ScaledKernel, as_kernel, check_max_rank, check_rtol, lossless_tolerance, scale
from .form import NOTHING, Form, build, compose, stack
from .lowrank import Spectrum, every_line, l1, low_rank, rank_one
from .menu import forms_within, plainest, squeezed, unsqueezed
from .operations import form_operations

_HINT_ERROR = 1e-3  # largest error for which a hint is shown
_SHOWN_TERMS = 6


@dataclass(frozen=True, slots=True, eq=False)
class SeparableKernel:
    """A kernel written as a sum of separable terms, ``K ~ sum_t f_t1 x f_t2 x ...``.

    Made by `numbasep.factorize`; ``print`` shows the terms and what they cost.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> factors = numbasep.factorize(np.outer([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0]))
    >>> factors.rank, factors.exact, factors.error
    (1, True, 0.0)
    >>> rows, columns = factors.terms[0]
    >>> bool((factors.todense() == np.outer(rows, columns)).all())
    True
    """

    terms: tuple[tuple[Array, ...], ...]
    """The terms, each one 1-D float64 or complex128 array per kernel axis; empty for an all-zero kernel."""
    form: Form
    """The same terms, as integers over one common divisor if possible, with their operation count."""
    shape: tuple[int, ...]
    """Shape of the kernel."""
    singular_values: Array
    """Singular values of the matrix, or of the most balanced unfolding of leading against trailing axes."""
    tolerance: float
    """Largest acceptable `error`; `max_rank` can force a larger one."""

    @property
    def rank(self) -> int:
        """Number of terms."""
        return len(self.terms)

    @property
    def exact(self) -> bool:
        """Whether the kernel is a sum of integer terms over one divisor, rounded to its own type."""
        return self.form.exact

    @property
    def error(self) -> float:
        """``||K - K_r||_1 / ||K||_1``, the attained bound of the output error over ``||K||_1 max|x|``."""
        return self.form.error

    @property
    def amplification(self) -> float:
        """``kappa = sum_t prod_a ||f_ta||_1 / ||K||_1``: how far rounding errors of the terms can add up."""
        return self.form.amplification

    @property
    def hint(self) -> str:
        """Suggestion of a larger `rtol` that would need fewer terms; empty if its error would exceed 1e-3."""
        return _hint(self.todense(), self.rank)

    def todense(self) -> Array:
        """Multiply out and add up the terms; the common divisor is applied to the sum.

        Returns
        -------
        ndarray of float64 or complex128
            The kernel, up to `error`.
        """
        if not self.terms:
            return np.zeros(self.shape)
        return compose([stack(self.form.terms, axis) for axis in range(len(self.shape))]) / self.form.divisor

    def __str__(self) -> str:
        return "\n".join([f"SeparableKernel {self._summary()}", *(f"  {line}" for line in self._lines())])

    def __repr__(self) -> str:
        return f"<SeparableKernel {self._summary()}>"

    def _repr_html_(self) -> str:
        rows = "".join(f"<li><code>{html.escape(line)}</code></li>" for line in self._lines())
        return f"<div><strong>SeparableKernel</strong> {html.escape(self._summary())}<ul>{rows}</ul></div>"

    def _summary(self) -> str:
        size = "x".join(map(str, self.shape))
        accuracy = (
            "exact" if self.exact else f"error {self.error:.1e}, amplification {self.amplification:.1f}"
        )
        cost = f"{self.form.operations} operations a pixel instead of {math.prod(self.shape)}"
        return f"{size}: rank {self.rank}, {accuracy}, {cost}"

    def _lines(self) -> Iterable[str]:
        for position, term in enumerate(self.form.terms[:_SHOWN_TERMS]):
            product = " x ".join(_show(taps) for taps in term)
            yield ("+ " if position else "") + product
        if self.rank > _SHOWN_TERMS:
            yield f"+ {self.rank - _SHOWN_TERMS} more"
        if self.form.divisor != 1.0:
            yield f"/ {self.form.divisor:.17g}"
        flat = runs.find(as_kernel(self.todense())) if self.exact and len(self.shape) > 1 else None
        if flat is not None and self.rank > 1:
            range_of = " to ".join(map(str, sorted({flat.operations, flat.paired_operations})))
            bytes_take = f"; differences of rows of bytes take {flat.ends.operations}" if flat.ends else ""
            yield f"few different weights: sums of rows take {range_of} operations a pixel, by processor{bytes_take}"
        if self.error > self.tolerance:
            yield f"above the tolerance of {self.tolerance:.1e}: max_rank allows no better"
        if self.hint:
            yield self.hint


def factorize(
    kernel: npt.ArrayLike, *, rtol: float | None = None, max_rank: int | None = None
) -> SeparableKernel:
    """Write a kernel as a sum of separable terms.

    Integer and scaled-integer kernels become exact integer terms.  Other kernels are factored by pivot
    crosses, which keep zeros, constants and symmetry, and by singular vectors where those need fewer terms.

    Parameters
    ----------
    kernel : array_like
        Any number of axes; bool, integer, float16, float32, float64, complex64 or complex128; finite.
    rtol : float, optional
        Accept ``||K - K_r||_1 <= rtol ||K||_1`` and return the terms with the fewest operations within it.
        By default only rounding is accepted, 16 eps of the kernel's type but at most 2**-10, and the fewest
        terms are returned.
    max_rank : int, optional
        Return at most this many terms, whatever the error; see ``.error``.

    Returns
    -------
    SeparableKernel
        The terms, with their number and their error.

    Raises
    ------
    TypeError
        If the kernel's dtype is not one of the above (object, longdouble, ...), or `rtol` or `max_rank` is
        no number.
    ValueError
        If the kernel is empty, 0-d, or not finite, `rtol` negative or NaN, or `max_rank` below 1.

    Notes
    -----
    Exact integer rank one: primitive fibres (Gauss's lemma); any rank: Hermite's row-echelon form.
    Truncation is judged by the L1 norm because ``max|E * x| <= ||E||_1 max|x|`` is attained; singular-value
    ratios are not a bound of the output error.

    Examples
    --------
    >>> import numpy as np
    >>> print(factorize([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]))
    SeparableKernel 3x3: rank 1, exact, 4 operations a pixel instead of 9
      [1 2 1] x [-1 0 1]
    >>> print(factorize(np.ones((3, 3)) / 9))
    SeparableKernel 3x3: rank 1, exact, 4 operations a pixel instead of 9
      [1 1 1] x [1 1 1]
      / 9
    """
    checked = as_kernel(kernel)
    rtol, max_rank = check_rtol(rtol), check_max_rank(max_rank)
    allowed = lossless_tolerance(checked) if rtol is None else rtol
    form = _best_form(checked, rtol, max_rank)
    with np.errstate(over="ignore"):  # singular values beyond the range of doubles become infinite
        singular_values = scale(_singular_values(checked.values), checked.exponent)
    return SeparableKernel(
        terms=_folded(form),
        form=form,
        shape=checked.values.shape,
        singular_values=singular_values,
        tolerance=allowed,
    )


def is_separable(kernel: npt.ArrayLike, rtol: float | None = None) -> bool:
    """Return whether a kernel is a single separable term.

    Parameters
    ----------
    kernel : array_like
        As for `factorize`.
    rtol : float, optional
        Allowed ``||K - K_1||_1 / ||K||_1``; by default rounding only.

    Returns
    -------
    bool
        True for an all-zero kernel too.

    Raises
    ------
    TypeError, ValueError
        As `factorize`.

    Examples
    --------
    >>> is_separable([[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    True
    >>> is_separable([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    False
    """
    checked = as_kernel(kernel)
    tolerance = check_rtol(rtol)
    allowed = lossless_tolerance(checked) if tolerance is None else tolerance
    if checked.l1 == 0 or checked.values.ndim == 1:
        return True
    integers = integer.as_integers(checked)
    if integers is not None and integer.rank_one(integers[0]) is not None:
        return True
    return rank_one(checked.values, allowed * checked.l1, checked.eps) is not None


def _best_form(kernel: ScaledKernel, rtol: float | None, max_rank: int | None) -> Form:
    """Return the form with the fewest terms, or operations if `rtol` is given; approximate at `max_rank`."""
    if kernel.l1 == 0:
        return NOTHING
    found = forms_within(kernel, rtol, thorough=True)
    if not found:  # the tolerance is below rounding errors
        return build("terms", kernel, every_line(kernel.values), 1.0, kernel.nonzeros)
    best = plainest(found) if rtol is None else min(found, key=lambda f: (f.operations, f.rank, f.error))
    if max_rank is None or best.rank <= max_rank:
        return best
    allowed = [form for form in found if form.rank <= max_rank]
    if allowed:
        return min(allowed, key=lambda f: (f.rank, f.operations))
    small = squeezed(kernel)
    budget = (lossless_tolerance(kernel) if rtol is None else rtol) * kernel.l1
    if small.values.ndim == 2:
        name, factors = low_rank(small.values, budget, kernel.eps, max_rank)
    else:
        name, factors = "terms", tensor.truncated(small.values, max_rank, budget, kernel.eps)
    return build(name, kernel, unsqueezed(factors, kernel.values.shape), 1.0, form_operations(factors))


def _folded(form: Form) -> tuple[tuple[Array, ...], ...]:
    """Return the terms with the divisor merged into the factor of largest L1 norm of each."""
    if form.divisor == 1.0:
        return form.terms
    terms = []
    for term in form.terms:
        widest = int(np.argmax([l1(taps) for taps in term]))
        divided = term[widest] / form.divisor
        divided.flags.writeable = False
        terms.append((*term[:widest], divided, *term[widest + 1 :]))
    return tuple(terms)


def _singular_values(values: Array) -> Array:
    """Return singular values of leading against trailing axes, where the two sizes are most alike."""
    sizes = values.shape
    cut = min(
        range(1, len(sizes)),
        default=1,
        key=lambda k: abs(math.log(math.prod(sizes[:k]) / math.prod(sizes[k:]))),
    )
    return np.asarray(np.linalg.svd(values.reshape(math.prod(sizes[:cut]), -1), compute_uv=False))


def _hint(dense: Array, rank: int) -> str:
    """Suggest a larger `rtol` that would need fewer terms, such as "rank 1 at 3e-05: pass rtol=..."."""
    values = np.asarray(dense).squeeze()
    if rank < 2 or values.ndim < 2:
        return ""
    values = values / np.abs(values).max()
    spectrum = Spectrum.of(values) if values.ndim == 2 else None
    for fewer in range(1, rank if spectrum else 2):
        factors = spectrum.truncated(fewer) if spectrum else tensor.truncated(values, 1, 0.0, 0.0)
        error = l1(values - compose(factors)) / l1(values)
        if error <= _HINT_ERROR:
            step = 10.0 ** math.floor(math.log10(max(error, 1e-15)))
            sufficient = math.ceil(1.1 * error / step) * step
            return f"rank {fewer} at {error:.1e}: pass rtol={sufficient:.0e} to accept it"
    return ""


def _show(taps: Array) -> str:
    """Format taps as short text; whole numbers as integers."""
    whole = taps.dtype.kind != "c" and bool(np.all(taps == np.rint(taps)) and np.abs(taps).max() < 1e6)
    shown = taps.astype(np.int64) if whole else taps
    return np.array2string(shown, precision=4, threshold=9, edgeitems=3, max_line_width=1000).replace(
        "\n", ""
    )
