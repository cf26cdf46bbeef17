"""Prepare a pass: choose tiles, tables and kernel addresses, without running anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.boundary import Boundary
from ..lowering.counts import Blocking
from ..lowering.target import STEP_ROWS
from ..lowering.task import Task
from .dense_boundary import dense_ends
from .intrinsics.vectors import VECTOR_BYTES
from .kernels import dense, plane_driver
from .kernels import table_entries as g
from .kernels.nan_aware import AS_STORED
from .outer_axes import OuterAxis, outer_table
from .pass_request import FETCH_BYTES, PassRequest, divide, finish
from .plane_pass import PlanePass, storage_of
from .separable import prepare_separable
from .tap_tables import TapTables, divided, fold_columns
from .tiles import dense_workspace, workspace

Array = npt.NDArray[Any]

LARGEST_SHIFT = 32  # largest exponent of a divisor by which weights are divided without leaving their range
RING_STEPS = 3  # additional steps of packed rows of a dense pass before rows are moved to the start


def prepare_pass(
    kernel: str,
    task: Task,
    blocking: Blocking,
    sources: Sequence[tuple[int, ...]],
    source_tables: Sequence[OuterAxis],
    program: TapTables,
    *,
    origins: tuple[int, int],
    dtype_in: np.dtype[Any],
    dtype_out: np.dtype[Any],
    compute: np.dtype[Any],
    constants: Array,
    cast: str,
    workers: int | None,
    views: int = AS_STORED,
    normal: Sequence[float] = (),
) -> PlanePass:
    """Prepare a pass for a memory layout: tables, tiles, strips and threads.

    Parameters
    ----------
    kernel : str
        Name of the kernel, a key of `lowering.kernels.KERNELS`.
    task, blocking : Task, Blocking
        Planes and windows of the pass, and the blocking of the kernel.
    sources : sequence of tuple of int
        For each input plane of an output plane, its tap along each outer axis.
    source_tables : sequence of OuterAxis
        Outer axes that exist only in the input (stacked intermediates); their taps come last in `sources`.
    program : TapTables
        Tables of the taps in a plane.
    origins : tuple of int
        Element offsets of position 0 in the flat input and output.
    dtype_in, dtype_out, compute : numpy.dtype
        Array types (not storage types), and float32 or float64.
    constants : (sources, 1 + period) array
        Divisor and boundary value of each source.
    cast : str
        "truncate" or "saturate".
    workers : int or None
        Requested number of threads.
    views : int, optional
        Input mode: values, validity or both (`cpu.kernels.nan_aware`).
    normal : sequence of float, optional
        For NaN-aware convolutions: sum of the weights, least valid share of it, rounding of the share.
    """
    outer = task.planes.outer
    tables = [outer_table(axis) for axis in outer]
    tables.append(OuterAxis(np.array([[origins[0]]]), np.array([origins[1]])))
    tables += source_tables
    outer_taps = np.array([(*taps[: len(outer)], 0, *taps[len(outer) :]) for taps in sources], np.int64)
    request = PassRequest(
        task, blocking, program, storage_of(dtype_in), storage_of(dtype_out, cast), compute, views, tables,
        outer_taps, constants, normal, workers,
    )  # fmt: skip
    return BINDERS[kernel](request if kernel == "box" else _with_divided_weights(request))


def _with_divided_weights(p: PassRequest) -> PassRequest:
    """Divide the weights instead of the sums if the divisor is a moderate power of two."""
    divisor = float(p.constants[0, 0])
    mantissa, exponent = math.frexp(divisor)
    if divisor == 1 or mantissa != 0.5 or abs(exponent) > LARGEST_SHIFT:
        return p
    constants = p.constants.copy()
    constants[:, 0] = 1
    return replace(p, program=divided(p.program, divisor), constants=constants)


def _prepare_boxes(p: PassRequest) -> PlanePass:
    """Prepare a pass of `cpu.kernels.plane_driver`, for long boxes as sums of blocks of packed rows."""
    window, item = p.window_rows(STEP_ROWS), p.task.item
    parts = divide(p, item * (window + 2 * STEP_ROWS), STEP_ROWS)
    entries, elements = workspace(p.task, p.program, parts.tile, window, VECTOR_BYTES // item)
    kernels = plane_driver.kernel_addresses(
        p.compute, p.storage_in, p.storage_out, view=p.views, share=p.program.share_term > 0
    )
    return finish(
        p, kernels, p.program, parts, entries, elements, edges=np.zeros(0, np.int64), constants=p.constants
    )


def _prepare_dense(p: PassRequest) -> PlanePass:
    """Prepare a pass of `cpu.kernels.dense`, for weights without structure."""
    task, height = p.task, p.blocking.height
    item, item_in, along = task.item, p.storage_in.dtype.itemsize, task.planes.columns
    ends = None if p.blocking.packed else dense_ends(task)
    packed = ends is None or p.missing or task.down.boundary == Boundary.CONSTANT
    window = p.window_rows(STEP_ROWS)
    spare = 0 if ends else RING_STEPS * STEP_ROWS
    kept = item * (window + 2 * STEP_ROWS) if packed else item_in * window
    parts = divide(p, kept + item * spare * task.sources, height)
    entries, elements = dense_workspace(
        task, parts.tile, window // task.sources + spare, VECTOR_BYTES // item, ends, stored=p.stored
    )
    program = fold_columns(p.program, task.span) if p.blocking.folded else p.program
    large = task.count * task.planes.rows.size_in * along.size_in * task.inner * item_in >= FETCH_BYTES
    entries |= {
        g.STRIPE_ROWS: height, g.FETCHED: item_in if large and along.stride_in == task.inner else 0,
        g.FOLD: program.fold, g.DIRECT: int(ends is not None),
    }  # fmt: skip
    kernels = dense.kernel_addresses(
        p.compute, p.storage_in, p.storage_out, stored=p.stored, folded=program.fold != 0,
        taps=p.blocking.written_out, height=height,
    )  # fmt: skip
    edges = ends.table if ends else np.zeros(0, np.int64)
    return finish(p, kernels, program, parts, entries, elements, edges=edges, constants=p.constants)


BINDERS: dict[str, Callable[[PassRequest], PlanePass]] = {
    "dense": _prepare_dense,
    "dense sums": prepare_separable,
    "box": _prepare_boxes,
    "separable": prepare_separable,
}
"""Name of a kernel -> function that prepares its passes."""
