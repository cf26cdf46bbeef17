"""Upper bounds on the temporary memory of each route.

They hold for contiguous arrays; a byte-swapped or overlapping output needs a copy in addition.
"""

import math

from ..arguments.problem import Problem
from ..lowering.chains import SLAB_BYTES
from ..lowering.pieces import LARGEST_PIECE, LONG_PIECE_BYTES
from ..lowering.shapes import LONGEST_ROW, are_in_turn
from .lines import Lines
from .overlap import Tiling

CACHE_BYTES = 768 << 10  # of packed rows of a task, which stay in a second-level cache
STEP_ROWS = 16  # number of output rows that a task computes at a time
PIECE_POINTS = 1 << 15  # points of a piece of rows, in a staged transform ...
PIECE_BYTES = 1 << 19  # ... and bytes of a piece of columns
WIDEST_BYTES = 64  # of a vector on any processor
MOST_INNER = 512  # largest number of adjacent elements that form one column


def pass_bytes(problem: Problem, threads: int, sources: int) -> int:
    """Return the workspaces of all threads in a pass that reads `sources` input planes per output plane."""
    if not problem.windows:
        return 0
    taps = [window.taps for window in problem.windows[-2:]]
    rows, columns = ([1, *taps] if len(taps) == 1 else taps)[-2:]
    steps = [window.step for window in problem.windows[-2:]]
    down, along = ([1, *steps] if len(steps) == 1 else steps)[-2:]
    first_inner = problem.windows[-1].axis + 1
    inner = min(math.prod(problem.shape[first_inner:]) * _parts(problem), MOST_INNER)
    row_bytes = problem.real_dtype.itemsize * inner
    packed = (max(rows, columns) + (STEP_ROWS - 1) * max(down, along)) * sources + 2 * STEP_ROWS
    halo = packed * (6 * max(rows, columns) + 256 * max(down, along)) * row_bytes
    tables = 16 * packed + 2 * 16 * MOST_INNER
    return threads * (2 * CACHE_BYTES + halo + tables)


def slab_bytes(problem: Problem, threads: int, rank: int) -> int:
    """Return the bytes of intermediates between the passes of `rank` terms along more than two axes."""
    shape, total = list(problem.shape), _peeled_bytes(problem, threads, rank)
    together = 1 if are_in_turn(_inner(problem)) else 2
    for window in problem.windows[:-together]:
        shape[window.axis] = 1
        position = math.prod(shape) * _parts(problem) * rank * problem.real_dtype.itemsize
        thickness = max(window.taps, SLAB_BYTES // max(position, 1), 1)
        shape[window.axis] = min(thickness, max(window.out_size, 1))
        total += position * shape[window.axis] + 64
        rest = [w.axis for w in problem.windows if w.axis > window.axis]
        for later in problem.windows:  # mode "full" makes later axes longer
            if later.axis in rest:
                shape[later.axis] = max(shape[later.axis], later.out_size)
    return total


def _peeled_bytes(problem: Problem, threads: int, rank: int) -> int:
    """Return the bytes of intermediates between a short last axis and the others, if it may take its own pass."""
    if len(problem.windows) < 2:
        return 0
    window = problem.windows[-1]
    if window.size * _inner(problem) * problem.real_dtype.itemsize > LONGEST_ROW:
        return 0
    each = _parts(problem) * rank * problem.real_dtype.itemsize
    most = max(threads * LARGEST_PIECE, LONG_PIECE_BYTES)
    return (len(problem.windows) - 1) * (min(threads * problem.pixels * each, most) + 64 * threads)


def direct_bytes(problem: Problem, threads: int, *, complex_kernel: bool) -> int:
    """Return the workspace of direct summation, in one pass."""
    sources = math.prod(window.taps for window in problem.windows[:-2])
    return pass_bytes(problem, threads, sources) + _imaginary_bytes(problem, complex_kernel)


def terms_bytes(problem: Problem, threads: int, rank: int, *, complex_kernel: bool) -> int:
    """Return the workspace of `rank` separable terms; a complex term on d axes becomes up to ``2**d`` real terms."""
    rank = rank * (2 ** len(problem.windows) if complex_kernel else 1)
    sources = rank if len(problem.windows) > 2 else 1
    single = pass_bytes(problem, threads, sources)
    return single + slab_bytes(problem, threads, rank) + _imaginary_bytes(problem, complex_kernel)


def flat_bytes(problem: Problem, threads: int, sums: int) -> int:
    """Return the workspace of shifted sums of rows: packed rows, and row buffers for `sums` and the result."""
    sources = math.prod(window.taps for window in problem.windows[:-2])
    inner = min(math.prod(problem.shape[problem.windows[-1].axis + 1 :]), MOST_INNER)
    buffer = 2048 + 4 * max(window.taps for window in problem.windows) * inner
    return (
        pass_bytes(problem, threads, sources)
        + threads * STEP_ROWS * (sums + 1) * buffer * problem.real_dtype.itemsize
    )


def recursive_bytes(problem: Problem) -> int:
    """Return the workspace of recursive filters: up to two intermediates, and a copy if the output is strided."""
    shape, largest = list(problem.shape), 0
    for window in problem.windows:
        shape[window.axis] = (window.out_size - 1) * window.step + 1
        largest = max(largest, math.prod(shape))
        shape[window.axis] = window.out_size
    buffers = min(len(problem.windows), 2) + problem.is_strided
    return problem.real_dtype.itemsize * largest * buffers


def transform_bytes(problem: Problem, tiles: Tiling, threads: int, *, complex_kernel: bool = False) -> int:
    """Return the workspace of transforms: buffers of each thread, the kernel's spectrum, and rows of staged tiles."""
    itemsize = problem.compute_dtype.itemsize
    if not tiles.staged:
        return itemsize * (4 * tiles.batch * threads) + 40 * tiles.points + (64 << 10)
    inner = max(tiles.points // min(tiles.lengths), PIECE_POINTS)
    rows = itemsize * (tiles.points + 2 * tiles.points // min(tiles.lengths)) * (1 + complex_kernel)
    return rows + itemsize * 4 * inner * threads + 4 * PIECE_BYTES * threads + 40 * tiles.points + (64 << 10)


def line_bytes(problem: Problem, lines: Lines, threads: int) -> int:
    """Return the workspace of transforms along rows: tiles and spectra of each thread, and the kernel's spectrum."""
    item, lanes = problem.real_dtype.itemsize, WIDEST_BYTES // problem.real_dtype.itemsize
    tiles = 2 * lanes * (2 * lines.points + lanes)
    spectra = 2 * lines.points * (lines.together + lines.parts + 2 * lanes) if lines.parts > 1 else 0
    kernel = 64 * lines.parts * max(lines.points, lines.window.taps if lines.parts == 1 else 0)
    return min(threads, lines.threads) * (tiles + spectra) * item + kernel + 32 * lines.rows + (64 << 10)


def _inner(problem: Problem) -> int:
    """Return the number of adjacent reals per sample of the last filtered axis."""
    first_inner = problem.windows[-1].axis + 1 if problem.windows else 0
    return math.prod(problem.shape[first_inner:]) * _parts(problem)


def _parts(problem: Problem) -> int:
    return 2 if problem.input_dtype.kind == "c" else 1


def _imaginary_bytes(problem: Problem, complex_kernel: bool) -> int:
    """Return the workspace for the imaginary part of the kernel, which is needed if the data are complex, too."""
    both = complex_kernel and problem.input_dtype.kind == "c"
    return 3 * problem.pixels * problem.compute_dtype.itemsize * both
