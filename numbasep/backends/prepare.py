"""What a pass is prepared to: which kernels run it, on which rows, in which tiles and tables; nothing runs here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..boundary import Boundary
from ..kernels import dense, plane
from ..kernels import geometry as g
from ..kernels.simd import STEP_ROWS, VECTOR_BYTES
from ..kernels.valid import AS_STORED
from ..lowering.layout import Planes, plain_window
from .edges import dense_ends
from .outer import OuterAxis, outer_table
from .planes import PlanePass, storage_of
from .program import Program, divided
from .request import FETCH_BYTES, PassRequest, divide, finish
from .separable import prepare_separable
from .tiles import dense_workspace, workspace

Array = npt.NDArray[Any]

LARGEST_SHIFT = 32  # exponent of a divisor up to which no weight leaves the range of its type
RING_STEPS = 3  # further steps of packed rows of a dense pass, before rows are moved to the start


def prepare_pass(
    planes: Planes,
    sources: Sequence[tuple[int, ...]],
    source_tables: Sequence[OuterAxis],
    program: Program,
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
    read_next: bool = False,
) -> PlanePass:
    """Choose tiles, strips and threads for one program on one layout.

    Parameters
    ----------
    planes : Planes
        Roles of the axes.
    sources : sequence of tuple of int
        For each input plane of an output plane, its tap along every outer axis.
    source_tables : sequence of OuterAxis
        Outer axes that exist only in the input (stacked intermediates); their taps come last in `sources`.
    program : Program
        What to compute in a plane.
    origins : tuple of int
        Element offsets of position 0 in the flat input and output.
    dtype_in, dtype_out, compute : numpy.dtype
        Array types (not storage types), and float32 or float64.
    constants : (sources, 1 + period) array
        Divisor and boundary value of each source.
    cast : str
        "truncate" or "saturate".
    workers : int or None
        Threads wished for.
    views : int, optional
        How the input is seen (`kernels.valid`).
    normal : sequence of float, optional
        What a normalised convolution divides by: sum of the weights, least share that counts, rounding of the share.
    read_next : bool, optional
        Whether the output is an intermediate that the next pass reads.
    """
    tables = [outer_table(axis) for axis in planes.outer]
    tables.append(OuterAxis(np.array([[origins[0]]]), np.array([origins[1]])))
    tables += source_tables
    outer_taps = np.array(
        [(*taps[: len(planes.outer)], 0, *taps[len(planes.outer) :]) for taps in sources], np.int64
    )
    request = PassRequest(
        planes, program, math.prod(table.offsets_out.size for table in tables), len(sources),
        storage_of(dtype_in), storage_of(dtype_out, cast), compute, views, tables, outer_taps, constants, normal,
        workers, read_next,
    )  # fmt: skip
    request = _with_divided_weights(request)
    if request.dense:
        return _prepare_dense(request)
    return _prepare_boxes(request) if request.boxed else prepare_separable(request)


def _with_divided_weights(p: PassRequest) -> PassRequest:
    """The request with a divisor that is a moderate power of two in the weights, where weights are multiplied by."""
    divisor = float(p.constants[0, 0])
    mantissa, exponent = math.frexp(divisor)
    if divisor == 1 or mantissa != 0.5 or abs(exponent) > LARGEST_SHIFT or p.boxed:
        return p
    constants = p.constants.copy()
    constants[:, 0] = 1
    return replace(p, program=divided(p.program, divisor), constants=constants)


def _prepare_boxes(p: PassRequest) -> PlanePass:
    """A pass of `kernels.plane`: long boxes as sums of blocks of packed rows."""
    window, lanes = p.window_rows(STEP_ROWS), VECTOR_BYTES // p.compute.itemsize
    parts = divide(p, p.compute.itemsize * (window + 2 * STEP_ROWS), STEP_ROWS)
    entries, elements = workspace(p.planes, p.program, parts.tile, window, p.sources, lanes)
    kernels = plane.kernel_addresses(
        p.compute, p.storage_in, p.storage_out, view=p.views, share=p.program.share_term > 0
    )
    return finish(
        p, kernels, p.program, parts, entries, elements, edges=np.zeros(0, np.int64), constants=p.constants
    )


def _prepare_dense(p: PassRequest) -> PlanePass:
    """A pass of `kernels.dense`: weights without structure."""
    down, along, inner = p.planes.rows, p.planes.columns, p.planes.inner
    item, item_in, lanes = p.compute.itemsize, p.storage_in.dtype.itemsize, VECTOR_BYTES // p.compute.itemsize
    ends = dense_ends(p.planes, p.storage_in, p.compute, p.height)
    packed = ends is None or p.missing or plain_window(down).boundary == Boundary.CONSTANT
    window = p.window_rows(STEP_ROWS)
    spare = 0 if ends else RING_STEPS * STEP_ROWS
    kept = item * (window + 2 * STEP_ROWS) if packed else item_in * window
    parts = divide(p, kept + item * spare * p.sources, p.height)
    entries, elements = dense_workspace(
        p.planes, parts.tile, window // p.sources + spare, p.sources, lanes, ends, stored=p.stored
    )
    large = p.count * down.size_in * along.size_in * inner * item_in >= FETCH_BYTES
    entries |= {
        g.STRIPE_ROWS: p.height, g.FETCHED: item_in if large and along.stride_in == inner else 0,
        g.FOLD: p.executed.fold, g.DIRECT: int(ends is not None),
    }  # fmt: skip
    kernels = dense.kernel_addresses(
        p.compute, p.storage_in, p.storage_out, stored=p.stored, folded=p.executed.fold != 0, taps=p.written_out,
        height=p.height,
    )  # fmt: skip
    edges = ends.table if ends else np.zeros(0, np.int64)
    return finish(p, kernels, p.executed, parts, entries, elements, edges=edges, constants=p.constants)
