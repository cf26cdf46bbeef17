"""The command `filter`: which function, on which axes, from which file to which."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from typing import Any

from . import files
from .arguments import scalar_or_tuple
from .commands import shared_options

DEFAULT_SHARE = 0.25
"""Part of the machine's memory that blocks may take."""


def run(arguments: argparse.Namespace) -> None:
    """Filter a file into another."""
    files.check_target(arguments.output, overwrite=arguments.overwrite)
    with files.open_source(arguments.input) as source:
        _filter(arguments, source)


def _filter(arguments: argparse.Namespace, source: Any) -> None:
    from ..adapters import out_of_core
    from ..adapters.request import make_request

    name, keywords = which_filter(arguments, source.axes, len(source.shape))
    keywords |= shared_options(arguments)
    keywords["output"] = arguments.dtype or source.dtype
    keywords["cast"] = arguments.cast or ("saturate" if files.is_image(arguments.output) else "truncate")
    request = make_request(name, _bound(name, keywords), source.shape, source.dtype)
    files.check_type(arguments.output, request.dtype)
    unit = files.unit(source, arguments.output)
    memory = arguments.memory or default_memory()
    grid, at_once = out_of_core.plan_blocks(request, source, unit, memory, arguments.workers)
    shape = tuple(sum(sizes) for sizes in grid.chunks)
    with files.create_target(arguments.output, shape, request.dtype, source) as target:
        out_of_core.filter_blocks(
            request, source, target, grid, at_once, workers=arguments.workers,
            progress=sys.stderr.isatty() and not arguments.quiet,
        )  # fmt: skip


def which_filter(
    arguments: argparse.Namespace, axes: tuple[int, ...] | None, ndim: int
) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the function; `axes` are those of an image's rows and columns, None if it has no others."""
    axes = arguments.axes or axes
    chosen: dict[str, Any] = {"axes": axes}
    if arguments.spacing is not None:
        if arguments.gaussian is None and arguments.log is None:
            raise ValueError("--spacing applies to --gaussian and --log, whose SIGMA it gives the unit of")
        chosen["spacing"] = scalar_or_tuple(arguments.spacing)
    if arguments.kernel is not None:
        return "convolve", chosen | {"weights": files.read_kernel(arguments.kernel)}
    if arguments.gaussian is not None:
        return "gaussian_filter", chosen | {"sigma": scalar_or_tuple(arguments.gaussian)}
    if arguments.uniform is not None:
        return "uniform_filter", chosen | {"size": scalar_or_tuple(arguments.uniform)}
    if arguments.log is not None:
        return "gaussian_laplace", chosen | {"sigma": scalar_or_tuple(arguments.log)}
    if axes is None:
        return "sobel", {"axis": arguments.sobel}
    smoothed = {axis % ndim: [1.0, 2.0, 1.0] for axis in axes}
    if arguments.sobel % ndim not in smoothed:
        raise ValueError(
            f"--sobel must name one of the filtered axes, {tuple(smoothed)}, got {arguments.sobel}"
        )
    return "separable_correlate", {"kernels": smoothed | {arguments.sobel % ndim: [-1.0, 0.0, 1.0]}}


def _bound(name: str, keywords: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a function by name, defaults included."""
    import numbasep

    bound = inspect.signature(getattr(numbasep, name)).bind(None, **keywords)
    bound.apply_defaults()
    return dict(bound.arguments)


def default_memory() -> int:
    """A quarter of this machine's memory, in bytes; 1 GiB where that is not known."""
    try:
        return int(DEFAULT_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return 1 << 30
