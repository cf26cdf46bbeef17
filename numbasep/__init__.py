"""Convolution on NumPy arrays: any kernel, any array, the cheapest exact path, explained.

numbasep takes any kernel and any N-D array, factors the kernel, predicts what each way to compute it costs on
this machine, takes the cheapest one that gives the same answer, says why, and runs it on all cores.

Every name below is loaded when it is first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

_HOME = {
    "convolve": "api.convolve",
    "correlate": "api.convolve",
    "separable_convolve": "api.convolve",
    "separable_correlate": "api.convolve",
    "convolve1d": "api.filters",
    "correlate1d": "api.filters",
    "uniform_filter1d": "api.filters",
    "uniform_filter": "api.filters",
    "sobel": "api.derivatives",
    "prewitt": "api.derivatives",
    "laplace": "api.derivatives",
    "generic_laplace": "api.generic",
    "generic_gradient_magnitude": "api.generic",
    "gaussian_filter1d": "api.gaussian",
    "gaussian_filter": "api.gaussian",
    "gaussian_laplace": "api.gaussian_derivatives",
    "gaussian_gradient_magnitude": "api.gaussian_derivatives",
    "filter_bank": "api.bank",
    "plan": "api.planning",
    "show_config": "api.planning",
    "warmup": "api.warmup",
    "calibrate": "calibration.calibrate",
    "factorize": "factor",
    "is_separable": "factor",
    "SeparableKernel": "factor",
    "Plan": "plans.plan",
    "set_num_threads": "cpu.threads",
    "num_threads": "cpu.threads",
}

__all__ = [*sorted(_HOME), "nn"]

if TYPE_CHECKING:
    from . import nn as nn
    from .api.bank import filter_bank as filter_bank
    from .api.convolve import (
        convolve as convolve,
    )
    from .api.convolve import (
        correlate as correlate,
    )
    from .api.convolve import (
        separable_convolve as separable_convolve,
    )
    from .api.convolve import (
        separable_correlate as separable_correlate,
    )
    from .api.derivatives import laplace as laplace
    from .api.derivatives import prewitt as prewitt
    from .api.derivatives import sobel as sobel
    from .api.filters import convolve1d as convolve1d
    from .api.filters import correlate1d as correlate1d
    from .api.filters import uniform_filter as uniform_filter
    from .api.filters import uniform_filter1d as uniform_filter1d
    from .api.gaussian import gaussian_filter as gaussian_filter
    from .api.gaussian import gaussian_filter1d as gaussian_filter1d
    from .api.gaussian_derivatives import gaussian_gradient_magnitude as gaussian_gradient_magnitude
    from .api.gaussian_derivatives import gaussian_laplace as gaussian_laplace
    from .api.generic import generic_gradient_magnitude as generic_gradient_magnitude
    from .api.generic import generic_laplace as generic_laplace
    from .api.planning import plan as plan
    from .api.planning import show_config as show_config
    from .api.warmup import warmup as warmup
    from .calibration.calibrate import calibrate as calibrate
    from .cpu.threads import num_threads as num_threads
    from .cpu.threads import set_num_threads as set_num_threads
    from .factor import SeparableKernel as SeparableKernel
    from .factor import factorize as factorize
    from .factor import is_separable as is_separable
    from .plans.plan import Plan as Plan


def __getattr__(name: str) -> Any:
    if name == "nn":
        return importlib.import_module(".nn", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
