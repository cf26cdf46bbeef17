"""All forms of a kernel that are worth considering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .arguments import ScaledKernel, as_kernel, check_rtol, lossless_tolerance
from .form import NOTHING, Factors, Form, build
from .search import Search

_HOPELESS = 1.5  # times the operations of another form: no machine makes up for that
_HARMLESS = 4.0  # amplification that costs two bits


def forms(
    kernel: npt.ArrayLike,
    rtol: float | None = None,
    *,
    compute_eps: float | None = None,
    thorough: bool = False,
) -> tuple[Form, ...]:
    """All worthwhile sums of separable terms for a kernel, the plain factorization first.

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
        Also forms that take more operations than direct summation.

    Returns
    -------
    tuple of Form
        Empty if the rank is above one and every separable form takes at least as many operations as there
        are non-zero weights, or these are a dozen at most, unless the search is `thorough`.  The first has
        the fewest terms, or exact ones if they take as few terms or operations; the others follow by
        operations.

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
    """`forms` of a checked kernel; a `thorough` search also returns forms that direct summation beats."""
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
    """The form with the fewest terms; with three and more axes an exact one of no more operations."""
    shortest = min(found, key=lambda f: (f.rank, not f.exact, f.operations, f.error))
    axes = sum(taps.size > 1 for taps in shortest.terms[0])
    exact = min((f for f in found if f.exact), key=lambda f: (f.rank, f.operations), default=shortest)
    return exact if axes > 2 and exact.operations <= shortest.operations else shortest


def squeezed(kernel: ScaledKernel) -> ScaledKernel:
    """The kernel without its axes of length one; a single weight keeps one axis."""
    values = kernel.values.squeeze()
    return ScaledKernel(np.atleast_1d(values), kernel.exponent, kernel.eps)


def unsqueezed(factors: Factors, shape: tuple[int, ...]) -> Factors:
    """Put the axes of length one back, as single taps of weight one."""
    terms = len(factors[0])
    if all(n == 1 for n in shape):
        return (factors[0], *[np.ones((terms, 1))] * (len(shape) - 1))
    remaining = iter(factors)
    return tuple(np.ones((terms, 1)) if n == 1 else next(remaining) for n in shape)


def _is_hopeless(operations: int, rank: int, beside: Form) -> bool:
    """Whether a form need not be measured: more terms and far more work than one that is sound.

    Where that one has another support than the kernel, it may have to look at the data first.
    """
    factor = _HOPELESS if beside.same_support else 2 * _HOPELESS
    return (
        beside.amplification <= _HARMLESS and rank > beside.rank and operations > factor * beside.operations
    )


def _dominates(one: Form, other: Form) -> bool:
    """At least as good in everything that matters, and better in something."""

    def costs(f: Form) -> tuple[float, ...]:
        return f.operations, f.rank, f.error, f.amplification, not f.exact, not f.same_support

    a, b = costs(one), costs(other)
    return one is not other and a != b and all(x <= y for x, y in zip(a, b, strict=True))
