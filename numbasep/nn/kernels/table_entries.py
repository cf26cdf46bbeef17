"""Positions of the entries in the integer table that describes a convolution over channels.

The table is filled by `numbasep.nn.execute` and read by `depthwise`, `unfold` and `nn_drivers`; nothing
checks it. Sizes count elements; padding before an axis is BEFORE, a tap lies DILATION elements after the one
before it.
"""

from __future__ import annotations

(
    BATCH,
    PLANES,  # input channels
    HEIGHT,
    WIDTH,
    CHANNELS,  # elements from one pixel to the next; channels first, of the transposed band
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
    WEIGHT_ROW,  # elements from the weights of one tap to those of the next: channels rounded up to vectors
    WEIGHTS,  # elements of the depthwise filters of one of the MULTIPLIER groups
    PRODUCTS,  # terms of one sum over channels, of each of the MULTIPLIER groups
    TILES,  # parts that the output pixels are divided into
    SPLITS,  # parts that the output channels of a tile are divided into
    WORKERS,
    BATCHES,  # parts of a worker's tasks; Python runs between them
    SCRATCH,  # elements of scratch for one worker
    FACTOR_ROW,  # distance of the rows of a produced factor in scratch
    SPARE,  # elements that a producer may use behind the produced factor
    PREFETCH,  # image rows from the first tap of an output row to the rows asked for ahead; 0: none
    STREAM_DEPTHWISE,  # whether the depthwise stage writes past the caches
    STREAM_PRODUCT,  # whether the product does, where it writes a sum once
    SIZE,
) = range(31)
