"""Filters on `xarray.DataArray`, with dimensions by name; coordinates, attributes and the name are kept.

The data may be NumPy, dask or CUDA arrays.  They are passed to the public function, so lazy arrays stay lazy and
arrays on a device stay there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

import numbasep

from .. import nn
from ..api.by_name import make_call
from ..arguments.axes import axis_strides, is_strided

NEW_DIMENSION = "kernel"
"""Name of the first dimension of the result of `filter_bank`."""


def call(name: str, arguments: dict[str, Any]) -> Any:
    """Handle a call of a public function with a DataArray: see `numbasep.arguments.dispatch`."""
    if name.startswith("nn."):
        return _layer(getattr(nn, name.removeprefix("nn.")), arguments)
    x = arguments["input"]
    given = by_number(x, arguments)
    keywords = {key: value for key, value in given.items() if key not in ("input", "kwargs")}
    data = getattr(numbasep, name)(x.data, **keywords, **given.get("kwargs", {}))
    strided = is_strided(given.get("stride", 1))
    if data.shape == x.shape and not strided:
        return x.copy(data=data)
    new = data.ndim - x.ndim
    template = _resized(x, name, given)
    dims = (*(_unused(NEW_DIMENSION, x.dims),) * new, *x.dims)
    return xr.DataArray(data, dims=dims, coords=template.coords, attrs=x.attrs, name=x.name)


def by_number(x: xr.DataArray, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Replace dimension names in the arguments by axis numbers, and a labelled mask by its values.

    Raises
    ------
    ValueError
        A name is not a dimension of the array; the message lists the dimensions.
    """
    given = dict(arguments)
    if "axis" in given:
        given["axis"] = _number(x, "axis", given["axis"])
    if given.get("axes") is not None:
        axes = given["axes"]
        several = isinstance(axes, Sequence) and not isinstance(axes, str)
        given["axes"] = tuple(_number(x, "axes", a) for a in axes) if several else _number(x, "axes", axes)
    if isinstance(given.get("kernels"), Mapping):
        given["kernels"] = {_number(x, "kernels", dim): taps for dim, taps in given["kernels"].items()}
    mask = given.get("mask")
    if isinstance(mask, xr.DataArray):
        if set(mask.dims) != set(x.dims):
            raise ValueError(f"mask must have the dimensions of the input, {x.dims}, got {mask.dims}")
        given["mask"] = mask.transpose(*x.dims).data
    if isinstance(given.get("output"), xr.DataArray):
        raise TypeError("output must be a dtype, an ndarray or None, got a DataArray: pass its .data")
    return given


def _number(x: xr.DataArray, argument: str, dim: Any) -> Any:
    if not isinstance(dim, str):
        return dim
    if dim not in x.dims:
        raise ValueError(f"{argument} must name dimensions of the input, {x.dims}, got {dim!r}")
    return x.get_axis_num(dim)


def _unused(name: str, taken: Sequence[Any]) -> str:
    while name in taken:
        name += "_"
    return name


def _resized(x: xr.DataArray, name: str, given: Mapping[str, Any]) -> xr.DataArray:
    """Return `x` with the coordinates of a result of another size.

    Along axes in mode "valid", they are those of the samples under the kernel's centre.  Axes in mode "full" have
    none, since the first and last results are outside.  With a stride, every `stride`-th coordinate is kept.
    """
    if name == "filter_bank":
        (first, *_), name = given["kernels"], given["operation"]
        unused = ("kernels", "operation")
        given = {**{key: value for key, value in given.items() if key not in unused}, "weights": first}
    request = make_call(name, {**given, "output": None}, x.shape, x.dtype)
    every = {**given, "output": None, "stride": 1}
    same = {**every, "mode": "reflect" if "axis" in given else ("reflect",) * len(request.named)}
    centred = {window.axis: window for window in make_call(name, same, x.shape, x.dtype).windows}
    resized = x
    for window in make_call(name, every, x.shape, x.dtype).windows:
        dim, size = x.dims[window.axis], window.out_size
        if size < window.size:
            start = -centred[window.axis].first
            resized = resized.isel({dim: slice(start, start + size)})
        elif size > window.size:
            resized = resized.drop_vars([c for c in resized.coords if dim in resized[c].dims])
    given_strides = axis_strides(request.arguments.get("stride", 1), len(request.named))
    strides = zip(request.named, given_strides, strict=True)
    return resized.isel({x.dims[axis]: slice(None, None, stride) for axis, stride in strides if stride > 1})


def _layer(function: Any, arguments: Mapping[str, Any]) -> Any:
    """Call a function of `numbasep.nn`; keep names, attributes and the coordinates of the batch."""
    labelled = {key: value for key, value in arguments.items() if isinstance(value, xr.DataArray)}
    x = labelled[next(iter(labelled))]
    result = function(**{key: value.data if key in labelled else value for key, value in arguments.items()})
    if isinstance(result, tuple):  # gradients: the first is the input's
        source = labelled.get("input")
        return (result[0] if source is None else source.copy(data=result[0]), *result[1:])
    coords = {key: value for key, value in x.coords.items() if set(value.dims) <= {x.dims[0]}}
    return xr.DataArray(result, dims=x.dims, coords=coords, attrs=x.attrs, name=x.name)
