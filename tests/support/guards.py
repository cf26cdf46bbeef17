"""Mutation tests: each guard against crashes, hangs and wrong results is removed, and a test must fail.

A guard is a piece of source text.  In a copy of the project it is replaced by the code without the guard, and the
guard's tests are run: they must pass with the guard and fail without it.

``python -m tests.support.guards --write benchmarks/results/guards.md`` tries all guards, in about ten minutes, and
writes the table; ``python -m tests.support.guards fork`` tries those with "fork" in their name.  `test_guards.py`
runs the quick ones.
"""

# ruff: noqa: T201 - a command line prints

import argparse
import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("numbasep", "tests", "benchmarks", "pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LIMIT = 400  # seconds for the tests of one guard


@dataclass(frozen=True)
class Guard:
    """A guard, the code without it, and the tests that must fail without it."""

    name: str
    """Failure that the guard prevents."""
    file: str
    """File of the package."""
    words: str
    """Source text of the guard, which occurs once in the file."""
    without: str
    """Source text that replaces it."""
    tests: str
    """Arguments for pytest."""
    quick: bool = False
    """Whether `test_guards.py` tries the guard."""
    patience: int = 60
    """Seconds after which the tests end a process that may hang; see `processes`."""


GUARDS = (
    Guard("threads: two at once abort in the layer workqueue", "cpu/threads.py",
          'self._locked = numba.threading_layer() not in ("omp", "tbb")', "self._locked = False",
          "tests/cpu/test_threads.py::test_four_threads_of_500_calls[workqueue]"),
    Guard("threads: callers side by side take all cores each", "cpu/threads.py",
          "return max(1, setting // (others + 1)) if others > 0 else setting", "return setting",
          "tests/cpu/test_threads.py -k share_the_cores", quick=True),
    Guard("threads: the caller's setting is lost", "cpu/threads.py",
          "if self._before != self._threads:\n                _functions()[1](self._before)", "pass",
          "tests/cpu/test_threads.py -k restored or left_alone", quick=True),
    Guard("fork: GNU OpenMP ends or hangs a child", "cpu/threads.py",
          "_serial = _serial or (_launched() and not _survives_fork())", "_serial = False",
          "tests/cpu/test_threads.py::test_fork_after_parallel_calls[omp]"),
    Guard("fork: a lock that another thread held", "system/forks.py",
          "        in_children(lock._at_fork_reinit)\n", "        pass\n",
          "tests/cpu/test_threads.py -k holds_every_lock"),
    Guard("fork: while Numba compiles in another thread", "cpu/jit.py",
          "forks.delay_forks(global_compiler_lock)", "str(global_compiler_lock)",
          "tests/cpu/test_threads.py -k holds_every_lock"),
    Guard("cache: one bit of a file is wrong", "cpu/jit.py",
          "if hashlib.sha256(content).digest() == checksum else None", "if content else None",
          "tests/system/test_cache.py -k damaged"),
    Guard("cache: no directory can be made", "cpu/jit.py",
          "    except OSError as error:\n        storage.warn_once(error)",
          "    except ZeroDivisionError as error:\n        storage.warn_once(error)",
          "tests/system/test_cache.py -k unusable_directory", quick=True),
    Guard("cache: the disk is full", "cpu/jit.py",
          "            super().save_overload(sig, data)\n        except Exception as error:",
          "            super().save_overload(sig, data)\n        except ZeroDivisionError as error:",
          "tests/system/test_cache.py -k full_disk"),
    Guard("cache: a home without a folder for caches", "system/storage.py",
          "        _create(path.parent)\n        path.mkdir", "        path.mkdir",
          "tests/system/test_storage.py -k new_home", quick=True),
    Guard("cache: a relative XDG_CACHE_HOME", "system/storage.py",
          "base if base.is_absolute() else", "base if str(base) else",
          "tests/system/test_storage.py -k desktop"),
    Guard("cache: one warning for each thing that cannot be kept", "system/storage.py",
          "        if _warned:\n            return\n", "",
          "tests/system/test_storage.py -k full_disk"),
    Guard("windows: a file that another process has open", "system/storage.py",
          'PAUSES if sys.platform == "win32" else ()', "()",
          "tests/system/test_storage.py -k others_have_open"),
    Guard("windows: a lock without the method of fork", "system/forks.py",
          '    if hasattr(lock, "_at_fork_reinit"):', "    if lock:",
          "tests/system/test_without_posix.py -k next_process"),
    Guard("windows: a result that is still mapped", "files/formats.py",
          "yield Mapped(partial, dtype, shape, np.lib.format.open_memmap(partial, \"w+\", dtype, shape).offset)",
          "mapped = np.lib.format.open_memmap(partial, \"w+\", dtype, shape)\n"
          "            yield Mapped(partial, dtype, shape, mapped.offset)",
          "tests/system/test_without_posix.py -k command_line"),
    Guard("cache: deleted while running", "system/storage.py",
          "        _create(path.parent)\n        handle", "        handle",
          "tests/system/test_cache.py -k deleted_while_running"),
    Guard("cache: a source file was edited", "cpu/jit.py",
          "            digest.update(path.read_bytes())\n", "",
          "tests/system/test_cache.py -k edited_source"),
    Guard("cache: kernels of several processes under one name", "cpu/jit.py",
          "        function.__name__ += suffix\n        function.__qualname__ = "
          'function.__qualname__.replace(".<locals>.", "_") + suffix\n', "",
          "tests/system/test_cache_across_processes.py"),
    Guard("security: everybody may put machine code there", "system/storage.py",
          "        _create(path)\n        _check_owner(path)\n    return", "        _create(path)\n    return",
          "tests/system/test_cache.py -k others_control", quick=True),
    Guard("security: a malformed file of measurements", "planning/machine.py",
          "        RecursionError,\n    ) as error:", "    ) as error:",
          "tests/planning/test_measure.py -k hostile", quick=True),
    Guard("security: wisdom with times that are none", "plans/measure.py",
          "if not all(isinstance(t, float) and 0 < t < math.inf for t in times.values()):", "if False:",
          "tests/planning/test_measure.py -k broken_wisdom", quick=True),
    Guard("signals: a long call runs in one piece", "cpu/pass_request.py",
          "BATCH_WORK // (parts.strip * parts.tile * p.work)", "(1 << 60)",
          "tests/system/test_signals.py -k test_batches_give"),
    Guard("signals: Ctrl-C while LLVM compiles", "cpu/jit.py",
          "with notice.compiling(dispatcher), _interrupts_wait(), uncollected():",
          "with notice.compiling(dispatcher), uncollected():",
          "tests/system/test_signals.py -k interrupt_of_the_compiler"),
    Guard("memory: too little for all tiles of a transform", "cpu/fft/overlap_save.py",
          "    _check_memory(problem, tiles, count)\n", "",
          "tests/cpu/test_memory.py -k shortage"),
    Guard("memory: slabs as large as the array", "lowering/chains.py",
          "min(window.out_size, SLAB_BYTES // max(numbers * self.item, 1))", "window.out_size",
          "tests/cpu/test_memory.py -k slabs_take_turns"),
    Guard("memory: plans are kept for ever", "api/repeated_calls.py",
          "        if len(self._plans) >= self.LIMIT:\n            self._plans.clear()\n", "",
          "tests/api/test_repeats.py -k remembered_calls", quick=True),
    Guard("memory: the workspace of a plan is understated", "planning/workspace.py",
          "return itemsize * (4 * tiles.batch * threads) + 40 * tiles.points + (64 << 10)", "return 0",
          "tests/cpu/test_memory.py -k stay_within_the_stated"),
    Guard("files: two blocks write to one chunk at once", "adapters/out_of_core.py",
          "writing: Any = nullcontext() if blocks.apart else threading.Lock()", "writing: Any = nullcontext()",
          "tests/cli/test_file_strides.py -k take_turns", quick=True),
    Guard("values: NaN and infinity spread in transforms", "execution/execute.py",
          "    if not choice.chosen.needs_finite or plan.problem.integer_data:\n", "    if True:\n",
          "tests/api/test_values.py -k footprint"),
    Guard("values: a spike beside the bound of transforms", "planning/rounding.py",
          "return (transforms * levels * ROUNDINGS_PER_LEVEL + 4 * parts) * u", "return 0.0 * u",
          "tests/api/test_values.py -k spike"),
    Guard("values: sums of float64 numbers in float32", "arguments/problem.py",
          'single = input_dtype.char in _SMALL | {"f", "F"} and output_dtype.char in _SMALL | {"f", "F"}',
          "single = True",
          "tests/api/test_values.py -k any_scale"),
    Guard("bounds: rows shorter than a block", "lowering/access.py",
          " or width < least\n", "\n",
          "tests/cpu/test_bounds.py -k guard_pages", patience=240),
    Guard("bounds: a block of vertical sums that ends behind the rows", "cpu/kernels/vertical.py",
          "begin = min(first + at, last)", "begin = first + at",
          "tests/cpu/test_bounds.py -k guard_pages", patience=240),
    Guard("input: True is taken for 1 after a call with 1", "api/repeated_calls.py",
          "names, known, kinds, x.shape", "names, known, x.shape",
          "tests/api/test_bad_input_everywhere.py -k no_number_of_workers", quick=True),
    Guard("input: the output is written while the input is read", "arguments/arrays.py",
          " and not np.may_share_memory(output, input)", "",
          "tests/api/test_api_convolve.py -k overlapping_output"),
    Guard("bits: the route depends on who else is filtering", "nn/routes.py",
          "ordinary_route(problem, filters[0], method, rtol, threads.most())",
          "ordinary_route(problem, filters[0], method, rtol, threads.thread_count(None))",
          "tests/cpu/test_same_bits.py -k who_else", quick=True),
    Guard("cuda: workspace of unknown libraries made on another stream than it is used on", "cuda/other_libraries.py",
          "return DeviceMemory(self._device(view), shape, dtype, view.stream)",
          "return DeviceMemory(self._device(view), shape, dtype, 1)",
          "tests/cuda/test_cuda_libraries.py -k ready_on and pair"),
    Guard("cuda: results of unknown libraries waited for on another stream", "cuda/other_libraries.py",
          "self._device.wait(self.stream)", "self._device.wait()",
          "tests/cuda/test_cuda_libraries.py -k ready_on and pair"),
    Guard("cuda: memory of unknown libraries freed before its launches", "cuda/other_libraries.py",
          "device.free(address, stream[0])", "device.free(address)",
          "tests/cuda/test_cuda_libraries.py -k ready_on and pair"),
    Guard("cuda: JAX's arrays read before they are computed", "cuda/other_libraries.py",
          'and (ordered or not hasattr(array, "__dlpack__"))', "",
          "tests/cuda/test_cuda_libraries.py -k nothing_of_order"),
    Guard("cuda: subclasses of tensors on another stream than PyTorch's", "cuda/libraries.py",
          "type(array).__mro__", "type(array).__mro__[:1]", "tests/cuda/test_cuda_libraries.py -k subclasses"),
    Guard("cuda: conjugates that PyTorch has not taken yet", "cuda/arrays.py",
          " and not array.is_conj() and not array.is_neg()", "", "tests/cuda/test_cuda_torch.py -m cudasim"),
    Guard("cuda: weights whose negative PyTorch has not taken yet", "cuda/arrays.py",
          "array.detach().resolve_conj().resolve_neg().cpu()", "array.detach().cpu()",
          "tests/cuda/test_cuda_torch.py -m cudasim"),
    Guard("cuda: results deleted after the interpreter's end", "cuda/dlpack.py",
          "_Managed.from_address(place).deleter = _FREE", "pass", "tests/cuda/test_cuda_libraries.py -k outlive"),
    Guard("cuda: first calls that spoil a capture", "cuda/driver.py",
          "if self._device.is_captured(stream):", "if False:", "tests/cuda/test_cuda_libraries.py -k first_calls"),
    Guard("cuda: tables freed while a stream is captured", "cuda/driver.py",
          "        self._retired.append(address)", "        self._driver.cuMemFree(address)",
          "tests/cuda/test_cuda_libraries.py -k plans_that_are_gone"),
    Guard("cuda: a fork that is not named", "cuda/driver.py",
          "raise CudaUnavailableError(FORKED)", "pass", "tests/cuda/test_cuda_libraries.py -k forked"),
    Guard("cuda: the address 0 looked up", "cuda/driver.py",
          "if device_count() == 1 or not address:", "if device_count() == 1:",
          "tests/cuda/test_cuda_libraries.py -k without_elements"),
    Guard("cuda: a default stream that depends on the bindings", "cuda/driver.py",
          "LEGACY_STREAM = 1", "LEGACY_STREAM = 0", "tests/cuda/test_cuda_ptx.py -k takes_no_machine_code"),
    Guard("cuda: results freed on a stream that may be gone", "cuda/other_libraries.py",
          "        self._stream[0] = driver.LEGACY_STREAM\n", "", "tests/cuda/test_cuda_libraries.py -k in_order"),
    Guard("cuda: gradients of what is changed after the filter", "cuda/elementwise.py",
          "gradients.record(None, x, y)", "pass", "tests/cuda/test_cuda_gradients.py -m cudasim -k flow_through"),
    Guard("cuda: NaN through the transforms of a library", "cuda/run.py",
          "library.largest(array) <= choice.chosen.largest_sample", "True",
          "tests/cuda/test_cuda_torch.py -m cudasim -k not_finite"),
)  # fmt: skip


# --------------------------------------------------------------------------- running


@contextlib.contextmanager
def copied() -> Iterator[Path]:
    """Copy the project to a temporary directory."""
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, folder)
        yield Path(folder)


def outcome(folder: Path, guard: Guard) -> tuple[bool | None, str]:
    """Return whether the tests passed (None if none ran), and the reason in one line."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "",
        *_words(guard.tests),
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBASEP_TEST_PATIENCE": str(guard.patience)}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        text, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return False, "hangs"
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # also ends its children
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    if process.returncode == 0:
        passed = re.search(r"\d+ passed", text)
        return (True if passed else None), "passes" if passed else "skipped"
    if process.returncode == 5:
        return None, "no such test"
    return False, _reason(text, process.returncode)


def _words(tests: str) -> list[str]:
    paths, _, expression = tests.partition(" -k ")
    return [*paths.split(), *(["-k", expression] if expression else [])]


def _reason(text: str, code: int) -> str:
    """Return the reason why a test failed, in one line."""
    if code < 0:
        return f"the process is ended by {signal.Signals(-code).name}"
    raised = re.findall(r"^E +(\S.*)$", text, re.MULTILINE)
    if raised and "TimeoutExpired" in raised[0]:
        return "hangs"
    if raised and "exit code" in raised[0]:  # of a program: its last words
        return raised[-1][:110]
    return raised[0][:110] if raised else (text.strip().splitlines() or ["no output"])[-1][:110]


def without(folder: Path, guard: Guard) -> tuple[bool | None, str]:
    """Return the outcome with one guard removed; the file is restored afterwards."""
    path = folder / "numbasep" / guard.file
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace(guard.words, guard.without), encoding="utf-8")
    try:
        return outcome(folder, guard)
    finally:
        path.write_text(source, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try guards, print the results, and write the table if asked; return 1 if a removal was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.guards", description=__doc__)
    parser.add_argument("named", nargs="?", default="", help="guards whose name holds this")
    parser.add_argument("--write", type=Path, help="file for the table")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of shells ignore it
    chosen = [guard for guard in GUARDS if options.named in guard.name]
    rows, unnoticed = [], 0
    with copied() as folder:
        for guard in chosen:
            started = time.perf_counter()
            before, why = outcome(folder, guard)
            after, reason = without(folder, guard) if before else (None, why)
            noticed = before is True and after is False
            unnoticed += not noticed and before is not None
            verdict = "fails" if noticed else "could not run" if before is None else "NOT NOTICED"
            verdict = "FAILS WITH THE GUARD, TOO" if before is False else verdict
            print(f"{verdict}: {guard.name} ({time.perf_counter() - started:.0f} s): {reason}", flush=True)
            rows.append((guard, verdict, reason.replace("|", "\\|")))
    if options.write:
        before = options.write.read_text(encoding="utf-8") if options.named and options.write.exists() else ""
        options.write.write_text(table(rows, before), encoding="utf-8")
    return unnoticed > 0


def table(rows: Sequence[tuple[Guard, str, str]], before: str = "") -> str:
    """Return the table in Markdown; guards that were not tried keep their rows of the old table."""
    import numba
    import numpy as np

    lines = [
        "# Tests without the guards that they are for",
        "",
        "Written by `python -m tests.support.guards --write benchmarks/results/guards.md`: each guard is taken out of",
        "a copy of the source, and the tests that are there for it, which pass with the guard, run without it.",
        f"Python {platform.python_version()}, Numba {numba.__version__}, NumPy {np.__version__}.",
        "",
        "| what the guard prevents | in `numbasep/` | tests | without the guard |",
        "|---|---|---|---|",
    ]
    known = {line.split(" | ")[0][2:]: line for line in before.splitlines() if line.startswith("| ")}
    for guard, verdict, reason in rows:
        tests = guard.tests.replace("tests/", "")
        known[guard.name] = f"| {guard.name} | `{guard.file}` | `{tests}` | {verdict}: `{reason}` |"
    lines += [known[guard.name] for guard in GUARDS if guard.name in known]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
