"""Counts of separable terms: taps, runs of taps, boxes, repeated factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TermCounts:
    """Counts of separable terms: an entry for each term and each axis."""

    factors: tuple[tuple[int, ...], ...]
    """Number of taps that are multiplied."""
    runs: tuple[tuple[int, ...], ...]
    """Number of runs of adjacent taps."""
    boxes: tuple[tuple[bool, ...], ...]
    """Whether the taps are adjacent and equal."""
    groups: tuple[tuple[int, ...], ...]
    """Index of the first term with the same taps along the axis."""


def count_terms(
    terms: Sequence[Sequence[NDArray[Any]]], touched: Sequence[Sequence[NDArray[np.bool_]]] | None = None
) -> TermCounts:
    """Return the counts of terms; `touched` are masks of the taps that are multiplied, by default the non-zero ones."""
    found = factor_counts(terms, touched) if terms else ((), (), (), ())
    return TermCounts(*(tuple(zip(*numbers, strict=True)) for numbers in found))


def factor_counts(
    terms: Sequence[Sequence[NDArray[Any]]], touched: Sequence[Sequence[NDArray[np.bool_]]] | None = None
) -> tuple[list[list[Any]], ...]:
    """Return the lists `factors`, `runs`, `boxes` and `groups` of `TermCounts`, each by axis and term.

    `touched` are masks of the taps that are multiplied; by default, the non-zero taps.
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
    """Return the number of taps and runs of each row of `taps`, and whether it is a box."""
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
