"""Calls of other libraries for the same result, each in the fastest way that an experienced user would write.

Every adapter returns named calls, with preallocated outputs if the library supports them, and none if the library is
not installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import numbasep

from .common import Array

Calls = dict[str, Callable[[], Array]]

DISTRIBUTIONS = (
    "numbasep",
    "numba",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "opencv-python",
    "scikit-image",
    "diplib",
    "SimpleITK",
    "torch",
    "ndfilters",
)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One convolution that every library computes."""

    group: str
    """Name of its table."""
    array: Array
    """The image or volume."""
    kernel: Array
    """The dense weights, of odd size."""
    taps: Array | None
    """The 1-D weights along every axis, if the kernel is their outer product, for libraries that need them."""

    @property
    def size(self) -> int:
        """Number of taps along an axis."""
        return int(self.kernel.shape[0])


def numbasep_calls(task: Task, workers: int | None) -> Calls:
    """Return the call of numbasep: a plan for the dense kernel, even if the others get 1-D weights."""
    plan = numbasep.plan(task.kernel, task.array.shape, task.array.dtype, workers=workers)
    output = np.empty_like(task.array)
    return {f"numbasep ({plan.method})": lambda: plan(task.array, output)}


def scipy_calls(task: Task) -> Calls:
    """Return SciPy's calls: 1-D passes if the kernel is separable, else the dense sum and overlap-add."""
    from scipy import ndimage, signal

    array, output = task.array, np.empty_like(task.array)
    if task.taps is not None:

        def passes() -> Array:
            source = array
            for axis in range(array.ndim):
                ndimage.correlate1d(source, task.taps, axis, output)
                source = output
            return output

        return {"scipy.ndimage, 1-D passes": passes}
    calls: Calls = {}
    if task.size <= 9:
        calls["scipy.ndimage.convolve"] = lambda: ndimage.convolve(array, task.kernel, output)
    if task.size >= 9 and array.dtype.kind == "f":
        padded = np.pad(array, task.size // 2, mode="symmetric")
        calls["scipy.signal.oaconvolve"] = lambda: signal.oaconvolve(padded, task.kernel, mode="valid")
    return calls


def opencv_calls(task: Task) -> Calls:
    """Return OpenCV's calls for images: `sepFilter2D` and `GaussianBlur` if separable, else `filter2D`."""
    cv2 = installed("cv2")
    if cv2 is None:
        return {}
    array, border = task.array, cv2.BORDER_REFLECT
    if array.ndim != 2:
        return {}
    output = np.empty_like(array)
    if task.taps is None:
        flipped = np.ascontiguousarray(task.kernel[::-1, ::-1])
        return {"cv2.filter2D": lambda: cv2.filter2D(array, -1, flipped, dst=output, borderType=border)}
    taps = task.taps.astype(np.float64 if array.dtype == np.float64 else np.float32)
    calls: Calls = {
        "cv2.sepFilter2D": lambda: cv2.sepFilter2D(array, -1, taps, taps, dst=output, borderType=border)
    }
    if array.dtype in (np.uint8, np.uint16):
        size, sigma = (task.size, task.size), (task.size + 1) / 8
        calls["cv2.GaussianBlur"] = lambda: cv2.GaussianBlur(array, size, sigma, output, sigma, border)
    return calls


def skimage_calls(task: Task) -> Calls:
    """Return scikit-image's Gaussian, for floating images and volumes only, as it converts others."""
    skimage = installed("skimage.filters")
    if skimage is None or task.taps is None or task.array.dtype.kind != "f":
        return {}
    sigma, output = (task.size + 1) / 8, np.empty_like(task.array)
    options = {"mode": "reflect", "truncate": (task.size // 2) / sigma, "preserve_range": True, "out": output}
    return {"skimage.filters.gaussian": lambda: skimage.gaussian(task.array, sigma, **options)}


def diplib_calls(task: Task) -> Calls:
    """Return DIPlib's calls: `SeparableConvolution`, or `Convolution`.

    With ``method="direct"``, since DIPlib 3.6.1 by default uses Fourier transforms from 11 x 11 taps on, with which
    it returned a wrong image for square images.
    """
    dip = installed("diplib")
    if dip is None:
        return {}
    image, output = dip.Image(task.array), dip.Image(np.empty_like(task.array))
    if task.taps is not None:
        filters = [dip.OneDimensionalFilter(task.taps)]

        def passes() -> Array:
            dip.SeparableConvolution(image, out=output, filter=filters, boundaryCondition=["mirror"])
            return np.asarray(output)

        return {"diplib.SeparableConvolution": passes}
    if task.array.dtype.kind != "f":
        return {}
    kernel = dip.Image(task.kernel)

    def dense() -> Array:
        dip.Convolution(image, kernel, out=output, method="direct", boundaryCondition=["mirror"])
        return np.asarray(output)

    return {"diplib.Convolution": dense}


def simpleitk_calls(task: Task) -> Calls:
    """Return SimpleITK's call, for small dense kernels."""
    sitk = installed("SimpleITK")
    if sitk is None or task.taps is not None or task.size > 9:
        return {}
    image, kernel = sitk.GetImageFromArray(task.array), sitk.GetImageFromArray(task.kernel)
    kept: list[Any] = []  # a view does not keep its image alive

    def dense() -> Array:
        kept[:] = [sitk.Convolution(image, kernel)]
        return np.asarray(sitk.GetArrayViewFromImage(kept[0]))

    return {"SimpleITK.Convolution": dense}


def torch_calls(task: Task) -> Calls:
    """Return PyTorch's calls on a padded image: a 1-D convolution along each axis, or a dense one."""
    torch = installed("torch")
    if torch is None or task.array.dtype != np.float32 or task.array.ndim != 2:
        return {}
    padded = torch.from_numpy(np.pad(task.array, task.size // 2, mode="symmetric"))[None, None]
    convolve = torch.nn.functional.conv2d
    if task.taps is not None:
        taps = torch.from_numpy(task.taps.astype(np.float32))
        columns, rows = taps.reshape(1, 1, -1, 1), taps.reshape(1, 1, 1, -1)
        return {"torch conv2d, 1-D passes": lambda: convolve(convolve(padded, columns), rows)[0, 0].numpy()}
    weights = torch.from_numpy(np.ascontiguousarray(task.kernel[::-1, ::-1]))[None, None]
    return {"torch conv2d": lambda: convolve(padded, weights)[0, 0].numpy()}


def ndfilters_calls(task: Task) -> Calls:
    """Return the call of ndfilters, for small dense kernels."""
    ndfilters = installed("ndfilters")
    if ndfilters is None or task.taps is not None or task.size > 9:
        return {}
    return {"ndfilters.convolve": lambda: ndfilters.convolve(task.array, task.kernel)}


OTHERS = (
    scipy_calls,
    opencv_calls,
    skimage_calls,
    diplib_calls,
    simpleitk_calls,
    torch_calls,
    ndfilters_calls,
)


def all_calls(task: Task, workers: int | None) -> Calls:
    """Return the calls of all installed libraries; `workers` is for numbasep only, see `threads` for the others."""
    calls = numbasep_calls(task, workers)
    for adapter in OTHERS:
        calls |= adapter(task)
    return calls


def installed(name: str) -> Any:
    """Return the module if it is installed, else None."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Limit the threads of libraries with a global setting; numbasep gets `workers` with each plan."""
    with contextlib.ExitStack() as restore:
        for name, get, put in (
            ("cv2", "getNumThreads", "setNumThreads"),
            ("diplib", "GetNumberOfThreads", "SetNumberOfThreads"),
            ("torch", "get_num_threads", "set_num_threads"),
        ):
            library = installed(name)
            if library is not None and count is not None:
                restore.callback(getattr(library, put), getattr(library, get)())
                getattr(library, put)(count)
        sitk = installed("SimpleITK")
        if sitk is not None and count is not None:
            process = sitk.ProcessObject
            restore.callback(
                process.SetGlobalDefaultNumberOfThreads, process.GetGlobalDefaultNumberOfThreads()
            )
            process.SetGlobalDefaultNumberOfThreads(count)
        yield


def versions() -> dict[str, str]:
    """Return the versions of what took part."""
    found = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
