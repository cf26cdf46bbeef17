"""Predicted time of a filter by fast Fourier transforms."""

import math

from ..arguments.problem import Problem
from . import lines as rows
from . import overlap
from .cost import bytes_per_pixel, thread_count
from .machine import Machine

LINE_NUMBERS = 16  # float32 numbers in a cache line


def fft_points(problem: Problem, tiles: overlap.Tiling) -> float:
    """Return the total number of points of all transforms, which exceeds the output by the overlap of the tiles."""
    return _transforms(problem, tiles) * tiles.points


def _transforms(problem: Problem, tiles: overlap.Tiling) -> int:
    """Return the number of transformed tiles, each multiplied by the kernel's spectrum."""
    batch = problem.pixels // math.prod(window.out_size for window in tiles.windows)
    return batch * math.prod(tiles.counts[window.axis] for window in tiles.windows)


def fft_operations(problem: Problem, tiles: overlap.Tiling) -> float:
    """Return the multiply-adds per output element: ``(5 log2(N) + 3) / 2`` per point, for real transforms both ways."""
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    per_point = (5 * math.log2(max(tiles.points, 2)) + 3) / 2
    return parts * per_point * fft_points(problem, tiles) / problem.pixels


def fft_seconds(problem: Problem, machine: Machine, tiles: overlap.Tiling) -> float:
    """Return the predicted time of overlap-save."""
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    transforms = _transforms(problem, tiles)
    together = -(-transforms // tiles.tasks)
    threads = thread_count(problem, machine)
    double = problem.real_dtype.itemsize == 8
    work, share = overlap.tile_seconds(
        machine, tiles.lengths, parts * transforms, parts * together, threads, double=double
    )
    if problem.output_dtype.kind in "biu":
        work += problem.pixels * machine.fft_converted_seconds
    work += problem.pixels * parts * _apart(problem, tiles) * machine.fft_apart_seconds
    if threads > 1:
        work = min(work, machine.fft_thread_seconds + machine.work_seconds(work, threads, share))
    return work


def line_operations(problem: Problem, lines: rows.Lines) -> float:
    """Return the multiply-adds per output element of transforms along rows."""
    each = 5 * lines.points * math.log2(lines.points) / 2
    product = 4 * lines.parts * lines.points
    return ((lines.rows * lines.span + lines.total) * each + lines.total * product) / problem.pixels


def line_seconds(problem: Problem, machine: Machine, lines: rows.Lines) -> float:
    """Return the predicted time of transforms along rows."""
    double = problem.real_dtype.itemsize == 8
    work = rows.operations(lines, machine.lanes[double]) * machine.line_seconds[double]
    threads = min(thread_count(problem, machine), lines.threads)
    fixed = machine.line_call_seconds + (machine.thread_seconds if threads > 1 else 0.0)
    moved = bytes_per_pixel(problem) * problem.pixels
    share = -(-lines.tasks // threads) / lines.tasks
    return fixed + machine.work_seconds(work, threads, share) + machine.copy_seconds(moved, threads)


def _apart(problem: Problem, tiles: overlap.Tiling) -> float:
    """Return the bytes per sample that cost extra because samples are not adjacent; fewer if they share cache lines."""
    last = max(window.axis for window in tiles.windows)
    inner = math.prod(problem.out_shape[last + 1 :])
    return problem.real_dtype.itemsize * min(inner - 1, LINE_NUMBERS) / LINE_NUMBERS
