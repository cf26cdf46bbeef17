"""All public filters on lazy `dask.array` inputs and results.  `dask_blocks` makes the graphs.

The result is that of the whole array in every mode, for any chunks.  Integers are equal to the last bit where sums are
exact; floats agree within the rounding that `Plan.error_bound` allows, since blocks may take different routes.
"""

import functools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array

from ..api import generic
from ..api.axiswise import changed, copy_input
from ..api.bank import bank_calls
from ..api.by_name import make_call
from ..api.calls import FilterCall
from ..arguments.arrays import on_gpu, result_dtype
from ..arguments.axes import normalize_axes, per_axis
from ..system.types import Array
from .dask_blocks import filter_array


def call(name: str, arguments: dict[str, Any]) -> Any:
    """Handle a call of a public function with a dask array: see `numbasep.arguments.dispatch`."""
    x = arguments[next(iter(arguments))]
    if any(math.isnan(n) for sizes in x.chunks for n in sizes):
        raise ValueError("input must have known chunk sizes: call its method compute_chunk_sizes() first")
    if name.startswith("nn."):
        from . import dask_layers

        return dask_layers.call(name, arguments)
    if name in _COMPOSED:
        return _COMPOSED[name](x, arguments)
    output = arguments["output"]
    if not (output is None or isinstance(output, (str, type, np.dtype))):
        raise TypeError(f"output must be a dtype or None for a dask array, got a {type(output).__name__}")
    request = make_call(name, arguments, x.shape, x.dtype)
    if request.parts and len({w.boundary for w in request.windows}) > 1:
        return _joined(request, x, arguments["mask"])
    return filter_array(request, x, arguments["mask"])


# ------------------------------------------------------------------------- functions that combine several filters


def _joined(request: FilterCall, x: Any, mask: Any) -> Any:
    """Compute the parts of a call as separate filters and join their results."""
    parts = [filter_array(part, x, mask) for part in request.parts]
    meta = meta_from_array(x._meta, dtype=request.dtype)
    return da.map_blocks(functools.partial(_join, request), *parts, dtype=request.dtype, meta=meta)


def _join(request: FilterCall, *parts: Array) -> Array:
    """Join the parts of a block of the result."""
    join, copies = request.join, [part.copy() for part in parts]
    assert join is not None
    if not on_gpu(parts[0]):
        return join(request, copies, parts[0], None)
    from ..cuda import run

    joined: Array = run.on_stand_ins(lambda held: join(request, held, held[0], None), copies)
    return joined


def _derivatives(x: Any, derivative: Callable[..., Any], arguments: Mapping[str, Any]) -> list[Any]:
    """Call the derivative that the caller passed along each axis; convert to the type of the result."""
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
    """Return the root of the sum of squares in the type of the parts, as `generic_gradient_magnitude` does."""
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total += part * part
    with np.errstate(invalid="ignore"):
        np.sqrt(total, out=total, casting="unsafe")
    return total


def _filter_bank(x: Any, arguments: Mapping[str, Any]) -> Any:
    calls = bank_calls(arguments, x.shape, x.dtype)
    return da.stack([filter_array(one, x, arguments["mask"]) for one in calls])


_COMPOSED: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "generic_laplace": _generic_laplace,
    "generic_gradient_magnitude": _generic_gradient_magnitude,
    "filter_bank": _filter_bank,
}
