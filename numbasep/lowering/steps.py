"""Steps of the passes, the units of predicted times: as counts or as seconds per step."""

from __future__ import annotations

from typing import NamedTuple


class Steps(NamedTuple):
    """Numbers of steps of each kind in a filter, or the seconds that each kind takes on one thread."""

    passes: float = 0.0
    """Passes after the first."""
    packed: float = 0.0
    """Numbers copied to packed rows, which extend beyond the edges."""
    converted: float = 0.0
    """Packed numbers that are converted to the compute dtype."""
    widened: float = 0.0
    """Numbers converted to the compute dtype each time that sums read them, without packing."""
    stored: float = 0.0
    """Numbers of output stored by passes with packed rows."""
    rounded: float = 0.0
    """Numbers of output converted from the compute dtype."""
    apart: float = 0.0
    """Numbers packed or stored whose columns are not adjacent."""
    rows: float = 0.0
    """Rows packed or stored."""
    edges: float = 0.0
    """Packed columns beyond the edges."""
    far: float = 0.0
    """Bytes of intermediates, and of rows read again, that do not stay in the second-level cache."""
    calls: float = 0.0
    """Calls for one term on one block of packed rows."""
    column_taps: float = 0.0
    """Multiply-adds along columns of packed rows."""
    runs: float = 0.0
    """Runs of such taps."""
    line_taps: float = 0.0
    """Multiply-adds along packed rows, for few taps."""
    squares: float = 0.0
    """Numbers transposed and transposed back, for more taps along packed rows."""
    square_taps: float = 0.0
    """Multiply-adds on transposed numbers."""
    terms: float = 0.0
    """Numbers of a term added to the sum of the earlier terms, in packed rows."""
    row_boxes: float = 0.0
    """Sums of any number of equal taps along columns."""
    column_boxes: float = 0.0
    """Sums of any number of equal taps along rows."""
    dense_blocks: float = 0.0
    """Blocks of rows of dense kernels."""
    dense_rows: float = 0.0
    """Rows that dense kernels read without packing."""
    dense_ends: float = 0.0
    """Columns beyond the ends of these rows."""
    dense: float = 0.0
    """Numbers of output of dense kernels."""
    dense_taps: float = 0.0
    """Multiply-adds of dense kernels."""
    dense_runs: float = 0.0
    """Runs of their taps along columns."""
    written_runs: float = 0.0
    """Runs of taps whose loop is unrolled."""
    folded_taps: float = 0.0
    """Multiply-adds of sums of mirrored columns."""
    folded_runs: float = 0.0
    """Runs of taps of sums of mirrored columns."""
    crowded: float = 0.0
    """Numbers read from the second-level cache because too many rows map to one set of the first."""
    blocks: float = 0.0
    """Blocks of rows and segments of columns that are summed without packing."""
    block_rows: float = 0.0
    """Rows read by these blocks."""
    sourced: float = 0.0
    """Numbers read by these blocks from several intermediates."""
    ends: float = 0.0
    """Columns beyond the ends of these rows, for each row buffer."""
    vertical: float = 0.0
    """Numbers of vertical sums."""
    vertical_taps: float = 0.0
    """Multiply-adds of vertical sums."""
    vertical_runs: float = 0.0
    """Runs of their taps after the first."""
    horizontal: float = 0.0
    """Numbers of output of horizontal sums, along rows of vertical sums."""
    horizontal_taps: float = 0.0
    """Multiply-adds of horizontal sums."""
    horizontal_terms: float = 0.0
    """Numbers of a term added to the sum of the earlier terms, in horizontal sums."""
    short: float = 0.0
    """Numbers of output of short rows."""
    slots: float = 0.0
    """Multiply-adds of short rows."""
    flat_rows: float = 0.0
    """Rows added to sums of flat kernels in registers."""
    flat_columns: float = 0.0
    """Shifted sums in registers added to others."""
    flat_loads: float = 0.0
    """Rows added to sums of flat kernels in row buffers, and sums stored."""
    flat_shifted: float = 0.0
    """Shifted sums from row buffers added to others."""


def total(*parts: Steps) -> Steps:
    """Return the total steps of several passes."""
    return Steps._make(map(sum, zip(*parts, strict=True)))
