"""Steps that passes are made of, as counts or as seconds."""

from __future__ import annotations

from typing import NamedTuple


class Steps(NamedTuple):
    """The steps that filters are made of: how many a filter takes, or how many seconds each takes on one thread."""

    passes: float = 0.0
    """Passes beyond the first."""
    packed: float = 0.0
    """Numbers read into rows that extend beyond the edges."""
    stored: float = 0.0
    """Numbers of output, of passes that pack."""
    converted: float = 0.0
    """Numbers read or stored that are not of the type that sums are taken in."""
    rows: float = 0.0
    """Rows packed or stored."""
    edges: float = 0.0
    """Columns beyond the edges of these."""
    calls: float = 0.0
    """Kernels called for a term on a step of rows."""
    column_taps: float = 0.0
    """Multiply-adds down columns of packed rows."""
    runs: float = 0.0
    """Runs of such taps that begin."""
    dense: float = 0.0
    """Numbers of output of kernels without structure."""
    dense_taps: float = 0.0
    """Their multiply-adds."""
    dense_runs: float = 0.0
    """Runs of their taps down columns that begin."""
    line_taps: float = 0.0
    """Multiply-adds along rows, of few taps."""
    squares: float = 0.0
    """Numbers that are transposed there and back for more taps along rows."""
    square_taps: float = 0.0
    """Multiply-adds of these."""
    terms: float = 0.0
    """Numbers of a term that are added to the sum of those before."""
    row_boxes: float = 0.0
    """Sums of any number of equal taps down columns."""
    column_boxes: float = 0.0
    """Sums of any number of equal taps along rows."""
    blocks: float = 0.0
    """Blocks of rows that a segment of columns is summed for, straight from the array."""
    vertical: float = 0.0
    """Numbers of the vertical sums of these."""
    vertical_taps: float = 0.0
    """Multiply-adds of these sums."""
    horizontal: float = 0.0
    """Numbers of output that are summed along rows of vertical sums."""
    horizontal_taps: float = 0.0
    """Multiply-adds of these."""


def total(*parts: Steps) -> Steps:
    """Steps of several passes together."""
    return Steps._make(map(sum, zip(*parts, strict=True)))
