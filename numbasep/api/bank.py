"""`filter_bank`: several kernels on one array."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import placeholders
from ..arguments.arrays import OutputError, as_input, result_dtype
from ..arguments.axes import KernelShapeError, normalize_axes
from ..system.types import Array
from .calls import FilterCall, Given, keep
from .convolve import dense_call
from .docstrings import documented
from .repeated_calls import remembered

OPERATIONS = ("convolve", "correlate")


@remembered
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

    Each kernel has its own route, and writes directly to its part of the result.

    Parameters
    ----------
    {input}
    kernels : sequence of array_like, or ndarray
        Kernels, each with one axis for each filtered axis; their shapes may differ.  An array contains one kernel
        for each position along its first axis.
    output : ndarray or dtype, optional
        Array of shape ``(len(kernels), *result shape)`` to write to, or the dtype of a new one.
        Default: the dtype of `input`, complex if the input or a kernel is.
    {modes}  With "valid" and "full" all kernels must have the same shape.
    {cval}
    origin : int or sequence of int, optional
        Shift of the kernels' centres, in `scipy.ndimage`'s sense, once or for each filtered axis.
    operation : {"convolve", "correlate"}, optional
        Operation to compute.
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
    x, given = as_input(input), locals()
    calls = bank_calls(given, x.shape, x.dtype)
    runner = functools.partial(_filter, calls)
    keep(runner, output, calls[0].dtype)
    return runner(x, output, mask)


def _filter(calls: Sequence[FilterCall], x: Array, output: Any, mask: Any) -> Array:
    out = _stack(output, calls[0].dtype, (len(calls), *calls[0].out_shape), x)
    source = x.copy() if np.may_share_memory(x, out) else x
    for number, call in enumerate(calls):
        call.filter(source, placeholders.part(out, number), mask)
    return out


def bank_calls(given: Given, shape: tuple[int, ...], dtype: np.dtype[Any]) -> list[FilterCall]:
    """Return a `FilterCall` for each kernel of `filter_bank`; their results have the same shape and dtype."""
    if given["operation"] not in OPERATIONS:
        raise ValueError(f"operation must be 'convolve' or 'correlate', got {given['operation']!r}")
    if not np.iterable(given["kernels"]):
        raise TypeError(f"kernels must be a sequence of arrays or an array, got {given['kernels']!r}")
    bank = [np.asarray(kernel) for kernel in given["kernels"]]
    if not bank:
        raise KernelShapeError("kernels must hold at least one kernel, got none")
    count = len(normalize_axes(given["axes"], len(shape)))
    for kernel in bank:
        if kernel.ndim != count:
            raise KernelShapeError(
                f"kernels must have one axis for each of {count} filtered axes, got shape {kernel.shape}"
            )
        if not kernel.size:
            raise KernelShapeError(f"kernels must not be empty, got shape {kernel.shape}")
    is_complex = "c" in (dtype.kind, *(kernel.dtype.kind for kernel in bank))
    shared = {key: value for key, value in given.items() if key not in ("kernels", "operation")}
    shared["output"] = result_dtype(given["output"], dtype, complex_result=is_complex)
    calls = [dense_call(given["operation"], {**shared, "weights": kernel}, shape, dtype) for kernel in bank]
    if len({call.out_shape for call in calls}) > 1:
        shapes = sorted({kernel.shape for kernel in bank})
        raise KernelShapeError(f"kernels must have one shape with mode={given['mode']!r}, got {shapes}")
    return calls


def _stack(output: Any, dtype: np.dtype[Any], shape: tuple[int, ...], like: Array) -> Array:
    if not isinstance(output, np.ndarray):
        handle = placeholders.held(like)
        return np.empty(shape, dtype) if handle is None else handle.empty(shape, dtype)
    if output.shape != shape:
        raise OutputError(f"output shape not correct: expected {shape}, got {output.shape}")
    if not output.flags.writeable:
        raise OutputError("output must be writeable, got a read-only array")
    return output
