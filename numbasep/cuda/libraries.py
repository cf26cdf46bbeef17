"""The library that an array on a GPU comes from."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from .arrays import CuPy, DeviceArray, Library, Torch
from .other_libraries import Foreign

NUMBA = Library()
LIBRARIES: dict[str, Library] = {"cupy": CuPy(), "torch": Torch(), "numba": NUMBA, "numba_cuda": NUMBA}
"""By the package that a type comes from, or one that it inherits from."""
FOREIGN = Foreign()
"""All that are not known by name."""


def library_of(array: Any) -> Library:
    """The library of an array."""
    for base in type(array).__mro__:
        known = LIBRARIES.get(base.__module__.partition(".")[0])
        if known is not None:
            return known
    return FOREIGN


@functools.cache
def with_transforms() -> Library | None:
    """A library that is installed, knows the GPU and has Fourier transforms, for arrays of the host."""
    for name in ("cupy", "torch"):
        try:
            available = importlib.import_module(name).cuda.is_available()
        except ImportError:
            continue
        if available:
            return LIBRARIES[name]
    return None


def describe(array: Any, name: str) -> DeviceArray:
    """Where an array is and how it lies there; `name` is what errors call it.

    Raises
    ------
    TypeError
        An array that takes part in automatic differentiation, or of a type that cannot be filtered.
    """
    if getattr(array, "requires_grad", False):
        raise TypeError(f"{name} requires a gradient, which filters do not propagate: pass {name}.detach()")
    return library_of(array).describe(array, name)
