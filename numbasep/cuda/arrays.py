"""GPU arrays of other libraries: their addresses, layouts and streams, and the allocation of new ones.

Each library allocates its results and workspace from its own pool, in the order of its current stream, so that no call
waits and no data leave the device.
"""

import functools
import importlib
import math
import sys
from typing import Any, NamedTuple

import numpy as np

from ..arguments.problem import check_dtype
from ..system.types import Array
from . import driver
from .driver import LEGACY_STREAM


class DeviceArray(NamedTuple):
    """Address, shape, type and layout of an array on the GPU."""

    address: int
    """Address of the first element."""
    shape: tuple[int, ...]
    """Shape."""
    dtype: np.dtype[Any]
    """Type of the elements."""
    contiguous: bool
    """Whether kernels can read the memory as it is: C-contiguous, with no pending conjugation or negation."""
    writeable: bool
    """Whether the array can be written to."""
    stream: int
    """Stream in whose order the contents are ready; the legacy stream if the array names none."""
    nbytes: int
    """Size of the elements in bytes."""
    keeper: Any = None
    """Object that keeps the memory alive, if that is not the array itself."""


def located(view: DeviceArray, name: str) -> DeviceArray:
    """Return `view`; raise ValueError if its address is not a multiple of the item size."""
    if view.address % view.dtype.itemsize:
        raise ValueError(
            f"{name} must start at a multiple of its {view.dtype.itemsize} bytes, got address {view.address:#x}"
        )
    return view


@functools.lru_cache(maxsize=1024)
def layout(
    shape: tuple[int, ...], typestr: str, strides: tuple[int, ...] | None, name: str
) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Return (shape, dtype, whether C-contiguous, bytes); cached, since calls repeat."""
    dtype = check_dtype(np.dtype(typestr), name)
    if not dtype.isnative:
        raise TypeError(f"{name} must be in native byte order, got {dtype}")
    contiguous = strides is None or _is_contiguous(shape, strides, dtype.itemsize)
    return tuple(shape), dtype, contiguous, math.prod(shape) * dtype.itemsize


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    expected = itemsize
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


class Library:
    """Allocation, copies and streams of an array library.

    The base class uses only the CUDA array interface, and makes arrays of Numba.
    """

    has_product = False
    """Whether the arrays have a matrix product, the operator @."""

    def as_type(self, array: Any, dtype: np.dtype[Any]) -> Any:
        """Return `array` converted to `dtype`; for libraries with a matrix product."""
        return array.astype(dtype, copy=False)

    def describe(self, array: Any, name: str) -> DeviceArray:
        """Describe an array by its ``__cuda_array_interface__``; errors call it `name`."""
        interface = array.__cuda_array_interface__
        shape, dtype, contiguous, nbytes = layout(
            interface["shape"], interface["typestr"], interface.get("strides"), name
        )
        address, read_only = interface["data"]
        stream = int(interface.get("stream") or LEGACY_STREAM)
        return located(
            DeviceArray(int(address or 0), shape, dtype, contiguous, not read_only, stream, nbytes), name
        )

    def transforms(self) -> Any:
        """Return the library's module of Fourier transforms, or None if it has none."""
        return None

    def largest(self, array: Any) -> float:
        """Return the largest magnitude of the real numbers in an array, or NaN; for libraries with transforms."""
        raise NotImplementedError

    def stream(self, array: Any, view: DeviceArray) -> int:
        """Return the stream in whose order `array` is ready; `view` describes the array."""
        return view.stream

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        """Allocate an uninitialized array on the device of `like`."""
        from numba import cuda

        stream = getattr(like, "stream", 0)
        with cuda.gpus[driver.device_of(self.describe(like, "input").address).ordinal]:
            return cuda.device_array(shape, dtype, stream=stream)

    def from_host(self, values: Array, like: Any) -> Any:
        """Copy a host array to the device of `like`."""
        made = self.empty(values.shape, values.dtype, like)
        made.copy_to_device(np.ascontiguousarray(values))
        return made

    def put(self, values: Array) -> Any:
        """Copy a host array to the current device; for libraries with transforms."""
        raise NotImplementedError

    def contiguous(self, array: Any) -> Any:
        """Return a C-contiguous copy of `array`; raise ValueError if the library cannot make one."""
        raise ValueError(f"a {type(array).__name__} on the GPU must be contiguous in C order")

    def copy(self, source: Any, target: Any) -> None:
        """Copy `source` into `target`."""
        target.copy_to_device(source)

    def to_host(self, array: Any) -> Any:
        """Copy `array` to a NumPy array."""
        return array.copy_to_host()

    def finished(self, result: Any, like: Any) -> Any:
        """Convert `result` to the array type of `like`, which the caller passed."""
        return result


class CuPy(Library):
    """Arrays of CuPy."""

    has_product = True

    def transforms(self) -> Any:
        """Return `cupy.fft`, which calls cuFFT."""
        return importlib.import_module("cupy").fft

    def largest(self, array: Any) -> float:
        """Use CuPy's reductions; for complex arrays, return the sum of the maxima of both parts, an upper bound."""
        parts = (array.real, array.imag) if array.dtype.kind == "c" else (array,)
        return float(sum(abs(part).max() for part in parts))

    def stream(self, array: Any, view: DeviceArray) -> int:
        """Return CuPy's current stream of the array's device."""
        return int(sys.modules["cupy"].cuda.get_current_stream(array.device.id).ptr) or LEGACY_STREAM

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        """Allocate from CuPy's memory pool."""
        cupy = sys.modules["cupy"]
        with like.device:
            return cupy.empty(shape, dtype)

    def from_host(self, values: Array, like: Any) -> Any:
        """Copy with `cupy.asarray`."""
        with like.device:
            return sys.modules["cupy"].asarray(values)

    def put(self, values: Array) -> Any:
        """Copy with `cupy.asarray`."""
        return importlib.import_module("cupy").asarray(values)

    def contiguous(self, array: Any) -> Any:
        """Copy with `cupy.ascontiguousarray`."""
        return sys.modules["cupy"].ascontiguousarray(array)

    def copy(self, source: Any, target: Any) -> None:
        """Copy by assignment to all elements."""
        target[...] = source

    def to_host(self, array: Any) -> Any:
        """Copy with `cupy.ndarray.get`."""
        return array.get()


class Torch(Library):
    """Tensors of PyTorch and of subclasses of them; results are plain tensors."""

    has_product = True

    def describe(self, array: Any, name: str) -> DeviceArray:
        """Describe a tensor by its attributes; one with its conjugate or negative bit set is not contiguous."""
        if str(array.layout) != "torch.strided":
            raise TypeError(f"{name} must be a dense tensor, got layout {array.layout}")
        dtype = _dtype_of(str(array.dtype), name)
        contiguous = array.is_contiguous() and not array.is_conj() and not array.is_neg()
        shape = tuple(array.shape)
        nbytes = math.prod(shape) * dtype.itemsize
        return located(
            DeviceArray(array.data_ptr(), shape, dtype, contiguous, True, LEGACY_STREAM, nbytes), name
        )

    def transforms(self) -> Any:
        """Return `torch.fft`, which calls cuFFT."""
        return importlib.import_module("torch").fft

    def largest(self, array: Any) -> float:
        """Use `torch.aminmax`, on the real and imaginary parts of complex tensors."""
        torch = sys.modules["torch"]
        numbers = torch.view_as_real(array.resolve_conj()) if array.is_complex() else array
        return float(abs(torch.stack(torch.aminmax(numbers))).max())

    def as_type(self, array: Any, dtype: np.dtype[Any]) -> Any:
        """Convert with `torch.Tensor.to`."""
        return array.to(getattr(sys.modules["torch"], dtype.name))

    def stream(self, array: Any, view: DeviceArray) -> int:
        """Return PyTorch's current stream of the tensor's device."""
        return int(sys.modules["torch"].cuda.current_stream(array.device).cuda_stream) or LEGACY_STREAM

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        """Allocate from PyTorch's caching allocator."""
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype.name), device=like.device)

    def from_host(self, values: Array, like: Any) -> Any:
        """Copy with `torch.tensor`."""
        return sys.modules["torch"].tensor(values, device=like.device)

    def put(self, values: Array) -> Any:
        """Copy with `torch.as_tensor`."""
        return importlib.import_module("torch").as_tensor(values, device="cuda")

    def contiguous(self, array: Any) -> Any:
        """Resolve a pending conjugation or negation, then copy with `torch.Tensor.contiguous`."""
        return array.resolve_conj().resolve_neg().contiguous()

    def copy(self, source: Any, target: Any) -> None:
        """Copy with `torch.Tensor.copy_`."""
        target.copy_(source)

    def to_host(self, array: Any) -> Any:
        """Resolve a pending conjugation or negation, then copy to the host."""
        return array.detach().resolve_conj().resolve_neg().cpu().numpy()


@functools.cache
def _dtype_of(spelled: str, name: str) -> np.dtype[Any]:
    """Return the NumPy dtype for the name of a PyTorch dtype, such as "torch.float32"."""
    try:
        return check_dtype(np.dtype(spelled.removeprefix("torch.")), name)
    except TypeError:
        raise TypeError(f"{name} must have elements that NumPy knows, got {spelled}") from None
