"""DLPack, https://dmlc.github.io/dlpack: arrays on a GPU whose library has no CUDA array interface (JAX, MXNet, ...).

cuda.core reads capsules.  Making one for memory of ours, so that the array's own library can wrap the result, takes a
few structures by ctypes.
"""

from __future__ import annotations

import atexit
import ctypes
from typing import Any

import numpy as np

from .driver import LEGACY_STREAM

CUDA = 2
CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
"""DLPack's codes of types."""
STREAM = LEGACY_STREAM
"""The stream on which producers are asked to have their data ready."""


class _Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("ordinal", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device", _Device), ("ndim", ctypes.c_int32), ("dtype", _Type),
        ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p), ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


_NAME = b"dltensor"  # of a capsule that nobody has taken yet
_api = ctypes.pythonapi
_new = _api.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
# While a capsule is being destroyed, it must not be turned into a Python object again.
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)
# Structures and shapes lie in memory that is freed without the interpreter, which a consumer may outlive.
_allocate, _free = _api.PyMem_RawMalloc, _api.PyMem_RawFree
_allocate.restype, _allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
_free.restype, _free.argtypes = None, [ctypes.c_void_p]
_FREE = ctypes.cast(_free, ctypes.c_void_p).value


def read(array: Any, name: str) -> Any:
    """A `StridedMemoryView` of an array on a GPU, whose data are then ready on `STREAM`.

    Raises
    ------
    TypeError
        The elements are of a type that NumPy does not have.
    """
    from cuda.core.utils import StridedMemoryView

    try:
        return StridedMemoryView.from_dlpack(array, STREAM)
    except (NotImplementedError, ValueError) as error:
        raise TypeError(f"{name} must have elements that NumPy knows: {error}") from error


_exported: dict[int, Any] = {}


def _delete(managed: int) -> None:
    if _exported.pop(managed, None) is not None:
        _free(managed)


def _destroy(capsule: int) -> None:
    if _is_valid(capsule, _NAME):  # otherwise whoever took it deletes it
        _delete(_pointer(capsule, _NAME))


_deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_delete)
_destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(_destroy)
_DELETER = ctypes.cast(_deleter, ctypes.c_void_p).value


@atexit.register
def _without_interpreter() -> None:
    """Whoever deletes an array after the interpreter's end calls no Python: what is left of it is the structure."""
    for place in _exported:
        _Managed.from_address(place).deleter = _FREE


def capsule(address: int, shape: tuple[int, ...], dtype: np.dtype[Any], ordinal: int, owner: Any) -> Any:
    """A capsule for C-ordered memory of GPU `ordinal`, which keeps `owner` until it is deleted."""
    sizes = ctypes.sizeof(_Managed)
    place = _allocate(sizes + 8 * len(shape))
    if not place:
        raise MemoryError
    (ctypes.c_int64 * len(shape)).from_address(place + sizes)[:] = list(shape)
    managed = _Managed.from_address(place)
    managed.tensor = _Tensor(
        address, _Device(CUDA, ordinal), len(shape), _Type(CODES[dtype.kind], 8 * dtype.itemsize, 1), place + sizes,
        None, 0,
    )  # fmt: skip
    managed.context, managed.deleter = None, _DELETER
    _exported[place] = owner
    return _new(place, _NAME, ctypes.cast(_destructor, ctypes.c_void_p))
