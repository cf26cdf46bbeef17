"""Multiscale OME-Zarr images: each level is the previous one, smoothed and downsampled block by block.

As in Burt and Adelson (1983) and `cv2.pyrDown`, levels are smoothed by the binomial [1, 4, 6, 4, 1] / 16 along each
strided axis. Every second sample is kept, from the first on, so that sample 0 of all levels is at the same position.
Integers are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import ome_zarr, zarr_arrays
from ..files.libraries import library
from ..files.metadata import CHANNEL, SPACE, Metadata, NamedAxis
from ..files.stored import Chunked, Permuted

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Weights along an axis."""

STRIDE = 2
"""Distance of the samples of a level, in samples of the previous level."""

SHORTEST = 2
"""Minimum samples along an axis; an axis that would become shorter is not strided."""


@dataclass(frozen=True, slots=True)
class Level:
    """A level of a pyramid."""

    shape: tuple[int, ...]
    """Shape of the level."""
    strides: tuple[int, ...]
    """Strides relative to the previous level, along each axis."""
    factors: tuple[int, ...]
    """Strides relative to the largest level, along each axis."""

    def next(self, axes: Sequence[int]) -> Level:
        """Return the next level, strided along those of `axes` that are long enough."""
        strides = tuple(
            STRIDE if axis in axes and -(-n // STRIDE) >= SHORTEST else 1 for axis, n in enumerate(self.shape)
        )
        shape = tuple(-(-n // stride) for n, stride in zip(self.shape, strides, strict=True))
        factors = tuple(factor * stride for factor, stride in zip(self.factors, strides, strict=True))
        return Level(shape, strides, factors)


def plan_levels(shape: Sequence[int], axes: Sequence[int], further: int) -> tuple[Level, ...]:
    """Return the largest level, of the given shape, and `further` more levels.

    Raises
    ------
    ValueError
        There are fewer levels, because no axis is long enough.

    Examples
    --------
    >>> [level.shape for level in plan_levels((3, 9, 30), (1, 2), 3)]
    [(3, 9, 30), (3, 5, 15), (3, 3, 8), (3, 2, 4)]
    """
    ones = (1,) * len(shape)
    levels = [Level(tuple(shape), ones, ones)]
    for number in range(further):
        following = levels[-1].next(axes)
        if following.shape == levels[-1].shape:
            raise ValueError(
                f"--pyramid: at most {number} for a result of shape {tuple(shape)}, whose axes {tuple(axes)} are "
                f"halved to no fewer than {SHORTEST} samples; got {further}"
            )
        levels.append(following)
    return tuple(levels)


@dataclass(frozen=True, slots=True)
class Pyramid:
    """Description of a multiscale image that is to be written."""

    name: str
    """Name of the image."""
    axes: tuple[NamedAxis, ...]
    """Named axes of the result of the filter."""
    levels: tuple[Level, ...]
    """Levels, with axes in the order of the result."""
    metadata: Metadata
    """Metadata of the filtered file."""

    @property
    def order(self) -> tuple[int, ...]:
        """Axes of the result in storage order."""
        return ome_zarr.stored_order(self.axes)

    def stored(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return values given for each axis of the result in storage order."""
        return tuple(values[axis] for axis in self.order)


def plan_pyramid(
    path: Path, shape: Sequence[int], metadata: Metadata, filtered: Sequence[int], further: int
) -> Pyramid:
    """Plan the pyramid of a result of the given shape, strided along the filtered spatial axes."""
    axes = ome_zarr.image_axes(metadata, filtered)
    halved = [k for k in sorted(filtered) if axes[k].kind == SPACE]
    name = path.name.removesuffix(path.suffix).removesuffix(".ome")
    return Pyramid(name, axes, plan_levels(shape, halved, further), metadata)


def create_levels(folder: Path, pyramid: Pyramid, dtype: np.dtype[Any]) -> list[Chunked]:
    """Create the group of an image and the empty arrays of its levels; return the arrays."""
    zarr = library("zarr", "zarr")
    stored_axes = pyramid.stored(pyramid.axes)
    factors = [pyramid.stored(level.factors) for level in pyramid.levels]
    ome = ome_zarr.describe(pyramid.name, stored_axes, factors, _method())
    channels = next(
        (n for n, a in zip(pyramid.levels[0].shape, pyramid.axes, strict=True) if a.kind == CHANNEL), 1
    )
    image = pyramid.metadata.details.get("image", {})
    ome |= ome_zarr.omero_of(image, channels)
    attributes = ome_zarr.others(image) | {"ome": ome}
    group = zarr.create_group(str(folder), zarr_format=3, attributes=attributes, overwrite=True)
    source_chunks = pyramid.metadata.details.get("chunks")
    shape = pyramid.stored(pyramid.levels[0].shape)
    chunks = pyramid.stored(source_chunks) if source_chunks else zarr_arrays.new_chunks(shape)
    arrays = []
    for number, level in enumerate(pyramid.levels):
        shape = pyramid.stored(level.shape)
        array = group.create_array(
            str(number), shape=shape, dtype=dtype, fill_value=0,
            chunks=tuple(max(1, min(a, b)) for a, b in zip(shape, chunks, strict=True)),
            dimension_names=[axis.name for axis in stored_axes],
            attributes=ome_zarr.others(pyramid.metadata.details.get("attributes", {})),
        )  # fmt: skip
        arrays.append(Chunked(array))
    return arrays


def _method() -> dict[str, Any]:
    import numbasep

    return {
        "description": "each level is the one before, smoothed by a binomial along the axes that are strided, "
        "every second sample from the first on",
        "method": "numbasep.separable_correlate",
        "version": numbasep.__version__,
        "kwargs": {"weights": list(BINOMIAL), "stride": STRIDE},
    }


def first_target(pyramid: Pyramid, largest: Chunked) -> Permuted:
    """Return the largest level as an array to be written in the axis order of the filter's result."""
    return Permuted(largest, pyramid.order)


def fill_levels(pyramid: Pyramid, arrays: Sequence[Chunked], mode: str, run: Callable[..., None]) -> None:
    """Compute all levels from the largest; ``run(name, keywords, source, target)`` applies a filter."""
    for level, source, target in zip(pyramid.levels[1:], arrays, arrays[1:], strict=False):
        strides = pyramid.stored(level.strides)
        kernels = {axis: BINOMIAL for axis, stride in enumerate(strides) if stride > 1}
        keywords = {
            "kernels": kernels,
            "stride": STRIDE,
            "mode": mode,
            "output": source.dtype,
            "cast": "saturate",
        }
        run("separable_correlate", keywords, source, target)
