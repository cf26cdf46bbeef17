"""DLPack, https://dmlc.github.io/dlpack: arrays on a GPU whose library has no CUDA array interface (JAX, MXNet, ...).

cuda.core reads capsules.  This module adds the export: a capsule for our own memory, built from ctypes structures, so
that the library of the input can wrap the result.
"""

import atexit
import ctypes
from typing import Any

import numpy as np

from .driver import LEGACY_STREAM

CUDA = 2
CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
"""Kind of a NumPy dtype -> type code of DLPack."""
STREAM = LEGACY_STREAM
"""Stream in whose order producers must have their data ready."""


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


_NAME = b"dltensor"  # name of a capsule that has not been consumed
_api = ctypes.pythonapi
_new = _api.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
# A capsule that is being destroyed must not become a Python object again: these functions take its address.
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)
# Structures and shapes are in raw memory: a consumer may free them after the interpreter has ended.
_allocate, _free = _api.PyMem_RawMalloc, _api.PyMem_RawFree
_allocate.restype, _allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
_free.restype, _free.argtypes = None, [ctypes.c_void_p]
_FREE = ctypes.cast(_free, ctypes.c_void_p).value


def read(array: Any, name: str) -> Any:
    """Return a `StridedMemoryView` of an array on a GPU, with its data ready on `STREAM`.

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
    if _is_valid(capsule, _NAME):  # otherwise the consumer deletes it
        _delete(_pointer(capsule, _NAME))


_deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_delete)
_destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(_destroy)
_DELETER = ctypes.cast(_deleter, ctypes.c_void_p).value


@atexit.register
def _without_interpreter() -> None:
    """Let consumers that outlive the interpreter free the structures without calling Python."""
    for place in _exported:
        _Managed.from_address(place).deleter = _FREE


def capsule(address: int, shape: tuple[int, ...], dtype: np.dtype[Any], ordinal: int, owner: Any) -> Any:
    """Return a capsule for C-contiguous memory of GPU `ordinal`; it keeps `owner` alive until it is deleted."""
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
