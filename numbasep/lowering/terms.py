"""Separable terms in numbers: taps, runs of equal taps, repeated factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TermCounts:
    """Separable terms, in numbers: an entry for each term along each axis."""

    factors: tuple[tuple[int, ...], ...]
    """Taps that multiply."""
    runs: tuple[tuple[int, ...], ...]
    """Maximal runs of adjacent ones."""
    boxes: tuple[tuple[bool, ...], ...]
    """Whether these are adjacent and equal."""
    groups: tuple[tuple[int, ...], ...]
    """The first term that has the same taps along the axis."""


def count_terms(
    terms: Sequence[Sequence[NDArray[Any]]], touched: Sequence[Sequence[NDArray[np.bool_]]] | None = None
) -> TermCounts:
    """Terms in numbers; the taps that multiply are those that are `touched`, by default those that are not zero."""
    found = factor_counts(terms, touched) if terms else ((), (), (), ())
    return TermCounts(*(tuple(zip(*numbers, strict=True)) for numbers in found))


def factor_counts(
    terms: Sequence[Sequence[NDArray[Any]]], touched: Sequence[Sequence[NDArray[np.bool_]]] | None = None
) -> tuple[list[list[Any]], ...]:
    """For each axis and each term's factor: taps, their runs, whether it is a box, the first that is equal.

    The taps are those that are `touched`; by default those that are not zero.
    """
    stacked = [np.array(factors) for factors in zip(*terms, strict=True)]
    if touched is None:
        masks = [taps != 0 for taps in stacked]
    else:
        masks = [np.array(factors) for factors in zip(*touched, strict=True)]
    rank, cubic = len(terms), len({taps.shape for taps in stacked}) == 1
    pairs = (
        [(np.concatenate(stacked), np.concatenate(masks))]
        if cubic
        else list(zip(stacked, masks, strict=True))
    )
    found = [_factor_counts(taps, mask) for taps, mask in pairs]
    counts, runs, boxes = ([number for one in found for number in one[kind]] for kind in range(3))
    if rank == 1:
        groups = [[0]] * len(stacked)
    elif touched is None:
        groups = [_first_equal(taps) for taps in stacked]
    else:
        groups = [_first_equal(np.concatenate(pair, axis=1)) for pair in zip(stacked, masks, strict=True)]
    cuts = range(0, rank * len(stacked), rank) if rank else []
    cut = ([numbers[i : i + rank] for i in cuts] for numbers in (counts, runs, boxes))
    return (*cut, groups)


def _factor_counts(taps: NDArray[Any], touched: NDArray[np.bool_]) -> tuple[list[int], list[int], list[bool]]:
    """Of factors, the rows of `taps`: taps that multiply, runs of these, which are boxes."""
    counts = touched.sum(axis=1)
    runs = touched[:, 0] + (touched[:, 1:] & ~touched[:, :-1]).sum(axis=1)
    level = taps[np.arange(len(taps)), touched.argmax(axis=1)]
    boxes = (runs == 1) & (counts > 1) & ((taps == level[:, None]) | ~touched).all(axis=1)
    return counts.tolist(), runs.tolist(), boxes.tolist()


def _first_equal(taps: NDArray[Any]) -> list[int]:
    first: dict[bytes, int] = {}
    width = taps.shape[1] * taps.itemsize
    content = taps.tobytes()
    return [first.setdefault(content[i * width : (i + 1) * width], i) for i in range(len(taps))]
