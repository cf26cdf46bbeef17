"""Measures the constants of `numbasep.machine` with the kernels that predictions are made for."""

from __future__ import annotations

import dataclasses
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numbasep import machine as machines
from numbasep.execute import run_plan
from numbasep.factor import forms
from numbasep.facts import kernel_facts
from numbasep.machine import REFERENCE, Machine, Table
from numbasep.operators import Operator
from numbasep.overlap import tiling
from numbasep.planner import Plan, choose
from numbasep.problem import Options, make_problem, make_windows

BUSY = 0.6  # load a processor above which measurements mislead
REPEATS = 5  # each measurement is the shortest of so many
SIDE = 512  # of images that stay in the second-level cache
SIDES = (1024, 2048, 4096)  # of images that leave it
TILES = (64, 128, 256, 384, 512, 1024)  # sides of transforms
PRECISIONS = (np.dtype(np.float32), np.dtype(np.float64))


def calibrate(*, store: bool = True) -> Machine:
    """Measure this machine, in about two seconds, and let plans made from now on use the result.

    Parameters
    ----------
    store : bool, optional
        Whether to write the constants to the cache directory (``NUMBASEP_CACHE_DIR`` overrides where), so
        that later processes find them.  They hold for this processor, these versions and this number of
        threads.

    Returns
    -------
    Machine
        The constants.

    Raises
    ------
    OSError
        If the file cannot be written.

    Notes
    -----
    Calibrate on an idle machine: a RuntimeWarning says if it seems busy.  Without a calibration, plans use
    the constants that ship with the package.
    """
    threads = machines.available_processors()
    _warn_if_busy(threads)
    measured = _measure(threads)
    if store:
        machines.save(measured)
    return measured


def _warn_if_busy(threads: int) -> None:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY * threads:
        warnings.warn(
            f"the machine is busy (load {load:.1f} on {threads} processors): the constants will be too slow",
            RuntimeWarning,
            stacklevel=3,
        )


def _measure(threads: int) -> Machine:
    call = _seconds(_run((8, 8), _dense(3, 3), PRECISIONS[0], 1))
    linear = [_linear_costs(dtype, call) for dtype in PRECISIONS]
    pixel, column, row, term, run_taps = (tuple(values) for values in zip(*linear, strict=True))
    single, double = (_transforms(dtype) for dtype in PRECISIONS)
    cpu = machines.fingerprint(threads)["cpu"]
    tiny = _seconds(_run((8, 8), _dense(3, 3), PRECISIONS[0], 1, "fft"))
    return dataclasses.replace(
        REFERENCE,
        name=f"{cpu}, {threads} threads, calibrated {time.strftime('%Y-%m-%d')}",
        threads=threads,
        call_seconds=call,
        thread_seconds=_thread_start(threads, call),
        pixel_seconds=pixel,
        column_rate=column,
        row_rate=row,
        term_seconds=term,
        run_taps=sum(run_taps) / len(run_taps),
        copy_rate=(_memory(1, call, pixel[0]), _memory(threads, call, pixel[0])),
        fft_seconds=(single, double),
        fft_call_seconds=_positive(tiny - call, 1e-6),
        fft_pixel_seconds=_tile_handling(call, single),
    )


# ------------------------------------------------------------------------------------- stopwatch


def _seconds(call: Callable[[], Any]) -> float:
    """Shortest time of `call`, after a first one that compiles and fills caches."""
    call()
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def _positive(value: float, least: float) -> float:
    return max(value, least)


def _dense(rows: int, columns: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(0.5, 1.0, (rows, columns))


def _run(
    shape: tuple[int, ...], weights: NDArray[Any], dtype: np.dtype[Any], workers: int, method: str = "direct"
) -> Callable[[], Any]:
    planned = _plan(shape, weights, dtype, workers, method)
    x, out = np.ones(shape, dtype), np.ones(shape, dtype)
    return lambda: run_plan(planned, x, out)


def _plan(
    shape: tuple[int, ...], weights: NDArray[Any], dtype: np.dtype[Any], workers: int, method: str
) -> Plan:
    problem = make_problem(
        shape,
        dtype,
        dtype,
        make_windows(shape, (0, 1), weights.shape, "reflect", 0, flip=False),
        cval=0.0,
        footprint="support",
        options=Options(method=method, workers=workers, rtol=1e-3),
        operation="correlate",
        complex_kernel=False,
        integer_l1=None,
    )
    found = forms(weights)
    choice = choose(problem, kernel_facts(weights, found), REFERENCE)
    return Plan(problem, choice, Operator(found, None, weights), REFERENCE.name)


# ----------------------------------------------------------------------------- direct and separable


def _linear_costs(dtype: np.dtype[Any], call: float) -> tuple[float, float, float, float, float]:
    """Seconds a pixel, taps a second down columns and along rows, seconds a term, taps a run is worth."""

    def pixel_seconds(weights: NDArray[Any], method: str = "direct") -> float:
        return (_seconds(_run((SIDE, SIDE), weights, dtype, 1, method)) - call) / SIDE**2

    base = pixel_seconds(_dense(1, 1))
    block, wide = pixel_seconds(_dense(7, 7)), pixel_seconds(_dense(21, 21))
    diagonal = pixel_seconds(np.diag(np.full(24, 0.5)))
    # wide - block = 392 taps + 14 runs; diagonal - base = 23 of each
    tap = _positive(((wide - block) - (diagonal - base) * 14 / 23) / (392 - 14), 1e-12)
    run = _positive((diagonal - base) / 23 - tap, 0.1 * tap)
    short, long, both = (pixel_seconds(np.ones((m, n)), "separable") for m, n in ((1, 9), (1, 41), (9, 9)))
    row_tap = _positive((long - short) / 32, 1e-12)
    term = _positive(both - base - 9 * (tap + row_tap) - run, 1e-12)
    return _positive(base, 1e-11), 1 / tap, 1 / row_tap, term, run / tap


def _thread_start(threads: int, call: float) -> float:
    if threads == 1:
        return REFERENCE.thread_seconds
    one, every = (_seconds(_run((SIDE, SIDE), _dense(9, 9), PRECISIONS[0], n)) for n in (1, threads))
    return _positive(every - call - (one - call) / threads, 1e-6)


def _memory(threads: int, call: float, pixel: float) -> Table:
    """What images beyond the cache take longer than their pixels should."""
    table = [(8.0 * SIDE**2, 1e12)]
    for side in SIDES:
        extra = _seconds(_run((side, side), _dense(1, 1), PRECISIONS[0], threads)) - call
        extra -= pixel * side**2 / threads
        table.append((8.0 * side**2, 8.0 * side**2 / _positive(extra, 1e-5)))
    return tuple(table)


# ------------------------------------------------------------------------------------------ fft


def _transforms(dtype: np.dtype[Any]) -> Table:
    """Seconds a point there and back, the product included, for square tiles."""
    import scipy.fft

    table = []
    for side in TILES:
        tile = np.ones((side, side), dtype)
        there_and_back = _round_trip(tile, scipy.fft.rfftn(tile))
        table.append((float(side**2), _seconds(there_and_back) / side**2))
    return tuple(table)


def _round_trip(tile: NDArray[Any], spectrum: NDArray[Any]) -> Callable[[], Any]:
    """The calls that `backends.fft` makes for a tile."""
    import scipy.fft

    def there_and_back() -> None:
        product = scipy.fft.rfftn(tile)
        product *= spectrum
        product = scipy.fft.ifft(product, axis=0, overwrite_x=True)
        scipy.fft.irfft(product, tile.shape[1], axis=1, overwrite_x=True)

    return there_and_back


def _tile_handling(call: float, transforms: Table) -> float:
    """Seconds a point of gathering and storing: what a filter takes beyond its transforms."""
    side, weights = 1024, _dense(31, 31)
    tiles = tiling(_plan((side, side), weights, PRECISIONS[0], 1, "fft").problem)
    points = tiles.tiles * tiles.points
    extra = _seconds(_run((side, side), weights, PRECISIONS[0], 1, "fft")) - call
    return _positive(extra / points - machines.interpolate(transforms, tiles.points), 1e-10)
