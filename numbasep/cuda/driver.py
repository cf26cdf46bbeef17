"""The CUDA driver: devices, memory, and launches whose parameters are packed once and patched at every call.

Numba needs about a microsecond per argument at every launch, and a kernel with 18 taps has fifty arguments.  Here a
launch rewrites two pointers in a prepared buffer and calls the driver.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import functools
import struct
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..system.types import Array
from . import compiler
from .compiler import CudaUnavailableError
from .intrinsics.vocabulary import LANES, SIMULATED
from .launches import Launch, Program, Slot

LEGACY_STREAM = 1
"""Default stream of all threads.  0 means this or a thread's own stream, depending on NVIDIA's bindings."""
LEAST_CAPABILITY = (8, 0)  # asynchronous copies into shared memory
TABLE_ALIGNMENT = 256
REFUSALS = {
    "CUDA_ERROR_INVALID_IMAGE", "CUDA_ERROR_INVALID_SOURCE", "CUDA_ERROR_NO_BINARY_FOR_GPU", "CUDA_ERROR_INVALID_PTX",
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "CUDA_ERROR_NOT_SUPPORTED",
}  # fmt: skip
"""Errors of a driver for code of another device or of a toolkit newer than the driver."""


NOT_INITIALIZED = "CUDA_ERROR_NOT_INITIALIZED"
FORKED = (
    "CUDA was started before this process was forked, and does not work in the child: start processes that use the "
    'GPU by multiprocessing.get_context("spawn")'
)
CAPTURED = (
    "the first call of a filter copies its kernels and tables to the GPU, which no CUDA graph can capture: warm up, "
    "by a call of the same shape and type before the capture"
)


def check(status: tuple[Any, ...]) -> Any:
    """Return the results of a driver call; raise an error if it failed."""
    code = status[0]
    if not code:  # CUDA_SUCCESS, tested first as this runs at every launch
        return status[1] if len(status) == 2 else status[1:]
    from cuda.bindings import driver

    if code == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
        raise MemoryError("the GPU does not have enough free memory for this call")
    if code.name == NOT_INITIALIZED:
        raise CudaUnavailableError(FORKED)
    raise RuntimeError(f"CUDA driver: {code.name}")


@functools.cache
def missing() -> str | None:
    """Return a sentence that says what is missing for running on a GPU and how to get it, or None."""
    lacking = compiler.missing()
    if lacking is not None:
        return lacking
    from cuda.bindings import driver

    try:
        (code,) = driver.cuInit(0)
    except Exception as error:  # the loader's own errors: no libcuda
        return f"NVIDIA's driver (libcuda) cannot be loaded: {str(error).splitlines()[0]}"
    if code != driver.CUresult.CUDA_SUCCESS and code.name == NOT_INITIALIZED:
        return FORKED
    if code != driver.CUresult.CUDA_SUCCESS:
        return (
            f"the CUDA driver does not start ({code.name}): is there an NVIDIA GPU, and is its driver loaded?"
        )
    if check(driver.cuDeviceGetCount()) == 0:
        return "the CUDA driver finds no GPU"
    return None


def state() -> str:
    """Return the names of the GPUs, or why none can be used: a line for `numbasep.show_config`."""
    if SIMULATED:
        return "Numba's simulator (NUMBA_ENABLE_CUDASIM=1)"
    lacking = missing()
    if lacking is not None:
        return f"no: {lacking}"
    names = []
    for ordinal in range(device_count()):
        try:
            one = device(ordinal)
            names.append(
                "{} (compute capability {}.{}, driver for CUDA {})".format(
                    one.name, *one.capability, one.driver_release
                )
            )
        except CudaUnavailableError as error:
            names.append(f"no: {error}")
    return ", ".join(names)


def require() -> None:
    """Raise a `CudaUnavailableError` if something is missing for running on a GPU."""
    lacking = missing()
    if lacking is not None:
        raise CudaUnavailableError(f"filtering on a GPU is not possible here: {lacking}")


@functools.cache
def device(ordinal: int) -> Device:
    """Return the GPU of a number."""
    require()
    return Device(ordinal)


def device_of(address: int) -> Device:
    """Return the GPU that owns the memory at an address; the first GPU for address 0, of arrays without elements."""
    if device_count() == 1 or not address:
        return device(0)
    from cuda.bindings import driver

    attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return device(int(check(driver.cuPointerGetAttribute(attribute, address))))


@functools.cache
def device_count() -> int:
    """Return the number of GPUs."""
    require()
    from cuda.bindings import driver

    return int(check(driver.cuDeviceGetCount()))


class Device:
    """A GPU in its primary context, which it shares with CuPy, PyTorch and Numba."""

    warps: int | None = None

    def __init__(self, ordinal: int) -> None:
        from cuda.bindings import driver

        self._driver = driver
        self.ordinal = ordinal
        self._handle = check(driver.cuDeviceGet(ordinal))
        self._context = check(driver.cuDevicePrimaryCtxRetain(self._handle))
        self._context_number = int(self._context)
        self.name = check(driver.cuDeviceGetName(128, self._handle)).split(b"\0")[0].decode()
        attribute = driver.CUdevice_attribute
        self.capability = (
            self._attribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            self._attribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )
        self.multiprocessors = self._attribute(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        if self.capability < LEAST_CAPABILITY:
            raise CudaUnavailableError(
                f"{self.name} has compute capability {self.capability[0]}.{self.capability[1]}; "
                f"{LEAST_CAPABILITY[0]}.{LEAST_CAPABILITY[1]} or later is needed"
            )
        major, minor = divmod(int(check(driver.cuDriverGetVersion())), 1000)
        self.driver_release = f"{major}.{minor // 10}"
        self._takes_machine_code = compiler.target_of(self.capability)[0] == self.capability[0]
        self._pools = self._attribute(attribute.CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)
        self._kernels: dict[Any, Any] = {}
        self._retired: collections.deque[int] = collections.deque()
        self._lock = threading.Lock()

    def _attribute(self, attribute: Any) -> int:
        return int(check(self._driver.cuDeviceGetAttribute(attribute, self._handle)))

    def is_current(self) -> bool:
        """Return whether the device's context is current in the calling thread."""
        return int(check(self._driver.cuCtxGetCurrent())) == self._context_number

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make the device's context current in the calling thread; restore the previous one at the end."""
        driver = self._driver
        if self.is_current():
            yield
            return
        check(driver.cuCtxPushCurrent(self._context))
        try:
            yield
        finally:
            check(driver.cuCtxPopCurrent())

    def kernel(self, variant: Any) -> Any:
        """Return the loaded kernel of a variant."""
        with self._lock:
            if variant not in self._kernels:
                self._kernels[variant] = self._load(variant)
            return self._kernels[variant][0]

    def _load(self, variant: Any) -> tuple[Any, Any]:
        """Return (kernel, module), from machine code, or from PTX if the driver rejects our machine code.

        A driver accepts machine code of its own major release and earlier ones, and PTX of every version that it knows.
        """
        driver, said = self._driver, []
        for portable in (False, True) if self._takes_machine_code else (True,):
            binary = compiler.compiled(variant, self.capability, portable=portable)
            code, module = driver.cuModuleLoadData(binary.image)
            if code == driver.CUresult.CUDA_SUCCESS:
                self._takes_machine_code = not portable
                return check(driver.cuModuleGetFunction(module, binary.name.encode())), module
            if code.name not in REFUSALS:
                check((code,))
            said.append(code.name)
        raise CudaUnavailableError(
            f"the driver knows CUDA {self.driver_release} and rejects code from the compilers of CUDA "
            f"{compiler.release()} for {self.name} ({', '.join(said)}): update the driver, or "
            'python -m pip install "numbasep[cuda12]"'
        )

    def prepare(self, program: Program, code: str) -> DeviceProgram:
        """Prepare a program for this device, to be loaded at its first call; `code` is the type of the sums."""
        return DeviceProgram(self, program, code)

    # ---------------------------------------------------------------------- memory

    def allocate(self, nbytes: int, stream: int = LEGACY_STREAM) -> int:
        """Allocate memory in the order of a stream; return its address."""
        if not self._pools:
            return int(check(self._driver.cuMemAlloc(max(nbytes, 1))))
        return int(check(self._driver.cuMemAllocAsync(max(nbytes, 1), stream)))

    def free(self, address: int, stream: int = LEGACY_STREAM) -> None:
        """Free memory in the order of a stream."""
        if self._pools:
            check(self._driver.cuMemFreeAsync(address, stream))
        else:
            check(self._driver.cuMemFree(address))

    def retire(self, address: int) -> None:
        """Schedule memory of `cuMemAlloc` for `free_retired`: freeing it now could break the capture of a graph."""
        self._retired.append(address)

    def free_retired(self) -> None:
        """Free the memory passed to `retire`; the driver waits for launches that use it."""
        while self._retired:
            self._driver.cuMemFree(self._retired.popleft())

    def is_captured(self, stream: int) -> bool:
        """Return whether a stream is being captured into a CUDA graph."""
        code, status = self._driver.cuStreamIsCapturing(stream)
        return bool(code or status != self._driver.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE)

    def upload(self, address: int, values: Array, stream: int = LEGACY_STREAM) -> None:
        """Copy a contiguous host array to the device."""
        check(self._driver.cuMemcpyHtoDAsync(address, values.ctypes.data, values.nbytes, stream))

    def download(self, values: Array, address: int, stream: int = LEGACY_STREAM) -> None:
        """Copy from the device to a contiguous host array, and wait until the copy is complete."""
        check(self._driver.cuMemcpyDtoHAsync(values.ctypes.data, address, values.nbytes, stream))
        self.wait(stream)

    def wait(self, stream: int = LEGACY_STREAM) -> None:
        """Wait until a stream has finished all its work."""
        check(self._driver.cuStreamSynchronize(stream))

    def copy(self, target: int, source: int, nbytes: int, stream: int = LEGACY_STREAM) -> None:
        """Copy within the device."""
        check(self._driver.cuMemcpyDtoDAsync(target, source, nbytes, stream))

    def fill(self, address: int, nbytes: int, stream: int = LEGACY_STREAM) -> None:
        """Set all bytes to zero."""
        check(self._driver.cuMemsetD8Async(address, 0, nbytes, stream))

    def seconds(self, work: Callable[[], Any], repeats: int) -> float:
        """Return the mean seconds of work enqueued on the legacy stream, measured by events after one warm-up run."""
        driver = self._driver
        start, stop = (check(driver.cuEventCreate(0)) for _ in range(2))
        try:
            work()
            check(driver.cuEventRecord(start, LEGACY_STREAM))
            for _ in range(repeats):
                work()
            check(driver.cuEventRecord(stop, LEGACY_STREAM))
            check(driver.cuEventSynchronize(stop))
            return float(check(driver.cuEventElapsedTime(start, stop))) * 1e-3 / repeats
        finally:
            check(driver.cuEventDestroy(start))
            check(driver.cuEventDestroy(stop))


class DeviceProgram:
    """A program on a device; the first call copies its tables to the device and packs its launches."""

    def __init__(self, device: Device, program: Program, code: str) -> None:
        self.scratch = program.scratch
        self._device, self._program, self._code = device, program, code
        self._launches: list[PackedLaunch] = []
        self._lock = threading.Lock()

    def __call__(self, addresses: dict[int, tuple[int, int]], stream: int = LEGACY_STREAM) -> None:
        """Enqueue all launches on a stream; `addresses` maps each slot to (address, bytes)."""
        with self._lock:
            if self._device.is_current():
                self._enqueue(addresses, stream)
                return
            with self._device.current():
                self._enqueue(addresses, stream)

    def _enqueue(self, addresses: dict[int, tuple[int, int]], stream: int) -> None:
        if not self._launches:
            self._load(stream)
        for launch in self._launches:
            launch(addresses, stream)

    def _load(self, stream: int) -> None:
        if self._device.is_captured(stream):
            raise RuntimeError(CAPTURED)
        self._device.free_retired()
        launches = self._program.launches
        self._tables = _Tables(self._device, [a for launch in launches for a in launch.arguments])
        self._launches = [PackedLaunch(self._device, launch, self._code, self._tables) for launch in launches]


class _Tables:
    """All tables of a program in one allocation of device memory."""

    def __init__(self, device: Device, arguments: list[Any]) -> None:
        tables = {id(a): a for a in arguments if isinstance(a, np.ndarray)}
        self._offsets, total = {}, 0
        for key, table in tables.items():
            self._offsets[key] = total
            total += -(-table.nbytes // TABLE_ALIGNMENT) * TABLE_ALIGNMENT
        packed = np.zeros(max(total, 1), np.uint8)
        for key, table in tables.items():
            flat = np.ascontiguousarray(table).view(np.uint8).ravel()
            packed[self._offsets[key] : self._offsets[key] + flat.size] = flat
        driver = device._driver
        self._address = int(check(driver.cuMemAlloc(packed.nbytes)))
        weakref.finalize(self, device.retire, self._address).atexit = False
        check(driver.cuMemcpyHtoD(self._address, packed.ctypes.data, packed.nbytes))
        check(driver.cuCtxSynchronize())  # launches may be on a non-blocking stream

    def address(self, table: Array) -> int:
        """Return the address of a table."""
        return self._address + self._offsets[id(table)]


class PackedLaunch:
    """A launch with its parameters packed into a buffer, eight bytes each, and the addresses of the parameters."""

    def __init__(self, device: Any, launch: Launch, code: str, tables: Any) -> None:
        self._function = device.kernel(launch.variant)
        self._enqueue = device._driver.cuLaunchKernel
        self._grid = (launch.blocks, 1, 1, LANES, launch.warps, 1, 0)
        values: list[bytes] = []
        slots: list[tuple[int, int]] = []
        self._aligned, self._pitch = -1, -1
        for position, argument in enumerate(launch.arguments):
            if position == launch.aligned_in:
                self._aligned, self._aligned_value = len(values), int(argument)
            if position == launch.pitch_out:
                self._pitch, self._pitch_value = len(values), int(argument)
            if isinstance(argument, Slot):
                slots.append((len(values), argument.index))
            values += _packed(argument, code, tables)
        self._source, self._target, *self._others = slots
        self._values = (ctypes.c_int64 * len(values)).from_buffer_copy(b"".join(values))
        start = ctypes.addressof(self._values)
        self._pointers = (ctypes.c_int64 * len(values))(*(start + 8 * i for i in range(len(values))))
        self._parameters = ctypes.addressof(self._pointers)

    def __call__(self, addresses: dict[int, tuple[int, int]], stream: int) -> None:
        """Patch the addresses of arrays and the parameters that depend on their alignment, then launch."""
        values = self._values
        values[0] = source = addresses[self._source[1]][0]
        values[1] = target = addresses[self._target[1]][0]
        for position, slot in self._others:
            values[position] = addresses[slot][0]
        if self._aligned >= 0:
            values[self._aligned] = self._aligned_value if source % 16 == 0 else 0
            values[self._pitch] = self._pitch_value if target % 16 == 0 else -abs(self._pitch_value)
        (code,) = self._enqueue(self._function, *self._grid, stream, self._parameters, 0)
        if code:
            check((code,))


def _packed(argument: Any, code: str, tables: Any) -> list[bytes]:
    """Pack an argument into parameters of eight bytes; a tuple gives one for each element."""
    if isinstance(argument, tuple):
        return [word for item in argument for word in _packed(item, code, tables)]
    if isinstance(argument, Slot):
        return [bytes(8)]
    if isinstance(argument, np.ndarray):
        return [struct.pack("<q", tables.address(argument))]
    if isinstance(argument, float):
        return [np.array(argument).astype(code).tobytes().ljust(8, b"\0")]
    return [struct.pack("<q", int(argument))]
