"""All forms of a kernel that are worth considering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .arguments import ScaledKernel, as_kernel, check_rtol, lossless_tolerance
from .form import NOTHING, Factors, Form, build
from .search import Search

_HOPELESS = 1.5  # a form with this many times the operations of another is slower on every machine
_HARMLESS = 4.0  # amplification that loses at most two bits


def forms(
    kernel: npt.ArrayLike,
    rtol: float | None = None,
    *,
    compute_eps: float | None = None,
    thorough: bool = False,
) -> tuple[Form, ...]:
    """Return the useful sums of separable terms of a kernel, the plain factorization first.

    Parameters
    ----------
    kernel : array_like
        Any number of axes, real, complex or integer, finite.
    rtol : float, optional
        Accept ``||K - K_r||_1 <= rtol ||K||_1``.  Default: rounding only, 16 eps of the coarsest type
        involved.
    compute_eps : float, optional
        Machine epsilon of the type the filter computes in, if that is coarser than the kernel's.
    thorough : bool, optional
        Also return forms that take more operations than direct summation.

    Returns
    -------
    tuple of Form
        The first form has the fewest terms; an exact form is preferred if it has as few terms or operations.
        The others follow in order of operations.  Unless `thorough`, the tuple is empty if the rank is above
        one and the kernel has at most a dozen non-zero weights, or no form takes fewer operations than weights.

    Raises
    ------
    TypeError, ValueError
        As `factorize`.

    Examples
    --------
    >>> import numpy as np
    >>> binomial = [1, 4, 6, 4, 1]
    >>> sharpen = 2.0 * np.pad([[1.0]], 2) - np.outer(binomial, binomial) / 256
    >>> [(form.name, form.operations, form.exact) for form in forms(sharpen)]
    [('delta+rank1', 11, True)]
    """
    checked = as_kernel(kernel)
    return forms_within(checked, check_rtol(rtol), compute_eps, thorough=thorough)


def forms_within(
    kernel: ScaledKernel, rtol: float | None, compute_eps: float | None = None, *, thorough: bool = False
) -> tuple[Form, ...]:
    """Do the work of `forms`, for a checked kernel and tolerance."""
    if kernel.l1 == 0:
        return (NOTHING,)
    lossless = lossless_tolerance(kernel, compute_eps)
    allowed = lossless if rtol is None else rtol
    search = Search(squeezed(kernel), allowed, lossless=allowed <= lossless, thorough=thorough)
    found: list[Form] = []
    for name, factors, divisor, operations in sorted(search.run(), key=lambda c: c.operations):
        if not thorough and any(_is_hopeless(operations, len(factors[0]), form) for form in found):
            continue
        form = build(name, kernel, unsqueezed(factors, kernel.values.shape), divisor, operations)
        if form.error <= allowed:
            found.append(form)
    if not found:
        return ()
    plain = plainest(found)
    others = [f for f in found if f is not plain and not any(_dominates(o, f) for o in found)]
    return (plain, *sorted(others, key=lambda f: f.operations))


def plainest(found: Sequence[Form]) -> Form:
    """Return the form with the fewest terms; with three or more axes, an exact one with no more operations."""
    shortest = min(found, key=lambda f: (f.rank, not f.exact, f.operations, f.error))
    axes = sum(taps.size > 1 for taps in shortest.terms[0])
    exact = min((f for f in found if f.exact), key=lambda f: (f.rank, f.operations), default=shortest)
    return exact if axes > 2 and exact.operations <= shortest.operations else shortest


def squeezed(kernel: ScaledKernel) -> ScaledKernel:
    """Return the kernel without its axes of length one; a single weight keeps one axis."""
    values = kernel.values.squeeze()
    return ScaledKernel(np.atleast_1d(values), kernel.exponent, kernel.eps)


def unsqueezed(factors: Factors, shape: tuple[int, ...]) -> Factors:
    """Restore the axes of length one, as single taps of weight one."""
    terms = len(factors[0])
    if all(n == 1 for n in shape):
        return (factors[0], *[np.ones((terms, 1))] * (len(shape) - 1))
    remaining = iter(factors)
    return tuple(np.ones((terms, 1)) if n == 1 else next(remaining) for n in shape)


def _is_hopeless(operations: int, rank: int, beside: Form) -> bool:
    """Return whether a form has more terms and many more operations than `beside`, which cancels little.

    The factor is larger if `beside` does not have the kernel's support, as its use may need a check of the data.
    """
    factor = _HOPELESS if beside.same_support else 2 * _HOPELESS
    return (
        beside.amplification <= _HARMLESS and rank > beside.rank and operations > factor * beside.operations
    )


def _dominates(one: Form, other: Form) -> bool:
    """Return whether `one` is at least as good as `other` in every cost, and better in one."""

    def costs(f: Form) -> tuple[float, ...]:
        return f.operations, f.rank, f.error, f.amplification, not f.exact, not f.same_support

    a, b = costs(one), costs(other)
    return one is not other and a != b and all(x <= y for x, y in zip(a, b, strict=True))
