"""`numbasep.nn` on dask arrays, with a task per chunk of the batch and the other axes in a single chunk."""

import functools
from collections.abc import Mapping
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array
from dask.system import CPU_COUNT

from .. import nn
from ..nn.problem import Convolution, ConvolutionOptions, describe
from ..system.types import Array

FILTERS = {
    "separable_conv2d": ("depthwise_filter", "pointwise_filter"),
    "depthwise_conv2d": ("filter",),
    "conv2d": ("filters",),
}
"""Function -> names of its filter parameters."""


def call(name: str, arguments: dict[str, Any]) -> Any:
    """Handle a call of a function of `numbasep.nn`: see `numbasep.arguments.dispatch`.

    Raises
    ------
    ValueError, TypeError
        As the function itself; also if `output` is given, which a lazy result cannot use.
    """
    if arguments.get("output") is not None:
        raise TypeError(f"output must be None for a dask array, got a {type(arguments['output']).__name__}")
    function = name.removeprefix("nn.")
    operation = function.removesuffix("_vjp")
    filters = {key: np.asarray(arguments[key]) for key in FILTERS[operation]}
    x = arguments["input"]
    problem = _problem(operation, arguments, x, filters)
    run = functools.partial(getattr(nn, function), **_shared(arguments, filters))
    if function != operation:
        return _gradients(run, arguments, filters, problem)
    return _per_image(run, x, problem.out_shape[1:], arguments, problem.dtype)


def _problem(operation: Any, given: Mapping[str, Any], x: Any, filters: Mapping[str, Array]) -> Convolution:
    """Validate the request on the whole array."""
    nn.convolutions.check_options(given.get("method", "auto"), given["workers"], given.get("device"))
    options = ConvolutionOptions(*(given.get(name) for name in ConvolutionOptions._fields))
    return describe(operation, tuple(x.shape), x.dtype, tuple(filters.values()), options)


def _shared(given: Mapping[str, Any], filters: Mapping[str, Array]) -> dict[str, Any]:
    kept = {key: value for key, value in given.items() if key not in ("input", "gradient", "output", "name")}
    return kept | dict(filters)


def _whole_images(x: Any) -> Any:
    return x.rechunk(dict.fromkeys(range(1, x.ndim), -1))


def _threads(given: Mapping[str, Any], x: Any) -> int:
    """Return the threads per task, so that all tasks together do not exceed the processors."""
    return int(given["workers"] or max(1, CPU_COUNT // max(1, len(x.chunks[0]))))


def _per_image(
    run: Any, x: Any, shape: tuple[int, ...], given: Mapping[str, Any], dtype: np.dtype[Any]
) -> Any:
    whole = _whole_images(x)
    chunks = (x.chunks[0], *((n,) for n in shape))
    return da.map_blocks(
        _run, whole, run=run, workers=_threads(given, x), chunks=chunks, dtype=dtype,
        meta=meta_from_array(x._meta, x.ndim, dtype=dtype),
    )  # fmt: skip


def _run(x: Array, run: Any, workers: int) -> Array:
    result: Array = run(input=x, workers=workers)
    return result


def _gradients(run: Any, given: Mapping[str, Any], filters: Mapping[str, Array], problem: Convolution) -> Any:
    """Return the gradients with respect to the input, per chunk of the batch, and the filters, summed over chunks."""
    x, gradient = given["input"], da.asarray(given["gradient"])
    if gradient.shape != problem.out_shape:
        raise ValueError(
            f"gradient must have the shape of the result, {problem.out_shape}, got {gradient.shape}"
        )
    x = _whole_images(da.asarray(x))
    gradient = _whole_images(gradient).rechunk({0: x.chunks[0]})
    task = dask.delayed(run, nout=1 + len(filters))
    blocks = zip(gradient.to_delayed().ravel(), x.to_delayed().ravel(), strict=True)
    results = [task(gradient=g, input=images, workers=_threads(given, x)) for g, images in blocks]
    to_input = [
        da.from_delayed(result[0], (n, *x.shape[1:]), meta=x._meta)
        for result, n in zip(results, x.chunks[0], strict=True)
    ]
    to_filters = [
        _sum(
            [da.from_delayed(result[k], f.shape, meta=meta_from_array(x._meta, f.ndim)) for result in results]
        )
        for k, f in enumerate(filters.values(), start=1)
    ]
    return da.concatenate(to_input), *to_filters


def _sum(parts: list[Any]) -> Any:
    """Sum in at least single precision; convert to the type of the parts."""
    dtype = parts[0].dtype
    return da.stack(parts).sum(axis=0, dtype=np.promote_types(dtype, np.float32)).astype(dtype)
