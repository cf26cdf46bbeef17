"""An emulated GPU for `numbasep.cuda.driver`, which interprets PTX in `ptx_machine`, and arrays in its memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from numbasep.api import build, repeated_calls
from numbasep.cuda import compiler, dlpack, elementwise, libraries
from numbasep.cuda import driver as cuda_driver
from numbasep.cuda.arrays import Library
from tests.support import ptx_machine

ELF = b"\x7fELF"  # first bytes of machine code


class EmulatedDriver:
    """The functions of `cuda.bindings.driver` that numbasep calls, with the same return types.

    `streams` lists (function, stream) of enqueued operations and waits, `tables` the addresses from `cuMemAlloc`.
    While there are `captured` streams, calls that would break the capture fail and are counted in `spoiled`.  In a
    forked child, all calls fail.
    """

    CUresult = SimpleNamespace(CUDA_SUCCESS=0, CUDA_ERROR_OUT_OF_MEMORY=2)
    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major",
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor",
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT="multiprocessors",
        CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED="pools",
        CU_DEVICE_ATTRIBUTE_CLOCK_RATE="clock",
    )

    def __init__(self, capability: tuple[int, int] = (9, 0), multiprocessors: int = 2) -> None:
        self.heap = ptx_machine.Heap()
        self.launches: list[tuple[str, int, int]] = []
        self.streams: list[tuple[str, int]] = []
        self.captured: set[int] = set()
        self.spoiled = 0
        self.tables: set[int] = set()
        self.forked, self.devices = False, 1
        self._attributes = {
            "major": capability[0], "minor": capability[1], "multiprocessors": multiprocessors,
            "pools": 1, "clock": 1000,
        }  # fmt: skip
        self.takes_machine_code = self.takes_ptx = True
        self._context = 0
        self._stack: list[int] = []

    CUstreamCaptureStatus = SimpleNamespace(CU_STREAM_CAPTURE_STATUS_NONE=0)

    def _refused(self) -> Any:
        """Return the error of a call that is not allowed now, or None."""
        if self.forked:
            return SimpleNamespace(name="CUDA_ERROR_NOT_INITIALIZED")
        self.spoiled += bool(self.captured)
        return SimpleNamespace(name="CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED") if self.captured else None

    def _enqueued(self, function: str, stream: int) -> None:
        assert stream, "0 is the legacy stream or the thread's own, depending on an environment variable"
        self.streams.append((function, stream))

    def cuInit(self, flags: int) -> tuple[Any]:
        return ((self._refused() if self.forked else None) or 0,)

    def cuStreamIsCapturing(self, stream: int) -> tuple[int, int]:
        return 0, int(stream in self.captured)

    def cuDriverGetVersion(self) -> tuple[int, int]:
        return 0, 13000

    def cuDeviceGetCount(self) -> tuple[int, int]:
        return 0, self.devices

    CUpointer_attribute = SimpleNamespace(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL="ordinal")

    def cuPointerGetAttribute(self, attribute: str, address: int) -> tuple[Any, int]:
        known = address >= ptx_machine.HEAP_BASE
        return (0 if known else SimpleNamespace(name="CUDA_ERROR_INVALID_VALUE")), 0

    def cuDeviceGet(self, ordinal: int) -> tuple[int, int]:
        return 0, ordinal

    def cuDevicePrimaryCtxRetain(self, device: int) -> tuple[int, int]:
        return 0, 4711

    def cuDeviceGetName(self, size: int, device: int) -> tuple[int, bytes]:
        return 0, b"emulated\0\0"

    def cuDeviceGetAttribute(self, attribute: str, device: int) -> tuple[int, int]:
        return 0, self._attributes[attribute]

    def cuCtxGetCurrent(self) -> tuple[int, int]:
        return 0, self._context

    def cuCtxPushCurrent(self, context: int) -> tuple[int]:
        self._stack.append(self._context)
        self._context = context
        return (0,)

    def cuCtxPopCurrent(self) -> tuple[int, int]:
        left, self._context = self._context, self._stack.pop()
        return 0, left

    def cuCtxSynchronize(self) -> tuple[Any]:
        return (self._refused() or 0,)

    def cuModuleLoadData(self, image: bytes) -> tuple[Any, ptx_machine.Kernel | None]:
        if not (self.takes_machine_code if image.startswith(ELF) else self.takes_ptx):
            return SimpleNamespace(name="CUDA_ERROR_INVALID_IMAGE"), None
        assert image.startswith(ELF) or image.endswith(b"\0")
        return 0, ptx_machine.Kernel(image.removeprefix(ELF).rstrip(b"\0").decode())

    def cuModuleGetFunction(self, module: ptx_machine.Kernel, name: bytes) -> tuple[int, ptx_machine.Kernel]:
        assert module.name == name.decode()
        return 0, module

    def cuMemAlloc(self, nbytes: int) -> tuple[Any, int]:
        refused = self._refused()
        if refused:
            return refused, 0
        address = self.heap.allocate(nbytes)
        self.tables.add(address)
        return 0, address

    def cuMemFree(self, address: int) -> tuple[Any]:
        refused = self._refused()
        if not refused:
            self.heap.free(address)
            self.tables.discard(address)
        return (refused or 0,)

    def cuMemAllocAsync(self, nbytes: int, stream: int) -> tuple[int, int]:
        self._enqueued("cuMemAllocAsync", stream)
        return 0, self.heap.allocate(nbytes)

    def cuMemFreeAsync(self, address: int, stream: int) -> tuple[int]:
        self._enqueued("cuMemFreeAsync", stream)
        self.heap.free(address)
        return (0,)

    def cuMemcpyHtoD(self, address: int, source: int, nbytes: int) -> tuple[int]:
        assert self._context
        self.heap.view(address, nbytes)[:] = np.frombuffer(ctypes.string_at(source, nbytes), np.uint8)
        return (0,)

    def cuMemcpyHtoDAsync(self, address: int, source: int, nbytes: int, stream: int) -> tuple[int]:
        self._enqueued("cuMemcpyHtoDAsync", stream)
        return self.cuMemcpyHtoD(address, source, nbytes)

    def cuMemcpyDtoHAsync(self, target: int, address: int, nbytes: int, stream: int) -> tuple[int]:
        self._enqueued("cuMemcpyDtoHAsync", stream)
        ctypes.memmove(target, self.heap.view(address, nbytes).tobytes(), nbytes)
        return (0,)

    def cuMemsetD8Async(self, address: int, value: int, nbytes: int, stream: int) -> tuple[int]:
        self._enqueued("cuMemsetD8Async", stream)
        self.heap.view(address, nbytes)[:] = value
        return (0,)

    def cuEventCreate(self, flags: int) -> tuple[int, list[float]]:
        return 0, [0.0]

    def cuEventDestroy(self, event: list[float]) -> tuple[int]:
        return (0,)

    def cuEventRecord(self, event: list[float], stream: int) -> tuple[int]:
        self._enqueued("cuEventRecord", stream)
        event[0] = time.perf_counter()
        return (0,)

    def cuEventSynchronize(self, event: list[float]) -> tuple[int]:
        return (0,)

    def cuEventElapsedTime(self, start: list[float], stop: list[float]) -> tuple[int, float]:
        return 0, 1e3 * (stop[0] - start[0])

    def cuMemcpyDtoDAsync(self, target: int, address: int, nbytes: int, stream: int) -> tuple[int]:
        self._enqueued("cuMemcpyDtoDAsync", stream)
        self.heap.view(target, nbytes)[:] = self.heap.view(address, nbytes).copy()
        return (0,)

    def cuStreamSynchronize(self, stream: int) -> tuple[int]:
        self._enqueued("cuStreamSynchronize", stream)
        return (0,)

    def cuLaunchKernel(
        self, kernel: ptx_machine.Kernel, x: int, y: int, z: int, bx: int, by: int, bz: int, shared: int,
        stream: int, parameters: int, extra: int,
    ) -> tuple[Any]:  # fmt: skip
        if self.forked:
            return (self._refused(),)
        assert self._context
        assert (y, z, bz, shared, extra) == (1, 1, 1, 0, 0)
        assert 0 < x < 1 << 31
        pointers = (ctypes.c_int64 * len(kernel.parameters)).from_address(parameters)
        values = [ctypes.string_at(pointer, 8) for pointer in pointers]
        self.launches.append((kernel.name, x, stream))
        self._enqueued("cuLaunchKernel", stream)
        kernel.launch(x, (bx, by), values, self.heap)
        return (0,)


class DeviceNumbers:
    """An array in the memory of an emulated GPU, with the CUDA array interface."""

    def __init__(self, driver: EmulatedDriver, values: np.ndarray, skew: int = 0) -> None:
        self.driver, self.shape, self.dtype = driver, values.shape, values.dtype
        self.address = driver.heap.allocate(max(values.nbytes, 1), skew)
        if values.nbytes:
            driver.heap.view(self.address, values.nbytes)[:] = np.frombuffer(values.tobytes(), np.uint8)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "version": 3,
            "strides": None, "stream": 7,
        }  # fmt: skip

    def __getitem__(self, number: int) -> DeviceNumbers:
        rest = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        view = object.__new__(DeviceNumbers)
        view.driver, view.shape, view.dtype = self.driver, self.shape[1:], self.dtype
        view.address = self.address + number * rest
        return view

    def get(self) -> np.ndarray:
        count = int(np.prod(self.shape)) * self.dtype.itemsize
        return self.driver.heap.view(self.address, count).view(self.dtype).reshape(self.shape).copy()


class EmulatedLibrary(Library):
    """The library of `DeviceNumbers`; new arrays begin `skew` bytes after a multiple of 256."""

    skew = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: DeviceNumbers) -> DeviceNumbers:
        nothing = np.full(int(np.prod(shape)) * dtype.itemsize, 0xFF, np.uint8).view(dtype)
        return DeviceNumbers(like.driver, nothing.reshape(shape), self.skew)

    def to_host(self, array: DeviceNumbers) -> np.ndarray:
        return array.get()

    def from_host(self, values: np.ndarray, like: DeviceNumbers) -> DeviceNumbers:
        return DeviceNumbers(like.driver, values)

    def copy(self, source: DeviceNumbers, target: DeviceNumbers) -> None:
        source.driver.cuMemcpyDtoDAsync(target.address, source.address, source.get().nbytes, 7)


class OnlyDLPack:
    """An array of a library without the CUDA array interface; `keeper` owns the memory."""

    __module__ = "only_dlpack"

    def __init__(self, capsule: Any, keeper: Any = None) -> None:
        holder = SimpleNamespace(__dlpack__=lambda **_: capsule, __dlpack_device__=self.__dlpack_device__)
        self.tensor = dlpack.read(holder, "capsule")
        self.keeper, self.streams = keeper, []

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, 0

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        self.streams.append(stream)
        return dlpack.capsule(self.tensor.ptr, self.tensor.shape, self.tensor.dtype, 0, self)


_ptx: dict[Any, str] = {}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedDriver]:
    """An emulated driver; kernels are compiled to PTX once for all tests of a process."""
    driver = EmulatedDriver()

    def to_ptx(variant: Any, capability: tuple[int, int]) -> str:
        if (variant, capability) not in _ptx:
            _ptx[variant, capability] = compiled(variant, capability)
        return _ptx[variant, capability]

    compiled = compiler.to_ptx
    monkeypatch.setattr("cuda.bindings.driver", driver)
    monkeypatch.setattr(compiler, "to_ptx", to_ptx)
    monkeypatch.setattr(compiler, "assemble", lambda ptx, *_: (ELF + ptx.encode(), ""))
    monkeypatch.setenv("NUMBASEP_CACHE", "0")
    monkeypatch.setitem(libraries.LIBRARIES, DeviceNumbers.__module__.partition(".")[0], EmulatedLibrary())
    caches = (
        cuda_driver.device, cuda_driver.missing, cuda_driver.device_count, elementwise._prepared
    )  # fmt: skip
    build.plans.clear()
    repeated_calls.shortcuts.clear()
    for cache in caches:
        cache.cache_clear()
    yield driver
    for cache in caches:
        cache.cache_clear()
