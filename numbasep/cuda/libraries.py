"""The library that an array on a GPU comes from."""

from __future__ import annotations

from typing import Any

from .arrays import CuPy, Library, Torch
from .other_libraries import Foreign

NUMBA = Library()
LIBRARIES: dict[str, Library] = {"cupy": CuPy(), "torch": Torch(), "numba": NUMBA, "numba_cuda": NUMBA}
"""By the package that a type comes from."""
FOREIGN = Foreign()
"""All that are not known by name."""


def library_of(array: Any) -> Library:
    """The library of an array."""
    return LIBRARIES.get(type(array).__module__.partition(".")[0], FOREIGN)
