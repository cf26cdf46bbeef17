"""`warmup`: compiles the kernels ahead of time, in several processes."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments.axes import integer
from ..arguments.problem import check_dtype
from ..lowering.target import host_target
from ..system import notice
from ..system.types import Array
from . import convolve, filters, gaussian, gaussian_derivatives

SMALL, LARGE = (64, 64), (1024, 1024)  # below and above `counts.PARALLEL_WORK`: for one and several threads
FEW = (256, 256)  # `lowering.kernels.WRITTEN_OUT` elements, from which loops over few taps are unrolled
_BINOMIAL = np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]])
_DENSE = np.arange(49.0).reshape(7, 7) % 5


def _zeros(dtype: np.dtype[Any], shape: tuple[int, ...] = SMALL) -> Array:
    return np.zeros(shape, dtype)


def _few_taps(dtype: np.dtype[Any]) -> None:
    for taps in range(3, host_target().most_written_out + 1, 2):
        weights = np.arange(1.0, taps + 1)
        convolve.convolve(_zeros(dtype, FEW), np.add.outer(weights, weights) ** 3, method="direct")


def _separable(dtype: np.dtype[Any]) -> None:
    from .. import nn

    image = _zeros(dtype, (1, 16, 16, 8))
    nn.separable_conv2d(image, np.ones((3, 3, 8, 1), dtype), np.ones((1, 1, 8, 16), dtype), [1] * 4, "SAME")


CASES: dict[str, tuple[str, Callable[[np.dtype[Any]], Any]]] = {
    "separable kernels": (
        "biufc",
        lambda t: convolve.convolve(_zeros(t, LARGE), _BINOMIAL, method="separable"),
    ),
    "dense kernels of few taps": ("biufc", _few_taps),
    "on one thread": ("biufc", lambda t: convolve.convolve(_zeros(t), _BINOMIAL, method="separable")),
    "dense kernels": ("biufc", lambda t: convolve.convolve(_zeros(t), _DENSE, method="direct")),
    "even dense kernels": (
        "biufc",
        lambda t: convolve.convolve(_zeros(t), _DENSE + _DENSE[:, ::-1], method="direct"),
    ),
    "long boxes": ("biuf", lambda t: filters.uniform_filter(_zeros(t), 51)),
    "rows beyond a constant boundary": (
        "biufc",
        lambda t: convolve.convolve(_zeros(t), _BINOMIAL, mode="constant", method="separable"),
    ),
    "strided columns": ("biufc", lambda t: convolve.convolve(_zeros(t, (512, 1024))[:, ::2], _BINOMIAL)),
    "floating results": ("biu", lambda t: gaussian.gaussian_filter(_zeros(t), 2, output=np.float32)),
    "saturated results": ("iu", lambda t: gaussian.gaussian_filter(_zeros(t), 2, cast="saturate")),
    "gaps": ("f", lambda t: gaussian.gaussian_filter(_zeros(t), 2, nan_policy="omit")),
    "magnitudes": ("biuf", lambda t: gaussian_derivatives.gaussian_gradient_magnitude(_zeros(t), 2)),
    "transforms along rows": (
        "f",
        lambda t: convolve.convolve(_zeros(t, (1 << 16,)), np.ones(501), method="fft", rtol=1e-3),
    ),
    "nn.separable_conv2d": ("f", _separable),
}
"""Kernels to compile: the kinds of dtypes that use them, and a function that calls a filter with them."""


def warmup(
    dtypes: Any = ("uint8", "uint16", "float32", "float64"), *, processes: int | None = None,
    progress: bool = False,
) -> None:  # fmt: skip
    """Compile, or load from the cache, the kernels for arrays of these dtypes.

    For the default dtypes these are some hundred kernels, which take minutes to compile the first time, and then a
    second to load.

    Parameters
    ----------
    dtypes : sequence of dtype, optional
        Dtypes of the arrays that will be filtered.
    processes : int, optional
        Number of processes that compile in parallel; they share machine code through the cache on disk.
        Default: one for each core, but a single one if there is no cache.
    progress : bool, optional
        Whether to show a progress bar on standard error.

    Raises
    ------
    ValueError, TypeError
        For an unsupported dtype or a number of processes below 1.

    Notes
    -----
    ``numbasep.api.warmup.CASES`` lists the kernels: separable and dense kernels, boxes, strided arrays, floating and
    saturated results, missing samples, on one thread and on several.  Other kernels are compiled on first use.

    Examples
    --------
    >>> import numbasep
    >>> numbasep.warmup(["float32"], processes=1)
    """
    compile_ahead(dtypes, processes=processes, progress=progress)


def compile_ahead(
    dtypes: Any = ("uint8", "uint16", "float32", "float64"), *, processes: int | None = None,
    progress: bool = False,
) -> tuple[int, int]:  # fmt: skip
    """Do the work of `warmup`; return the number of kernels compiled, in all processes, and of kernels loaded."""
    types = [check_dtype(np.dtype(dtype), "dtypes") for dtype in dtypes]
    count = os.cpu_count() or 1 if processes is None else integer("processes", processes)
    if count < 1:
        raise ValueError(f"processes must be None or at least 1, got {processes!r}")
    jobs = [(t.str, name) for t in types for name, (kinds, _) in CASES.items() if t.kind in kinds]
    from ..cpu import jit

    before = notice.counts.compiled, notice.counts.loaded
    several = count > 1 and bool(jobs) and jit.cache_directory() is not None
    with notice.Bar(len(jobs) * (1 + several), "compiling", shown=progress) as bar:
        tally = _Tally(bar, len(jobs))
        if several:
            first = [
                job for job in jobs if job[1] == "separable kernels"
            ]  # first, as others use their kernels, too
            _run_processes(first, count, tally)
            _run_processes([job for job in jobs if job not in first], count, tally)
        elsewhere = tally.compiled
        for job in jobs:
            run_jobs([job])
            here = notice.counts.compiled - before[0]
            tally.show(elsewhere + here, loading=several)
    compiled = elsewhere + notice.counts.compiled - before[0]
    return compiled, max(notice.counts.loaded - before[1] - elsewhere, 0)


class _Tally:
    """Numbers of compiled kernels and of completed calls, for the progress bar."""

    def __init__(self, bar: notice.Bar, calls: int) -> None:
        self._bar, self._calls, self._done = bar, calls, 0
        self._lock = threading.Lock()
        self.compiled = 0

    def add(self, compiled: int) -> None:
        """Count a call of another process, for which it compiled `compiled` kernels."""
        with self._lock:
            self._done += 1
            self.compiled += compiled
            text = f"compiling for call {self._done} of {self._calls}, {self.compiled} kernels so far"
            self._bar.advance(text)

    def show(self, compiled: int, *, loading: bool) -> None:
        """Show that this process has completed a call."""
        self._bar.advance(f"{'loading' if loading else 'compiling'}, {compiled} kernels compiled")


def run_jobs(jobs: Sequence[tuple[str, str]]) -> None:
    """Run the calls for pairs (dtype, name in `CASES`) in this process."""
    for dtype, name in jobs:
        CASES[name][1](np.dtype(dtype))


def run_and_count(jobs: Sequence[tuple[str, str]]) -> None:
    """Run the calls like `run_jobs`, and write the number of kernels compiled for each to standard output."""
    for job in jobs:
        before = notice.counts.compiled
        run_jobs([job])
        sys.stdout.write(f"{notice.counts.compiled - before}\n")
        sys.stdout.flush()


def _run_processes(jobs: Sequence[tuple[str, str]], count: int, tally: _Tally | None = None) -> None:
    """Distribute the calls to new processes; this process repeats them later, so failures are ignored."""
    program = (
        "import sys; from numbasep.api import warmup;"
        "warmup.run_and_count([a.split('|') for a in sys.argv[1:]])"
    )
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    shares = [share for share in (jobs[i::count] for i in range(count)) if share]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, *map("|".join, share)], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for share in shares
    ]  # fmt: skip
    readers = [threading.Thread(target=_read, args=(process, tally), daemon=True) for process in running]
    try:
        for reader in readers:
            reader.start()
        for process, reader in zip(running, readers, strict=True):
            process.wait()
            reader.join()
    finally:
        for process in running:
            process.kill()
            process.wait()


def _read(process: subprocess.Popen[str], tally: _Tally | None) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            if tally is not None and line.strip().isdecimal():
                tally.add(int(line))
