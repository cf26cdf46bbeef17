"""Indices into the tables of integers that drivers read.

A plane spans the rows and columns of the canonical array ``(outer axes..., rows, columns, inner)``.  Adjacent columns
are `inner` elements apart, so channels-last colour (inner = channels) and complex data (inner = 2) are ordinary planes.
All offsets and strides are in elements.
"""

# geometry[...]
(
    ROWS_IN,  # input rows of a plane
    ROWS_OUT,  # output rows of a plane
    ROW_FIRST,  # input row under the first tap of output row 0
    ROW_TAPS,  # vertical taps
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
    INNER,  # elements per column
    STREAM,  # bytes per output element if non-temporal stores are used; otherwise 0
    STRIP,  # rows per task
    STRIPS,  # tasks along the rows of a plane
    TILE,  # columns per task
    TILES,  # tasks along the columns of a plane
    SEGMENT,  # columns that are computed and stored at a time, so that sums stay in the first-level cache
    SOURCES,  # input planes per output plane
    OUTER_AXES,
    RING,  # offset of the packed rows in the workspace
    RING_STRIDE,
    SCRATCH,  # offset of a step's rows between the two passes
    SCRATCH_STRIDE,
    TURNED,  # offset of the transpose of a step's rows
    RESULT,  # offset of a step's finished rows
    RESULT_STRIDE,
    TABLES,  # length of the row table
    GATHER,  # columns of a strided row that are gathered at once
    DIRECT,  # 1: rows inside the array are read there (`dense`) instead of packed
    STRIPE_ROWS,  # output rows that are computed at a time
    SUMS,  # offset of the row buffers of vertical sums
    ENDS,  # offset of vertical sums of columns at the other edge (`separable`) or of copied ends of rows (`dense`)
    LEFT_ENDS,  # packed columns at the left edge
    RIGHT_ENDS,  # packed columns at the right edge
    EDGE_LAST,  # index in the table of edges of the first column right of the array
    BLOCKS,  # sums of STEP_ROWS packed rows per source, for vertical boxes
    BLOCK_SUMS,  # offset of these sums in the workspace
    TURNED_BLOCKS,  # offset of such sums of the transpose
    VIEWS,  # input mode (`nan_aware`)
    SHARE_TERM,  # first term of the sum of valid weights, by which results are divided; 0: there is none
    SHARE,  # offset of the rows of these sums
    RING_ROWS,  # capacity of packed rows per source in passes of dense kernels
    FETCHED,  # bytes per element of prefetched rows; 0: no prefetch
    KEPT,  # offset of the last vectors of rows, which are partly to be stored (`nontemporal`)
    FOLD,  # 1 or -1: mirror images of columns are added or subtracted before they are multiplied by taps
    ENDS_STRIDE,  # elements per row at ENDS
    SUMS_STRIDE,  # row stride of the buffers at SUMS
    TERM_STRIDE,  # elements from the buffers of one term to those of the next
    LAST_BLOCK,  # first element of the last block of vectors that is inside a row
    PACKED,  # horizontal taps for which packed rows are extended; 0: rows are not packed
    CONSTANT_ROWS,  # offset of rows of the boundary value, one per source; 0: there are none
    INSIDE_FIRST,  # first output column whose window is inside the array, for DENSE
    INSIDE_LAST,  # end of these columns
    ROW_STEP,  # vertical stride
    COLUMN_STEP,  # horizontal stride
    WINDOW,  # entries of the row table per source for the windows of a block of rows, phase by phase
    PHASE_ROWS,  # entries per phase
    RING_WINDOW,  # capacity of packed rows per source
    SPLIT_TAPS,  # horizontal taps before the split into phases
    PHASE_STRIDE,  # elements from one phase of a row to the next
    UNSPLIT,  # offset of rows before the split into phases
    PLANES,  # planes along the last outer axis that a task filters in sequence, reusing what they share; or of its rows
    PLANES_OUT,  # output planes along that axis
    BETWEEN,  # element of the workspace where planes stand between the passes along an outer axis and along rows
    FINISHED,  # element where rows of a stripe are gathered before whole lines of them are written; 0: they are not
    FINISHED_BYTES,  # of such an element
    LEVELS,  # rows of sums of 2, 4, ... neighbours that are kept with each packed row (`flat_bytes`)
    LEVEL_STRIDE,  # from each such row to the next
    GEOMETRY,  # number of entries
) = range(73)

# kernels[...]: addresses of the kernels that drivers call; 0 for those that a pass does not call
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
    VIEW,
    NORMALISE,
    STEP,  # all terms of a program on packed rows
    LIST,  # list of the offsets of these rows
    BLOCK_SUMS_OF,  # sums of newly completed blocks of them
    SWEEP,  # unrolled inner loop of STRIPE (`dense_unrolled`)
    VERTICAL,
    VERTICAL_SHARE,
    EDGE_ROW,  # VERTICAL for single rows
    EDGE_ROW_SHARE,
    FILL,
    HORIZONTAL,
    SEGMENT_PASS,  # vertical and horizontal pass over a segment
    STRIP_PASS,  # SEGMENT_PASS over all segments of a strip of rows
    DENSE,  # vertical sums written to the output: dense weights, or vertical taps only
    DENSE_PACKED,  # the same from packed rows
    DENSE_SEGMENT,  # both over a segment
    PACK_WINDOW,  # packs the rows of a block's windows to the ring
    SPLIT,  # splits the columns of vertical sums by phase
    SPLIT_PACKED,  # splits the columns of packed rows by phase
    WRITE,  # writes gathered rows to the output
    KERNELS,
) = range(31)

# Tables of a pass in one block (`pass_arguments`); those from WORK on have a row per thread
(
    SIZES,  # geometry[...]
    OUTER,
    OUTER_SOURCES,  # (sources, outer axes): tap of each source along each outer axis
    TERMS,
    RUNS,
    WEIGHTS,
    SHIFTS,
    LINES_OF_TAPS,
    LINE_WEIGHTS,
    EDGES,
    NORMAL,
    OUTSIDE_SUMS,  # (terms, period): vertical sums beyond a constant boundary
    WORK,
    ROW_TABLES,
    SOURCE_TABLES,
    RAW_IN,
    RAW_OUT,
) = range(17)

# terms[term, ...]: a separable term of a program, or a dense one if it has no horizontal taps.  ROW_BOX and COLUMN_BOX
# mean that its single run, or its horizontal taps, are many equal adjacent weights (`boxes`).  For kernels that do not
# pack rows there are always both: runs start at FIRST_RUN, horizontal taps are lines[FIRST_LINE:LAST_LINE]
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

# runs[run, ...]: vertically adjacent taps; lines[line, ...]: horizontally adjacent taps, without RUN_ROW
# RUN_MIRROR: in folded programs, elements to the column that has the same taps or their negatives
RUN_ROW, RUN_SHIFT, RUN_LENGTH, RUN_WEIGHTS, RUN_MIRROR, RUN = range(6)

# outer[OUTER_ENTRIES * axis + ...]: sizes and offsets of the tables of an outer axis in the same array
OUTER_SIZE, OUTER_TAPS, OUTER_IN, OUTER_OUT, OUTER_ENTRIES = range(5)

OUTSIDE_PLANE = -(1 << 62)  # offset of an input plane beyond a constant boundary
