"""Constants of one machine, for predicted times.

`REFERENCE` is shipped with the package, so that the first call needs no measurement and the same problem has
the same plan everywhere.  `numbasep.calibrate()` measures the constants of the machine that it runs on and
stores them in a file, which `current` reads once.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..lowering.steps import Steps
from ..lowering.target import Target, host_target
from ..system import storage
from . import reference

Table = tuple[tuple[float, float], ...]
T = TypeVar("T")

CACHED = (
    2 << 20,
    20 << 20,
)  # bytes of arrays: up to the first, all stay in caches; from the second on, none do
FORMAT = 6  # version of the calibration file's format


@dataclass(frozen=True, slots=True)
class Machine:
    """Measured constants of one machine. Pairs are (float32, float64); times of work are those of one thread."""

    name: str
    """Name of the machine, shown in plans."""
    threads: int
    """Number of threads of a call with ``workers=None``."""
    registers: int
    """Number of vector registers (`numbasep.lowering.target`)."""
    lanes: tuple[float, float]
    """Number of elements of a vector."""
    call_seconds: float
    """Fixed time of one call: Python, tables, and one call of compiled code."""
    thread_seconds: float
    """Additional fixed time of a pass that threads share."""
    thread_share: float
    """Time of each thread if all threads share work, relative to an even share of the time of one thread."""
    steps: tuple[Steps, Steps]
    """Seconds per step."""
    recursion_seconds: tuple[float, float]
    """Time of a recursive filter per sample and axis."""
    check_call_seconds: float
    """Fixed time of finding the largest magnitude of an array."""
    check_seconds: tuple[float, float]
    """Time per number of finding the largest magnitude."""
    memory_seconds: tuple[float, float]
    """Additional time per byte of arrays far larger than the caches: (one thread, all threads)."""
    stream_seconds: tuple[float, float]
    """As `memory_seconds`, for passes that read the array directly: their arithmetic hides a part of it."""
    read_seconds: tuple[float, float]
    """As `memory_seconds`, for reading only: caches hold twice as much input if there is no output."""
    fft_seconds: tuple[Table, Table]
    """(points of a tile, seconds per point of both transforms and the product), ascending."""
    fft_pixel_seconds: float
    """Time to copy one input sample to a tile, or to store one output sample."""
    fft_apart_seconds: float
    """Additional time per byte of samples that are not adjacent, as those of one of several channels."""
    fft_converted_seconds: float
    """Time to convert one result to an integer."""
    fft_call_seconds: float
    """Fixed time of a task: Python and two calls of `scipy.fft`."""
    fft_thread_seconds: float
    """Additional fixed time of transforms on several threads."""
    line_seconds: tuple[float, float]
    """Time of an operation on vectors in transforms along rows (`lines.operations`)."""
    line_call_seconds: float
    """Additional fixed time of a call that transforms along rows."""

    @property
    def target(self) -> Target:
        """Target with the vectors and registers of the measured processor."""
        return Target(int(4 * self.lanes[0]), self.registers, fma=True, float16=True)

    def copy_seconds(self, moved: float, threads: int) -> float:
        """Return the additional time to transfer `moved` bytes of input and output from and to memory."""
        return moved * uncached_share(moved) * self.memory_rate(threads)

    def memory_rate(self, threads: int, *, fused: bool = False) -> float:
        """Return the additional seconds per byte that caches do not hold."""
        return self._of_threads(*(self.stream_seconds if fused else self.memory_seconds), threads)

    def check_time(self, numbers: float, threads: int, *, double: bool) -> float:
        """Return the time to find the largest of `numbers` magnitudes: memory or arithmetic, whichever is slower."""
        moved = numbers * (8 if double else 4)
        reading = moved * uncached_share(moved / 2) * self._of_threads(*self.read_seconds, threads)
        return self.check_call_seconds + max(
            reading, self.work_seconds(numbers * self.check_seconds[double], threads)
        )

    def work_seconds(self, work: float, threads: int, share: float = 0.0) -> float:
        """Return the time of `work` seconds shared by threads; `share` is that of the slowest thread, 0 if even."""
        return work * (share or 1 / threads) * self._of_threads(1.0, self.thread_share, threads)

    def _of_threads(self, one: float, every: float, threads: int) -> float:
        """Interpolate between a value for one thread and that for all threads."""
        share = (threads - 1) / (self.threads - 1) if self.threads > 1 else 0.0
        return one + (every - one) * min(share, 1.0)

    def fft_point_seconds(self, points: float, *, double: bool) -> float:
        """Return the time per point of both transforms and the product, for a tile of `points` on one thread."""
        return interpolate(self.fft_seconds[double], points)


def uncached_share(moved: float) -> float:
    """Return the fraction of arrays of `moved` bytes that caches do not keep from one call to the next."""
    least, most = CACHED
    return min(max(math.log(max(moved, 1) / least) / math.log(most / least), 0.0), 1.0)


def shipped(vector_bytes: int) -> Machine:
    """Return the constants in `reference` for vectors of this width, or else the next larger known width."""
    known = sorted(reference.CONSTANTS)
    nearest = next((width for width in known if width >= vector_bytes), known[-1])
    steps, fields = reference.CONSTANTS[nearest]
    made = {**fields, "steps": tuple(Steps(**units) for units in steps)}
    return Machine(**made)


REFERENCE = shipped(host_target().vector_bytes)


def interpolate(table: Table, x: float) -> float:
    """Interpolate a table at `x`: linear in the logarithm of `x`, constant beyond the ends.

    Examples
    --------
    >>> interpolate(((1.0, 10.0), (100.0, 30.0)), 10.0)
    20.0
    """
    below, value = table[0]
    if x <= below:
        return value
    for above, higher in table[1:]:
        if x <= above:
            return value + (higher - value) * math.log(x / below) / math.log(above / below)
        below, value = above, higher
    return value


# -------------------------------------------------------------------------------- stored files


def fingerprint(threads: int) -> dict[str, Any]:
    """Return the key of a calibration: versions, processor and number of threads, for which it is valid."""
    from importlib.metadata import PackageNotFoundError, version

    versions: dict[str, Any] = {"format": FORMAT, "threads": threads, "cpu": cpu_name()}
    for package in ("numbasep", "numba", "numpy", "scipy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    return versions


@functools.cache
def cpu_name() -> str:
    """Return the model of the processor, as exactly as the system reports it; a part of the calibration key."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    general = platform.machine() or "unknown"
    return model_in(text) or _sysctl("machdep.cpu.brand_string") or platform.processor() or general


def model_in(cpuinfo: str) -> str:
    """Return the processor models in the text of Linux's ``/proc/cpuinfo``; "" if it names none.

    On ARM the models are numbers, and there may be several, as for fast and slow cores.

    Examples
    --------
    >>> model_in("model name : Intel(R) Xeon(R) Processor @ 2.80GHz")
    'Intel(R) Xeon(R) Processor @ 2.80GHz'
    """
    lines = [[part.strip() for part in line.split(":", 1)] for line in cpuinfo.splitlines() if ":" in line]
    names = dict.fromkeys(value for field, value in lines if field in _NAMES)  # each distinct name once
    parts = dict.fromkeys(f"{field} {value}" for field, value in lines if field.startswith("CPU "))
    return ", ".join([*names, *parts])


_NAMES = ("model name", "cpu", "cpu model", "uarch")  # on x86 and others, on POWER, on MIPS, on RISC-V


def _sysctl(name: str) -> str:
    """Return the output of ``sysctl -n name`` on macOS; "" elsewhere."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", name]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
            return done.stdout.strip()
    return ""


def stored_path(kind: str, key: dict[str, Any]) -> Path:
    """Return the path of the file for measurements of a kind ("machine", "wisdom", ...) with this `key`."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return storage.root() / f"{kind}-{digest}.json"


def store(kind: str, key: dict[str, Any], content: Any) -> Path:
    """Write measurements to a file, atomically; return its path."""
    storage.folder()
    path = stored_path(kind, key)
    storage.write(path, json.dumps({"key": key, "content": content}, indent=1).encode())
    return path


def recall(kind: str, key: dict[str, Any], interpret: Callable[[Any], T]) -> T | None:
    """Read stored measurements and return them through `interpret`; None if there are none."""
    try:
        path = stored_path(kind, key)
    except OSError:
        return None
    return read_stored(path, key, interpret)


def read_stored(path: Path, key: dict[str, Any], interpret: Callable[[Any], T]) -> T | None:
    """Read a file and return its content through `interpret`; None if there is no file.

    A file that cannot be interpreted, or has another key, is ignored with a RuntimeWarning: this affects predicted
    times, never results.
    """
    try:
        text = path.read_bytes()
    except OSError:
        return None
    try:
        stored = json.loads(text)
        if stored["key"] != key:
            raise ValueError("it was measured on another machine or by another version")
        return interpret(stored["content"])
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        warnings.warn(f"ignoring the file {path}: {error!r}", RuntimeWarning, stacklevel=3)
        return None


def save(machine: Machine) -> Path:
    """Store a calibration and make `current` return it from now on."""
    path = store("machine", fingerprint(machine.threads), dataclasses.asdict(machine))
    forget()
    return path


_followers: list[Callable[[], None]] = []


def when_changed(call: Callable[[], None]) -> None:
    """Register a function to be called when the constants change, to clear caches of decisions made with them."""
    _followers.append(call)


def forget() -> None:
    """Clear the cached constants, and call the functions registered by `when_changed`."""
    current.cache_clear()
    _used.clear()
    for call in _followers:
        call()


def load(threads: int) -> Machine | None:
    """Return the stored calibration for `threads` threads on this machine, or None."""
    try:
        if not any(name.startswith("machine-") for name in os.listdir(storage.root())):
            return None  # early, as looking up versions would slow down the first call of every process
    except OSError:
        return None
    key = fingerprint(threads)
    return recall("machine", key, _machine_from)


def _machine_from(fields: dict[str, Any]) -> Machine:
    """Return a `Machine` from parsed JSON; raise a ValueError unless every number is positive and finite."""
    plain = ("name", "threads", "registers")
    made = {name: value if name in plain else _frozen(value) for name, value in fields.items()}
    made["steps"] = tuple(Steps(*units) for units in made["steps"])
    machine = Machine(**made)
    if type(machine.threads) is not int or machine.threads < 1:
        raise ValueError(f"threads must be a positive integer, got {machine.threads!r}")
    if type(machine.registers) is not int or machine.registers < 1:
        raise ValueError(f"registers must be a positive integer, got {machine.registers!r}")
    for name, expected in _SHAPES.items():
        if _shape(getattr(machine, name)) != expected:
            raise ValueError(f"{name} has the wrong form")
    return machine


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        if not value:
            raise ValueError("an empty table")
        return tuple(_frozen(item) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{value!r} is not a positive number")
    return float(value)


def _shape(value: Any) -> str:
    """Describe the nesting of a value; tables of any length have the same description."""
    if not isinstance(value, tuple):
        return "number" if isinstance(value, int | float) else type(value).__name__
    kinds = [_shape(item) for item in value]
    if kinds[0] == "(number number)" and set(kinds) == {"(number number)"}:
        return "table"
    return f"({' '.join(kinds)})"


_SHAPES = {field.name: _shape(getattr(REFERENCE, field.name)) for field in dataclasses.fields(Machine)}


def use(machine: Machine) -> None:
    """Make `current` return these constants in this process, until `forget` is called."""
    forget()
    _used[machine.threads] = machine


_used: dict[int, Machine] = {}


@functools.cache
def current(threads: int | None = None) -> Machine:
    """Return the constants for this process: the stored calibration for `threads` threads, or the reference.

    Parameters
    ----------
    threads : int, optional
        Threads that calls may use; by default, all processors available to the process.

    Returns
    -------
    Machine
    """
    count = threads or available_processors()
    stored = _used.get(count) or load(count)
    return stored if stored is not None else dataclasses.replace(REFERENCE, threads=count)


def available_processors() -> int:
    """Return the number of processors on which this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
