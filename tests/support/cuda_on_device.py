"""A foreign array type in host memory, which is the device memory of Numba's simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbasep.cuda.arrays import DeviceArray, Library


class OnDevice:
    """An array of another library: NumPy memory with the CUDA array interface, for the simulator."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    shape = property(lambda self: self.values.shape)
    dtype = property(lambda self: self.values.dtype)
    ndim = property(lambda self: self.values.ndim)
    itemsize = property(lambda self: self.values.itemsize)

    def __getitem__(self, place: Any) -> OnDevice:
        return OnDevice(self.values[place])

    def __setitem__(self, place: Any, other: OnDevice) -> None:
        self.values[place] = other.values

    def copy(self) -> OnDevice:
        return OnDevice(self.values.copy())

    def astype(self, dtype: Any, **_: Any) -> OnDevice:
        return OnDevice(self.values.astype(dtype))

    def __array_function__(self, function: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        """Apply NumPy's functions, as CuPy's arrays do; dask calls them."""

        def plain(value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return type(value)(map(plain, value))
            return value.values if isinstance(value, OnDevice) else value

        return OnDevice(function(*plain(args), **kwargs))

    def reshape(self, *shape: Any) -> OnDevice:
        return OnDevice(self.values.reshape(*shape))

    def __matmul__(self, other: OnDevice) -> OnDevice:
        return OnDevice(np.matmul(self.values, other.values))

    @property
    def T(self) -> OnDevice:
        return OnDevice(self.values.T)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.values.__array_interface__, "stream": 7}


class OnDeviceLibrary(Library):
    """The library of `OnDevice` arrays."""

    def stream(self, array: OnDevice, view: DeviceArray) -> int:
        return array.__cuda_array_interface__["stream"]

    def empty(self, shape: tuple[int, ...], dtype: np.dtype, like: OnDevice) -> OnDevice:
        return OnDevice(np.empty(shape, dtype))

    def contiguous(self, array: OnDevice) -> OnDevice:
        return OnDevice(np.ascontiguousarray(array.values))

    def copy(self, source: OnDevice, target: OnDevice) -> None:
        target.values[...] = source.values

    def to_host(self, array: OnDevice) -> np.ndarray:
        return array.values

    def as_type(self, array: OnDevice, dtype: np.dtype) -> OnDevice:
        return OnDevice(array.values.astype(dtype))

    def from_host(self, values: np.ndarray, like: OnDevice) -> OnDevice:
        return OnDevice(values.copy())
