"""Find the library of a GPU array."""

import functools
import importlib
from typing import Any

from .arrays import CuPy, DeviceArray, Library, Torch
from .other_libraries import Foreign

NUMBA = Library()
LIBRARIES: dict[str, Library] = {"cupy": CuPy(), "torch": Torch(), "numba": NUMBA, "numba_cuda": NUMBA}
"""Package that defines the array type, or one of its base classes -> library."""
FOREIGN = Foreign()
"""Library for all other packages."""


def library_of(array: Any) -> Library:
    """Return the library of an array."""
    for base in type(array).__mro__:
        known = LIBRARIES.get(base.__module__.partition(".")[0])
        if known is not None:
            return known
    return FOREIGN


@functools.cache
def with_transforms() -> Library | None:
    """Return an installed library with Fourier transforms that sees the GPU, or None; for arrays of the host."""
    for name in ("cupy", "torch"):
        try:
            available = importlib.import_module(name).cuda.is_available()
        except ImportError:
            continue
        if available:
            return LIBRARIES[name]
    return None


def describe(array: Any, name: str) -> DeviceArray:
    """Describe an array on the GPU; errors call it `name`.

    Raises
    ------
    TypeError
        The array requires a gradient, or its type cannot be filtered.
    """
    if getattr(array, "requires_grad", False):
        raise TypeError(f"{name} requires a gradient, which filters do not propagate: pass {name}.detach()")
    return library_of(array).describe(array, name)
