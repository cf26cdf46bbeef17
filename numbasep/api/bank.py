"""Several kernels on one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import OutputError, as_input, result_dtype
from ..axes import KernelShapeError, dense_axes
from ..backends import stand_ins
from ..dispatch import dispatched
from ..problem import make_windows
from .bodies import filter_dense, make_options
from .words import documented

Array = npt.NDArray[Any]

OPERATIONS = ("convolve", "correlate")


@dispatched
@documented
def filter_bank(
    input: npt.ArrayLike,
    kernels: Sequence[npt.ArrayLike] | Array,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    operation: str = "convolve",
    axes: Any = None,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
    stride: Any = 1,
) -> Array:
    """Filter an array with several kernels and stack the results along a new first axis.

    Each kernel takes the route that is cheapest for it, and writes straight into its part of the result.

    Parameters
    ----------
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
    kernels : sequence of array_like, or ndarray
        Kernels, one axis for each filtered axis; they may differ in shape.  An array holds one kernel for
        each position along its first axis.
    output : ndarray or dtype, optional
        Array of shape ``(len(kernels), *result shape)`` to write to, or the type of a new one.
        Default: the type of `input`, complex if the input or a kernel is.
    {modes}  With "valid" and "full" all kernels must have the same shape.
    {cval}
    origin : int or sequence of int, optional
        Shift of the kernels' centres, in `scipy.ndimage`'s sense, once or for each filtered axis.
    operation : {"convolve", "correlate"}, optional
        What to compute.
    {dense_axes}
    {keywords}
    {stride}

    Returns
    -------
    ndarray
        Result k is ``convolve(input, kernels[k], ...)``; `output` if that is an array.

    {raises}

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> derivative = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    >>> ramp = np.tile(np.arange(4.0), (4, 1))
    >>> numbasep.filter_bank(ramp, [derivative, derivative.T])[:, 1, 1]
    array([8., 0.])
    """
    if operation not in OPERATIONS:
        raise ValueError(f"operation must be 'convolve' or 'correlate', got {operation!r}")
    x = as_input(input)
    bank = [np.asarray(kernel) for kernel in kernels]
    if not bank:
        raise KernelShapeError("kernels must hold at least one kernel, got none")
    named, modes, origins, strides = dense_axes(axes, x.ndim, mode, origin, stride)
    flip = operation == "convolve"
    shapes = {_result_shape(x.shape, named, kernel, modes, origins, strides, flip=flip) for kernel in bank}
    if len(shapes) > 1:
        raise KernelShapeError(
            f"kernels must have one shape with mode={mode!r}, got {sorted({k.shape for k in bank})}"
        )
    is_complex = "c" in (x.dtype.kind, *(kernel.dtype.kind for kernel in bank))
    dtype = result_dtype(output, x.dtype, complex_result=is_complex)
    out = _stack(output, dtype, (len(bank), *shapes.pop()), x)
    source = x.copy() if np.may_share_memory(x, out) else x
    options = make_options(method, rtol, workers, device, cast)
    for number, kernel in enumerate(bank):
        filter_dense(
            source, kernel, stand_ins.part(out, number), modes, cval, origins, named, stride=strides, flip=flip,
            options=options, nan_policy=nan_policy, mask=mask,
        )  # fmt: skip
    return out


def _result_shape(
    shape: tuple[int, ...],
    axes: Sequence[int],
    kernel: Array,
    mode: Any,
    origin: Any,
    stride: Sequence[int],
    *,
    flip: bool,
) -> tuple[int, ...]:
    if kernel.ndim != len(axes):
        raise KernelShapeError(
            f"kernels must have one axis for each of {len(axes)} filtered axes, got shape {kernel.shape}"
        )
    if not kernel.size:
        raise KernelShapeError(f"kernels must not be empty, got shape {kernel.shape}")
    result = list(shape)
    for window in make_windows(shape, axes, kernel.shape, mode, origin, flip=flip, stride=stride):
        result[window.axis] = window.out_size
    return tuple(result)


def _stack(output: Any, dtype: np.dtype[Any], shape: tuple[int, ...], like: Array) -> Array:
    if not isinstance(output, np.ndarray):
        behind = stand_ins.held(like)
        return np.empty(shape, dtype) if behind is None else behind.empty(shape, dtype)
    if output.shape != shape:
        raise OutputError(f"output shape not correct: expected {shape}, got {output.shape}")
    if not output.flags.writeable:
        raise OutputError("output must be writeable, got a read-only array")
    return output
