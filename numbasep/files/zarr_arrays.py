"""Open and create zarr arrays, with the OME-Zarr metadata of the groups that contain them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import ome_zarr
from .libraries import library
from .metadata import Metadata, named_axis
from .stored import Chunked

SUFFIX = ".zarr"


@contextmanager
def chunks_at_once(count: int) -> Iterator[None]:
    """Limit how many chunks are encoded or decoded at once within the context, since each takes memory."""
    zarr = sys.modules.get("zarr")
    if zarr is None:  # no zarr array is open
        yield
        return
    with zarr.config.set({"async.concurrency": count}):
        yield


def open_zarr(path: Path) -> Chunked:
    """Open the array at a path; for an OME-Zarr image, its largest level."""
    zarr = library("zarr", "zarr")
    opened = zarr.open(str(path), mode="r")
    if not hasattr(opened, "chunks"):
        level = ome_zarr.first_level(opened.attrs)
        if level is None:
            inside = sorted((*opened.array_keys(), *opened.group_keys()))
            names = ", ".join(str(path / name) for name in inside)
            raise ValueError(f"{path}: a group; name one of its arrays or images: {names or 'it has none'}")
        path, opened = path / level, opened[level]
    return Chunked(opened, _metadata(path, opened))


def _metadata(path: Path, array: Any) -> Metadata:
    attributes = dict(array.attrs)
    names = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, (list, tuple)) or len(names) != array.ndim:
        names = (None,) * array.ndim
    details = {
        "attributes": attributes,
        "zarr_format": array.metadata.zarr_format,
        "chunks": tuple(array.chunks),
    }
    axes = tuple(named_axis(str(name) if name else None) for name in names)
    metadata = Metadata(axes, "zarr", details)
    image = _image_around(path)
    scaled = ome_zarr.read_axes(*image) if image is not None else None
    if image is None or scaled is None or len(scaled) != array.ndim:
        return metadata
    return replace(metadata, axes=scaled, format="ome-zarr", details=details | {"image": image[0]})


def _image_around(path: Path) -> tuple[dict[str, Any], str] | None:
    """Return the attributes of the OME-Zarr image that has the array as a level, and the level's path, or None."""
    zarr = library("zarr", "zarr")
    for parent in path.parents:
        if not any(parent.joinpath(name).is_file() for name in ("zarr.json", ".zgroup")):
            return None
        attributes = dict(zarr.open_group(str(parent), mode="r").attrs)
        level = path.relative_to(parent).as_posix()
        if level in ome_zarr.levels_of(attributes):
            return attributes, level
    return None


def create_zarr(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata) -> Chunked:
    """Create an array with the format and chunks of its source if that is a zarr array, otherwise in format 3."""
    zarr = library("zarr", "zarr")
    format = metadata.details.get("zarr_format", 3)
    array = zarr.create_array(
        str(path), shape=shape, dtype=dtype, chunks=chunks_of(shape, metadata), fill_value=0, overwrite=True,
        zarr_format=format, attributes=metadata.details.get("attributes"),
        dimension_names=metadata.names if format == 3 else None,
    )  # fmt: skip
    return Chunked(array)


def chunks_of(shape: tuple[int, ...], metadata: Metadata) -> tuple[int, ...]:
    """Return the chunks of the source if that is a zarr array, otherwise `new_chunks`."""
    chunks: tuple[int, ...] = metadata.details.get("chunks") or new_chunks(shape)
    return chunks


def new_chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return chunks of about a quarter of a million samples for a zarr array without a zarr source."""
    last = {1: (2**18,), 2: (512, 512)}.get(len(shape), (64, 64, 64))
    wanted = (*(1,) * (len(shape) - len(last)), *last) if shape else ()
    return tuple(max(1, min(n, c)) for n, c in zip(shape, wanted, strict=True))
