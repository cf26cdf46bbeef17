"""Prepared passes over planes: their tables, and the call of the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import threads
from .intrinsics.memory import Storage
from .kernels import plane_driver as drivers
from .kernels.pass_arguments import make_block
from .tap_tables import TapTables

Array = npt.NDArray[Any]

SPARE_BYTES = 640 << 10  # maximum total size of the workspaces that a pass keeps


class _Memory:
    """View of raw memory for NumPy that keeps the owner alive."""

    def __init__(self, owner: Array, address: int, count: int) -> None:
        self._owner = owner
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (count,),
            "typestr": "|u1",
            "version": 3,
        }


def storage_of(dtype: np.dtype[Any], cast: str = "truncate") -> Storage:
    """Return the storage type of arrays of `dtype`: uint8 for bool, the type of the parts for complex."""
    if dtype.kind == "b":
        return Storage("u1", saturate=cast == "saturate")
    if dtype.kind == "c":
        return Storage(f"f{dtype.itemsize // 2}", not dtype.isnative)
    saturate = cast == "saturate" and dtype.kind in "iu"
    return Storage(f"{dtype.kind}{dtype.itemsize}", not dtype.isnative, saturate)


def flat_memory(array: Array) -> tuple[Array, int]:
    """Return the memory that an array spans as flat, writeable bytes, and the real element at position 0."""
    if array.flags.c_contiguous and array.flags.writeable:
        return array.reshape(-1).view(np.uint8), 0
    item = array.itemsize // (2 if array.dtype.kind == "c" else 1)
    spans = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)]
    low = sum(s for s in spans if s < 0)
    count = sum(s for s in spans if s > 0) - low + array.itemsize
    address = array.__array_interface__["data"][0] + low
    return np.asarray(_Memory(array, address, count)), -low // item


@dataclass(frozen=True, slots=True, eq=False)
class PlanePass:
    """Prepared pass: everything except the arrays."""

    kernels: tuple[Any, Any]
    """Addresses of the tile filter, which drivers call, and of the kernels that it calls."""
    program: TapTables
    """Tables of the taps in a plane."""
    geometry: Array
    """Sizes and strides, indexed by the names in `cpu.kernels.table_entries`."""
    outer: Array
    """Offset tables of the outer axes."""
    outer_taps: Array
    """(sources, outer axes): tap of each source along each outer axis."""
    edges: Array
    """Sources of columns beyond the edges, for rows that are read directly."""
    constants: Array
    """(sources, 1 + period): divisor and boundary value of each source."""
    normal: Array
    """Constants of the normalisation of NaN-aware convolutions: see `cpu.kernels.nan_aware`."""
    outside: Array
    """(terms, period): vertical sums of each separable term beyond a constant boundary."""
    tasks: int
    """Number of tasks: tiles x strips x planes."""
    batch: int
    """Tasks that run without returning to Python."""
    threads: int
    """Number of threads that share the tasks."""
    small: bool
    """Whether the pass always runs in a single batch on the calling thread."""
    raw_in: int
    """Bytes of a gathered piece of an input row."""
    raw_out: int
    """Bytes of a piece of an output row before it is scattered."""

    work_bytes: int
    """Bytes of a thread's workspace for rows."""
    table_bytes: int
    """Bytes of a thread's row table."""
    spare: list[tuple[Any, ...]]
    """Small workspaces of earlier calls for reuse; large ones are returned to the common pool."""
    front: PlanePass | None = None
    """Pass along an outer axis, whose sums this pass reads piece by piece (`cpu.kernels.volumes`)."""

    @property
    def workspace(self) -> int:
        """Bytes of scratch memory that a call uses."""
        return self.work_space(self.threads)

    def work_space(self, count: int) -> int:
        """Return the bytes of scratch memory of `count` threads."""
        return count * (self.work_bytes + 2 * self.table_bytes)

    @property
    def entries(self) -> int:
        """Number of tables in the block that `divide` returns."""
        return (1 if self.front is None else 2) * (len(self._tables) + 5)

    @property
    def _tables(self) -> list[Array]:
        """Tables that all threads share."""
        program = self.program
        return [
            self.geometry, self.outer, self.outer_taps, program.terms, program.runs, program.weights,
            program.shifts, program.lines, program.line_weights, self.edges, self.normal, self.outside,
        ]  # fmt: skip

    def divide(self, buffer: Array, count: int) -> tuple[Any, ...]:
        """Return the block of all tables, with those of `count` threads in `buffer`, and the arrays it points to."""
        dtype = self.constants.dtype
        rows = count * self.work_bytes
        work = buffer[:rows].view(dtype).reshape(count, -1)
        work.fill(0)  # whole vectors are computed, and garbage after a row could be slow subnormals
        tables = buffer[rows : self.work_space(count)].view(np.int64).reshape(2 * count, -1)
        raw = [np.empty((count, size), np.uint8) for size in (self.raw_in, self.raw_out)]
        arrays: list[Array] = [*self._tables, work, tables[:count], tables[count:], *raw]
        if self.front is not None:
            lists = np.empty((2 * count, self.front.table_bytes // 8), np.int64)
            own = [np.empty((count, size), np.uint8) for size in (self.front.raw_in, self.front.raw_out)]
            arrays += [*self.front._tables, work, lists[:count], lists[count:], *own]
            return make_block(arrays), buffer, (raw, lists, own)
        return make_block(arrays), buffer, raw

    def __call__(self, x: Array, y: Array) -> None:
        """Run on the flat memory of both arrays (`flat_memory`)."""
        if self.workspace > SPARE_BYTES:
            with threads.borrow(self.workspace) as buffer:
                self._run(x, y, self.divide(buffer, self.threads))
            return
        try:
            scratch = self.spare.pop()
        except IndexError:
            scratch = self.divide(threads.aligned(self.workspace), self.threads)
        self._run(x, y, scratch)
        self._keep(scratch)

    def run_small(self, x: Array, y: Array) -> None:
        """Run a `small` pass on contiguous arrays, with less overhead than a call."""
        try:
            scratch = self.spare.pop()
        except IndexError:
            scratch = self.divide(threads.aligned(self.workspace), self.threads)
        flat_x, flat_y = x.reshape(-1).view(np.uint8), y.reshape(-1).view(np.uint8)
        drivers.run_serial(*self.kernels, flat_x, flat_y, 0, self.tasks, scratch[0], self.constants)
        self._keep(scratch)

    def _keep(self, scratch: tuple[Any, ...]) -> None:
        if (len(self.spare) + 1) * self.workspace <= SPARE_BYTES:
            self.spare.append(scratch)

    def _run(self, x: Array, y: Array, scratch: tuple[Any, ...]) -> None:
        if self.threads == 1:
            self._run_batches(drivers.run_serial, x, y, scratch)
        else:
            with threads.parallel_region(self.threads):
                self._run_batches(drivers.run_parallel, x, y, scratch)

    def _run_batches(self, run: Any, x: Array, y: Array, scratch: tuple[Any, ...]) -> None:
        """Run all tasks in batches; between these, Python handles signals, so that Ctrl-C ends a long call."""
        for first in range(0, self.tasks, self.batch):
            run(*self.kernels, x, y, first, min(first + self.batch, self.tasks), scratch[0], self.constants)
