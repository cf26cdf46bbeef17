"""Joins two passes over a volume, along an outer axis and along rows and columns, to run piece by piece.

A piece is a strip of rows of a few planes.  Its sums along the outer axis stay in a second-level cache until the second
pass reads them.  Plain integers only.
"""

from __future__ import annotations

from dataclasses import replace

from ..arguments.boundary import Boundary
from .access import row_access
from .counts import is_shared
from .spec import PassSpec
from .steps import Steps, total
from .target import Target

PIECE_BYTES = 512 << 10  # sums along the outer axis of a piece: half of a second-level cache
LEAST_STRIP, WHOLE = 16, 8  # least number of rows of a strip, and a divisor of that number


def join(front: PassSpec, last: PassSpec, target: Target) -> PassSpec | None:
    """Return one pass that replaces both, or None if they must run, or are faster, one after the other.

    Parameters
    ----------
    front : PassSpec
        Pass along an outer axis.
    last : PassSpec
        Pass along rows and columns, which reads the output of `front` and nothing else.
    target : Target
        Processor.
    """
    one, other = front.task, last.task
    assert one is not None
    assert other is not None
    if {front.kernel, last.kernel} != {"separable"} or one.masked or len(front.members) > 1:
        return None
    if one.strided or other.strided or one.sources > 1 or other.sources > 1:
        return None
    front_rows, last_rows = row_access(one, target), row_access(other, target)
    if not front_rows.dense or front_rows.packed or front_rows.ends or front_rows.beyond:
        return None
    if last_rows.packed or last_rows.single or last_rows.ends or last.cut is not None:
        return None
    rows, columns = other.planes.rows, other.planes.columns
    width, plane = columns.size_in * other.inner, rows.size_in * columns.size_in * other.inner
    if one.inner > 1 or columns.stride_in != other.inner or rows.stride_in != width or one.width % plane:
        return None
    outer = [axis.stride_in for axis in other.planes.outer]
    if outer != sorted(outer, reverse=True):  # planes are counted in the order of the intermediate
        return None
    planes = min(target.block_rows, one.rows)
    strip = strip_rows(rows.size_out, other.down.taps - 1, width * one.item, planes)
    if not strip or (other.down.boundary == Boundary.WRAP and strip < rows.size_out):
        return None
    again = min(strip + other.down.taps - 1, rows.size_in) * -(-rows.size_out // strip) / rows.size_in
    counted = Steps._make(count * again for count in front.steps._replace(far=0.0))
    done = again * front.operations + last.operations
    memory = front.memory + last.memory
    shared = is_shared(other.numbers, done / max(other.numbers, 1))
    return replace(
        last, axes=(*front.axes, *last.axes), steps=total(counted, last.steps), operations=done, memory=memory,
        bytes=memory + 2 * one.numbers * one.item, blocking=replace(last.blocking, shared=shared), front=front,
        strip=strip,
    )  # fmt: skip


def strip_rows(rows: int, halo: int, row: int, planes: int) -> int:
    """Return the rows of a strip of `planes` planes, for rows of `row` bytes; 0 if it is short relative to the halo.

    Examples
    --------
    >>> strip_rows(256, 8, 1024, 8), strip_rows(160, 8, 640, 8), strip_rows(2048, 8, 8192, 8)
    (56, 80, 0)
    """
    most = PIECE_BYTES // (planes * row) - halo
    if rows <= most:
        return rows
    pieces = -(-rows // max(most // WHOLE * WHOLE, 1))
    strip = -(-rows // pieces // WHOLE) * WHOLE
    return strip if strip >= max(LEAST_STRIP, 2 * halo) else 0
