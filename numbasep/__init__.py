"""Convolution on NumPy arrays: any kernel, any array, the cheapest exact path, explained.

numbasep takes any kernel and any N-D array, factors the kernel, predicts what each way to compute it costs on
this machine, takes the cheapest one that gives the same answer, says why, and runs it on all cores.

Every name below is loaded when it is first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

_MODULES = {
    "api.bank": ("filter_bank",),
    "api.convolve": ("convolve", "correlate", "separable_convolve", "separable_correlate"),
    "api.derivatives": ("laplace", "prewitt", "sobel"),
    "api.filters": ("convolve1d", "correlate1d", "uniform_filter", "uniform_filter1d"),
    "api.gaussian": ("gaussian_filter", "gaussian_filter1d"),
    "api.gaussian_derivatives": ("gaussian_gradient_magnitude", "gaussian_laplace"),
    "api.generic": ("generic_gradient_magnitude", "generic_laplace"),
    "api.planning": ("plan", "show_config"),
    "api.warmup": ("warmup",),
    "calibration.calibrate": ("calibrate",),
    "cpu.threads": ("num_threads", "set_num_threads"),
    "factor": ("SeparableKernel", "factorize", "is_separable"),
    "plans.plan": ("Plan",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Plan",
    "SeparableKernel",
    "calibrate",
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "factorize",
    "filter_bank",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "generic_gradient_magnitude",
    "generic_laplace",
    "is_separable",
    "laplace",
    "nn",
    "num_threads",
    "plan",
    "prewitt",
    "separable_convolve",
    "separable_correlate",
    "set_num_threads",
    "show_config",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
    "warmup",
]

if TYPE_CHECKING:
    from . import nn
    from .api.bank import filter_bank
    from .api.convolve import convolve, correlate, separable_convolve, separable_correlate
    from .api.derivatives import laplace, prewitt, sobel
    from .api.filters import convolve1d, correlate1d, uniform_filter, uniform_filter1d
    from .api.gaussian import gaussian_filter, gaussian_filter1d
    from .api.gaussian_derivatives import gaussian_gradient_magnitude, gaussian_laplace
    from .api.generic import generic_gradient_magnitude, generic_laplace
    from .api.planning import plan, show_config
    from .api.warmup import warmup
    from .calibration.calibrate import calibrate
    from .cpu.threads import num_threads, set_num_threads
    from .factor import SeparableKernel, factorize, is_separable
    from .plans.plan import Plan


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
