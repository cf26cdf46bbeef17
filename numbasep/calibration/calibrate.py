"""`calibrate`: measures the constants of `planning.machine`."""

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
from ..planning import accelerator, cost, cost_fft, lines
from ..planning import machine as machines
from ..planning.accelerator import Accelerator
from ..planning.facts import kernel_facts
from ..planning.machine import REFERENCE, Machine, Table
from ..planning.operators import Operator
from ..planning.overlap import tiling
from ..planning.planner import PlannedFilter, choose
from ..planning.routes import CHECK
from ..system import notice, storage
from . import fitting, trials

BUSY = 0.6  # load per processor above which measurements are unreliable
# Images: square, with long rows, short rows, channels, very short rows, and larger than the caches.
SHAPES = ((64, 64), (256, 256), (512, 512), (96, 4096), (2048, 64), (160, 128, 16), (3000, 40), (1600, 1400))
WIDE = 1024  # axes longer than this are only filtered ...
SMALL_KERNEL = 49  # ... with 2-D kernels of at most this size, to save time
LARGE_SIDES = (512, 1024, 2048)  # sides of images that threads share
TILES = (64, 128, 256, 384, 512, 1024)  # sides of transforms
READ_BYTES = 64 << 20  # of an array that caches do not hold
PRECISIONS = (np.dtype(np.float32), np.dtype(np.float64))


def calibrate(
    *, store: bool = True, device: str | None = None, progress: bool = False
) -> Machine | Accelerator:
    """Measure this machine, so that later plans use its constants for predicted times.

    This takes a few seconds, but up to two minutes the first time, as the measured kernels must be compiled.
    Kernels in the cache, from earlier calls or from `warmup`, are not compiled again.

    Parameters
    ----------
    store : bool, optional
        Whether to write the constants to the cache directory (set by ``NUMBASEP_CACHE_DIR``), so that later
        processes use them.  They are valid for this processor, these versions and this number of threads.
    device : {"cpu", "cuda"}, optional
        Device to measure.  Default: the CPU.
    progress : bool, optional
        Whether to show a progress bar on standard error; only for the CPU.

    Returns
    -------
    Machine or Accelerator
        The constants.

    Raises
    ------
    CudaUnavailableError
        For ``device="cuda"`` if there is no GPU, or a library is missing.
    OSError
        If the file cannot be written.

    Notes
    -----
    Calibrate on an idle machine; a RuntimeWarning is issued if it is busy.  Without a calibration, plans use
    constants that are part of the package.

    Examples
    --------
    >>> import numbasep
    >>> constants = numbasep.calibrate(store=False)  # doctest: +SKIP
    """
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(map(repr, DEVICES))}, got {device!r}")
    if store:
        storage.folder()  # raise now, rather than after the measurements, if it cannot be written
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
    """Return the text of the progress bar."""
    compiled = notice.counts.compiled
    return "measuring" if not compiled else f"measuring; {compiled} kernels compiled, which happens once"


def _measurements(threads: int) -> int:
    """Return the number of calls that are timed."""
    steps = sum(1 for dtype in PRECISIONS for _ in _timed_calls(dtype))
    shared = sum(1 for _ in _shared_calls(dataclasses.replace(REFERENCE, threads=threads)))
    return steps + 2 * len(TILES) + 16 + (shared + 1) * (threads > 1)


def _calibrate_gpu(*, store: bool) -> Accelerator:
    from . import cuda

    measured = cuda.measure(_gpu_plan)
    if store:
        accelerator.save(measured)
    return measured


def _gpu_plan(taps: tuple[int, ...], shape: tuple[int, ...], code: str, method: str) -> PlannedFilter:
    """Return a GPU plan for a separable kernel with these numbers of taps."""
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
    (fixed, narrow), (_, wide) = _check(single), _check(double)
    machine = dataclasses.replace(
        machine,
        recursion_seconds=(_recursion(single), _recursion(double)),
        check_call_seconds=fixed,
        check_seconds=(narrow, wide),
        read_seconds=(one := _reading(1), min(_reading(threads), one)),
    )
    machine = _with_steps(machine)
    machine = _with_threads(machine)
    tiny = trials.seconds(trials.prepared((8, 8), trials.dense(3, 3), PRECISIONS[0], 1, "fft"))
    machine = dataclasses.replace(
        machine,
        fft_seconds=(_transforms(single), _transforms(double)),
        fft_call_seconds=max(tiny - call - machine.check_call_seconds, 1e-6),
    )
    machine = dataclasses.replace(machine, fft_pixel_seconds=_tile_handling(machine))
    machine = dataclasses.replace(machine, fft_converted_seconds=_tile_conversion(machine))
    machine = dataclasses.replace(machine, fft_thread_seconds=_transform_threads(threads, machine))
    fixed, narrow = _lines(single, machine)
    return dataclasses.replace(
        machine, line_call_seconds=fixed, line_seconds=(narrow, _lines(double, machine)[1])
    )


# -------------------------------------------------------------------------------------- seconds per step


def _timed_calls(
    dtype: np.dtype[Any],
) -> Iterator[tuple[tuple[int, ...], np.dtype[Any], str, NDArray[np.float64], float]]:
    """Yield (shape, dtype, route, kernel, value beyond the edges) of each call to which steps are fitted."""
    types = (dtype, np.dtype(np.uint8)) if dtype == np.float32 else (dtype,)
    shape: tuple[int, ...]
    for shape, stored, (method, weights, cval) in itertools.product(SHAPES, types, trials.samples()):
        if weights.ndim > 2:
            shape = (round(math.prod(shape) ** (1 / 3)),) * 3
        if max(shape) > WIDE and weights.ndim == 2 and weights.size > SMALL_KERNEL:
            continue
        yield shape, stored, method, weights, cval


def _with_steps(machine: Machine) -> Machine:
    """Return `machine` with fitted seconds per step and per uncached byte, from calls on one thread."""
    passes, times = [], []
    for dtype in PRECISIONS:
        for shape, stored, method, weights, cval in _timed_calls(dtype):
            planned = trials.plan_call(shape, weights, stored, 1, method, cval)
            passes.append((dtype.itemsize == 8, trials.works_of(planned, machine)))
            times.append(_beyond_call(planned, machine))
    return fitting.fit_alone(passes, times, machine.call_seconds, machine)


def _shared_calls(machine: Machine) -> Iterator[tuple[PlannedFilter, tuple[cost.Work, ...]]]:
    """Yield plans whose passes are all shared by threads, with the work of these passes."""
    if machine.threads > 1:
        for side, (method, weights) in itertools.product(LARGE_SIDES, trials.shared_samples()):
            planned = trials.plan_call((side, side), weights, PRECISIONS[0], machine.threads, method)
            works = trials.works_of(planned, machine)
            if all(work.shared for work in works):
                yield planned, works


def _with_threads(machine: Machine) -> Machine:
    """Return `machine` with fitted constants of threads: start, share of the work, and memory."""
    passes, times = [], []
    for planned, works in _shared_calls(machine):
        passes.append((False, works))
        times.append(_beyond_call(planned, machine))
    return fitting.fit_shared(passes, times, machine.call_seconds, machine) if passes else machine


def _beyond_call(planned: PlannedFilter, machine: Machine) -> float:
    """Return the seconds of a plan without the fixed time of a call and the check of the data."""
    problem = planned.problem
    x, out = np.ones(problem.shape, problem.input_dtype), np.ones(problem.out_shape, problem.output_dtype)
    check = sum(one.seconds for one in planned.choice.chosen.passes if one.kernel == CHECK)
    taken = trials.seconds(functools.partial(run_plan, planned, x, out))
    return max(taken - machine.call_seconds - check, 1e-7)


def _check(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the fixed seconds and the seconds per number of finding the largest magnitude."""
    small, large = (np.ones(side**2, dtype) for side in (8, 512))
    least, most = (trials.seconds(functools.partial(largest_magnitude, x)) for x in (small, large))
    return least, max((most - least) / large.size, fitting.LEAST)


def _reading(threads: int) -> float:
    """Return the seconds per byte of finding the largest magnitude of an array that caches do not hold."""
    x = np.ones(READ_BYTES // 8)
    return trials.seconds(functools.partial(largest_magnitude, x, threads)) / READ_BYTES


def _recursion(dtype: np.dtype[Any]) -> float:
    """Return the seconds per sample and axis of a recursive filter."""
    side, sigma = 512, 10.0
    taps = np.exp(-0.5 * (np.arange(-40, 41) / sigma) ** 2)
    found = recursion.fit(taps, dtype)
    assert found is not None
    problem = trials.plan_call((side, side), np.outer(taps, taps), dtype, 1, "direct").problem
    x, out = np.ones((side, side), dtype), np.ones((side, side), dtype)
    seconds = trials.seconds(lambda: recursive.correlate((found, found), problem, x, out))
    return seconds / (2 * side * (side + 2 * found.margin))


# ------------------------------------------------------------------------------------------ fft


def _transforms(dtype: np.dtype[Any]) -> Table:
    """Return a table of the seconds per point of both transforms and the product, for square tiles."""
    import scipy.fft

    table = []
    for side in TILES:
        tile = np.ones((side, side), dtype)
        there_and_back = _round_trip(tile, scipy.fft.rfftn(tile))
        table.append((float(side**2), trials.seconds(there_and_back) / side**2))
    return tuple(table)


def _round_trip(tile: NDArray[Any], spectrum: NDArray[Any]) -> Callable[[], Any]:
    """Return a function with the calls that `cpu.fft.overlap_save` makes for a tile."""
    import scipy.fft

    def there_and_back() -> None:
        product = scipy.fft.rfftn(tile)
        product *= spectrum
        product = scipy.fft.ifft(product, axis=0, overwrite_x=True)
        scipy.fft.irfft(product, tile.shape[1], axis=1, overwrite_x=True)

    return there_and_back


def _tile_handling(machine: Machine) -> float:
    """Return the seconds per point of copying to and from tiles: those of a filter without its transforms."""
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
    """Return the seconds to convert one result to an integer."""
    side, weights = 256, np.ones((9, 9))
    problem = trials.plan_call((side, side), weights, np.dtype(np.uint8), 1, "fft").problem
    known = cost_fft.fft_seconds(
        problem, dataclasses.replace(machine, fft_converted_seconds=0.0), tiling(problem)
    )
    extra = trials.seconds(trials.prepared((side, side), weights, np.dtype(np.uint8), 1, "fft")) - known
    return max(extra / side**2, 1e-10)


def _transform_threads(threads: int, machine: Machine) -> float:
    """Return the fixed seconds of transforms on several threads."""
    if threads == 1:
        return REFERENCE.fft_thread_seconds
    side, weights = 1024, trials.dense(31, 31)
    problem = trials.plan_call((side, side), weights, PRECISIONS[0], threads, "fft").problem
    known = cost_fft.fft_seconds(
        problem, dataclasses.replace(machine, fft_thread_seconds=0.0), tiling(problem)
    )
    extra = trials.seconds(trials.prepared((side, side), weights, PRECISIONS[0], threads, "fft")) - known
    return min(max(extra, 1e-6), 5 * fitting.MOST_START)


def _lines(dtype: np.dtype[Any], machine: Machine) -> tuple[float, float]:
    """Return the fixed seconds of transforms along rows, and the seconds of an operation on vectors."""
    double, times = dtype.itemsize == 8, []
    for samples, taps in ((64, 3), (1 << 16, 501)):
        problem = trials.plan_call((samples,), np.ones(taps), dtype, 1, "fft").problem
        known = machine.call_seconds + cost.check_seconds(problem, machine)
        measured = trials.seconds(trials.prepared((samples,), np.ones(taps), dtype, 1, "fft"))
        divided = lines.lines(problem)
        assert divided is not None
        times.append((measured - known, lines.operations(divided, machine.lanes[double])))
    (fixed, few), (long, many) = times
    each = max((long - fixed) / (many - few), 1e-12)
    return max(fixed - few * each, 1e-6), each
