"""DLPack, https://dmlc.github.io/dlpack: arrays on a GPU whose library has no CUDA array interface (JAX, MXNet, ...).

What is needed of the protocol, by ctypes: reading a capsule, and making one for memory of ours, so that the array's own
library can wrap the result.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

CUDA = 2
KINDS = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}
"""DLPack's codes of types."""
LEGACY_STREAM = 1
"""The consumer's stream that a producer makes the data ready for: CUDA's legacy default stream."""


class _Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("ordinal", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device", _Device), ("ndim", ctypes.c_int32), ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]


_NAME = b"dltensor"  # of a capsule that nobody has taken yet
_api = ctypes.pythonapi
_is_valid = _api.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
_pointer = _api.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_new = _api.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
# While a capsule is being destroyed, it must not be turned into a Python object again.
_raw_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_raw_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a capsule says."""

    address: int
    """Of the first element."""
    shape: tuple[int, ...]
    """Shape."""
    strides: tuple[int, ...] | None
    """Bytes from one element to the next along each axis; None for C order."""
    dtype: np.dtype[Any]
    """Type of the elements."""
    capsule: Any
    """Keeps the memory."""


def read(array: Any, name: str) -> Tensor:
    """Describe an array on a GPU, whose data are then ready on the legacy default stream.

    Raises
    ------
    TypeError
        The elements are of a type that NumPy does not have.
    """
    capsule = array.__dlpack__(stream=LEGACY_STREAM)
    if not _is_valid(capsule, _NAME):
        raise TypeError(f"{name} must export a DLPack capsule named 'dltensor', got {capsule!r}")
    tensor = ctypes.cast(_pointer(capsule, _NAME), ctypes.POINTER(_Managed)).contents.tensor
    kind = KINDS.get(tensor.dtype.code)
    if kind is None or tensor.dtype.lanes != 1 or tensor.dtype.bits % 8:
        raise TypeError(
            f"{name} must have elements that NumPy knows, got DLPack type code {tensor.dtype.code} "
            f"with {tensor.dtype.bits} bits and {tensor.dtype.lanes} lanes"
        )
    dtype = np.dtype(f"{kind}{tensor.dtype.bits // 8}")
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = None
    if tensor.strides:
        strides = tuple(stride * dtype.itemsize for stride in tensor.strides[: tensor.ndim])
    return Tensor((tensor.data or 0) + tensor.byte_offset, shape, strides, dtype, capsule)


_exported: dict[int, tuple[Any, ...]] = {}


def _delete(managed: int) -> None:
    _exported.pop(managed, None)


def _destroy(capsule: int) -> None:
    if _raw_is_valid(capsule, _NAME):  # otherwise whoever took it deletes it
        _exported.pop(_raw_pointer(capsule, _NAME), None)


_deleter, _destructor = _Deleter(_delete), _Destructor(_destroy)


def capsule(address: int, shape: tuple[int, ...], dtype: np.dtype[Any], ordinal: int, owner: Any) -> Any:
    """A capsule for C-ordered memory of GPU `ordinal`, which keeps `owner` until it is deleted."""
    codes = {kind: code for code, kind in KINDS.items()}
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    managed = _Managed()
    managed.tensor = _Tensor(
        address, _Device(CUDA, ordinal), len(shape), _Type(codes[dtype.kind], 8 * dtype.itemsize, 1),
        ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64)), None, 0,
    )  # fmt: skip
    managed.deleter = _deleter
    place = ctypes.addressof(managed)
    _exported[place] = (managed, sizes, owner)
    return _new(place, _NAME, ctypes.cast(_destructor, ctypes.c_void_p))
