"""`calibrate`: measures the constants of `planning.machine`."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments.problem import DEVICES, Options, make_problem, make_windows
from ..cpu import recursive
from ..cpu.intrinsics.vectors import REGISTERS, VECTOR_BYTES
from ..cpu.largest_magnitude import largest_magnitude
from ..execution.execute import run_plan
from ..factor import forms, recursion
from ..lowering.steps import Steps
from ..planning import accelerator, cost, cost_fft
from ..planning import machine as machines
from ..planning.accelerator import Accelerator
from ..planning.facts import kernel_facts
from ..planning.machine import REFERENCE, Machine, Table
from ..planning.operators import Operator
from ..planning.overlap import tiling
from ..planning.planner import PlannedFilter, choose
from ..system import notice, storage
from . import trials

BUSY = 0.6  # load a processor above which measurements mislead
# of images in the caches; of the last, not all rows are
SHAPES = ((64, 64), (256, 256), (512, 512), (96, 4096))
WIDE = 1024  # rows from here on are filtered ...
SMALL_KERNEL = 49  # ... with kernels up to this size, for the sake of time
LARGE_SIDES = (1024, 2048, 4096)  # of images that leave it
TILES = (64, 128, 256, 384, 512, 1024)  # sides of transforms
PRECISIONS = (np.dtype(np.float32), np.dtype(np.float64))
LEAST = 1e-14  # seconds of a step that proved to cost nothing
FILLED = 1.0  # beyond the edges: such rows are packed
DISTURBED = 6.0  # a memory this many times slower than the reference is another process
MOST_START = 2e-4  # seconds beyond which the start of threads was disturbed
FASTEST = 0.3  # of its share on the reference that a step takes at least: less was noise
REFITS = 8
PRIOR = 2.0  # weight of the reference beside that of a sample which is 3 % off: 6


def calibrate(
    *, store: bool = True, device: str | None = None, progress: bool = False
) -> Machine | Accelerator:
    """Measure this machine, and let plans made from now on use the result.

    This takes a few seconds; the first time up to two minutes, for the kernels that are measured must be compiled.
    Those that are in the cache already, from earlier calls or from `warmup`, are not compiled again.

    Parameters
    ----------
    store : bool, optional
        Whether to write the constants to the cache directory (``NUMBASEP_CACHE_DIR`` overrides where), so
        that later processes find them.  They hold for this processor, these versions and this number of
        threads.
    device : {"cpu", "cuda"}, optional
        What to measure.  Default: the CPU.
    progress : bool, optional
        Whether to show a bar on standard error, for the CPU.

    Returns
    -------
    Machine or Accelerator
        The constants.

    Raises
    ------
    CudaUnavailableError
        For ``device="cuda"`` where there is no GPU, or a library is missing.
    OSError
        If the file cannot be written.

    Notes
    -----
    Calibrate on an idle machine: a RuntimeWarning says if it seems busy.  Without a calibration, plans use
    the constants that ship with the package.

    Examples
    --------
    >>> import numbasep
    >>> constants = numbasep.calibrate(store=False)  # doctest: +SKIP
    """
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(map(repr, DEVICES))}, got {device!r}")
    if store:
        storage.folder()  # what is wrong with it is said now, not after the measurements
    if device == "cuda":
        return _calibrate_gpu(store=store)
    threads = machines.available_processors()
    _warn_if_busy(threads)
    with notice.Bar(_measurements(threads), _doing(), shown=progress) as bar:
        tell = functools.partial(_advance, bar)
        trials.listeners.append(tell)
        try:
            measured = _measure(threads)
        finally:
            trials.listeners.remove(tell)
    if store:
        machines.save(measured)
    return measured


def _advance(bar: notice.Bar) -> None:
    bar.advance(_doing())


def _doing() -> str:
    """What takes the time, for the bar."""
    compiled = notice.counts.compiled
    return "measuring" if not compiled else f"measuring; {compiled} kernels compiled, which happens once"


def _measurements(threads: int) -> int:
    """How many calls are timed in all."""
    steps = sum(1 for dtype in PRECISIONS for _ in _timed_calls(dtype))
    return steps + 4 * len(LARGE_SIDES) + 2 * len(TILES) + 10 + 5 * (threads > 1)


def _calibrate_gpu(*, store: bool) -> Accelerator:
    from . import cuda

    measured = cuda.measure(_gpu_plan)
    if store:
        accelerator.save(measured)
    return measured


def _gpu_plan(taps: tuple[int, ...], shape: tuple[int, ...], code: str, method: str) -> PlannedFilter:
    """A plan for the GPU with a separable kernel of so many taps."""
    weights = np.outer(*(np.linspace(0.5, 1.0, n) for n in taps))
    dtype = np.dtype(code)
    problem = make_problem(
        shape, dtype, dtype, make_windows(shape, (0, 1), weights.shape, "reflect", 0, flip=False), cval=0.0,
        footprint="support", options=Options(method=method, device="cuda"), operation="correlate",
        complex_kernel=False, integer_l1=None,
    )  # fmt: skip
    found = forms(weights)
    constants = accelerator.REFERENCE
    choice = choose(problem, kernel_facts(weights, found), constants)
    return PlannedFilter(problem, choice, Operator(found, None, weights), constants.name)


def _warn_if_busy(threads: int) -> None:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY * threads:
        warnings.warn(
            f"the machine is busy (load {load:.1f} on {threads} processors): the constants will be too slow",
            RuntimeWarning,
            stacklevel=3,
        )


def _measure(threads: int) -> Machine:
    cpu = machines.fingerprint(threads)["cpu"]
    call = trials.seconds(trials.prepared((8, 8), trials.dense(3, 3), PRECISIONS[0], 1))
    machine = dataclasses.replace(
        REFERENCE,
        name=f"{cpu}, {threads} threads, calibrated {time.strftime('%Y-%m-%d')}",
        threads=threads,
        registers=REGISTERS,
        lanes=(VECTOR_BYTES / 4, VECTOR_BYTES / 8),
        call_seconds=call,
    )
    single, double = PRECISIONS
    machine = dataclasses.replace(machine, steps=(_steps(single, machine), _steps(double, machine)))
    (fixed, narrow), (_, wide) = _check(single), _check(double)
    machine = dataclasses.replace(
        machine,
        recursion_seconds=(_recursion(single), _recursion(double)),
        check_call_seconds=fixed,
        check_seconds=(narrow, wide),
    )
    machine = dataclasses.replace(machine, thread_seconds=_thread_start(threads, machine))
    arrays = np.ones((2, max(LARGE_SIDES) ** 2), single)
    machine = dataclasses.replace(
        machine,
        copy_rate=(_memory(1, "direct", machine, arrays), _memory(threads, "direct", machine, arrays)),
        stream_rate=(
            _memory(1, "separable", machine, arrays), _memory(threads, "separable", machine, arrays)
        ),
    )  # fmt: skip
    del arrays
    tiny = trials.seconds(trials.prepared((8, 8), trials.dense(3, 3), PRECISIONS[0], 1, "fft"))
    machine = dataclasses.replace(
        machine,
        fft_seconds=(_transforms(single), _transforms(double)),
        fft_call_seconds=max(tiny - call - machine.check_call_seconds, 1e-6),
    )
    machine = dataclasses.replace(machine, fft_pixel_seconds=_tile_handling(machine))
    machine = dataclasses.replace(machine, fft_converted_seconds=_tile_conversion(machine))
    return dataclasses.replace(machine, fft_thread_seconds=_transform_threads(threads, machine))


# ----------------------------------------------------------------------------- direct and separable


def _samples() -> Iterator[tuple[str, NDArray[np.float64], float]]:
    """Kernels, each with the route to take and what lies beyond the edges, that tell all steps apart."""
    for rows, columns in ((1, 1), (3, 3), (7, 7), (15, 15), (5, 41)):
        yield "direct", trials.dense(rows, columns), 0.0
    yield "direct", np.diag(np.linspace(1, 2, 24)), 0.0
    for rows, columns in ((3, 3), (15, 3), (5, 9), (41, 2), (33, 33), (3, 41), (41, 19)):
        yield "separable", trials.product(rows, columns), 0.0
    for rows, columns in ((3, 3), (5, 5), (7, 7), (9, 5), (9, 9), (7, 13), (25, 25)):
        yield "separable", trials.two_terms(rows, columns), 0.0
    for rows, columns in ((3, 3), (33, 33), (3, 41), (41, 5)):
        yield "separable", trials.product(rows, columns), FILLED
    for rows, columns in ((3, 3), (9, 9), (25, 25)):
        yield "separable", trials.two_terms(rows, columns), FILLED
    for rows, columns in ((45, 3), (3, 45), (45, 45)):
        yield "separable", np.ones((rows, columns)), FILLED
    yield "direct", trials.product(3, 3, 3), 0.0
    yield "direct", trials.product(9, 1, 1), 0.0  # packs nine planes for nine products
    yield "separable", trials.product(3, 3, 3), 0.0
    yield "separable", trials.product(5, 5, 5) + np.pad([[[9.0]]], 2), 0.0


def _timed_calls(
    dtype: np.dtype[Any],
) -> Iterator[tuple[tuple[int, ...], np.dtype[Any], str, NDArray[np.float64], float]]:
    """Shape, type of the samples, route, kernel and what lies beyond the edges, of each call that tells the steps."""
    types = (dtype, np.dtype(np.uint8)) if dtype == np.float32 else (dtype,)
    shape: tuple[int, ...]
    for shape, stored, (method, weights, cval) in itertools.product(SHAPES, types, _samples()):
        if weights.ndim > 2:
            shape = (round(math.prod(shape) ** (1 / 3)),) * 3
        if shape[-1] > WIDE and weights.size > SMALL_KERNEL:
            continue
        yield shape, stored, method, weights, cval


def _steps(dtype: np.dtype[Any], machine: Machine) -> Steps:
    """Seconds of each step, from the times of calls that take different numbers of them.

    Least squares of relative errors under positivity (C. L. Lawson, R. J. Hanson, "Solving Least Squares Problems",
    chapter 23), reweighted so that calls which were disturbed count less.
    """
    rows, times = [], []
    for shape, stored, method, weights, cval in _timed_calls(dtype):
        planned = trials.plan_call(shape, weights, stored, 1, method, cval)
        _, specs = trials.lowered(planned, machine)
        x, out = np.ones(shape, stored), np.ones(shape, stored)
        rows.append(trials.steps_of(specs))
        times.append(
            max(trials.seconds(functools.partial(run_plan, planned, x, out)) - machine.call_seconds, 1e-7)
        )
    which = int(dtype == np.float64)
    return _fitted(np.array(rows), np.array(times), machine.call_seconds, REFERENCE.steps[which])


def _fitted(counts: NDArray[Any], seconds: NDArray[Any], call: float, reference: Steps) -> Steps:
    """Positive seconds of each step; what the samples hardly tell stays in proportion to the reference."""
    from scipy.optimize import nnls

    usual = np.array(reference)
    speed = float(np.median(seconds / (counts @ usual + 1e-12)))
    relative = counts * (usual * speed) / (seconds + call)[:, None]
    wanted = seconds / (seconds + call)
    prior = PRIOR * np.eye(usual.size)
    weights = np.ones(seconds.size)
    for _ in range(REFITS):
        system = np.concatenate([relative * weights[:, None], prior])
        found = nnls(system, np.concatenate([wanted * weights, np.full(usual.size, PRIOR)]))[0]
        off = np.abs(relative @ found - wanted)
        weights = 1 / np.sqrt(np.maximum(off, 0.03))
    return Steps(*np.maximum(np.maximum(found, FASTEST) * usual * speed, LEAST).tolist())


def _check(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Fixed seconds, and seconds a number, of looking for the largest magnitude."""
    small, large = (np.ones(side**2, dtype) for side in (8, 256))
    least, most = (trials.seconds(functools.partial(largest_magnitude, x)) for x in (small, large))
    return least, max((most - least) / large.size, LEAST)


def _recursion(dtype: np.dtype[Any]) -> float:
    """Seconds a sample and axis of a recursive filter."""
    side, sigma = 512, 10.0
    taps = np.exp(-0.5 * (np.arange(-40, 41) / sigma) ** 2)
    found = recursion.fit(taps, dtype)
    assert found is not None
    problem = trials.plan_call((side, side), np.outer(taps, taps), dtype, 1, "direct").problem
    x, out = np.ones((side, side), dtype), np.ones((side, side), dtype)
    seconds = trials.seconds(lambda: recursive.correlate((found, found), problem, x, out))
    return seconds / (2 * side * (side + 2 * found.margin))


def _thread_start(threads: int, machine: Machine) -> float:
    """What a call on several threads takes beyond its share of the work."""
    if threads == 1:
        return REFERENCE.thread_seconds
    found = []
    for side in (512, 768):
        one, every = (
            trials.seconds(trials.prepared((side, side), trials.dense(7, 7), PRECISIONS[0], n))
            for n in (1, threads)
        )
        found.append(every - machine.call_seconds - (one - machine.call_seconds) / threads)
    return min(max(min(found), 1e-6), MOST_START)


def _memory(threads: int, method: str, machine: Machine, arrays: NDArray[Any]) -> Table:
    """What images beyond the cache, parts of `arrays`, take longer than their steps should."""
    table = [(8.0 * math.prod(SHAPES[-1]), 1e12)]
    nothing = (((1.0, 1e18),),) * 2
    quiet = dataclasses.replace(machine, copy_rate=nothing, stream_rate=nothing)
    taps = 9 if method == "separable" else 3  # not the fewest: their arithmetic hides least of all
    weights = trials.product(taps, taps)
    for side in LARGE_SIDES:
        planned = trials.plan_call((side, side), weights, PRECISIONS[0], threads, method)
        facts, specs = trials.lowered(planned, quiet)
        priced = cost.plane_passes(planned.problem, facts, specs, quiet)
        x, out = (array[: side * side].reshape(side, side) for array in arrays)
        extra = trials.seconds(functools.partial(run_plan, planned, x, out))
        extra -= quiet.call_seconds + sum(one.seconds for one in priced)
        moved = 8.0 * side**2
        usual = REFERENCE.copy_seconds(moved, min(threads, 2), fused=method == "separable")
        table.append((moved, moved / min(max(extra, usual / DISTURBED), usual * DISTURBED)))
    return tuple(table)


# ------------------------------------------------------------------------------------------ fft


def _transforms(dtype: np.dtype[Any]) -> Table:
    """Seconds a point there and back, the product included, for square tiles."""
    import scipy.fft

    table = []
    for side in TILES:
        tile = np.ones((side, side), dtype)
        there_and_back = _round_trip(tile, scipy.fft.rfftn(tile))
        table.append((float(side**2), trials.seconds(there_and_back) / side**2))
    return tuple(table)


def _round_trip(tile: NDArray[Any], spectrum: NDArray[Any]) -> Callable[[], Any]:
    """The calls that `cpu.fft.overlap_save` makes for a tile."""
    import scipy.fft

    def there_and_back() -> None:
        product = scipy.fft.rfftn(tile)
        product *= spectrum
        product = scipy.fft.ifft(product, axis=0, overwrite_x=True)
        scipy.fft.irfft(product, tile.shape[1], axis=1, overwrite_x=True)

    return there_and_back


def _tile_handling(machine: Machine) -> float:
    """Seconds a point of gathering and storing: what a filter takes beyond its transforms."""
    side, weights = 1024, trials.dense(31, 31)
    problem = trials.plan_call((side, side), weights, PRECISIONS[0], 1, "fft").problem
    tiles = tiling(problem)
    points = tiles.tiles * tiles.points
    known = (
        machine.call_seconds + cost.check_seconds(problem, machine) + tiles.tiles * machine.fft_call_seconds
    )
    extra = trials.seconds(trials.prepared((side, side), weights, PRECISIONS[0], 1, "fft")) - known
    return max(extra / points - machine.fft_point_seconds(tiles.points, double=False), 1e-10)


def _tile_conversion(machine: Machine) -> float:
    """Seconds of making an integer of a result."""
    side, weights = 256, np.ones((9, 9))
    problem = trials.plan_call((side, side), weights, np.dtype(np.uint8), 1, "fft").problem
    known = cost_fft.fft_seconds(
        problem, dataclasses.replace(machine, fft_converted_seconds=0.0), tiling(problem)
    )
    extra = trials.seconds(trials.prepared((side, side), weights, np.dtype(np.uint8), 1, "fft")) - known
    return max(extra / side**2, 1e-10)


def _transform_threads(threads: int, machine: Machine) -> float:
    """Fixed seconds of several threads."""
    if threads == 1:
        return REFERENCE.fft_thread_seconds
    side, weights = 1024, trials.dense(31, 31)
    problem = trials.plan_call((side, side), weights, PRECISIONS[0], threads, "fft").problem
    known = cost_fft.fft_seconds(
        problem, dataclasses.replace(machine, fft_thread_seconds=0.0), tiling(problem)
    )
    extra = trials.seconds(trials.prepared((side, side), weights, PRECISIONS[0], threads, "fft")) - known
    return min(max(extra, 1e-6), 5 * MOST_START)
