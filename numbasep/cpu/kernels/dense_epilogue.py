"""Epilogue of the dense kernel: divides a tile of sums and stores it."""

from __future__ import annotations

import functools
from typing import Any

from ..intrinsics.memory import Storage
from ..intrinsics.nontemporal import open_rows, stream_rows
from ..intrinsics.register_tiles import divide_stripe, stream_stripe, write_first, write_stripe
from ..intrinsics.vectors import lanes_of
from ..jit import inlined

ALIGNED_VECTORS = 32  # rows of as many are worth two parts of vectors, so that the others touch one line each


@functools.cache
def stripe_finisher(storage: Storage) -> Any:
    """The function that writes to one kind of storage."""

    @inlined
    def finish(y, at, stride, rows, part, stream, ragged, total, divisor, work, kept):
        """Write `part` columns of a finished stripe; `ragged`: 0, or 1 for the first vector of a row, 2 for others."""
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
