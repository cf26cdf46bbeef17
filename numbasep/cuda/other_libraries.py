"""Arrays on a GPU of libraries that are not known by name: JAX, and whatever else speaks DLPack or the CUDA interface.

Results are made in memory of our own, and given back as the library's own arrays by its ``from_dlpack``.  DLPack does
not say on which stream an array will be used next, so a call waits for its results.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dlpack, driver
from .arrays import DeviceArray, Library, describe

HOMES = {"jaxlib": "jax"}
"""The public package of types that say they come from another."""
MODULES = ("", ".dlpack", ".numpy")
"""Where libraries keep `from_dlpack`."""


class DeviceMemory:
    """C-ordered memory of a GPU behind the CUDA array interface and DLPack."""

    def __init__(
        self, device: driver.Device, shape: tuple[int, ...], dtype: np.dtype[Any], address: int | None = None,
        parent: Any = None,
    ) -> None:  # fmt: skip
        self.shape, self.dtype, self._device, self._parent = shape, dtype, device, parent
        nbytes = int(np.prod(shape)) * dtype.itemsize
        if address is None:
            with device.current():
                address = device.allocate(nbytes, 0)
            weakref.finalize(self, driver.release, device, address)
        self._address = address

    def __getitem__(self, number: int) -> DeviceMemory:
        """One position of the first axis, in the same memory."""
        rest = self.shape[1:]
        start = self._address + number * int(np.prod(rest)) * self.dtype.itemsize
        return DeviceMemory(self._device, rest, self.dtype, start, self)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self._address, False), "version": 3,
            "strides": None, "stream": None,
        }  # fmt: skip

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self._device.ordinal

    def __dlpack__(self, **_: Any) -> Any:
        return dlpack.capsule(self._address, self.shape, self.dtype, self._device.ordinal, self)


class Foreign(Library):
    """Arrays of any other library."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        """Memory of the device of `like`."""
        return DeviceMemory(self._device(describe(like, "input")), shape, dtype)

    def from_host(self, values: Any, like: Any) -> Any:
        """By the driver's copy."""
        made = self.empty(values.shape, values.dtype, like)
        view = describe(made, "mask")
        device = self._device(view)
        with device.current():
            device.upload(view.address, np.ascontiguousarray(values), 0)
        return made

    def copy(self, source: Any, target: Any) -> None:
        """By the driver's copy, where both are contiguous."""
        read, written = describe(source, "input"), describe(target, "output")
        if not (read.contiguous and written.contiguous and read.dtype == written.dtype):
            raise ValueError(f"output of type {type(target).__name__} must be contiguous in C order")
        device = self._device(read)
        with device.current():
            device.copy(written.address, read.address, read.nbytes, 0)

    def to_host(self, array: Any) -> Any:
        """By the driver's copy."""
        view = describe(array, "weights")
        if not view.contiguous:
            return np.asarray(self.contiguous(array))
        values = np.empty(view.shape, view.dtype)
        device = self._device(view)
        with device.current():
            device.download(values, view.address, 0)
        return values

    def finished(self, result: Any, like: Any) -> Any:
        """`result` as an array of the library of `like`, when it is there."""
        if not isinstance(result, DeviceMemory):
            return result
        device = self._device(describe(result, "output"))
        with device.current():
            device.wait(0)
        own = from_dlpack_of(like)
        return result if own is None else own(result)

    @staticmethod
    def _device(view: DeviceArray) -> driver.Device:
        return driver.device_of(view.address)


def from_dlpack_of(array: Any) -> Callable[[Any], Any] | None:
    """The ``from_dlpack`` of the library that an array comes from, if it has one."""
    root = type(array).__module__.partition(".")[0]
    for suffix in MODULES:
        module = sys.modules.get(HOMES.get(root, root) + suffix)
        found: Callable[[Any], Any] | None = getattr(module, "from_dlpack", None)
        if found is not None:
            return found
    return None
