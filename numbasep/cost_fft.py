"""What a filter by fast Fourier transforms takes: its points, its operations, its seconds."""

from __future__ import annotations

import math

from numbasep import overlap
from numbasep.cost import check_seconds, thread_count
from numbasep.machine import Machine
from numbasep.problem import Problem


def fft_points(problem: Problem, tiles: overlap.Tiling) -> float:
    """Points of all transforms together: the output, larger by the overlap of the tiles."""
    batch = problem.pixels / math.prod(window.out_size for window in problem.windows)
    count = math.prod(tiles.counts[window.axis] for window in problem.windows)
    return batch * count * tiles.points


def fft_operations(problem: Problem, tiles: overlap.Tiling) -> float:
    """``(5 log2(N) + 3) / 2`` multiply-adds a point, of real transforms there and back and the product."""
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    per_point = (5 * math.log2(max(tiles.points, 2)) + 3) / 2
    return parts * per_point * fft_points(problem, tiles) / problem.pixels


def fft_seconds(problem: Problem, machine: Machine, tiles: overlap.Tiling) -> float:
    """Predicted time of overlap-save, with the check that the data are finite."""
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    points = fft_points(problem, tiles) * parts
    double = problem.real_dtype.itemsize == 8
    point = machine.fft_point_seconds(tiles.points * parts, double=double) + machine.fft_pixel_seconds
    work = points * point + tiles.tiles * machine.fft_call_seconds
    if problem.output_dtype.kind in "biu":
        work += problem.pixels * machine.fft_converted_seconds
    check = 0.0 if problem.integer_data else check_seconds(problem, machine)
    threads = thread_count(problem, machine)
    shared = -(-tiles.tiles // threads) / tiles.tiles  # the slowest thread's share
    start = machine.fft_thread_seconds if threads > 1 and tiles.tiles >= threads else 0.0
    return machine.call_seconds + start + check + work * shared
