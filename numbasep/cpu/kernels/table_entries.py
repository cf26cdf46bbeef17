"""Positions of the entries in the integer tables that drivers read.

A plane is the pair (rows, columns) of the canonical array ``(outer axes..., rows, columns, inner)``: columns are
filtered with a step of `inner` elements, so channels-last colour (inner = channels) and complex data (inner = 2)
are ordinary planes.  All distances count elements, not bytes.
"""

# geometry[...]
(
    ROWS_IN,  # input rows of a plane
    ROWS_OUT,  # output rows of a plane
    ROW_FIRST,  # input row under the first row tap of output row 0
    ROW_TAPS,  # rows a window spans
    ROW_BOUNDARY,
    ROW_STRIDE_IN,
    ROW_STRIDE_OUT,
    COLUMNS_IN,
    COLUMNS_OUT,
    COLUMN_FIRST,
    COLUMN_TAPS,
    COLUMN_BOUNDARY,
    COLUMN_STRIDE_IN,
    COLUMN_STRIDE_OUT,
    INNER,  # adjacent elements that make up one column
    STREAM,  # 1: write past the caches
    STRIP,  # rows of a task
    STRIPS,  # tasks along the rows of a plane
    TILE,  # columns of a task
    TILES,  # tasks along the columns of a plane
    SEGMENT,  # columns that are computed and stored at a time: their sums stay in the first-level cache
    SOURCES,  # input planes that one output plane reads
    OUTER_AXES,
    RING,  # where the packed rows start in the workspace
    RING_STRIDE,
    SCRATCH,  # where the step's rows between the two passes starts
    SCRATCH_STRIDE,
    TURNED,  # where the transpose of a step's rows starts
    RESULT,  # where the step's finished rows starts
    RESULT_STRIDE,
    TABLES,  # length of the row table
    GATHER,  # columns of a strided row that are gathered at once
    DIRECT,  # 1: rows that lie in the array are filtered from there (`dense`), not packed
    STRIPE_ROWS,  # as many output rows at a time
    SUMS,  # where a stripe's sums down the rows stand in the workspace, one vector of columns at a time
    ENDS,  # where the turned sums of a stripe's first and last columns stand
    LEFT_ENDS,  # which ends the columns left of the array come from: 1 the first, 2 the last, 3 both
    RIGHT_ENDS,  # and those right of it
    EDGE_LAST,  # where the columns right of the array begin in the table of edges
    BLOCKS,  # sums of STEP_ROWS packed rows that each source keeps at hand, for boxes down the rows
    BLOCK_SUMS,  # where they start in the workspace
    TURNED_BLOCKS,  # where such sums of the transpose start
    VIEWS,  # how the input is seen (`valid`)
    SHARE_TERM,  # first term of the share that finished sums are divided by; 0: there is none
    SHARE,  # where the rows of that share start
    RING_ROWS,  # packed rows of each source that there is room for, in passes of dense kernels
    FETCHED,  # bytes of an element of the rows that a dense pass fetches ahead; 0: none are
    KEPT,  # where the last vectors of a stripe's rows stand, whose rest is still to be written (`streams`)
    FOLD,  # 1 or -1: columns are added to their mirror images, or subtracted from them, before taps weigh them
    ENDS_STRIDE,  # elements at ENDS for what a row's window needs there of it and beyond its edges
    SUMS_STRIDE,  # elements from one row buffer at SUMS to the next
    TERM_STRIDE,  # and from those of one term to those of the next
    LAST_BLOCK,  # element of a row where the last block of vectors begins that lies in it
    PACKED,  # 0, or taps along the columns that packed rows are extended for
    CONSTANT_ROWS,  # where rows of the boundary value stand, one for each source; 0: there are none
    INSIDE_FIRST,  # first output column whose window lies in the array, for DENSE
    INSIDE_LAST,  # first one behind those
    ROW_STEP,  # input rows from one output row to the next
    COLUMN_STEP,  # and columns
    WINDOW,  # entries of the row table for the windows of a block of rows in one source, phase by phase
    PHASE_ROWS,  # entries of each phase
    RING_WINDOW,  # packed rows of each source that there is room for
    SPLIT_TAPS,  # taps along the columns, whose phases are taken apart
    PHASE_STRIDE,  # elements from one phase of a row to the next
    UNSPLIT,  # where rows stand before their phases are taken apart
    PLANES,  # of the last outer axis that a task filters in turn, keeping what they share; of a row of an outer axis
    PLANES_OUT,  # output planes along that axis
    BETWEEN,  # element of the workspace where planes stand between the passes along an outer axis and along rows
    FINISHED,  # element where rows of a stripe are gathered before whole lines of them are written; 0: they are not
    FINISHED_BYTES,  # of such an element
    GEOMETRY,  # number of entries
) = range(71)

# kernels[...]: addresses of what the drivers call; 0 where a pass never does.  Behind STRIPE, the one for shares
(
    DOWN,
    LINES,
    SQUARE,
    BOX_DOWN,
    BOX_ALONG,
    BLOCK_SUM,
    PACK,
    STORE,
    STRIPE,
    STRIPE_SHARE,
    VIEW,
    NORMALISE,
    STEP,  # all terms of a program on packed rows
    LIST,  # where these stand
    BLOCK_SUMS_OF,  # all sums of blocks of them that are due
    SWEEP,  # what STRIPE leaves to it (`sweeps`)
    VERTICAL,
    VERTICAL_SHARE,
    EDGE_ROW,  # the same for single rows
    EDGE_ROW_SHARE,
    FILL,
    HORIZONTAL,
    SEGMENT_PASS,  # both passes over a segment
    STRIP_PASS,  # over all segments of a strip of rows
    DENSE,  # vertical sums straight to the output: weights without structure, or taps down the rows only
    DENSE_PACKED,  # the same from packed rows
    DENSE_SEGMENT,  # these over a segment
    PACK_WINDOW,  # the rows of a block's window to the ring of packed rows
    SPLIT,  # the columns of vertical sums by phase
    SPLIT_PACKED,  # those of packed rows
    WRITE,  # gathered rows to the output
    KERNELS,
) = range(32)

# Tables of a pass in one block (`tables`); behind NORMAL, one row for each thread
(
    SIZES,  # geometry[...]
    OUTER,
    OUTER_SOURCES,  # (sources, outer axes): which tap of each outer axis a source is
    TERMS,
    RUNS,
    WEIGHTS,
    SHIFTS,
    LINES_OF_TAPS,
    LINE_WEIGHTS,
    EDGES,
    NORMAL,
    OUTSIDE_SUMS,  # (terms, period): what the vertical pass sums up beyond a constant boundary
    WORK,
    ROW_TABLES,
    SOURCE_TABLES,
    RAW_IN,
    RAW_OUT,
) = range(17)

# terms[term, ...]: one separable (or dense, when it has no taps along columns) term of a program; ROW_BOX and
# COLUMN_BOX say that its one run, or its taps along rows, are many equal weights side by side (`boxes`).  Kernels
# that filter directly always have some: runs start at FIRST_RUN, taps along rows are lines[FIRST_LINE:LAST_LINE]
(
    RUN_START,
    RUN_STOP,
    TAP_START,
    TAP_STOP,
    SOURCE_ROW,
    ROW_BOX,
    COLUMN_BOX,
    FIRST_RUN,
    FIRST_LINE,
    LAST_LINE,
    TERM,
) = range(11)

# runs[run, ...]: consecutive taps down one column of the window; lines[line, ...]: along a row, without RUN_ROW
# RUN_MIRROR: elements from there to the column that has the same taps, or their negatives, in folded programs
RUN_ROW, RUN_SHIFT, RUN_LENGTH, RUN_WEIGHTS, RUN_MIRROR, RUN = range(6)

# outer[OUTER_ENTRIES * axis + ...]: where the tables of an outer axis stand in the same array
OUTER_SIZE, OUTER_TAPS, OUTER_IN, OUTER_OUT, OUTER_ENTRIES = range(5)

OUTSIDE_PLANE = -(1 << 62)  # an input plane that lies beyond a constant boundary
