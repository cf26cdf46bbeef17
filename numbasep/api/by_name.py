"""Filter calls by the name of the filter, for adapters that filter an array part by part."""

from typing import Any

import numpy as np

from . import convolve, derivatives, filters, gaussian, gaussian_derivatives
from .calls import FilterCall, Given, Maker

MAKERS: dict[str, Maker] = {
    "convolve": convolve.dense_call,
    "correlate": convolve.dense_call,
    "convolve1d": filters.line_call,
    "correlate1d": filters.line_call,
    "separable_convolve": convolve.axiswise_call,
    "separable_correlate": convolve.axiswise_call,
    "gaussian_filter1d": gaussian.gaussian_call,
    "gaussian_filter": gaussian.gaussian_call,
    "gaussian_laplace": gaussian_derivatives.derivatives_call,
    "gaussian_gradient_magnitude": gaussian_derivatives.derivatives_call,
    "uniform_filter1d": filters.average_call,
    "uniform_filter": filters.average_call,
    "sobel": derivatives.difference_call,
    "prewitt": derivatives.difference_call,
    "laplace": derivatives.laplace_call,
}


def make_call(name: str, given: Given, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FilterCall:
    """Return the `FilterCall` of a public filter, for an array of this shape and dtype.

    Raises
    ------
    ValueError, TypeError
        As for the filter itself.
    """
    return MAKERS[name](name, given, shape, dtype)
