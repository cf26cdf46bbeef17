"""Input and output arrays: which types are accepted, and where results are stored.  SciPy's rules."""

import functools
import sys
import warnings
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..system.types import Array
from .problem import check_dtype

GATHERED_ROW = 64  # shorter rows of elements that are not adjacent are copied with the whole array


class OutputError(ValueError, RuntimeError):
    """An unusable `output`: a ValueError, and a RuntimeError as SciPy raises."""


DLPACK_GPU = {2, 13}
"""DLPack device types that CUDA kernels can read: CUDA device memory and CUDA managed memory."""


def on_gpu(array: Any) -> bool:
    """Return whether an array is on a GPU, by its CUDA array interface or its DLPack device type.

    Examples
    --------
    >>> on_gpu(np.zeros(3)), on_gpu([1, 2, 3])
    (False, False)
    """
    if isinstance(array, (np.ndarray, list, tuple, int, float, str, np.dtype, type, type(None))):
        return False
    if (
        getattr(array, "is_cuda", False) is True
    ):  # a PyTorch tensor that requires gradients raises at the next attribute
        return True
    if hasattr(array, "__cuda_array_interface__"):
        return True
    where = getattr(array, "__dlpack_device__", None)
    return where is not None and int(where()[0]) in DLPACK_GPU


def warn_of_mask(array: Any, *, remedy: str = "mask=x.mask", stacklevel: int = 3) -> None:
    """Warn, once per process, that the mask of a masked array is ignored.

    Parameters
    ----------
    array : object
        The input of a function; only a masked array with masked samples causes the warning.
    remedy : str, optional
        What the message tells the user to write instead, for an array `x`.
    stacklevel : int, optional
        As for `warnings.warn`, counted from this function.
    """
    lazy = isinstance(
        getattr(array, "_meta", None), np.ma.MaskedArray
    )  # a dask array: whether any sample is masked is not known yet
    if _warned or not (lazy or (isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array))):
        return
    warnings.warn(
        "input is a masked array, and its mask is ignored, as in scipy.ndimage: masked samples count like all "
        f"others. To leave them out, write {remedy}.",
        UserWarning,
        stacklevel=stacklevel,
    )
    _warned.append("mask")


_warned: list[str] = []


def as_input(input: npt.ArrayLike) -> Array:
    """Return `input` as an ndarray of a supported dtype; masks and subclasses are dropped."""
    if not isinstance(input, np.ndarray) and hasattr(input, "__dlpack__") and not hasattr(input, "__array__"):
        input = np.from_dlpack(cast(Any, input))
    array = np.asarray(input)
    check_dtype(array.dtype, "input")
    return array


@functools.lru_cache(maxsize=256)
def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=")


def result_dtype(output: Any, input_dtype: np.dtype[Any], *, complex_result: bool) -> np.dtype[Any]:
    """Return the dtype of the result for an `output` argument: None, a dtype, its name, or an array.

    Raises
    ------
    OutputError
        If `output` is real and results are complex, or its dtype is not numeric.
    """
    if output is None:
        native = _native(input_dtype)
        return np.promote_types(native, np.complex64) if complex_result else native
    if isinstance(output, np.ndarray):
        if complex_result and output.dtype.kind != "c":
            raise OutputError(f"output must have complex dtype, got an array of {output.dtype}")
        return check_dtype(_native(output.dtype), "output")
    if hasattr(output, "__array__") and not isinstance(output, type):
        raise TypeError(f"output must be an ndarray, a dtype or None, got a {type(output).__name__}")
    try:
        dtype = _native(np.dtype(output))
    except TypeError:
        raise TypeError(f"output must be an array, a dtype or None, got {output!r}") from None
    if dtype.kind not in "biufc":
        raise OutputError(f"output must have numeric dtype, got {dtype}")
    check_dtype(dtype, "output")
    if complex_result and dtype.kind != "c":
        if isinstance(output, str):
            raise OutputError(f"output must have complex dtype, got {output!r}")
        warnings.warn("promoting specified output dtype to complex", stacklevel=_callers_level())
        return np.promote_types(dtype, np.complex64)
    return dtype


def _callers_level() -> int:
    """Return the `stacklevel` for `warnings.warn` that names the first caller outside of this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("numbasep."):
        frame, level = frame.f_back, level + 1
    return level


def make_output(output: Any, dtype: np.dtype[Any], shape: Sequence[int], like: Array) -> Array:
    """Return the array for the results: `output` itself, or a new one in the memory order of `like`."""
    if isinstance(output, np.ndarray):
        if output.shape != tuple(shape):
            raise OutputError(f"output shape not correct: expected {tuple(shape)}, got {output.shape}")
        if not output.flags.writeable:
            raise OutputError("output must be writeable, got a read-only array")
        return output
    if output is not None:
        requested = np.dtype(output)
        dtype = requested if _native(requested) == dtype else dtype  # in the requested byte order
    return np.empty_like(like, dtype=dtype, order="K", subok=False, shape=tuple(shape))


def is_direct_target(output: Array, input: Array) -> bool:
    """Return whether kernels may write directly to `output`: aligned, in whole strides, no overlap with `input`."""
    return has_whole_strides(output) and not np.may_share_memory(output, input)


def has_whole_strides(array: Array) -> bool:
    """Return whether data are aligned and every stride is a whole number of (real) elements."""
    if array.flags.c_contiguous:
        return array.flags.aligned
    item = array.itemsize // (2 if array.dtype.kind == "c" else 1)
    return array.flags.aligned and all(stride % item == 0 for stride in array.strides)


def has_strided_rows(x: Array, filtered: int) -> bool:
    """Return whether the elements of rows are not adjacent and kernels would read or write them one by one.

    Filters along up to two axes, of which there are `filtered`, gather long rows slab by slab (`cpu.staging`).
    """
    rows = next((axis for axis in reversed(range(x.ndim)) if x.shape[axis] > 1), None)
    if rows is None or x.strides[rows] == x.itemsize:
        return False
    alone = sum(size > 1 for size in x.shape) == 1
    return alone or x.shape[rows] < GATHERED_ROW or filtered > 2


def nested(x: Array) -> Array:
    """Return a view with the strides of a nested array along axes of length 1.

    NumPy allows any stride along such axes, but kernels derive the order of axes in memory from their strides.

    Examples
    --------
    >>> import numpy as np
    >>> nested(np.zeros((4, 3, 2))[:, 1:2, 1:]).strides
    (48, 8, 8)
    """
    if 1 not in x.shape:
        return x
    strides, step = list(x.strides), x.itemsize
    for axis in reversed(range(x.ndim)):
        if x.shape[axis] == 1:
            strides[axis] = step
        else:
            step = abs(strides[axis]) * x.shape[axis]
    if tuple(strides) == x.strides:
        return x
    return np.lib.stride_tricks.as_strided(x, x.shape, strides)
