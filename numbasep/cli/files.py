"""Files as arrays that parts are read from and written to; the libraries that know the formats do the work.

A result is written to ``OUTPUT.partial``, which takes the place of OUTPUT when it is complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Region = tuple[slice, ...]

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
TIFF = (".tif", ".tiff")
SUFFIXES = (".npy", ".zarr", *TIFF, *IMAGES)


# ------------------------------------------------------------------------------------ arrays in files


@dataclass(frozen=True, slots=True)
class InMemory:
    """An array that was read as a whole, and is written as a whole at the end."""

    array: Array
    """The samples."""
    axes: tuple[int, ...] | None = None
    """Rows and columns, where there are channels, too."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    def read(self, region: Region) -> Array:
        """Part of the array."""
        return self.array[region]

    def write(self, region: Region, values: Array) -> None:
        """Store a part."""
        self.array[region] = values


@dataclass(frozen=True, slots=True)
class Mapped:
    """Samples in a file as they are in memory; mapped anew for each part, so that no pages are held."""

    path: Path
    """The file."""
    dtype: np.dtype[Any]
    """Type of the samples, in any byte order."""
    shape: tuple[int, ...]
    """Shape of the array."""
    offset: int
    """Bytes before the first sample."""
    order: Any = "C"
    """Memory order."""
    axes: tuple[int, ...] | None = None
    """Rows and columns, where there are channels, too."""

    def _map(self, mode: Any) -> Any:
        return np.memmap(self.path, self.dtype, mode, self.offset, self.shape, self.order)

    def read(self, region: Region) -> Array:
        """Part of the array."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)[region]
        return np.array(self._map("r")[region])

    def write(self, region: Region, values: Array) -> None:
        """Store a part."""
        self._map("r+")[region] = values


@dataclass(frozen=True, slots=True)
class Chunked:
    """A zarr array."""

    array: Any
    """The `zarr.Array`."""
    axes: tuple[int, ...] | None = None
    """Rows and columns, where there are channels, too."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def unit(self) -> tuple[int, ...]:
        """Chunks, or shards of them."""
        return tuple(getattr(self.array, "shards", None) or self.array.chunks)

    def read(self, region: Region) -> Array:
        """Part of the array."""
        return np.asarray(self.array[region])

    def write(self, region: Region, values: Array) -> None:
        """Store a part."""
        self.array[region] = values


def unit(source: InMemory | Mapped | Chunked, target: Path) -> tuple[int, ...]:
    """Samples that are stored together in one file or the other, along each axis."""
    if isinstance(source, Chunked):
        return source.unit
    return new_chunks(source.shape) if kind(target) == ".zarr" else (1,) * len(source.shape)


def new_chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Chunks of a zarr array that is not made after another: some hundred thousand samples."""
    last = {1: (2**18,), 2: (512, 512)}.get(len(shape), (64, 64, 64))
    wanted = (*(1,) * (len(shape) - len(last)), *last) if shape else ()
    return tuple(max(1, min(n, c)) for n, c in zip(shape, wanted, strict=True))


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
def open_source(path: Path) -> Iterator[InMemory | Mapped | Chunked]:
    """The array in a file, read within the block and in parts where the format allows."""
    with ExitStack() as opened:
        yield _open(path, opened)


def _open(path: Path, opened: ExitStack) -> InMemory | Mapped | Chunked:
    suffix = kind(path)
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    if suffix == ".npy":
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.memmap):  # no samples
            return InMemory(mapped)
        order = "C" if mapped.flags.c_contiguous else "F"
        return Mapped(path, mapped.dtype, mapped.shape, mapped.offset, order)
    if suffix == ".zarr":
        return _open_zarr(path)
    if suffix in TIFF:
        return _open_tiff(path, opened)
    with _library("PIL.Image", "Pillow").open(path) as image:
        if image.mode in ("P", "PA", "CMYK", "YCbCr", "1"):
            image = image.convert("RGB" if image.mode != "1" else "L")
        array = np.asarray(image)
    return InMemory(array, (0, 1) if array.ndim == 3 else None)


def _open_zarr(path: Path) -> Chunked:
    zarr = _library("zarr", "zarr")
    opened = zarr.open(str(path), mode="r")
    if not hasattr(opened, "chunks"):
        names = ", ".join(f"{path}/{name}" for name in sorted(opened.array_keys()))
        raise ValueError(f"{path}: a group; name one of its arrays: {names or 'it has none'}")
    return Chunked(opened)


def _open_tiff(path: Path, opened: ExitStack) -> InMemory | Mapped | Chunked:
    tifffile = _library("tifffile", "tifffile")
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        kept = tuple(k for k, axis in enumerate(series.axes) if axis not in "SC")
        axes = kept if len(kept) < len(series.axes) else None
        if series.dataoffset is not None:  # one piece, not compressed
            dtype = np.dtype(tiff.byteorder + series.dtype.char)
            return Mapped(path, dtype, tuple(series.shape), series.dataoffset, axes=axes)
        try:
            import zarr
        except ModuleNotFoundError:
            return InMemory(series.asarray(), axes)
    store = tifffile.imread(path, aszarr=True, level=0)
    opened.callback(store.close)
    return Chunked(zarr.open_array(store, mode="r"), axes)


# -------------------------------------------------------------------------------------------- writing


def kind(path: Path) -> str:
    """The suffix that tells the format; ``.zarr`` also of an array inside a group."""
    if any(parent.suffix.lower() == ".zarr" for parent in (path, *path.parents)):
        return ".zarr"
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of file; allowed are {' '.join(SUFFIXES)}")
    return suffix


def is_image(path: Path) -> bool:
    """Whether results are for looking at."""
    return kind(path) in (*IMAGES, *TIFF)


def check_type(path: Path, dtype: np.dtype[Any]) -> None:
    """ValueError if a file of this kind does not hold this type."""
    if kind(path) in IMAGES and dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        raise ValueError(f"{path}: an image holds uint8 or uint16, not {dtype}: give --dtype, or a .npy file")


def partial_name(path: Path) -> Path:
    """Where a result is while it is written."""
    return path.with_name(path.name + ".partial")


def check_target(path: Path, *, overwrite: bool) -> None:
    """Errors that can be told before anything is read."""
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
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], source: InMemory | Mapped | Chunked
) -> Iterator[InMemory | Mapped | Chunked]:
    """An array to write to; it becomes the file `path` when the block has succeeded, and vanishes when not."""
    partial, suffix = partial_name(path), kind(path)
    try:
        if suffix == ".zarr":
            partial.mkdir()  # fails where another run has just made it
            yield _create_zarr(partial, shape, dtype, source)
        elif suffix == ".npy" and 0 not in shape:
            partial.touch(exist_ok=False)
            # not held: Windows renames no file that is mapped
            yield Mapped(partial, dtype, shape, np.lib.format.open_memmap(partial, "w+", dtype, shape).offset)
        elif suffix in TIFF:
            partial.touch(exist_ok=False)
            yield _create_tiff(partial, shape, dtype, source)
        else:
            partial.touch(exist_ok=False)
            whole = InMemory(np.empty(shape, dtype))
            yield whole
            _save(partial, suffix, whole.array)
    except FileExistsError:
        raise
    except BaseException:
        _remove(partial)
        raise
    _replace(partial, path)


def _create_zarr(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], source: Any) -> Chunked:
    zarr = _library("zarr", "zarr")
    like = source.array if isinstance(source, Chunked) else None
    chunks = tuple(like.chunks) if like is not None else new_chunks(source.shape)
    array = zarr.create_array(
        str(path), shape=shape, dtype=dtype, chunks=chunks, fill_value=0, overwrite=True,
        zarr_format=like.metadata.zarr_format if like is not None else 3,
        attributes=dict(like.attrs) if like is not None else None,
        dimension_names=getattr(like.metadata, "dimension_names", None) if like is not None else None,
    )  # fmt: skip
    return Chunked(array)


def _create_tiff(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], source: Any) -> InMemory | Mapped:
    tifffile = _library("tifffile", "tifffile")
    colour = source.axes is not None and shape[-1] in (3, 4)
    mapped = tifffile.memmap(
        path, shape=shape, dtype=dtype, bigtiff=np.prod(shape) * dtype.itemsize > 2**31,
        photometric="rgb" if colour else "minisblack",
    )  # fmt: skip
    return Mapped(path, mapped.dtype, shape, mapped.offset)


def _save(path: Path, suffix: str, array: Array) -> None:
    if suffix == ".npy":
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    else:
        image = _library("PIL.Image", "Pillow")
        image.fromarray(array).save(path, format=image.registered_extensions()[suffix])


def _replace(partial: Path, path: Path) -> None:
    """Put the result in its place; an old folder is moved away first, and removed last."""
    if not path.is_dir():
        try:
            partial.replace(path)
        except PermissionError as error:  # Windows replaces no file that is open
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


def _library(module: str, package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'files of this kind need {package}: python -m pip install "numbasep[io]"'
        ) from None
