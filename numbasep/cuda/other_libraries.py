"""GPU arrays of libraries that are not known by name: JAX, and others with DLPack or the CUDA array interface.

Results and workspace are allocated by this package, in the order of the stream on which the array is ready.  Results
are converted to arrays of the library by its ``from_dlpack``.  DLPack does not say on which stream an array will be
used next, so a call waits for its results.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dlpack, driver
from .arrays import DeviceArray, Library, layout, located

DISTRIBUTIONS = {"jaxlib": "jax"}
"""Package that defines the array type -> public package."""
MODULES = ("", ".dlpack", ".numpy")
"""Submodules in which libraries define `from_dlpack`."""
ORDERED = 3
"""First version of the CUDA array interface that names the stream on which an array is ready."""


class DeviceMemory:
    """C-contiguous array on a GPU with the CUDA array interface and DLPack, allocated and freed in stream order."""

    def __init__(
        self, device: driver.Device, shape: tuple[int, ...], dtype: np.dtype[Any], stream: int,
        address: int | None = None, parent: Any = None,
    ) -> None:  # fmt: skip
        self.shape, self.dtype, self._device, self._parent = shape, dtype, device, parent
        self._stream = [stream]
        if address is None:
            with device.current():
                address = device.allocate(int(np.prod(shape)) * dtype.itemsize, stream)
            weakref.finalize(self, _free, device, address, self._stream).atexit = False
        self._address = address

    @property
    def stream(self) -> int:
        """Stream in whose order the memory is written, read and freed."""
        return self._stream[0]

    def wait(self) -> None:
        """Wait until the memory is written, then forget the stream, which the caller may destroy before the memory."""
        with self._device.current():
            self._device.wait(self.stream)
        self._stream[0] = driver.LEGACY_STREAM

    def __getitem__(self, number: int) -> DeviceMemory:
        """Return a view of one position along the first axis."""
        rest = self.shape[1:]
        start = self._address + number * int(np.prod(rest)) * self.dtype.itemsize
        return DeviceMemory(self._device, rest, self.dtype, self.stream, start, self)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self._address, False), "version": ORDERED,
            "strides": None, "stream": self.stream,
        }  # fmt: skip

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self._device.ordinal

    def __dlpack__(self, **_: Any) -> Any:
        return dlpack.capsule(self._address, self.shape, self.dtype, self._device.ordinal, self)


def _free(device: driver.Device, address: int, stream: list[int]) -> None:
    with contextlib.suppress(RuntimeError), device.current():  # every call fails after an error in a kernel
        device.free(address, stream[0])


class Foreign(Library):
    """Arrays of libraries that are not known by name."""

    def describe(self, array: Any, name: str) -> DeviceArray:
        """Use the CUDA array interface if it names a stream, otherwise DLPack, which synchronizes the producer."""
        interface = getattr(array, "__cuda_array_interface__", None)
        ordered = interface is not None and int(interface.get("version", 0)) >= ORDERED
        if interface is not None and (ordered or not hasattr(array, "__dlpack__")):
            return super().describe(array, name)
        view = dlpack.read(array, name)
        dtype = np.dtype(view.dtype)
        strides = view.strides and tuple(dtype.itemsize * stride for stride in view.strides)
        shape, dtype, contiguous, nbytes = layout(tuple(view.shape), dtype.str, strides, name)
        writeable = interface is not None and not interface["data"][1]  # DLPack alone does not say
        return located(
            DeviceArray(view.ptr, shape, dtype, contiguous, writeable, dlpack.STREAM, nbytes, view), name
        )

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        """Allocate memory on the device of `like`, in the order of its stream."""
        view = self.describe(like, "input")
        return DeviceMemory(self._device(view), shape, dtype, view.stream)

    def from_host(self, values: Any, like: Any) -> Any:
        """Copy with the driver, on the stream of `like`."""
        made = self.empty(values.shape, values.dtype, like)
        view = self.describe(made, "mask")
        device = self._device(view)
        with device.current():
            device.upload(view.address, np.ascontiguousarray(values), view.stream)
        return made

    def copy(self, source: Any, target: Any) -> None:
        """Copy contiguous arrays with the driver, on the stream of the source, which was written last."""
        read, written = self.describe(source, "input"), self.describe(target, "output")
        if not (read.contiguous and written.contiguous and read.dtype == written.dtype):
            raise ValueError(f"output of type {type(target).__name__} must be contiguous in C order")
        device = self._device(read)
        with device.current():
            device.copy(written.address, read.address, read.nbytes, read.stream)

    def to_host(self, array: Any) -> Any:
        """Copy with the driver if `array` is contiguous."""
        view = self.describe(array, "weights")
        if not view.contiguous:
            return np.asarray(self.contiguous(array))
        values = np.empty(view.shape, view.dtype)
        device = self._device(view)
        with device.current():
            device.download(values, view.address, view.stream)
        return values

    def finished(self, result: Any, like: Any) -> Any:
        """Wait for `result`, then convert it to an array of the library of `like`, if that has ``from_dlpack``."""
        if not isinstance(result, DeviceMemory):
            return result
        result.wait()
        own = from_dlpack_of(like)
        return result if own is None else own(result)

    @staticmethod
    def _device(view: DeviceArray) -> driver.Device:
        return driver.device_of(view.address)


def from_dlpack_of(array: Any) -> Callable[[Any], Any] | None:
    """Return the ``from_dlpack`` of an array's library, or None if it has none."""
    root = type(array).__module__.partition(".")[0]
    for suffix in MODULES:
        module = sys.modules.get(DISTRIBUTIONS.get(root, root) + suffix)
        found: Callable[[Any], Any] | None = getattr(module, "from_dlpack", None)
        if found is not None:
            return found
    return None
