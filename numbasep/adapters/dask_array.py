"""`dask.array` in, lazy `dask.array` out, for every public filter; `dask_blocks` makes the graphs.

The result is the one of the whole array in every mode, whatever the chunks: of integers to the last bit where sums are
exact, of floats within the rounding that `Plan.error_bound` allows, since a block may take another route.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.array.utils import meta_from_array

from ..api import gaussian_derivatives, generic
from ..api.axiswise import changed, copy_input
from ..api.bank import OPERATIONS
from ..arrays import result_dtype
from ..axes import KernelShapeError, normalize_axes, per_axis
from ..casting import store
from .dask_blocks import filter_array
from .request import Request, make_request

Array = npt.NDArray[Any]


def call(name: str, arguments: dict[str, Any]) -> Any:
    """Handle a call of a public function with a dask array: see `numbasep.dispatch`."""
    x = arguments[next(iter(arguments))]
    if any(math.isnan(n) for sizes in x.chunks for n in sizes):
        raise ValueError("input must have known chunk sizes: call its method compute_chunk_sizes() first")
    if name.startswith("nn."):
        from . import dask_layers

        return dask_layers.call(name, arguments)
    if name in _COMPOSED:
        return _COMPOSED[name](x, arguments)
    request = make_request(name, arguments, x.shape, x.dtype)
    if request.one_mode and len({w.boundary for w in request.windows}) > 1:
        return _axis_by_axis(request, x, arguments["mask"])
    return filter_array(request, x, arguments["mask"])


# ------------------------------------------------------------------------- functions made of several filters


def _axis_by_axis(request: Request, x: Any, mask: Any) -> Any:
    """`gaussian_laplace` or `gaussian_gradient_magnitude` with modes that differ between axes.

    As the functions define it: a sum over derivatives along each axis, each in the mode of its axis.
    """
    given, named = request.arguments, request.named
    laplace = request.name == "gaussian_laplace"
    part_dtype = request.dtype if laplace else gaussian_derivatives.magnitude_type(x.dtype, request.dtype)
    shared = {key: value for key, value in given.items() if key not in ("mode", "output")}
    parts = []
    for position, mode in enumerate(per_axis("mode", given["mode"], len(named))):
        order = [0] * len(named)
        order[position] = 2 if laplace else 1
        derivative = {
            "truncate": 4.0,
            "radius": None,
            **shared,
            "order": order,
            "mode": mode,
            "output": part_dtype,
        }
        parts.append(call("gaussian_filter", {"input": x, "mask": mask, **derivative}))
    if laplace:
        return functools.reduce(operator.add, parts)
    run = functools.partial(_magnitude, result=request.dtype, cast=given["cast"])
    return da.map_blocks(run, *parts, dtype=request.dtype, meta=meta_from_array(x._meta, dtype=request.dtype))


def _magnitude(*parts: Array, result: np.dtype[Any], cast: str) -> Array:
    """One block of a gradient's length."""
    whole = result.kind in "biu" and cast == "truncate"
    total = gaussian_derivatives.magnitude((part.copy() for part in parts), whole=whole, workers=1)
    out = np.empty_like(total, dtype=result)
    store(total, out, cast)
    return out


def _derivatives(x: Any, derivative: Callable[..., Any], arguments: Mapping[str, Any]) -> list[Any]:
    """The caller's derivative along each axis, of the result's type."""
    dtype = result_dtype(arguments["output"], x.dtype, complex_result=x.dtype.kind == "c")
    named = normalize_axes(arguments["axes"], x.ndim)
    shared = {key: arguments[key] for key in generic.SHARED}
    keywords = {**changed(shared, generic.DEFAULTS), **(arguments["extra_keywords"] or {})}
    parts = []
    for axis, mode in zip(named, per_axis("mode", arguments["mode"], len(named)), strict=True):
        more = arguments["extra_arguments"]
        part = derivative(x, axis, dtype, mode, arguments["cval"], *more, **keywords)
        if not isinstance(part, da.Array):
            raise TypeError(
                "derivative must return a dask array for a dask array, as all filters of numbasep do, "
                f"got a {type(part).__name__} from {derivative!r}"
            )
        if part.shape != x.shape:
            raise ValueError(f"derivative must return the shape of the input, {x.shape}, got {part.shape}")
        parts.append(part.astype(dtype))
    return parts or [x.map_blocks(copy_input, dtype, dtype=dtype)]


def _generic_laplace(x: Any, arguments: Mapping[str, Any]) -> Any:
    return functools.reduce(operator.add, _derivatives(x, arguments["derivative2"], arguments))


def _generic_gradient_magnitude(x: Any, arguments: Mapping[str, Any]) -> Any:
    parts = _derivatives(x, arguments["derivative"], arguments)
    if not normalize_axes(arguments["axes"], x.ndim):
        return parts[0]
    return da.map_blocks(_root_of_squares, *parts, dtype=parts[0].dtype, meta=parts[0]._meta)


def _root_of_squares(*parts: Array) -> Array:
    """``sqrt(sum of squares)`` in the type of the parts, as `generic_gradient_magnitude`."""
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total += part * part
    with np.errstate(invalid="ignore"):
        np.sqrt(total, out=total, casting="unsafe")
    return total


def _filter_bank(x: Any, arguments: Mapping[str, Any]) -> Any:
    operation = arguments["operation"]
    if operation not in OPERATIONS:
        raise ValueError(f"operation must be 'convolve' or 'correlate', got {operation!r}")
    bank = [np.asarray(kernel) for kernel in arguments["kernels"]]
    if not bank:
        raise KernelShapeError("kernels must hold at least one kernel, got none")
    is_complex = "c" in (x.dtype.kind, *(kernel.dtype.kind for kernel in bank))
    shared = {key: value for key, value in arguments.items() if key not in ("kernels", "operation", "output")}
    shared["output"] = result_dtype(arguments["output"], x.dtype, complex_result=is_complex)
    results = [call(operation, {**shared, "weights": kernel}) for kernel in bank]
    if len({result.shape for result in results}) > 1:
        mode, shapes = arguments["mode"], sorted({kernel.shape for kernel in bank})
        raise KernelShapeError(f"kernels must have one shape with mode={mode!r}, got {shapes}")
    return da.stack(results)


_COMPOSED: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "generic_laplace": _generic_laplace,
    "generic_gradient_magnitude": _generic_gradient_magnitude,
    "filter_bank": _filter_bank,
}
