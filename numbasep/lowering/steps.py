"""Steps that passes are made of, as counts or as seconds."""

from __future__ import annotations

from typing import NamedTuple


class Steps(NamedTuple):
    """The steps that filters are made of: how many a filter takes, or how many seconds each takes on one thread."""

    passes: float = 0.0
    """Passes beyond the first."""
    packed: float = 0.0
    """Numbers read into rows that extend beyond the edges."""
    converted: float = 0.0
    """Numbers packed that are not of the type that sums are taken in."""
    widened: float = 0.0
    """Such numbers that sums are taken of as they are read."""
    stored: float = 0.0
    """Numbers of output, of passes that pack."""
    rounded: float = 0.0
    """Numbers of output that are not of that type."""
    apart: float = 0.0
    """Numbers packed or stored whose columns lie apart."""
    rows: float = 0.0
    """Rows packed or stored."""
    edges: float = 0.0
    """Columns beyond the edges of these."""
    far: float = 0.0
    """Bytes of intermediates, and of rows that are read again, on their way from beyond the second-level cache."""
    calls: float = 0.0
    """Kernels called for a term on a step of rows."""
    column_taps: float = 0.0
    """Multiply-adds down columns of packed rows."""
    runs: float = 0.0
    """Runs of such taps that begin."""
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
    dense_blocks: float = 0.0
    """Blocks of rows of kernels without structure."""
    dense_rows: float = 0.0
    """Rows that these read where they are."""
    dense_ends: float = 0.0
    """Columns beyond the ends of such rows."""
    dense: float = 0.0
    """Numbers of output of kernels without structure."""
    dense_taps: float = 0.0
    """Their multiply-adds."""
    dense_runs: float = 0.0
    """Runs of their taps down columns that begin."""
    written_runs: float = 0.0
    """Such runs whose loop is written out."""
    folded_taps: float = 0.0
    """Multiply-adds of sums of two columns."""
    folded_runs: float = 0.0
    """Runs of these that begin."""
    crowded: float = 0.0
    """Numbers of rows that are read from the second-level cache, as more of these meet in a set of the first."""
    blocks: float = 0.0
    """Blocks of rows that a segment of columns is summed for, straight from the array."""
    block_rows: float = 0.0
    """Rows under these."""
    sourced: float = 0.0
    """Numbers of rows of several intermediates under these."""
    ends: float = 0.0
    """Columns beyond the ends of blocks."""
    vertical: float = 0.0
    """Numbers of the vertical sums of these."""
    vertical_taps: float = 0.0
    """Multiply-adds of these sums."""
    vertical_runs: float = 0.0
    """Runs of their taps beyond the first."""
    horizontal: float = 0.0
    """Numbers of output that are summed along rows of vertical sums."""
    horizontal_taps: float = 0.0
    """Multiply-adds of these."""
    horizontal_terms: float = 0.0
    """Numbers of a term that are added to the sum of those before."""
    short: float = 0.0
    """Numbers of output of short rows."""
    slots: float = 0.0
    """Multiply-adds of these."""
    flat_rows: float = 0.0
    """Rows added to sums of flat kernels in registers."""
    flat_columns: float = 0.0
    """Shifted sums in registers that are added to others."""
    flat_loads: float = 0.0
    """Rows added to sums of flat kernels in row buffers, and sums stored."""
    flat_shifted: float = 0.0
    """Shifted sums from row buffers that are added to others."""


def total(*parts: Steps) -> Steps:
    """Steps of several passes together."""
    return Steps._make(map(sum, zip(*parts, strict=True)))
