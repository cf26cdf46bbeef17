"""Open and create TIFF files.

A result is in ImageJ's format if its source is and the format supports it, in OME's if the source or the name of the
file asks for it, otherwise a plain TIFF. All three keep names of axes and distances of samples.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import tiff_metadata
from .libraries import library
from .metadata import Metadata, NamedAxis
from .stored import Chunked, InMemory, Mapped

SUFFIXES = (".tif", ".tiff")


def open_tiff(path: Path, opened: ExitStack) -> InMemory | Mapped | Chunked:
    """Open the first series of a file; `opened` closes the file at the end."""
    tifffile = library("tifffile", "tifffile")
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        metadata = tiff_metadata.read_metadata(tiff, series)
        if series.dataoffset is not None:  # contiguous and uncompressed
            dtype = np.dtype(tiff.byteorder + series.dtype.char)
            return Mapped(path, dtype, tuple(series.shape), series.dataoffset, metadata=metadata)
        try:
            import zarr
        except ModuleNotFoundError:
            return InMemory(series.asarray(), metadata)
    store = tifffile.imread(path, aszarr=True, level=0)
    opened.callback(store.close)
    return Chunked(zarr.open_array(store, mode="r"), metadata)


def create_tiff(
    path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata
) -> Mapped:
    """Create a file for an array of the given shape and type; its name will be `name` when it is complete."""
    tifffile = library("tifffile", "tifffile")
    native = dtype.newbyteorder("=")  # byte order of new files
    keywords = _keywords(name, shape, native, metadata)
    large = np.prod(shape, dtype=float) * native.itemsize > 2**31
    bigtiff = large and not keywords.get("imagej", False)
    mapped = tifffile.memmap(path, shape=shape, dtype=native, bigtiff=bigtiff, **keywords)
    return Mapped(path, mapped.dtype, shape, mapped.offset)


def _keywords(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata) -> dict[str, Any]:
    named = name.lower().endswith(tuple(f".ome{suffix}" for suffix in SUFFIXES))
    if named and metadata.names is None and len(shape) in (2, 3):
        metadata = replace(metadata, axes=_with_names(metadata.axes, "zyx"[-len(shape) :]))
    letters = tiff_metadata.letters_of(metadata)
    colour = tiff_metadata.colour_keywords(letters, shape, metadata)
    if metadata.format == "imagej" and not named and tiff_metadata.fits_imagej(letters, shape, dtype):
        return colour | tiff_metadata.imagej_keywords(str(letters), shape, metadata)
    if named or metadata.format in ("imagej", "ome", "ome-zarr"):
        if tiff_metadata.fits_ome(letters, shape, dtype):
            return colour | tiff_metadata.ome_keywords(str(letters), shape, metadata)
        if named:
            raise ValueError(
                f"{name}: OME-TIFF does not support {dtype} with axes {letters or 'without names'} and shape {shape}: "
                "give another --dtype, or a name that does not end in .ome.tif"
            )
    return colour | tiff_metadata.plain_keywords(letters, metadata)


def _with_names(axes: Sequence[NamedAxis], names: str) -> tuple[NamedAxis, ...]:
    return tuple(replace(axis, name=name) for axis, name in zip(axes, names, strict=True))
