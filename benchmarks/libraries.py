"""The other libraries, each asked for the same result in its fastest way that a knowing user would write.

Every adapter returns named calls, into preallocated outputs where the library allows that; one for a library
that is not installed returns none.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import numbasep

from .common import Array

Calls = dict[str, Callable[[], Array]]

DISTRIBUTIONS = ("numbasep", "numba", "numpy", "scipy", "opencv-python-headless", "opencv-python")


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One convolution that every library is asked for."""

    group: str
    """Table that it belongs to."""
    array: Array
    """The image or volume."""
    kernel: Array
    """The dense weights, odd in size and symmetric or not."""
    taps: Array | None
    """The 1-D weights along every axis, for those who need them, if the kernel is their outer product."""

    @property
    def size(self) -> int:
        """Taps along an axis."""
        return int(self.kernel.shape[0])


def numbasep_calls(task: Task, workers: int | None) -> Calls:
    """Return the call of numbasep: a plan made from the dense kernel, whatever the others are told."""
    plan = numbasep.plan(task.kernel, task.array.shape, task.array.dtype, workers=workers)
    output = np.empty_like(task.array)
    return {f"numbasep ({plan.method})": lambda: plan(task.array, output)}


def scipy_calls(task: Task) -> Calls:
    """Return SciPy's calls: 1-D passes where the taps are known, else the dense sum and overlap-add."""
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
    try:
        import cv2
    except ModuleNotFoundError:
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


def all_calls(task: Task, workers: int | None) -> Calls:
    """Return the calls of all installed libraries; only numbasep is told its threads here, see `threads`."""
    return numbasep_calls(task, workers) | scipy_calls(task) | opencv_calls(task)


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Limit the libraries that have a global thread count; numbasep gets `workers` with each plan."""
    try:
        import cv2
    except ModuleNotFoundError:
        yield
        return
    before = cv2.getNumThreads()
    cv2.setNumThreads(before if count is None else count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def versions() -> dict[str, str]:
    """Return the versions of what took part."""
    found = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
