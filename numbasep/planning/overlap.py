"""Tile and transform lengths of overlap-save convolution.  Plain integers only.

A tile reads ``step + taps - 1`` input samples along a filtered axis, rounded up to a length with a fast
transform, and yields ``step`` outputs.  Long transforms waste less on the overlap but cost more per point and do
not fit a cache.  Along an axis with the mode "wrap" or "constant", one transform of all samples may also compute a
circular sum, which needs half the padding, or none.  The lengths minimise the predicted time.  They depend only on
the problem, never on a calibration or on the number of threads, so that the same problem gives the same bits on
every machine.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..arguments.boundary import Boundary
from ..arguments.problem import Problem, Window
from .machine import REFERENCE, Machine

BATCH_POINTS = 1 << 16  # short transforms are computed in batches of up to this many points
STAGED_POINTS = 1 << 18  # tiles of this many points or more are transformed in stages, shared by threads
MOST_POINTS = 1 << 22  # largest tile if shorter transforms are possible: a limit on memory
GROWTH = (1.5, 2, 2.5, 3, 4, 5, 6, 8, 12, 16, 24, 32)  # tried lengths, in multiples of the taps
LEAST_LENGTH = 32
THREADS = 2  # assumed in the choice of tiles: results must not depend on the actual number
LINE = 0.6  # time per point of 1-D transforms, relative to a square tile
OCTAVE = 0.08  # relative growth of it for each doubling of the length beyond LINE_LENGTH
LINE_LENGTH = 1024
LANES = 4  # number of 1-D transforms that are computed together in vectors ...
ALONE = 2.2  # ... and relative time of the remaining ones
STAGED = 1.05  # time per point in stages, relative to a tile of the same size on one thread
AXIS = 1.3  # factor of the time per point for each axis beyond two


@dataclass(frozen=True, slots=True)
class Tiling:
    """The tiles of overlap-save convolution, which cover an output array."""

    windows: tuple[Window, ...]
    """Transformed axes; those where results are the samples times one number are left out (`is_one_weight`)."""
    lengths: tuple[int, ...]
    """Transform length along each transformed axis."""
    whole: tuple[bool, ...]
    """Whether a transform along each axis takes all samples, from the first on, and its sum is circular."""
    steps: tuple[int, ...]
    """Number of output samples of a tile, along every axis of the array."""
    counts: tuple[int, ...]
    """Number of tiles along every axis of the array."""
    along: int
    """Axis of the array along which adjacent tiles are transformed together."""
    group: int
    """Number of adjacent tiles that are transformed together."""

    @property
    def points(self) -> int:
        """Number of points of one transform."""
        return math.prod(self.lengths)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return math.prod(self.counts)

    @property
    def tasks(self) -> int:
        """Number of groups of tiles, which are distributed to threads unless tiles are staged."""
        count = max(self.counts[self.along], 1)
        return self.tiles // count * -(-count // self.group)

    @property
    def staged(self) -> bool:
        """Whether threads share each tile, in stages."""
        return is_staged(self.lengths)

    @property
    def batch(self) -> int:
        """Total number of points that a task transforms at a time."""
        filtered = {window.axis for window in self.windows}
        beside = math.prod(step for axis, step in enumerate(self.steps) if axis not in filtered)
        return self.points * max(beside, 1) * self.group


def is_staged(lengths: Sequence[int]) -> bool:
    """Return whether transforms of these lengths are computed axis by axis, each shared by all threads."""
    return len(lengths) > 1 and math.prod(lengths) >= STAGED_POINTS


@functools.lru_cache(maxsize=4096)
def smooth_length(n: int, *, even: bool = False) -> int:
    """Return the smallest ``2^a 3^b 5^c >= n`` with c at most 1, optionally even, whose transforms are fast.

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


def _is_smooth(n: int) -> bool:
    """Return whether transforms of this length are reasonably fast: no prime factor is above 11."""
    for prime in (2, 3, 5, 7, 11):
        while n % prime == 0:
            n //= prime
    return n == 1


# ------------------------------------------------------------------------------------------- choice


def tiling(problem: Problem) -> Tiling:
    """Return the cheapest tiles for a problem with at least one filtered axis and some output."""
    return _tiling(problem.windows, problem.out_shape, problem.real_dtype.itemsize == 8, problem.cval == 0)


@functools.lru_cache(maxsize=512)
def _tiling(windows: tuple[Window, ...], out_shape: tuple[int, ...], double: bool, zeros: bool) -> Tiling:
    windows = tuple(w for w in windows if not is_one_weight(w, zeros)) or windows[-1:]
    filtered = {window.axis for window in windows}
    batch = math.prod(n for axis, n in enumerate(out_shape) if axis not in filtered)
    chosen = _trimmed(_cheapest(windows, batch, double), windows)
    lengths = tuple(option.length for option in chosen)
    steps = list(out_shape)
    for option, window in zip(chosen, windows, strict=True):
        outputs = window.out_size if option.whole else _outputs(option.length, window)
        steps[window.axis] = min(outputs, max(window.out_size, 1))
    points = math.prod(lengths)
    room = 1 if is_staged(lengths) else max(BATCH_POINTS // points, 1)
    room = room // LANES * LANES if room > LANES else room
    for axis in range(len(steps) - 1, -1, -1):  # cut unfiltered axes so that a task has at most BATCH_POINTS
        if axis not in filtered:
            steps[axis] = min(steps[axis], room)
            room = max(room // max(steps[axis], 1), 1)
    counts = tuple(-(-size // step) if step else 0 for size, step in zip(out_shape, steps, strict=True))
    along = max((window.axis for window in windows), key=lambda axis: counts[axis])
    tasks = -(-max(counts[along], 1) // room)
    if 1 < tasks < 4 * THREADS:
        tasks = -(-tasks // THREADS) * THREADS  # the same number for each thread
    group = -(-max(counts[along], 1) // tasks)
    if LANES < group < room:
        group = min(-(-group // LANES) * LANES, room)
    whole = tuple(option.whole for option in chosen)
    return Tiling(windows, lengths, whole, tuple(steps), counts, along, group)


def is_one_weight(window: Window, zeros: bool) -> bool:
    """Return whether outputs along an axis are the samples, or the only sample, times one number.

    For a single sample, the number is the sum of the weights, or one weight if the boundary is a constant 0.
    """
    if window.taps == 1:
        return window.first == 0 and window.step == 1 and window.out_size == window.size
    return window.size == window.out_size == 1 and (window.boundary is not Boundary.CONSTANT or zeros)


class Option(NamedTuple):
    """One way to divide an axis into tiles."""

    length: int
    """Transform length."""
    tiles: int
    """Number of tiles along the axis."""
    whole: bool
    """As `Tiling.whole`."""


def _cheapest(windows: tuple[Window, ...], batch: int, double: bool) -> list[Option]:
    """Find the options of least predicted time, by coordinate descent from the shortest and from the longest."""

    def cost(trial: Sequence[Option]) -> tuple[bool, float]:
        return (
            math.prod(option.length for option in trial) > MOST_POINTS,
            _predicted(trial, batch, double),
        )

    choices = [_options(window, even=window is windows[-1]) for window in windows]
    found = []
    for end in (0, -1):
        chosen = [options[end] for options in choices]
        for _ in range(2 if len(windows) > 1 else 1):
            for at, options in enumerate(choices):
                if len(options) > 1:
                    chosen = min(([*chosen[:at], option, *chosen[at + 1 :]] for option in options), key=cost)
        found.append(chosen)
    return min(found, key=cost)


def _predicted(trial: Sequence[Option], batch: int, double: bool) -> float:
    lengths = tuple(option.length for option in trial)
    points, tiles = math.prod(lengths), batch * math.prod(option.tiles for option in trial)
    together = 1 if is_staged(lengths) else min(max(BATCH_POINTS // points, 1), tiles)
    together = together // LANES * LANES if LANES < together < tiles else together
    work, share = tile_seconds(REFERENCE, lengths, tiles, together, THREADS, double=double)
    return min(work, REFERENCE.fft_thread_seconds + work * share)


def tile_seconds(
    machine: Machine, lengths: Sequence[int], tiles: int, together: int, threads: int, *, double: bool
) -> tuple[float, float]:
    """Return the predicted time of `tiles` transforms on one thread, and the slowest thread's share of it."""
    points = math.prod(lengths)
    tasks = -(-tiles // together)
    if is_staged(lengths):
        point = STAGED * machine.fft_point_seconds(points, double=double)
        calls, share = 3 * threads * tiles, 1 / threads
    elif len(lengths) == 1:
        point = LINE * machine.fft_point_seconds(max(points, BATCH_POINTS), double=double)
        point *= max(1 + OCTAVE * math.log2(points / LINE_LENGTH), 0.85)
        point *= 1 + (ALONE - 1) * (together % LANES) / together
        calls, share = tasks, -(-tasks // threads) / tasks
    else:
        point = machine.fft_point_seconds(points, double=double)
        calls, share = tasks, -(-tasks // threads) / tasks
    point *= AXIS ** max(len(lengths) - 2, 0)
    return tiles * points * (point + machine.fft_pixel_seconds) + calls * machine.fft_call_seconds, share


def _count(length: int, window: Window) -> int:
    return -(-window.out_size // _outputs(length, window))


def _outputs(length: int, window: Window) -> int:
    """Return the number of outputs of a transform: every `step`-th of its valid positions."""
    return (length - window.taps) // window.step + 1


def _options(window: Window, *, even: bool) -> list[Option]:
    """Return options for an axis by ascending length, then the circular transform of all samples if it is shorter."""
    padded = smooth_length(max(window.reach, window.taps), even=even)
    lengths = {smooth_length(max(int(g * window.taps), LEAST_LENGTH), even=even) for g in GROWTH}
    tiles = sorted(n for n in lengths if window.taps < n < padded)
    options = [Option(n, max(_count(n, window), 1), False) for n in tiles]
    options.append(Option(padded, 1, False))
    circular = _circular_length(window, even=even)
    if circular is not None and circular < padded:
        options.append(Option(circular, 1, True))
    return options


def _circular_length(window: Window, *, even: bool) -> int | None:
    """Return the length of a circular transform of all samples, padded once for both ends; None if there is none."""
    if window.boundary is Boundary.WRAP:
        return window.size if _is_smooth(window.size) else None
    if window.boundary is not Boundary.CONSTANT:
        return None
    before = max(-window.first, 0)
    after = max(window.first + window.reach - window.size, 0)
    return smooth_length(
        max(window.size + max(before, after), (window.out_size - 1) * window.step + 1), even=even
    )


def _trimmed(options: list[Option], windows: tuple[Window, ...]) -> list[Option]:
    """Divide each axis evenly among its tiles, which may allow shorter transforms."""
    trimmed = []
    for option, window in zip(options, windows, strict=True):
        outputs = -(-max(window.out_size, 1) // option.tiles)
        samples = (outputs - 1) * window.step + window.taps
        shorter = min(option.length, smooth_length(samples, even=window is windows[-1]))
        trimmed.append(option if option.whole else option._replace(length=shorter))
    return trimmed
