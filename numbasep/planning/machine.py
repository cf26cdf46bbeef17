"""Constants of one machine, for predicted times.

`REFERENCE` ships with the package, so that the first call needs no measurement and a plan for the same
problem is the same everywhere.  `numbasep.calibrate()` measures the constants of the machine it runs on and
stores them in a file; `current` reads that file once.
"""

from __future__ import annotations

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
)  # bytes: up to the first, arrays stay in caches; from the second on, nothing of them does
FORMAT = 5  # of the calibration file


@dataclass(frozen=True, slots=True)
class Machine:
    """Measured constants of one machine. Pairs are (float32, float64); seconds of work are those of one thread."""

    name: str
    """What was measured: shown in plans."""
    threads: int
    """Threads a call may use when the caller names no number."""
    registers: int
    """Vector registers of the processor (`numbasep.lowering.target`)."""
    lanes: tuple[float, float]
    """Numbers of a vector."""
    call_seconds: float
    """Fixed time of one call: Python, tables, one compiled function."""
    thread_seconds: float
    """Further fixed time of a pass that is spread over threads."""
    thread_share: float
    """How many times an even share of the work of one thread each of all threads takes."""
    steps: tuple[Steps, Steps]
    """Seconds of each step."""
    recursion_seconds: tuple[float, float]
    """One sample of one axis through a recursive filter."""
    check_call_seconds: float
    """Fixed time of looking for the largest magnitude of an array."""
    check_seconds: tuple[float, float]
    """Looking at one number of it."""
    memory_seconds: tuple[float, float]
    """What memory adds for a byte of arrays far larger than the caches: with one thread, with all."""
    stream_seconds: tuple[float, float]
    """As `memory_seconds`, for passes that read the array itself: their arithmetic hides part of it."""
    read_seconds: tuple[float, float]
    """As `memory_seconds`, for looking at numbers without writing any: caches hold twice as many of these."""
    fft_seconds: tuple[Table, Table]
    """(points of a tile, seconds a point of its forward and backward transform and product), ascending."""
    fft_pixel_seconds: float
    """Gathering one input sample into a tile, or storing one output sample."""
    fft_apart_seconds: float
    """That of a byte more where samples lie apart, as those of a channel do."""
    fft_converted_seconds: float
    """Making an integer of one result."""
    fft_call_seconds: float
    """Fixed time of a tile: Python and two calls of scipy.fft."""
    fft_thread_seconds: float
    """Further fixed time of transforms on several threads."""

    @property
    def target(self) -> Target:
        """The processor that was measured."""
        return Target(int(4 * self.lanes[0]), self.registers, fma=True, float16=True)

    def copy_seconds(self, moved: float, threads: int) -> float:
        """Time that `moved` bytes of input and output spend on their way from and to memory."""
        return moved * uncached_share(moved) * self.memory_rate(threads)

    def memory_rate(self, threads: int, *, fused: bool = False) -> float:
        """Seconds that memory adds for a byte that caches do not hold."""
        return self._of_threads(*(self.stream_seconds if fused else self.memory_seconds), threads)

    def check_time(self, numbers: float, threads: int, *, double: bool) -> float:
        """Time of looking for the largest of so many magnitudes: of memory or arithmetic, whichever takes longer."""
        moved = numbers * (8 if double else 4)
        reading = moved * uncached_share(moved / 2) * self._of_threads(*self.read_seconds, threads)
        return self.check_call_seconds + max(
            reading, self.work_seconds(numbers * self.check_seconds[double], threads)
        )

    def work_seconds(self, work: float, threads: int, share: float = 0.0) -> float:
        """Time of work that takes so many seconds on one thread; the slowest has this `share`; 0: an even one."""
        return work * (share or 1 / threads) * self._of_threads(1.0, self.thread_share, threads)

    def _of_threads(self, one: float, every: float, threads: int) -> float:
        """Between a value for one thread and that for all."""
        share = (threads - 1) / (self.threads - 1) if self.threads > 1 else 0.0
        return one + (every - one) * min(share, 1.0)

    def fft_point_seconds(self, points: float, *, double: bool) -> float:
        """Time of one point of a tile of `points` through both transforms, on one thread."""
        return interpolate(self.fft_seconds[double], points)


def uncached_share(moved: float) -> float:
    """Part of the bytes of arrays of so many that caches do not hold from one call to the next."""
    least, most = CACHED
    return min(max(math.log(max(moved, 1) / least) / math.log(most / least), 0.0), 1.0)


def shipped(vector_bytes: int) -> Machine:
    """The constants in `reference` for vectors of so many bytes, or of the next width that it knows."""
    known = sorted(reference.CONSTANTS)
    nearest = next((width for width in known if width >= vector_bytes), known[-1])
    steps, fields = reference.CONSTANTS[nearest]
    made = {**fields, "steps": tuple(Steps(**units) for units in steps)}
    return Machine(**made)


REFERENCE = shipped(host_target().vector_bytes)


def interpolate(table: Table, x: float) -> float:
    """Value of a table at `x`: linear in the logarithm of x, constant beyond the ends.

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


# ------------------------------------------------------------------------------- what is stored


def fingerprint(threads: int) -> dict[str, Any]:
    """What a calibration is valid for: versions, processor, number of threads."""
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
    """Model of the processor, as exactly as the system tells: what calibrations are told apart by."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    general = platform.machine() or "unknown"
    return model_in(text) or _sysctl("machdep.cpu.brand_string") or platform.processor() or general


def model_in(cpuinfo: str) -> str:
    """Models of the processors in the text of Linux' ``/proc/cpuinfo``; "" if it names none.

    On ARM they are numbers, and there may be several, as of fast and slow cores.

    Examples
    --------
    >>> model_in("model name : Intel(R) Xeon(R) Processor @ 2.80GHz")
    'Intel(R) Xeon(R) Processor @ 2.80GHz'
    """
    lines = [[part.strip() for part in line.split(":", 1)] for line in cpuinfo.splitlines() if ":" in line]
    names = dict.fromkeys(value for field, value in lines if field in _NAMES)  # of all cores, each once
    parts = dict.fromkeys(f"{field} {value}" for field, value in lines if field.startswith("CPU "))
    return ", ".join([*names, *parts])


_NAMES = ("model name", "cpu", "cpu model", "uarch")  # on x86 and others, on POWER, on MIPS, on RISC-V


def _sysctl(name: str) -> str:
    """A fact about macOS; "" elsewhere."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", name]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
            return done.stdout.strip()
    return ""


def stored_path(kind: str, key: dict[str, Any]) -> Path:
    """File of what was measured, a "machine" or "wisdom", under the fingerprint `key`."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return storage.root() / f"{kind}-{digest}.json"


def encoded(key: dict[str, Any], content: Any) -> bytes:
    """The bytes of a file with `content` and the fingerprint that it is valid for."""
    return json.dumps({"key": key, "content": content}, indent=1).encode()


def store(kind: str, key: dict[str, Any], content: Any) -> Path:
    """Keep what was measured, whole or not at all; the file."""
    storage.folder()
    path = stored_path(kind, key)
    storage.write(path, encoded(key, content))
    return path


def recall(kind: str, key: dict[str, Any], interpret: Callable[[Any], T]) -> T | None:
    """What `interpret` makes of what `store` kept; None if nothing is kept, or could be."""
    try:
        path = stored_path(kind, key)
    except OSError:
        return None
    return read_stored(path, key, interpret)


def read_stored(path: Path, key: dict[str, Any], interpret: Callable[[Any], T]) -> T | None:
    """What `interpret` makes of a stored content; None without a file.

    A file that cannot be understood, or was made for another fingerprint, is ignored with a RuntimeWarning:
    it costs predictions, never results.
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
    """Store a calibration and let `current` return it from now on."""
    path = store("machine", fingerprint(machine.threads), dataclasses.asdict(machine))
    forget()
    return path


_followers: list[Callable[[], None]] = []


def when_changed(call: Callable[[], None]) -> None:
    """Have `call` called whenever the constants change: for those who keep what they decided by them."""
    _followers.append(call)


def forget() -> None:
    """Read the constants anew at their next use, and tell everybody who kept something made of them."""
    current.cache_clear()
    _used.clear()
    for call in _followers:
        call()


def load(threads: int) -> Machine | None:
    """The stored calibration for `threads` threads on this machine, or None."""
    try:
        if not any(name.startswith("machine-") for name in os.listdir(storage.root())):
            return None  # and spare the first call of every process the look-up of versions
    except OSError:
        return None
    key = fingerprint(threads)
    return recall("machine", key, _machine_from)


def _machine_from(fields: dict[str, Any]) -> Machine:
    """A Machine from parsed JSON, every number positive and finite."""
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
    """A description of a field's nesting in which tables may have any length."""
    if not isinstance(value, tuple):
        return "number" if isinstance(value, int | float) else type(value).__name__
    kinds = [_shape(item) for item in value]
    if kinds[0] == "(number number)" and set(kinds) == {"(number number)"}:
        return "table"
    return f"({' '.join(kinds)})"


_SHAPES = {field.name: _shape(getattr(REFERENCE, field.name)) for field in dataclasses.fields(Machine)}


def use(machine: Machine) -> None:
    """Let `current` return these constants until `forget` is called, in this process only."""
    forget()
    _used[machine.threads] = machine


_used: dict[int, Machine] = {}


@functools.cache
def current(threads: int | None = None) -> Machine:
    """Constants for this process: the stored calibration for `threads` threads, or the reference.

    Parameters
    ----------
    threads : int, optional
        Threads that calls may use; all processors of the process by default.

    Returns
    -------
    Machine
    """
    count = threads or available_processors()
    stored = _used.get(count) or load(count)
    return stored if stored is not None else dataclasses.replace(REFERENCE, threads=count)


def available_processors() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
