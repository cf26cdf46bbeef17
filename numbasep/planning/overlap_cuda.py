"""Blocks of overlap-save convolution on a GPU: large transforms, as they need not fit a cache as in `overlap`.

A block reads ``step + taps - 1`` samples along a filtered axis, rounded up to a length with a fast transform, and
yields ``step`` outputs.  Plain integers only.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..arguments.problem import Problem, Window
from .overlap import is_one_weight, smooth_length

MOST_POINTS = 1 << 25
"""Largest number of points of a block: 128 MiB of float32, more than enough to keep a device busy."""
LEAST_GROWTH = 3
"""Least ratio of transform length to taps, if the axis is long enough."""


@dataclass(frozen=True, slots=True)
class TransformBlocks:
    """The blocks of overlap-save convolution, which cover an output array."""

    windows: tuple[Window, ...]
    """Transformed axes."""
    lengths: tuple[int, ...]
    """Transform length along each transformed axis."""
    steps: tuple[int, ...]
    """Number of outputs of a block, along every axis of the array."""
    counts: tuple[int, ...]
    """Number of blocks along every axis of the array."""

    @property
    def points(self) -> int:
        """Number of points of one transform."""
        return math.prod(self.lengths)

    @property
    def number(self) -> int:
        """Total number of blocks."""
        return math.prod(self.counts)

    @property
    def batch(self) -> int:
        """Number of transforms in a block."""
        filtered = {window.axis for window in self.windows}
        return math.prod(step for axis, step in enumerate(self.steps) if axis not in filtered)

    def starts(self) -> Iterator[tuple[int, ...]]:
        """Return the first output of each block, along every axis."""
        ranges = (range(0, count * step, step) for count, step in zip(self.counts, self.steps, strict=True))
        return itertools.product(*ranges)


def blocks(problem: Problem) -> TransformBlocks:
    """Return the blocks for a problem with strides of 1, at least one filtered axis and some output."""
    return _blocks(problem.windows, problem.out_shape, problem.cval == 0)


@functools.lru_cache(maxsize=512)
def _blocks(windows: tuple[Window, ...], out_shape: tuple[int, ...], zeros: bool) -> TransformBlocks:
    windows = tuple(w for w in windows if not is_one_weight(w, zeros)) or windows[-1:]
    lengths = [_length(window.reach, window is windows[-1]) for window in windows]
    while math.prod(lengths) > MOST_POINTS:
        room = [n / window.taps for n, window in zip(lengths, windows, strict=True)]
        at = room.index(max(room))
        if room[at] < 2 * LEAST_GROWTH:
            break
        lengths[at] = _length(lengths[at] // 2, windows[at] is windows[-1])
    steps = list(out_shape)
    for at, window in enumerate(windows):  # divide the axis evenly, which may allow shorter transforms
        steps[window.axis] = step = -(
            -window.out_size // -(-window.out_size // (lengths[at] - window.taps + 1))
        )
        lengths[at] = min(lengths[at], _length(step + window.taps - 1, window is windows[-1]))
    left = max(MOST_POINTS // math.prod(lengths), 1)
    filtered = {window.axis for window in windows}
    for axis in reversed([axis for axis in range(len(steps)) if axis not in filtered]):
        steps[axis] = min(steps[axis], left)
        left = max(left // steps[axis], 1)
    counts = tuple(-(-size // step) for size, step in zip(out_shape, steps, strict=True))
    return TransformBlocks(windows, tuple(lengths), tuple(steps), counts)


def _length(samples: int, last: bool) -> int:
    """Return a length with a fast transform: even along the last axis, of which real transforms store half."""
    return smooth_length(samples, even=last)
