"""Cuts few long rows into many shorter ones that overlap by the window.

A signal of N samples is also R rows of N / R samples, each with the samples beyond its ends that windows reach.  Only
the first and the last samples of the signal know a boundary; they are filtered on their own.
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
    """Parts of a filter along one axis: its middle as many rows, and its ends."""
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
    """An axis as `count` rows of `wide` samples that begin `length` apart, the first at position `start`."""
    stride = slot.strides[axis]
    return replace(
        slot,
        shape=(*slot.shape[:axis], count, wide, *slot.shape[axis + 1 :]),
        strides=(*slot.strides[:axis], length * stride, *slot.strides[axis:]),
        origin=slot.origin + start * stride * parts_of(slot.dtype),
    )
