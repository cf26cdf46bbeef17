"""Arrays in files that are read and written in parts: in memory, mapped, or chunked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .metadata import Metadata, no_metadata

Array = npt.NDArray[Any]
Region = tuple[slice, ...]


SLAB_BYTES = 1 << 20
"""Samples that are read or written while a file is mapped: pages around them count as memory until it is unmapped."""


def _nothing() -> Metadata:
    return no_metadata(0)


@dataclass(frozen=True, slots=True)
class InMemory:
    """An array that was read as a whole, and is written as a whole at the end."""

    array: Array
    """The samples."""
    metadata: Metadata = field(default_factory=_nothing)
    """What the file says of it; only of arrays that are read."""

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
        """Samples that are stored together."""
        return (1,) * self.array.ndim

    def read(self, region: Region) -> Array:
        """Part of the array."""
        return self.array[region]

    def write(self, region: Region, values: Array) -> None:
        """Store a part."""
        self.array[region] = values


@dataclass(frozen=True, slots=True)
class Mapped:
    """Samples in a file as they are in memory; mapped anew for each slab of a part, so that few pages are held."""

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
    metadata: Metadata = field(default_factory=_nothing)
    """What the file says of it; only of arrays that are read."""

    def _map(self, mode: Any) -> Any:
        return np.memmap(self.path, self.dtype, mode, self.offset, self.shape, self.order)

    @property
    def unit(self) -> tuple[int, ...]:
        """Samples that are stored together."""
        return (1,) * len(self.shape)

    def read(self, region: Region) -> Array:
        """Part of the array."""
        values = np.empty(
            [len(range(n)[part]) for n, part in zip(self.shape, region, strict=True)], self.dtype
        )
        for slab, place in self._slabs(region, values):
            values[place] = self._map("r")[slab]
        return values

    def write(self, region: Region, values: Array) -> None:
        """Store a part."""
        for slab, place in self._slabs(region, values):
            self._map("r+")[slab] = values[place]

    def _slabs(self, region: Region, values: Array) -> Iterator[tuple[Region, Region]]:
        """Parts of the region that lie one after the other in the file, and their places in `values`."""
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
    """A zarr array, or a file that is read as one."""

    array: Any
    """The `zarr.Array`."""
    metadata: Metadata = field(default_factory=_nothing)
    """What the file says of it; only of arrays that are read."""

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


@dataclass(frozen=True, slots=True)
class Permuted:
    """An array that is stored with its axes in another order; it is only written."""

    stored: InMemory | Mapped | Chunked
    """The array in the file."""
    order: tuple[int, ...]
    """Axis k of the stored array is axis `order[k]` of this one."""

    @property
    def unit(self) -> tuple[int, ...]:
        """Samples that are stored together."""
        return tuple(self.stored.unit[self.order.index(axis)] for axis in range(len(self.order)))

    def write(self, region: Region, values: Array) -> None:
        """Store a part."""
        self.stored.write(tuple(region[axis] for axis in self.order), values.transpose(self.order))


Stored = InMemory | Mapped | Chunked
"""An array in a file."""
