"""Compiles the CPU kernels, and caches their machine code on disk.

Numba keys a disk cache by the file of the kernel itself, so an edit in another file would go unnoticed, and it
fails at decoration when no directory can be written.  Here the directory is keyed by everything that the machine
code depends on (all kernel sources, Numba, LLVM, the host's features), and a cache that cannot be used
costs one warning and nothing else.

What is kept is what Numba keeps: object code, pickled.  To load it is to run it, as with `__pycache__`, so `storage`
refuses a folder into which somebody else could put it.  A file whose checksum does not hold is as good as none.
Nothing on disk is touched before the first kernel is needed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite import binding
from numba.core import caching, config, serialize
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime import rtsys

from ..system import forks, notice, storage
from .compiler import DriverCompiler, KernelCompiler, uncollected

SOURCES = (
    "cpu/compiler.py",
    "cpu/jit.py",
    "cpu/intrinsics/*.py",
    "cpu/kernels/*.py",
    "nn/kernels/*.py",
    "arguments/boundary.py",
    "lowering/target.py",
    "system/*.py",
)  # of the package: kernels, and all that they import

# kernels allocate nothing, so they need no reference counts: `_nrt` off leaves the atomics out of the loops
_COMMON = {"nogil": True, "error_model": "numpy", "boundscheck": None}
_LEAN = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


@functools.cache
def source_key() -> str | None:
    """Hash of all that the machine code depends on besides its signature; None without sources to read."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    try:
        for pattern in SOURCES:
            paths = sorted(package.glob(pattern))
            if not paths:  # in a zip file, or compiled files only
                return None
            for path in paths:
                digest.update(path.name.encode())
                digest.update(path.read_bytes())
    except OSError:
        return None
    options = (
        "BOUNDSCHECK",
        "OPT",
        "DEBUG",
        "DEBUGINFO_DEFAULT",
        "LOOP_VECTORIZE",
        "SLP_VECTORIZE",
        "ENABLE_AVX",
    )
    versions = (
        sys.version_info[:2],
        numba.__version__,
        llvmlite.__version__,
        config.CPU_NAME,
        config.CPU_FEATURES,
        [str(getattr(config, option, None)) for option in options],
    )
    digest.update(repr(versions).encode())
    return digest.hexdigest()[:20]


SOURCE_KEY = source_key()  # of the sources that were imported, not of what they may become


@functools.cache
def cache_directory() -> Path | None:
    """Where machine code is kept, or None (after one warning) if there can be no such place."""
    if os.environ.get("NUMBASEP_CACHE", "1") == "0" or config.DISABLE_JIT or SOURCE_KEY is None:
        return None
    try:
        return storage.folder("kernels", SOURCE_KEY)
    except OSError as error:
        storage.warn_once(error)
        return None


class _Locator:
    """Tells Numba's cache where a kernel's files are and that only the directory decides staleness."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return "numbasep"  # `_Files` knows where, later

    def get_source_stamp(self) -> str:
        return str(SOURCE_KEY)

    def get_disambiguator(self) -> str:
        return str(self._line)

    def ensure_cache_path(self) -> None:
        pass

    @classmethod
    def from_function(cls, function: Callable[..., Any], path: str) -> _Locator:  # noqa: ARG003 - Numba's signature
        return cls(function)


class _CacheImplementation(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 - Numba's name


class _Files:
    """One file for each kernel and signature: checksum, then what Numba pickles.

    Numba keeps all signatures of a function in one index and numbers the data files, so processes that compile
    at the same time can give one number to two signatures and load each other's machine code.
    """

    def _path(self, directory: Path, key: Any) -> Path:
        return directory / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"

    def save(self, key: Any, data: Any) -> None:
        """Write whole or not at all; the last of several processes wins."""
        directory = cache_directory()
        if directory is None:
            return
        content = serialize.dumps(data)
        path = self._path(directory, key)
        try:
            storage.write(path, hashlib.sha256(content).digest() + content)
        except PermissionError:
            if _content(path) is None:  # else another process holds it open on Windows, and it is as good
                raise

    def load(self, key: Any) -> Any:
        """What was saved, or None if there is nothing or it is damaged."""
        directory = cache_directory()
        content = _content(self._path(directory, key)) if directory is not None else None
        return pickle.loads(content) if content is not None else None


def _content(path: Path) -> bytes | None:
    """What a file was given to keep; None without a file, or if the checksum does not hold."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, content = content[:32], content[32:]
    return content if hashlib.sha256(content).digest() == checksum else None


def _python_function(thing: Any) -> Any:
    """What Numba made a kernel or an intrinsic from; anything else as it is."""
    return getattr(thing, "py_func", getattr(thing, "_defn", thing))


def closed_over(function: Any) -> tuple[str, ...]:
    """What a function made in a factory has been given: the same words in every process.

    Numba pickles these things for its key.  Pickled functions carry a number that is drawn in each process, so that
    a kernel made of other kernels would never be found again.
    """
    words: list[str] = []
    for cell in _python_function(function).__closure__ or ():
        thing = cell.cell_contents
        inner = _python_function(thing)
        if hasattr(inner, "__code__"):
            words += [f"{inner.__module__}.{inner.__qualname__}", *closed_over(inner)]
        elif isinstance(thing, (int, float, str, bytes, tuple)) or hasattr(thing, "suffix"):
            words.append(repr(thing))
        else:
            raise TypeError(f"a kernel closes over {thing!r}, which has no name that lasts")
    return tuple(words)


def _undefined(library: Any) -> list[str]:
    """Symbols that the machine code of a kernel expects to find in the process."""
    module = library._final_module
    named = [*module.functions, *module.global_variables]
    return [thing.name for thing in named if thing.is_declaration and not thing.name.startswith("llvm.")]


def _resolved(symbols: Iterable[str]) -> bool:
    """Whether the process has all these symbols; LLVM would end it for one that it has not."""
    return all(binding.address_of_symbol(name) for name in symbols)


class _KernelCache(caching.FunctionCache):
    """Numba's function cache in our directory; a file that cannot be read or written is never an error."""

    _impl_class = _CacheImplementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _Files()
        self._base = f"{function.__module__}.{function.__qualname__}"

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (self._base, sig, codegen.magic_tuple(), closed_over(self._py_func))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if cache_directory() is None:  # after a warning, which may be an error
            return None
        try:
            return self._load_overload(sig, target_context)
        except Exception:
            return None

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        """Without Numba's registries, which take 0.3 s to fill and which only compiling needs."""
        kept = self._cache_file.load(self._index_key(sig, target_context.codegen()))
        if kept is None:
            return None
        symbols, data = kept
        if not _resolved(symbols):
            rtsys.initialize(target_context)  # 0.03 s, and enough for those that count references
        if not _resolved(symbols):
            target_context.refresh()
        return self._impl.rebuild(target_context, data)

    def _save_overload(self, sig: Any, data: Any) -> None:
        if self._impl.check_cachable(data):
            key = self._index_key(sig, data.codegen)
            self._cache_file.save(key, (_undefined(data.library), self._impl.reduce(data)))

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            storage.warn_once(error)


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C wait: LLVM calls Python through ctypes, which would swallow the KeyboardInterrupt."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    caught: list[Any] = []
    signal.signal(signal.SIGINT, lambda *arguments: caught.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            handler(*caught[0])


def named(suffix: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function made in a factory a name of its own.

    Numba tells such functions apart by a count that starts anew in every process, so machine code from two processes
    can carry one symbol for two kernels.  Apply it before `kernel`.
    """

    def rename(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__name__ += suffix
        function.__qualname__ = function.__qualname__.replace(".<locals>.", "_") + suffix
        return function

    return rename


forks.delay_forks(global_compiler_lock)  # a child could never compile if another thread was compiling


def _compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    if config.DISABLE_JIT:
        return function
    dispatcher = numba.njit(**_COMMON, **options)(function)
    compile_now = dispatcher.compile

    def compile(signature: Any) -> Any:
        with notice.compiling(dispatcher), _interrupts_wait(), uncollected():
            return compile_now(signature)

    dispatcher.compile = compile
    dispatcher._cache = _KernelCache(function)
    return dispatcher


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that becomes part of its callers, so that LLVM sees and optimises it once for each of them."""
    return _compiled(function, inline="always", _nrt=False)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is called by address (see `address`): no Python, no GIL, no threads."""
    return _compiled(function, **_LEAN, pipeline_class=KernelCompiler)


def driver(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that calls others and has no long loops of its own: it compiles in less time."""
    return _compiled(function, **_LEAN, pipeline_class=DriverCompiler)


def serial(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that Python calls and that runs on the calling thread."""
    return _compiled(function, no_cfunc_wrapper=True, _nrt=False, pipeline_class=KernelCompiler)


def parallel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that Python calls and whose `prange` runs on Numba's threads."""
    return _compiled(function, parallel=True, no_cfunc_wrapper=True)


def address(function: Any, signature: tuple[Any, ...]) -> Any:
    """What `call` takes to run `function` compiled for `signature`; the function itself without the JIT.

    A kernel that is called by address is compiled once, not again inside each of its callers.
    """
    if config.DISABLE_JIT:
        return function
    if signature not in function.overloads:
        function.compile(signature)
    compiled = function.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
