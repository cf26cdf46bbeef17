"""Arrays of other libraries on the GPU: where they are, on which stream they are written, how to make another.

Each library allocates its own results and workspace, from its own pool and in the order of its own current stream, so
that nothing waits and nothing leaves the device.
"""

from __future__ import annotations

import functools
import importlib
import math
import sys
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arguments.problem import check_dtype
from . import driver
from .driver import LEGACY_STREAM

Array = npt.NDArray[Any]


class DeviceArray(NamedTuple):
    """Where an array is, and how it lies there."""

    address: int
    """Of the first element."""
    shape: tuple[int, ...]
    """Shape."""
    dtype: np.dtype[Any]
    """Type of the elements."""
    contiguous: bool
    """Whether kernels can read the elements as they lie: in C order, without gaps, and with nothing left to apply."""
    writeable: bool
    """Whether it may be written to."""
    stream: int
    """On which its contents are ready, as far as it says."""
    nbytes: int
    """Bytes of the elements."""
    keeper: Any = None
    """What keeps the memory, where that is not the array itself."""


def located(view: DeviceArray, name: str) -> DeviceArray:
    """`view`, or an error where no element can be read at its address."""
    if view.address % view.dtype.itemsize:
        raise ValueError(
            f"{name} must start at a multiple of its {view.dtype.itemsize} bytes, got address {view.address:#x}"
        )
    return view


@functools.lru_cache(maxsize=1024)
def layout(
    shape: tuple[int, ...], typestr: str, strides: tuple[int, ...] | None, name: str
) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """(shape, type, whether in C order without gaps, bytes); remembered, as calls repeat."""
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
    """How a library makes arrays and orders work; this one knows only the interface, and Numba's arrays."""

    has_product = False
    """Whether two arrays have a matrix product, the operator @."""

    def as_type(self, array: Any, dtype: np.dtype[Any]) -> Any:
        """`array` with elements of another type; for libraries with products."""
        return array.astype(dtype, copy=False)

    def describe(self, array: Any, name: str) -> DeviceArray:
        """What the array's ``__cuda_array_interface__`` says."""
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
        """Its module of Fourier transforms, or None if it has none."""
        return None

    def largest(self, array: Any) -> float:
        """The largest magnitude of a real number in an array, NaN if there is one; for libraries with transforms."""
        raise NotImplementedError

    def stream(self, array: Any, view: DeviceArray) -> int:
        """The stream that `array` is ready on; `view` describes it."""
        return view.stream

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        """A new array on the device of `like`."""
        from numba import cuda

        stream = getattr(like, "stream", 0)
        with cuda.gpus[driver.device_of(self.describe(like, "input").address).ordinal]:
            return cuda.device_array(shape, dtype, stream=stream)

    def from_host(self, values: Array, like: Any) -> Any:
        """A copy of a host array on the device of `like`."""
        made = self.empty(values.shape, values.dtype, like)
        made.copy_to_device(np.ascontiguousarray(values))
        return made

    def put(self, values: Array) -> Any:
        """A copy of a host array on the current device; for libraries with transforms."""
        raise NotImplementedError

    def contiguous(self, array: Any) -> Any:
        """`array` as kernels can read it."""
        raise ValueError(f"a {type(array).__name__} on the GPU must be contiguous in C order")

    def copy(self, source: Any, target: Any) -> None:
        """Write `source` over `target`."""
        target.copy_to_device(source)

    def to_host(self, array: Any) -> Any:
        """A NumPy array of the same values."""
        return array.copy_to_host()

    def finished(self, result: Any, like: Any) -> Any:
        """What a caller who gave `like` gets for `result`."""
        return result


class CuPy(Library):
    """Arrays of CuPy."""

    has_product = True

    def transforms(self) -> Any:
        """cuFFT, through CuPy."""
        return importlib.import_module("cupy").fft

    def largest(self, array: Any) -> float:
        """By CuPy's reductions."""
        parts = (array.real, array.imag) if array.dtype.kind == "c" else (array,)
        return float(sum(abs(part).max() for part in parts))

    def stream(self, array: Any, view: DeviceArray) -> int:
        """CuPy's current stream of the array's device."""
        return int(sys.modules["cupy"].cuda.get_current_stream(array.device.id).ptr) or LEGACY_STREAM

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        """From CuPy's memory pool."""
        cupy = sys.modules["cupy"]
        with like.device:
            return cupy.empty(shape, dtype)

    def from_host(self, values: Array, like: Any) -> Any:
        """By CuPy's copy."""
        with like.device:
            return sys.modules["cupy"].asarray(values)

    def put(self, values: Array) -> Any:
        """By CuPy's copy."""
        return importlib.import_module("cupy").asarray(values)

    def contiguous(self, array: Any) -> Any:
        """By CuPy's copy."""
        return sys.modules["cupy"].ascontiguousarray(array)

    def copy(self, source: Any, target: Any) -> None:
        """By CuPy's assignment."""
        target[...] = source

    def to_host(self, array: Any) -> Any:
        """By CuPy's copy."""
        return array.get()


class Torch(Library):
    """Tensors of PyTorch, and of its subclasses; results are plain tensors."""

    has_product = True

    def describe(self, array: Any, name: str) -> DeviceArray:
        """What the tensor says; one whose conjugate or negative is still to be taken is not contiguous."""
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
        """cuFFT, through PyTorch."""
        return importlib.import_module("torch").fft

    def largest(self, array: Any) -> float:
        """By PyTorch's reduction."""
        torch = sys.modules["torch"]
        numbers = torch.view_as_real(array.resolve_conj()) if array.is_complex() else array
        return float(abs(torch.stack(torch.aminmax(numbers))).max())

    def as_type(self, array: Any, dtype: np.dtype[Any]) -> Any:
        """By PyTorch's conversion."""
        return array.to(getattr(sys.modules["torch"], dtype.name))

    def stream(self, array: Any, view: DeviceArray) -> int:
        """PyTorch's current stream of the tensor's device."""
        return int(sys.modules["torch"].cuda.current_stream(array.device).cuda_stream) or LEGACY_STREAM

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        """From PyTorch's caching allocator."""
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype.name), device=like.device)

    def from_host(self, values: Array, like: Any) -> Any:
        """By PyTorch's copy."""
        return sys.modules["torch"].tensor(values, device=like.device)

    def put(self, values: Array) -> Any:
        """By PyTorch's copy."""
        return importlib.import_module("torch").as_tensor(values, device="cuda")

    def contiguous(self, array: Any) -> Any:
        """By PyTorch's copy, with conjugates and negatives taken."""
        return array.resolve_conj().resolve_neg().contiguous()

    def copy(self, source: Any, target: Any) -> None:
        """By PyTorch's copy."""
        target.copy_(source)

    def to_host(self, array: Any) -> Any:
        """By PyTorch's copy."""
        return array.detach().resolve_conj().resolve_neg().cpu().numpy()


@functools.cache
def _dtype_of(spelled: str, name: str) -> np.dtype[Any]:
    """NumPy's type for PyTorch's, such as "torch.float32"."""
    try:
        return check_dtype(np.dtype(spelled.removeprefix("torch.")), name)
    except TypeError:
        raise TypeError(f"{name} must have elements that NumPy knows, got {spelled}") from None
