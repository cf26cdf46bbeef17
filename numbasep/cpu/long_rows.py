"""Cut few long rows into many shorter ones that overlap by the window.

A signal of N samples is viewed as R rows of N / R samples, extended by the samples beyond their ends that windows
read.  Only the first and last outputs of the signal depend on the boundary; they are filtered separately.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..arguments.boundary import Boundary
from ..arguments.problem import Window
from ..lowering.layout import restrict
from ..lowering.shapes import Cut
from .buffers import Buffer, parts_of, resized


def cut_parts(
    source: Buffer, target: Buffer, window: Window, cut: Cut
) -> Iterator[tuple[Buffer, Buffer, Window]]:
    """Yield the parts of a filter along an axis: its middle as `cut.count` rows, and its two ends."""
    axis, parts = window.axis, parts_of(source.dtype)
    first, count, length = cut.first, cut.count, cut.length
    wide = length + window.taps - 1
    yield (
        _as_rows(source, axis, count, wide, length, first + window.first),
        _as_rows(target, axis, count, length, length, first),
        replace(
            window, axis=axis + 1, size=wide, out_size=length, first=0, boundary=Boundary.NEAREST
        ),
    )  # fmt: skip
    for start, stop in ((0, first), (cut.stop, window.out_size)):
        if start < stop:
            step = start * target.strides[axis] * parts
            piece = replace(
                target, shape=resized(target.shape, axis, stop - start), origin=target.origin + step
            )
            yield source, piece, restrict(window, start, stop)


def _as_rows(slot: Buffer, axis: int, count: int, wide: int, length: int, start: int) -> Buffer:
    """View an axis as `count` rows of `wide` samples that start `length` apart, the first at position `start`."""
    stride = slot.strides[axis]
    return replace(
        slot,
        shape=(*slot.shape[:axis], count, wide, *slot.shape[axis + 1 :]),
        strides=(*slot.strides[:axis], length * stride, *slot.strides[axis:]),
        origin=slot.origin + start * stride * parts_of(slot.dtype),
    )
