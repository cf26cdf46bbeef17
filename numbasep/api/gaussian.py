"""Gaussian filters and their derivatives, as in `scipy.ndimage`."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.axes import integer, normalize_axes, per_axis
from ..arguments.problem import compute_type
from ..system.types import Array
from .axiswise import Term, by_axis, centred
from .calls import FilterCall, Given, begin, run
from .docstrings import documented
from .repeated_calls import remembered

NEGLIGIBLE_SIGMA = 1e-15
"""Standard deviation at or below which an axis is not filtered, as in SciPy."""


@functools.lru_cache(maxsize=256)
def gaussian_taps(sigma: float, order: int, radius: int) -> Array:
    """Return correlation weights of a sampled Gaussian, or of its derivative, at -radius ... radius.

    The Gaussian ``exp(-x**2 / (2 sigma**2))`` is divided by the sum of its samples.  The n-th derivative is
    the result times the polynomial ``He_n(x / sigma) / sigma**n`` (probabilists' Hermite polynomials, Abramowitz
    and Stegun 22.11.8; signs cancel, since a correlation reverses the taps), without further normalisation.

    Examples
    --------
    >>> gaussian_taps(1.0, 1, 1).round(3)
    array([-0.274,  0.   ,  0.274])
    """
    x = np.arange(-radius, radius + 1) / sigma
    weights = np.exp(-0.5 * x**2)
    weights /= weights.sum()
    if order:
        weights = weights * np.polynomial.hermite_e.hermeval(x, [0.0] * order + [1.0]) / sigma**order
    weights.flags.writeable = False
    return weights


@functools.lru_cache(maxsize=256)
def balanced_taps(sigma: float, radius: int) -> Array:
    """Return `gaussian_taps` rounded to float32 such that the weights still sum to 1, which preserves means.

    The error of the sum is added to the central tap, its remainder to the next pair of taps, and so on.  Each
    weight changes by about its own rounding error.

    Examples
    --------
    >>> float(balanced_taps(2.0, 8).sum() - 1)
    0.0
    """
    weights = gaussian_taps(sigma, 0, radius).astype(np.float32).astype(np.float64)
    for k in range(radius + 1):
        pair = [radius] if k == 0 else [radius - k, radius + k]
        missing = (1.0 - weights.sum()) / len(pair)
        weights[pair] = np.float64(np.float32(weights[radius + k] + missing))
    weights.flags.writeable = False
    return weights


def whole_margin(taps: int, *, single: bool) -> float:
    """Return a factor for averages that are truncated to integers, so that flat regions keep their values.

    Rounding errors may make sums slightly smaller than an integer, which truncation would decrease by 1.  The
    errors of `taps` roundings grow like ``sqrt(taps) u`` (N. J. Higham, "Accuracy and Stability of Numerical
    Algorithms", section 2.8).
    """
    return 1 + math.sqrt(taps) * (2.0**-24 if single else 2.0**-53)


@dataclass(frozen=True, slots=True)
class GaussianAxis:
    """One axis of a Gaussian filter."""

    axis: int
    """Index of the axis in the array."""
    sigma: float
    """Standard deviation in samples."""
    radius: int
    """Number of taps on either side of the centre."""
    spacing: float
    """Distance between samples, in the unit of derivatives."""
    mode: Any
    """Boundary mode."""

    def taps(self, order: int, *, single: bool = False) -> Array:
        """Return correlation weights of the derivative of the given order; `single` is for sums in float32."""
        if single and order == 0:
            return balanced_taps(self.sigma, self.radius)
        weights = gaussian_taps(self.sigma, order, self.radius)
        return weights if order == 0 or self.spacing == 1.0 else weights / self.spacing**order


def derivative_orders(order: Any, count: int) -> tuple[int, ...]:
    """Return the checked order of the derivative for each axis."""
    orders = tuple(integer("order", o) for o in per_axis("order", order, count))
    if any(o < 0 for o in orders):
        raise ValueError(f"order must be non-negative, got {order!r}")
    return orders


def _radius(radius: Any, truncate: Any, sigma: float) -> int:
    """Return `radius`, or ``truncate * sigma`` rounded if it is None, as in SciPy."""
    reach = int(truncate * sigma + 0.5) if radius is None else radius
    if isinstance(reach, bool | np.bool_) or not isinstance(reach, int | np.integer) or reach < 0:
        raise ValueError(
            f"Radius must be a nonnegative integer. Got radius={radius!r} with truncate={truncate!r}"
        )
    return int(reach)


def gaussian_axes(
    named: Sequence[int], sigma: Any, mode: Any, truncate: Any, radius: Any, spacing: Any
) -> list[GaussianAxis]:
    """Return the axes to filter, without those of negligible sigma."""
    count = len(named)
    for name, value in {"sigma": sigma, "truncate": truncate, "spacing": spacing}.items():
        if value is not None and np.asarray(value).dtype.kind not in "biuf":
            raise TypeError(f"{name} must be a number, got {value!r}")
    if not (np.ndim(truncate) == 0 and math.isfinite(truncate) and truncate >= 0):
        raise ValueError(f"truncate must be finite and not negative, got {truncate!r}")
    distances = per_axis("spacing", 1.0 if spacing is None else spacing, count)
    found = []
    for axis, s, m, r, d in zip(
        named,
        per_axis("sigma", sigma, count),
        per_axis("mode", mode, count),
        per_axis("radius", radius, count),
        distances,
        strict=True,
    ):
        if not (math.isfinite(d) and d > 0):
            raise ValueError(f"spacing must be positive and finite, got {spacing!r}")
        if not (math.isfinite(s) and s >= 0):
            raise ValueError(f"sigma must be finite and not negative, got {sigma!r}")
        deviation = float(s) / float(d)
        if deviation > NEGLIGIBLE_SIGMA:
            found.append(GaussianAxis(axis, deviation, _radius(r, truncate, deviation), float(d), m))
    return found


def gaussian_term(
    axes: Sequence[GaussianAxis],
    orders: dict[int, int],
    input_dtype: np.dtype[Any],
    output_dtype: np.dtype[Any],
    cast: str,
) -> Term:
    """Return the term with a Gaussian, or its derivative of the order in `orders`, along each axis."""
    single = compute_type(input_dtype, output_dtype, complex_kernel=False, integer_l1=None).char in "fF"
    term = {a.axis: centred(a.taps(orders.get(a.axis, 0), single=single), a.mode) for a in axes}
    if output_dtype.kind in "iu" and cast == "truncate" and not any(orders.values()):
        axis, taps = next(iter(term.items()))
        margin = whole_margin(sum(t.weights.size for t in term.values()), single=single)
        term[axis] = replace(taps, weights=taps.weights * margin)
    return term


def gaussian_call(name: str, given: Given, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FilterCall:
    """Return the `FilterCall` of `gaussian_filter` or `gaussian_filter1d`."""
    one_axis = name == "gaussian_filter1d"
    named = normalize_axes(integer("axis", given["axis"]) if one_axis else given["axes"], len(shape))
    orders = by_axis(named, derivative_orders(given["order"], len(named)))
    sigma, radius = given["sigma"], given["radius"]
    axes = gaussian_axes(named, sigma, given["mode"], given["truncate"], radius, given["spacing"])
    if one_axis and not axes and any(orders.values()):
        raise ValueError(
            f"sigma must be positive for a derivative, got sigma={sigma!r} with order={given['order']!r}"
        )
    call = begin(name, given, shape, dtype, named)
    terms = [gaussian_term(axes, orders, dtype, call.dtype, call.options.cast)] if axes else []
    return call.with_terms(terms, derivative=any(orders[a.axis] for a in axes))


@remembered
@documented
def gaussian_filter1d(
    input: npt.ArrayLike,
    sigma: float,
    axis: int = -1,
    order: int = 0,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
    spacing: Any = None,
    stride: Any = 1,
) -> Array:
    """Smooth with a Gaussian along one axis, or take a derivative of the smoothed array.

    Parameters
    ----------
    {input}
    sigma : float
        Standard deviation in samples; 0 means no smoothing.
    axis : int, optional
        Axis to filter.
    order : int, optional
        Order of the derivative.
    {output}
    {mode}
    {cval}
    truncate : float, optional
        Standard deviations from the centre to the last tap.
    radius : int, optional
        Taps on either side of the centre.  Default: ``int(truncate * sigma + 0.5)``.
    {keywords}
    {spacing}
    {stride_1d}

    {returns}

    {raises}

    Examples
    --------
    >>> import numbasep
    >>> numbasep.gaussian_filter1d([1.0, 2.0, 3.0, 4.0, 5.0], 1)
    array([1.42704095, 2.06782203, 3.        , 3.93217797, 4.57295905])
    """
    return run(gaussian_call, "gaussian_filter1d", locals())


@remembered
@documented
def gaussian_filter(
    input: npt.ArrayLike,
    sigma: Any,
    order: Any = 0,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    *,
    radius: Any = None,
    axes: Any = None,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
    spacing: Any = None,
    stride: Any = 1,
) -> Array:
    """Smooth with a Gaussian, or take derivatives of the smoothed array.

    Parameters
    ----------
    {input}
    sigma : float or sequence of float
        Standard deviation in samples, once or for each filtered axis; an axis with 0 is not filtered.
    order : int or sequence of int, optional
        Order of the derivative along each filtered axis.
    {output}
    {modes}
    {cval}
    truncate : float, optional
        Standard deviations from the centre to the last tap.
    radius : int or sequence of int, optional
        Taps on either side of the centre.  Default: ``int(truncate * sigma + 0.5)``.
    {axes}
    {keywords}
    {spacing}
    {stride}

    {returns}

    {raises}  Also for a negative `sigma`, which SciPy replaces by 0.

    Notes
    -----
    Sums stay in floating point until the end, and results are converted to the output dtype once.  SciPy converts
    after every axis, so that its smoothed uint8 images are one grey level too dark on average.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.gaussian_filter(np.arange(50, step=2).reshape(5, 5), sigma=1)[2]
    array([20, 22, 24, 25, 27])
    """
    return run(gaussian_call, "gaussian_filter", locals())
