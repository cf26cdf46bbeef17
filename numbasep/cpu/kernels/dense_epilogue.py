"""Epilogue of the dense kernel: divide a tile of sums and store it."""

from __future__ import annotations

import functools
from typing import Any

from ..intrinsics.memory import Storage
from ..intrinsics.nontemporal import open_rows, stream_rows
from ..intrinsics.register_tiles import divide_stripe, stream_stripe, write_first, write_stripe
from ..intrinsics.vectors import lanes_of
from ..jit import inlined

ALIGNED_VECTORS = 32  # from this row length on, a partial vector is stored first to align the others


@functools.cache
def stripe_finisher(storage: Storage) -> Any:
    """Return the function that stores tiles of a storage type."""

    @inlined
    def finish(y, at, stride, rows, part, stream, ragged, total, divisor, work, kept):
        """Store `part` columns of a stripe; `ragged` is 1 for the first unaligned streamed vector, 2 for others."""
        if divisor != 1:
            total = divide_stripe(total, divisor)
        if part < lanes_of(work):
            write_first(y, at, stride, rows, part, storage, total)
        elif stream:
            stream_stripe(y, at, stride, rows, storage, total)
        elif ragged == 2:
            stream_rows(y, at, stride, rows, storage, total, work, kept)
        elif ragged:
            open_rows(y, at, stride, rows, storage, total, work, kept)
        else:
            write_stripe(y, at, stride, rows, storage, total)

    return finish
