"""Arrays of other libraries on an emulated GPU: on which stream, for how long, and what a fork or a capture forbids."""

import gc
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import numbasep
from numbasep.api import build
from numbasep.cuda import compiler, dlpack, driver, libraries
from numbasep.cuda.intrinsics.vocabulary import SIMULATED
from tests.support import oracle
from tests.support.cuda_emulated import DeviceNumbers, EmulatedDriver, OnlyDLPack
from tests.support.ptx_machine import DeviceFaultError

MISSING = "the simulator compiles nothing" if SIMULATED else compiler.missing()
COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = [pytest.mark.cuda_compile, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

rng = np.random.default_rng(8)


def samples(shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def described(gpu: EmulatedDriver, array: Any) -> np.ndarray:
    """What lies where an array's CUDA array interface says."""
    interface = array.__cuda_array_interface__
    dtype = np.dtype(interface["typestr"])
    count = int(np.prod(interface["shape"])) * dtype.itemsize
    return gpu.heap.view(interface["data"][0], count).view(dtype).reshape(interface["shape"]).copy()


# ------------------------------------------------------------------------------ libraries that are not known


@pytest.fixture
def _unknown(gpu: EmulatedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """`DeviceNumbers`, which are ready on stream 7, of a library that nobody knows."""
    monkeypatch.delitem(libraries.LIBRARIES, DeviceNumbers.__module__.partition(".")[0])


def pair(gpu: EmulatedDriver, x: np.ndarray) -> Any:
    filtered = numbasep.uniform_filter(DeviceNumbers(gpu, x), 3, method="separable")
    np.testing.assert_allclose(described(gpu, filtered), numbasep.uniform_filter(x, 3), atol=1e-5)
    return filtered


def magnitude(gpu: EmulatedDriver, x: np.ndarray) -> Any:
    length = numbasep.gaussian_gradient_magnitude(DeviceNumbers(gpu, x[0]), 0.5)
    np.testing.assert_allclose(
        described(gpu, length), numbasep.gaussian_gradient_magnitude(x[0], 0.5), atol=1e-5
    )
    return length


def raising(gpu: EmulatedDriver, x: np.ndarray) -> Any:
    return numbasep.uniform_filter(DeviceNumbers(gpu, x[0]), 3, nan_policy="raise")


def in_place(gpu: EmulatedDriver, x: np.ndarray) -> Any:
    there = DeviceNumbers(gpu, x[0])
    assert numbasep.uniform_filter(there, 3, output=there) is there
    np.testing.assert_allclose(there.get(), numbasep.uniform_filter(x[0], 3), atol=1e-5)
    return there


def weighted(gpu: EmulatedDriver, x: np.ndarray) -> Any:
    return numbasep.correlate(DeviceNumbers(gpu, x[0]), DeviceNumbers(gpu, samples((3, 3))), method="direct")


@pytest.mark.usefixtures("_unknown")
@pytest.mark.parametrize("call", [pair, magnitude, raising, in_place, weighted])
def test_everything_is_on_the_stream_that_the_array_is_ready_on(
    gpu: EmulatedDriver, call: Callable[[EmulatedDriver, np.ndarray], Any]
) -> None:
    held = call(gpu, samples((4, 5, 40)))
    gc.collect()
    assert held is not None
    assert {stream for _, stream in gpu.streams} == {7}


@pytest.mark.usefixtures("_unknown")
def test_workspace_is_freed_in_order_and_results_are_waited_for(gpu: EmulatedDriver) -> None:
    numbasep.uniform_filter(DeviceNumbers(gpu, samples((4, 5, 40))), 3, method="separable")
    gc.collect()
    assert [function for function, _ in gpu.streams] == [
        "cuMemAllocAsync", "cuMemAllocAsync", "cuLaunchKernel", "cuLaunchKernel", "cuMemFreeAsync",
        "cuStreamSynchronize", "cuMemFreeAsync",
    ]  # fmt: skip
    assert [stream for _, stream in gpu.streams] == [7] * 6 + [driver.LEGACY_STREAM]  # 7 may be gone by then


class LikeJax(OnlyDLPack):
    """Both interfaces, as JAX has them: the CUDA array interface, version 2, does not say when an array is ready."""

    __module__ = "only_dlpack"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        view = self.tensor
        return {
            "shape": view.shape, "typestr": view.dtype.str, "data": (view.ptr, False), "version": 2, "strides": None
        }  # fmt: skip


@pytest.mark.usefixtures("_library")
def test_the_producer_waits_where_the_interface_says_nothing_of_order(gpu: EmulatedDriver) -> None:
    x = samples((5, 40))
    held = DeviceNumbers(gpu, x)
    given = LikeJax(dlpack.capsule(held.address, held.shape, held.dtype, 0, held), held)
    got = numbasep.uniform_filter(given, 3)
    assert set(given.streams) == {dlpack.STREAM}
    expected = numbasep.uniform_filter(x, 3)
    np.testing.assert_allclose(values_of(gpu, got), expected, atol=1e-5)
    assert numbasep.uniform_filter(given, 3, output=given) is given  # which its interface allows
    np.testing.assert_allclose(values_of(gpu, given), expected, atol=1e-5)


class Subclass(DeviceNumbers):
    """Of an array type that is known, from a package that is not."""

    __module__ = "elsewhere"


def test_subclasses_belong_to_the_library_of_their_base(gpu: EmulatedDriver) -> None:
    x = samples((5, 40))
    got = numbasep.uniform_filter(Subclass(gpu, x), 3)
    assert type(got) is DeviceNumbers
    np.testing.assert_allclose(got.get(), numbasep.uniform_filter(x, 3), atol=1e-5)


def test_strided_arrays_of_unknown_libraries_are_refused(gpu: EmulatedDriver) -> None:
    values = np.zeros((4, 5), np.float32)
    strided = SimpleNamespace(
        __dlpack_device__=lambda: (dlpack.CUDA, 0), __dlpack__=lambda **_: values.T.__dlpack__()
    )
    with pytest.raises(ValueError, match="must be contiguous in C order"):
        numbasep.uniform_filter(strided, 3)


@pytest.mark.usefixtures("_unknown")
def test_arrays_without_elements_where_there_are_several_gpus(gpu: EmulatedDriver) -> None:
    gpu.devices = 2
    empty = DeviceNumbers(gpu, np.zeros((0, 4), np.float32))
    empty.address = 0
    assert numbasep.uniform_filter(empty, 3).shape == (0, 4)


# ------------------------------------------------------------------------------ DLPack


def exported(gpu: EmulatedDriver, values: np.ndarray) -> OnlyDLPack:
    held = DeviceNumbers(gpu, values)
    return OnlyDLPack(dlpack.capsule(held.address, held.shape, held.dtype, 0, held), held)


@pytest.fixture
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library whose arrays know DLPack only, as JAX's."""
    made = SimpleNamespace(from_dlpack=lambda array: OnlyDLPack(array.__dlpack__(), array))
    monkeypatch.setitem(sys.modules, "only_dlpack", made)  # type: ignore[arg-type]


def values_of(gpu: EmulatedDriver, array: OnlyDLPack) -> np.ndarray:
    tensor = array.tensor
    count = int(np.prod(tensor.shape)) * tensor.dtype.itemsize
    return gpu.heap.view(tensor.ptr, count).view(tensor.dtype).reshape(tensor.shape).copy()


@pytest.mark.usefixtures("_library")
def test_arrays_that_know_only_dlpack(gpu: EmulatedDriver) -> None:
    x, weights = samples((9, 150)), samples((3, 5))
    given = exported(gpu, x)
    got = numbasep.correlate(given, exported(gpu, weights), output=np.float64)
    assert type(got) is OnlyDLPack
    assert set(given.streams) == {dlpack.STREAM}
    np.testing.assert_allclose(values_of(gpu, got), oracle.correlate(x, weights), atol=1e-4)
    bank = numbasep.filter_bank(given, [np.ones((3, 3)), np.ones((1, 3))])
    np.testing.assert_allclose(values_of(gpu, bank)[1], numbasep.uniform_filter1d(x, 3) * 3, atol=1e-5)
    plan = numbasep.plan(weights, x.shape, x.dtype, operation="correlate", device="cuda")
    np.testing.assert_allclose(values_of(gpu, plan(given)), oracle.correlate(x, weights), atol=1e-4)
    with pytest.raises(ValueError, match="writeable"):
        numbasep.correlate(given, weights, exported(gpu, x))


@pytest.mark.usefixtures("_library")
def test_results_live_as_long_as_somebody_holds_them(gpu: EmulatedDriver) -> None:
    got = numbasep.uniform_filter(exported(gpu, samples((5, 40))), 3)
    values_of(gpu, got)
    address = got.tensor.ptr
    del got
    gc.collect()
    with pytest.raises(DeviceFaultError):
        gpu.heap.view(address, 4)


def test_a_library_that_cannot_import_gets_memory_with_both_interfaces(gpu: EmulatedDriver) -> None:
    x = samples((5, 40))
    got = numbasep.uniform_filter(exported(gpu, x), 3)
    assert got.__dlpack_device__() == (dlpack.CUDA, 0)
    assert got.__cuda_array_interface__["shape"] == x.shape
    again = OnlyDLPack(got.__dlpack__(stream=None), got)
    np.testing.assert_allclose(values_of(gpu, again), numbasep.uniform_filter(x, 3), atol=1e-5)


CONSUMER = """
typedef struct { char tensor[48]; void *context; void (*deleter)(void *); } managed;
int atexit(void (*)(void));
int puts(const char *);
static managed *kept;
static void delete(void) { if (kept->deleter) kept->deleter(kept); puts("deleted"); }
void keep(managed *array) { kept = array; atexit(delete); }
"""
KEPT_BEYOND_THE_END = """
import ctypes, sys
import numpy as np
from numbasep.cuda import dlpack
capsule = dlpack.capsule(4096, (3, 4), np.dtype("f4"), 0, object())
api = ctypes.pythonapi
api.PyCapsule_GetPointer.restype = ctypes.c_void_p
place = api.PyCapsule_GetPointer(ctypes.py_object(capsule), b"dltensor")
assert api.PyCapsule_SetName(ctypes.py_object(capsule), b"used_dltensor") == 0
ctypes.CDLL(sys.argv[1]).keep(ctypes.c_void_p(place))
"""


@pytest.mark.skipif(
    COMPILER is None or not sys.platform.startswith("linux"), reason="needs Linux and a C compiler"
)
def test_results_that_outlive_the_interpreter(tmp_path: Path) -> None:
    assert COMPILER is not None
    source, library = tmp_path / "consumer.c", tmp_path / "consumer.so"
    source.write_text(CONSUMER)
    subprocess.run([COMPILER, "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", KEPT_BEYOND_THE_END, str(library)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "deleted"), done.stderr


# ------------------------------------------------------------------------------ graphs and forks


def test_first_calls_are_not_captured_and_later_ones_are(gpu: EmulatedDriver) -> None:
    x = samples((5, 40))
    plan = numbasep.plan(np.ones((3, 3)), x.shape, x.dtype, device="cuda")
    there = DeviceNumbers(gpu, x)
    gpu.captured = {7}
    with pytest.raises(RuntimeError, match="warm up"):
        plan(there)
    assert not gpu.spoiled
    gpu.captured = set()
    plan(there)
    gpu.captured = {7}
    plan(there)
    assert not gpu.spoiled


def test_tables_of_plans_that_are_gone_are_freed_when_the_next_is_prepared(gpu: EmulatedDriver) -> None:
    x = samples((5, 40))
    there = DeviceNumbers(gpu, x)
    numbasep.plan(np.ones((3, 3)), x.shape, x.dtype, device="cuda")(there)
    gone = set(gpu.tables)
    gpu.captured = {7}
    build.plans.clear()
    gc.collect()
    assert not gpu.spoiled
    assert gpu.tables == gone
    gpu.captured = set()
    numbasep.plan(np.ones((3, 5)), x.shape, x.dtype, device="cuda")(there)
    assert gpu.tables
    assert not gpu.tables & gone


def test_a_forked_child_is_told_what_to_do(gpu: EmulatedDriver) -> None:
    x = samples((5, 40))
    plan = numbasep.plan(np.ones((3, 3)), x.shape, x.dtype, device="cuda")
    there = DeviceNumbers(gpu, x)
    plan(there)
    gpu.forked = True
    with pytest.raises(compiler.CudaUnavailableError, match="spawn"):
        plan(there)
    driver.missing.cache_clear()
    with pytest.raises(compiler.CudaUnavailableError, match="spawn"):
        plan(x)
