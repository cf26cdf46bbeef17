"""Arrays in files that are read and written in parts: in memory, mapped, or chunked."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..system.types import Array
from .metadata import Metadata, no_metadata

Region = tuple[slice, ...]


SLAB_BYTES = 1 << 20
"""Bytes that are read or written per mapping of a file, whose pages count as memory until it is unmapped."""


def _nothing() -> Metadata:
    return no_metadata(0)


@dataclass(frozen=True, slots=True)
class InMemory:
    """An array in memory: read as a whole, or written to a file as a whole at the end."""

    array: Array
    """The samples."""
    metadata: Metadata = field(default_factory=_nothing)
    """Metadata of the file, for arrays that are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    @property
    def unit(self) -> tuple[int, ...]:
        """Shape of the samples that are stored together."""
        return (1,) * self.array.ndim

    def read(self, region: Region) -> Array:
        """Read a part of the array."""
        return self.array[region]

    def write(self, region: Region, values: Array) -> None:
        """Write a part of the array."""
        self.array[region] = values


@dataclass(frozen=True, slots=True)
class Mapped:
    """An uncompressed array in a file, mapped separately for each slab that is read or written to hold few pages."""

    path: Path
    """The file."""
    dtype: np.dtype[Any]
    """Type of the samples, in any byte order."""
    shape: tuple[int, ...]
    """Shape of the array."""
    offset: int
    """Bytes before the first sample."""
    order: Any = "C"
    """Memory order, "C" or "F"."""
    metadata: Metadata = field(default_factory=_nothing)
    """Metadata of the file, for arrays that are read."""

    def _map(self, mode: Any) -> Any:
        return np.memmap(self.path, self.dtype, mode, self.offset, self.shape, self.order)

    @property
    def unit(self) -> tuple[int, ...]:
        """Shape of the samples that are stored together."""
        return (1,) * len(self.shape)

    def read(self, region: Region) -> Array:
        """Read a part of the array."""
        values = np.empty(
            [len(range(n)[part]) for n, part in zip(self.shape, region, strict=True)], self.dtype
        )
        for slab, place in self._slabs(region, values):
            values[place] = self._map("r")[slab]
        return values

    def write(self, region: Region, values: Array) -> None:
        """Write a part of the array."""
        for slab, place in self._slabs(region, values):
            self._map("r+")[slab] = values[place]

    def _slabs(self, region: Region, values: Array) -> Iterator[tuple[Region, Region]]:
        """Yield slabs of the region, in the order of the file, and their places in `values`."""
        if not values.ndim:
            yield region, ()
            return
        axis = 0 if self.order == "C" else values.ndim - 1
        start, stop, _ = region[axis].indices(self.shape[axis])
        step = max(1, SLAB_BYTES * (stop - start) // max(values.nbytes, 1))
        for low in range(start, stop if values.size else start, step):
            high = min(low + step, stop)
            before, after = region[:axis], region[axis + 1 :]
            whole = (slice(None),)
            yield (*before, slice(low, high), *after), (*whole * axis, slice(low - start, high - start))


@dataclass(frozen=True, slots=True)
class Chunked:
    """A zarr array, or a file that is read as a zarr array."""

    array: Any
    """The `zarr.Array`."""
    metadata: Metadata = field(default_factory=_nothing)
    """Metadata of the file, for arrays that are read."""

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
        """Shape of a shard or, without shards, of a chunk."""
        return tuple(getattr(self.array, "shards", None) or self.array.chunks)

    def read(self, region: Region) -> Array:
        """Read a part of the array."""
        return np.asarray(self.array[region])

    def write(self, region: Region, values: Array) -> None:
        """Write a part of the array."""
        self.array[region] = values


@dataclass(frozen=True, slots=True)
class Permuted:
    """An array that is written with its axes in another order."""

    stored: InMemory | Mapped | Chunked
    """The array in the file."""
    order: tuple[int, ...]
    """Axis k of the stored array is axis `order[k]` of this one."""

    @property
    def unit(self) -> tuple[int, ...]:
        """Shape of the samples that are stored together."""
        return tuple(self.stored.unit[self.order.index(axis)] for axis in range(len(self.order)))

    def write(self, region: Region, values: Array) -> None:
        """Write a part of the array."""
        self.stored.write(tuple(region[axis] for axis in self.order), values.transpose(self.order))


Stored = InMemory | Mapped | Chunked
"""An array in a file, for reading or writing."""
