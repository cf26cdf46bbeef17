"""Multiscale OME-Zarr images: each level is the one before, smoothed and downsampled, block by block.

Levels are smoothed as those of Burt and Adelson (1983) and of `cv2.pyrDown`: by the binomial [1, 4, 6, 4, 1] / 16 along
each axis that is strided. Every second sample is kept, from the first on, so that sample 0 of all levels is at the
same place. Integers are rounded.
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
"""Weights along one axis."""

STRIDE = 2
"""Samples of a level between two of the next."""

SHORTEST = 2
"""Samples that are left along an axis: one that would become shorter stays as it is."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a pyramid."""

    shape: tuple[int, ...]
    """Its shape."""
    strides: tuple[int, ...]
    """Samples of the level before between two of its own, along each axis."""
    factors: tuple[int, ...]
    """The same of the largest level."""

    def next(self, axes: Sequence[int]) -> Level:
        """The next level, strided along those of some axes that are long enough."""
        strides = tuple(
            STRIDE if axis in axes and -(-n // STRIDE) >= SHORTEST else 1 for axis, n in enumerate(self.shape)
        )
        shape = tuple(-(-n // stride) for n, stride in zip(self.shape, strides, strict=True))
        factors = tuple(factor * stride for factor, stride in zip(self.factors, strides, strict=True))
        return Level(shape, strides, factors)


def plan_levels(shape: Sequence[int], axes: Sequence[int], further: int) -> tuple[Level, ...]:
    """The largest level, of this shape, and so many further ones.

    Raises
    ------
    ValueError
        There are not so many, because no axis is long enough.

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
    """An image of several levels, before it is written."""

    name: str
    """What the image is called."""
    axes: tuple[NamedAxis, ...]
    """Axes of the result of the filter, with names."""
    levels: tuple[Level, ...]
    """Its levels, whose axes are in the order of that result."""
    metadata: Metadata
    """What the filtered file says of itself."""

    @property
    def order(self) -> tuple[int, ...]:
        """Axes of the result in the order in which they are stored."""
        return ome_zarr.stored_order(self.axes)

    def stored(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """What is given for each axis of the result, in the order in which axes are stored."""
        return tuple(values[axis] for axis in self.order)


def plan_pyramid(
    path: Path, shape: Sequence[int], metadata: Metadata, filtered: Sequence[int], further: int
) -> Pyramid:
    """The pyramid of a result of this shape, strided along the filtered axes in space."""
    axes = ome_zarr.image_axes(metadata, filtered)
    halved = [k for k in sorted(filtered) if axes[k].kind == SPACE]
    name = path.name.removesuffix(path.suffix).removesuffix(".ome")
    return Pyramid(name, axes, plan_levels(shape, halved, further), metadata)


def create_levels(folder: Path, pyramid: Pyramid, dtype: np.dtype[Any]) -> list[Chunked]:
    """The group of an image and the empty arrays of its levels."""
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
    """The largest level, written with axes in the order of the filter's result."""
    return Permuted(largest, pyramid.order)


def fill_levels(pyramid: Pyramid, arrays: Sequence[Chunked], mode: str, run: Callable[..., None]) -> None:
    """Fill all levels but the largest, which is there: ``run(name, keywords, source, target)`` filters."""
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
