"""Tiles of overlap-save convolution: how long the transforms are along each axis. Plain integers only.

A tile takes ``step + taps - 1`` input samples along a filtered axis, rounded up to a length that transforms
fast, and yields ``step`` outputs.  Long transforms waste less on the overlap but cost more a point and fall
out of cache; the lengths below minimise the predicted time.  They depend on the problem alone, never on a
calibration, so that the same problem gives the same bits on every machine.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from numbasep.machine import REFERENCE
from numbasep.problem import Problem, Window

BATCH_POINTS = 1 << 16  # tiles of short transforms hold several of them, up to this many points
GROWTH = (1.5, 2, 2.5, 3, 4, 5, 6, 8, 12, 16, 24)  # tried lengths, in multiples of the taps
LEAST_LENGTH = 32
LONG = 768  # longer transforms, strided in memory, no longer run at the speed the tables state


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles that cover an output array."""

    lengths: tuple[int, ...]
    """Transform length along each filtered axis, in the order of the windows; the last is even."""
    steps: tuple[int, ...]
    """Output samples of a tile along every axis of the array."""
    counts: tuple[int, ...]
    """Tiles along every axis of the array."""

    @property
    def points(self) -> int:
        """Points of one transform."""
        return math.prod(self.lengths)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return math.prod(self.counts)


@functools.lru_cache(maxsize=4096)
def smooth_length(n: int, *, even: bool = False) -> int:
    """Smallest ``2^a 3^b 5^c >= n`` with c at most 1, optionally even: transforms of such lengths are fast.

    Examples
    --------
    >>> smooth_length(97), smooth_length(121, even=True)
    (108, 128)
    """
    best = 1 << max(n - 1, 1).bit_length()
    for five, three in itertools.product(range(2), range(21)):
        odd = 5**five * 3**three
        if odd >= 2 * best:
            continue
        twos = max(-(-n // odd) - 1, 0).bit_length()
        best = min(best, odd << max(twos, int(even)))
    return best


def tiling(problem: Problem) -> Tiling:
    """Cheapest tiles for a problem with at least one filtered axis."""
    return _tiling(problem.windows, problem.out_shape, problem.real_dtype.itemsize == 8)


@functools.lru_cache(maxsize=512)
def _tiling(windows: tuple[Window, ...], out_shape: tuple[int, ...], double: bool) -> Tiling:
    lengths = _trim(_cheapest(windows, double), windows)
    steps = list(out_shape)
    for length, window in zip(lengths, windows, strict=True):
        steps[window.axis] = min(_outputs(length, window), max(window.out_size, 1))
    _shrink_batch(steps, {window.axis for window in windows}, math.prod(lengths))
    counts = tuple(-(-size // step) if step else 0 for size, step in zip(out_shape, steps, strict=True))
    return Tiling(tuple(lengths), tuple(steps), counts)


def _cheapest(windows: tuple[Window, ...], double: bool) -> list[int]:
    """Lengths of least predicted time, by coordinate descent from the shortest ones."""

    def cost(trial: Sequence[tuple[int, int]]) -> float:
        points = math.prod(length for length, _ in trial)
        point = REFERENCE.fft_point_seconds(points, double=double) + REFERENCE.fft_pixel_seconds
        return math.prod(count for _, count in trial) * (points * point + REFERENCE.fft_call_seconds)

    choices = [
        [
            (length, max(_count(length, window), 1))
            for length in _candidates(window, even=window is windows[-1])
        ]
        for window in windows
    ]
    chosen = [options[0] for options in choices]
    for _ in range(2 if len(windows) > 1 else 1):
        for at, options in enumerate(choices):
            if len(options) > 1:
                chosen = min(([*chosen[:at], option, *chosen[at + 1 :]] for option in options), key=cost)
    return [length for length, _ in chosen]


def _count(length: int, window: Window) -> int:
    return -(-window.out_size // _outputs(length, window))


def _outputs(length: int, window: Window) -> int:
    """Outputs of a transform: of the positions that it is right at, every `step`-th."""
    return (length - window.taps) // window.step + 1


def _candidates(window: Window, *, even: bool) -> list[int]:
    whole = smooth_length(max(window.reach, window.taps), even=even)
    lengths = {smooth_length(max(int(g * window.taps), LEAST_LENGTH), even=even) for g in GROWTH}
    lengths = {n for n in lengths if window.taps < n <= max(LONG, 3 * window.taps) and n < whole}
    return sorted(lengths | {whole} if whole <= LONG or not lengths else lengths)


def _trim(lengths: list[int], windows: tuple[Window, ...]) -> list[int]:
    """Share an axis evenly among its tiles, which may allow a shorter transform."""
    trimmed = []
    for length, window in zip(lengths, windows, strict=True):
        outputs = -(-max(window.out_size, 1) // max(_count(length, window), 1))
        samples = (outputs - 1) * window.step + window.taps
        trimmed.append(min(length, smooth_length(samples, even=window is windows[-1])))
    return trimmed


def _shrink_batch(steps: list[int], filtered: set[int], points: int) -> None:
    """Cut the unfiltered axes so that a tile holds BATCH_POINTS at most, and a transform at least."""
    room = max(BATCH_POINTS // points, 1)
    for axis in range(len(steps) - 1, -1, -1):
        if axis not in filtered:
            steps[axis] = min(steps[axis], room)
            room = max(room // max(steps[axis], 1), 1)
