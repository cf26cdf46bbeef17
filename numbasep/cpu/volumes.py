"""Joins the pass along an outer axis of a volume and the pass along rows and columns (`cpu.kernels.volumes`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba.core import config

from .intrinsics.vectors import LINE_BYTES, VECTOR_BYTES
from .kernels import table_entries as g
from .kernels.vertical import ROWS
from .kernels.volumes import volume_tile
from .pass_request import BATCH_WORK
from .plane_pass import PlanePass
from .tiles import round_up, skew


def join(front: PlanePass, back: PlanePass, strip: int) -> PlanePass:
    """Return one pass that computes both, `strip` rows of ROWS planes at a time.

    Parameters
    ----------
    front : PlanePass
        Pass along an outer axis.  Each of its rows is a whole number of planes of `back`.
    back : PlanePass
        Pass along the rows and columns of the output of `front`, in which planes are contiguous.
    strip : int
        Number of rows of a task.
    """
    sizes, geometry = front.geometry.copy(), back.geometry.copy()
    item, lanes = back.constants.itemsize, VECTOR_BYTES // back.constants.itemsize
    width, rows = int(geometry[g.ROW_STRIDE_IN]), int(geometry[g.ROWS_IN])
    read = min(rows, strip + int(geometry[g.ROW_TAPS]) - 1)
    pitch = skew(round_up(read * width + lanes, lanes), lanes)
    together, strips = int(sizes[g.COLUMNS_OUT]) // (rows * width), -(-int(geometry[g.ROWS_OUT]) // strip)
    geometry[g.BETWEEN], geometry[g.PLANES] = back.work_bytes // item, together
    geometry[g.STRIP], geometry[g.STRIPS] = strip, strips
    volumes = front.tasks // int(sizes[g.STRIPS] * sizes[g.TILES])
    sizes[g.PLANES] = sizes[g.ROW_STRIDE_OUT] // (rows * width)  # planes of `back` from one row to the next
    sizes[g.ROW_STRIDE_OUT] = pitch
    tasks = volumes * together * strips * -(-int(sizes[g.ROWS_OUT]) // ROWS)
    work = ROWS * read * width * (front.program.operations + back.program.operations + 8)
    kernels = [*back.kernels[1], *front.kernels[1]]
    return replace(
        back,
        kernels=(
            volume_tile(back.constants.dtype),
            kernels if config.DISABLE_JIT else np.array(kernels, np.int64),
        ),
        geometry=geometry,
        constants=np.concatenate([back.constants, front.constants]),
        tasks=tasks,
        batch=max(front.threads, back.threads) * max(1, BATCH_WORK // work),
        threads=min(max(front.threads, back.threads), tasks) or 1,
        small=False,
        work_bytes=back.work_bytes + round_up((ROWS * pitch + 4 * lanes) * item, LINE_BYTES),
        front=replace(front, geometry=sizes),
        spare=[],
    )
