"""Tables of offsets for the axes outside a plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arguments.boundary import OUTSIDE, source_index
from ..lowering.layout import Axis
from .kernels import table_entries as g

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OuterAxis:
    """Tables of element offsets for an axis that is neither the row nor the column axis of planes."""

    offsets_in: npt.NDArray[np.int64]
    """(positions, taps): offsets of the input planes of each output position."""
    offsets_out: npt.NDArray[np.int64]
    """(positions,): offsets of the output planes."""


def outer_table(axis: Axis) -> OuterAxis:
    """Return the offsets of an outer axis, with its boundary resolved."""
    out = np.arange(axis.size_out, dtype=np.int64) * axis.stride_out
    window = axis.window
    if window is None:
        return OuterAxis((np.arange(axis.size_in, dtype=np.int64) * axis.stride_in)[:, None], out)
    positions = [
        source_index(i, axis.size_in, int(window.boundary))
        for i in range(window.first, window.first + window.reach)
    ]
    offsets = np.array([g.OUTSIDE_PLANE if p == OUTSIDE else p * axis.stride_in for p in positions], np.int64)
    return OuterAxis(
        np.lib.stride_tricks.sliding_window_view(offsets, window.taps)[:: window.step].copy(), out
    )


def pack_outer(tables: Sequence[OuterAxis]) -> Integers:
    """Pack the headers and offset tables of the outer axes into an array."""
    header = np.zeros((len(tables), g.OUTER_ENTRIES), np.int64)
    parts: list[Integers] = [header.reshape(-1)]
    at = header.size
    for entry, table in zip(header, tables, strict=True):
        entry[g.OUTER_SIZE], entry[g.OUTER_TAPS] = table.offsets_out.size, table.offsets_in.shape[1]
        entry[g.OUTER_IN], entry[g.OUTER_OUT] = at, at + table.offsets_in.size
        parts += [table.offsets_in.reshape(-1), table.offsets_out]
        at += table.offsets_in.size + table.offsets_out.size
    return np.concatenate(parts)
