"""Open and create files as arrays, in the format given by their suffix.

A result is written to ``OUTPUT.partial``, which replaces OUTPUT when it is complete.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..system.types import Array
from .libraries import library
from .metadata import Metadata, named_axis, no_metadata
from .stored import InMemory, Mapped, Stored
from .tiff import SUFFIXES as TIFF
from .tiff import create_tiff, open_tiff
from .zarr_arrays import SUFFIX as ZARR
from .zarr_arrays import create_zarr, open_zarr

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
SUFFIXES = (".npy", ZARR, *TIFF, *IMAGES)

# -------------------------------------------------------------------------------------------- reading


def read_kernel(path: Path) -> Array:
    """Return the kernel in a file: ``.npy``, or rows of numbers as text (comma- or blank-separated)."""
    if path.suffix.lower() == ".npy":
        kernel: Array = np.load(path, allow_pickle=False)
        return kernel
    text = path.read_text(encoding="utf-8").replace(",", " ")
    try:
        rows = [[float(word) for word in line.split()] for line in text.splitlines() if line.strip()]
        return np.array(rows, dtype=np.float64)
    except ValueError:
        raise ValueError(f"{path}: a kernel is a .npy file, or rows of as many numbers each") from None


def read_array(path: Path) -> Array:
    """Return the whole array in a file."""
    with open_source(path) as source:
        return source.read((slice(None),) * len(source.shape))


@contextmanager
def open_source(path: Path) -> Iterator[Stored]:
    """Open the array in a file; parts can be read within the context, without the rest if the format allows."""
    with ExitStack() as opened:
        yield _open(path, opened)


def _open(path: Path, opened: ExitStack) -> Stored:
    suffix = kind(path)
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    if suffix == ".npy":
        return _open_npy(path)
    if suffix == ZARR:
        return open_zarr(path)
    if suffix in TIFF:
        return open_tiff(path, opened)
    with library("PIL.Image", "Pillow").open(path) as image:
        if image.mode in ("P", "PA", "CMYK", "YCbCr", "1"):
            image = image.convert("RGB" if image.mode != "1" else "L")
        array = np.asarray(image)
    return InMemory(array, Metadata(tuple(map(named_axis, "yxs"[: array.ndim])), "image"))


def _open_npy(path: Path) -> InMemory | Mapped:
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    metadata = no_metadata(mapped.ndim)
    if not isinstance(mapped, np.memmap):  # no samples
        return InMemory(mapped, metadata)
    order = "C" if mapped.flags.c_contiguous else "F"
    return Mapped(path, mapped.dtype, mapped.shape, mapped.offset, order, metadata)


# -------------------------------------------------------------------------------------------- writing


def kind(path: Path) -> str:
    """Return the suffix that determines the format; ``.zarr`` also for an array inside a group."""
    if any(parent.suffix.lower() == ZARR for parent in (path, *path.parents)):
        return ZARR
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of file; allowed are {' '.join(SUFFIXES)}")
    return suffix


def is_image(path: Path) -> bool:
    """Return whether the file is an image."""
    return kind(path) in (*IMAGES, *TIFF)


def check_type(path: Path, dtype: np.dtype[Any]) -> None:
    """Raise ValueError if the format of the file does not support the dtype."""
    if kind(path) in IMAGES and dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        raise ValueError(f"{path}: images store uint8 or uint16, not {dtype}: give --dtype, or a .npy file")


def partial_name(path: Path) -> Path:
    """Return the path of a result while it is written."""
    return path.with_name(path.name + ".partial")


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise errors for a path that cannot be written, before anything is read."""
    kind(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(2, "no such folder", str(path.parent))
    if partial_name(path).exists():
        raise FileExistsError(
            17, "another run is writing it, or was killed; if none is running, remove it and start again",
            str(partial_name(path)),
        )  # fmt: skip
    if path.is_dir() and not overwrite:
        raise FileExistsError(17, "it exists: give --overwrite, or another name", str(path))


@contextmanager
def create_target(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata
) -> Iterator[Stored]:
    """Create an array to write to; it becomes the file `path` if the context succeeds, and is removed if not.

    The file stores `metadata` as far as its format can.
    """
    suffix = kind(path)
    with appearing(path, folder=suffix == ZARR) as partial:
        if suffix == ZARR:
            yield create_zarr(partial, shape, dtype, metadata)
        elif suffix == ".npy" and 0 not in shape:
            # the mapping is not kept: Windows cannot rename a mapped file
            yield Mapped(partial, dtype, shape, np.lib.format.open_memmap(partial, "w+", dtype, shape).offset)
        elif suffix in TIFF:
            yield create_tiff(partial, path.name, shape, dtype, metadata)
        else:
            whole = InMemory(np.empty(shape, dtype))
            yield whole
            _save(partial, suffix, whole.array)


@contextmanager
def appearing(path: Path, *, folder: bool) -> Iterator[Path]:
    """Create a file or folder that replaces `path` if the context succeeds, and is removed if not."""
    partial = partial_name(path)
    if folder:
        partial.mkdir()  # fails if another run has just made it
    else:
        partial.touch(exist_ok=False)
    try:
        yield partial
    except BaseException:
        _remove(partial)
        raise
    _replace(partial, path)


def _save(path: Path, suffix: str, array: Array) -> None:
    if suffix == ".npy":
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    else:
        image = library("PIL.Image", "Pillow")
        image.fromarray(array).save(path, format=image.registered_extensions()[suffix])


def _replace(partial: Path, path: Path) -> None:
    """Move the result to `path`; an existing folder is first renamed, and removed at the end."""
    if not path.is_dir():
        try:
            partial.replace(path)
        except PermissionError as error:  # Windows cannot replace an open file
            message = f"the result is complete, but cannot take the place of {path.name}: is that open?"
            raise PermissionError(error.errno, message, str(partial)) from error
        return
    old = path.with_name(path.name + ".old")
    path.rename(old)
    partial.rename(path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
