"""Indices into the table of integers that describes a convolution over channels.

`numbasep.nn.execute` fills the table, the drivers and producers read it, and nothing checks it. Sizes are in
elements. BEFORE is the padding before an axis, DILATION the distance of adjacent taps in samples.
"""

(
    BATCH,
    PLANES,  # input channels
    HEIGHT,
    WIDTH,
    CHANNELS,  # elements from one pixel to the next; channels first: in the transposed band
    OUT_HEIGHT,
    OUT_WIDTH,
    OUT_CHANNELS,
    MULTIPLIER,
    TAPS_ROWS,
    TAPS_COLUMNS,
    STRIDE_ROWS,
    STRIDE_COLUMNS,
    DILATION_ROWS,
    DILATION_COLUMNS,
    BEFORE_ROWS,
    BEFORE_COLUMNS,
    WEIGHT_ROW,  # elements from the weights of one tap to those of the next: channels, rounded up to vectors
    WEIGHTS,  # elements of the depthwise filters per MULTIPLIER group
    PRODUCTS,  # terms of the sum over channels per MULTIPLIER group
    TILES,  # number of parts of the output pixels
    SPLITS,  # number of parts of the output channels of a tile
    WORKERS,
    BATCHES,  # number of parts of a worker's tasks; Python runs between them
    SCRATCH,  # elements of scratch memory per worker
    FACTOR_ROW,  # row stride of the left factor in scratch memory
    SPARE,  # elements of scratch memory for the producer, after the left factor
    PREFETCH,  # image rows from the first tap of an output row to the rows to prefetch; 0: no prefetch
    STREAM_DEPTHWISE,  # whether the depthwise stage uses non-temporal stores
    STREAM_PRODUCT,  # whether the matrix product does, which must then write each sum once
    SIZE,
) = range(31)
