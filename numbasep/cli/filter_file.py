"""The command `filter`, which applies a filter to a file."""

import argparse
import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..arguments.axes import normalize_axes
from ..files import formats, zarr_arrays
from ..files.metadata import Metadata
from ..files.stored import Stored
from . import pyramid
from .arguments import FROM_FILE, scalar_or_tuple
from .commands import shared_options

DEFAULT_SHARE = 0.25
"""Share of the machine's memory that blocks may take."""

MADE_UP = ("valid", "full", "constant", "grid-constant")
"""Modes not used between the levels of a pyramid, which would get dark edges or lose samples there."""


def run(arguments: argparse.Namespace) -> None:
    """Filter a file into another."""
    if arguments.pyramid is not None and formats.kind(arguments.output) != zarr_arrays.SUFFIX:
        raise ValueError(f"--pyramid: OME-Zarr images are folders in .zarr; the output is {arguments.output}")
    formats.check_target(arguments.output, overwrite=arguments.overwrite)
    with formats.open_source(arguments.input) as source:
        _filter(arguments, source)


def _filter(arguments: argparse.Namespace, source: Stored) -> None:
    from ..adapters import out_of_core

    axes = filtered_axes(arguments, source)
    strides = strides_of(arguments.stride, axes, len(source.shape))
    name, keywords = which_filter(arguments, source)
    keywords |= shared_options(arguments)
    keywords["output"] = arguments.dtype or source.dtype
    shown = formats.is_image(arguments.output) or arguments.pyramid is not None
    keywords["cast"] = arguments.cast or ("saturate" if shown else "truncate")
    request, left = _strided_request(name, keywords, source, axes, strides)
    formats.check_type(arguments.output, request.dtype)
    shape = out_of_core.result_shape(request, source.shape, left)
    metadata = _metadata_of_result(arguments, source, axes, request, strides)
    if arguments.pyramid is not None:
        planned = pyramid.plan_pyramid(arguments.output, shape, metadata, axes, arguments.pyramid)
        _write_pyramid(arguments, source, request, left, planned)
        return
    with formats.create_target(arguments.output, shape, request.dtype, metadata) as target:
        _filter_into(arguments, request, source, target, left)


def _write_pyramid(
    arguments: argparse.Namespace,
    source: Stored,
    request: Any,
    left: tuple[int, ...],
    planned: pyramid.Pyramid,
) -> None:
    mode = "reflect" if arguments.mode in MADE_UP else arguments.mode

    def run_level(name: str, keywords: dict[str, Any], below: Any, level: Any) -> None:
        _filter_into(arguments, _request(name, keywords, below), below, level, (1,) * len(below.shape))

    with formats.appearing(arguments.output, folder=True) as partial:
        arrays = pyramid.create_levels(partial, planned, request.dtype)
        _filter_into(arguments, request, source, pyramid.first_target(planned, arrays[0]), left)
        pyramid.fill_levels(planned, arrays, mode, run_level)


def _filter_into(
    arguments: argparse.Namespace, request: Any, source: Any, target: Any, left: tuple[int, ...]
) -> None:
    """Filter one array into another; keep every ``left[axis]``-th result along each axis."""
    from ..adapters import out_of_core

    memory = arguments.memory or default_memory()
    blocks = out_of_core.plan_blocks(request, source, target, left, memory, arguments.workers)
    with zarr_arrays.chunks_at_once(blocks.threads):
        out_of_core.filter_blocks(
            request, source, target, blocks, progress=sys.stderr.isatty() and not arguments.quiet
        )


def filtered_axes(arguments: argparse.Namespace, source: Stored) -> tuple[int, ...]:
    """Return the numbers of the filtered axes, in the order of the values of other options."""
    return normalize_axes(arguments.axes or source.metadata.image_axes, len(source.shape))


def strides_of(given: tuple[int, ...] | None, axes: Sequence[int], ndim: int) -> tuple[int, ...]:
    """Return the stride along each axis of the array, 1 by default."""
    named = dict(zip(axes, one_for_each("--stride", given or (1,), axes), strict=True))
    return tuple(named.get(axis, 1) for axis in range(ndim))


def one_for_each(option: str, given: tuple[Any, ...], axes: Sequence[int]) -> tuple[Any, ...]:
    """Return the value of an option for each filtered axis; a single value applies to all."""
    each = given * len(axes) if len(given) == 1 else given
    if len(each) != len(axes):
        raise ValueError(
            f"{option} must be one value, or one for each of {len(axes)} filtered axes, got {len(each)}"
        )
    return each


def _metadata_of_result(
    arguments: argparse.Namespace, source: Stored, axes: Sequence[int], request: Any, strides: Sequence[int]
) -> Metadata:
    """Return the metadata of the strided result, from the source and --spacing."""
    metadata = source.metadata
    if arguments.spacing not in (None, FROM_FILE):
        spacing = one_for_each("--spacing", arguments.spacing, axes)
        metadata = metadata.with_spacing(axes, spacing)
    shifts = [0] * len(source.shape)
    if arguments.mode in ("valid", "full"):  # the first result is not centred on the first sample
        for window in request.windows:
            shifts[window.axis] = window.first + window.taps // 2
    return metadata.of_result(strides, shifts)


def which_filter(arguments: argparse.Namespace, source: Stored) -> tuple[str, dict[str, Any]]:
    """Return the name of the chosen function and its keyword arguments."""
    axes, ndim = arguments.axes or source.metadata.image_axes, len(source.shape)
    chosen: dict[str, Any] = {"axes": axes}
    spacing = {} if arguments.spacing is None else {"spacing": _spacing(arguments, source)}
    if arguments.kernel is not None:
        return "convolve", chosen | {"weights": formats.read_kernel(arguments.kernel)}
    if arguments.gaussian is not None:
        return "gaussian_filter", chosen | spacing | {"sigma": scalar_or_tuple(arguments.gaussian)}
    if arguments.uniform is not None:
        return "uniform_filter", chosen | {"size": scalar_or_tuple(arguments.uniform)}
    if arguments.log is not None:
        return "gaussian_laplace", chosen | spacing | {"sigma": scalar_or_tuple(arguments.log)}
    if axes is None:
        return "sobel", {"axis": arguments.sobel}
    smoothed = {axis % ndim: [1.0, 2.0, 1.0] for axis in axes}
    if arguments.sobel % ndim not in smoothed:
        raise ValueError(
            f"--sobel must name one of the filtered axes, {tuple(smoothed)}, got {arguments.sobel}"
        )
    return "separable_correlate", {"kernels": smoothed | {arguments.sobel % ndim: [-1.0, 0.0, 1.0]}}


def _spacing(arguments: argparse.Namespace, source: Stored) -> Any:
    """Return the argument `spacing` of the functions, from the command line or the file."""
    if arguments.gaussian is None and arguments.log is None and arguments.pyramid is None:
        raise ValueError(
            "--spacing applies to --gaussian and --log, whose SIGMA is then in its unit, and to --pyramid"
        )
    if arguments.spacing == FROM_FILE:
        return source.metadata.spacing(filtered_axes(arguments, source))
    return scalar_or_tuple(arguments.spacing)


def _strided_request(
    name: str, keywords: dict[str, Any], source: Any, axes: Sequence[int], strides: tuple[int, ...]
) -> tuple[Any, tuple[int, ...]]:
    """Return the request, and the strides left to be applied by slicing if the function has no `stride`."""
    import numbasep

    if "stride" not in inspect.signature(getattr(numbasep, name)).parameters:
        return _request(name, keywords, source), strides
    keywords["stride"] = tuple(strides[axis] for axis in axes)
    return _request(name, keywords, source), (1,) * len(strides)


def _request(name: str, keywords: dict[str, Any], source: Any) -> Any:
    from ..api.by_name import make_call

    return make_call(name, _bound(name, keywords), source.shape, source.dtype)


def _bound(name: str, keywords: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments of a function by name, including defaults."""
    import numbasep

    bound = inspect.signature(getattr(numbasep, name)).bind(None, **keywords)
    bound.apply_defaults()
    return dict(bound.arguments)


def default_memory() -> int:
    """Return a quarter of this machine's memory in bytes, or 1 GiB if it is unknown."""
    try:
        return int(DEFAULT_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return 1 << 30
