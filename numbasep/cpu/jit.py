"""Compiles the CPU kernels, and caches their machine code on disk.

Numba's disk cache depends on the file of the kernel only, so edits of the files that it imports go unnoticed, and it
raises at decoration if no directory is writable.  Here the name of the directory is a hash of everything that the
machine code depends on (all kernel sources, Numba, LLVM, the features of the processor), and an unusable cache causes
one warning and nothing else.

Files contain pickled object code, as those of Numba do.  Loading one runs it, as with `__pycache__`, so `storage`
refuses a folder that other users can write to.  A file with a wrong checksum is ignored.  The disk is not accessed
before the first kernel is needed.
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
)  # files of the package: kernels, and all that they import

# kernels allocate nothing, so they need no reference counts: `_nrt` off leaves the atomics out of the loops
_COMMON = {"nogil": True, "error_model": "numpy", "boundscheck": None}
_LEAN = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


@functools.cache
def source_key() -> str | None:
    """Return a hash of all that machine code depends on besides its signature; None without readable sources."""
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


SOURCE_KEY = source_key()  # at import, as the files may change later


@functools.cache
def cache_directory() -> Path | None:
    """Return the directory of the cache; None if the cache is off or, after one warning, unusable."""
    if os.environ.get("NUMBASEP_CACHE", "1") == "0" or config.DISABLE_JIT or SOURCE_KEY is None:
        return None
    try:
        return storage.folder("kernels", SOURCE_KEY)
    except OSError as error:
        storage.warn_once(error)
        return None


class _Locator:
    """Locator for Numba's cache, which makes the directory alone decide whether files are stale."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return "numbasep"  # unused: `_Files` asks for the directory when it is needed

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
    """Files of the cache, one for each kernel and signature: a checksum, then the data that Numba pickles.

    Numba lists all signatures of a function in one index file and numbers the data files, so processes that compile
    at the same time can give one number to two signatures and load each other's machine code.
    """

    def _path(self, directory: Path, key: Any) -> Path:
        return directory / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"

    def save(self, key: Any, data: Any) -> None:
        """Write a file atomically; the last of several processes wins."""
        directory = cache_directory()
        if directory is None:
            return
        content = serialize.dumps(data)
        path = self._path(directory, key)
        try:
            storage.write(path, hashlib.sha256(content).digest() + content)
        except PermissionError:
            if _content(path) is None:  # Windows: a valid file that another process has open is kept
                raise

    def load(self, key: Any) -> Any:
        """Return the saved data, or None if the file is missing or damaged."""
        directory = cache_directory()
        content = _content(self._path(directory, key)) if directory is not None else None
        return pickle.loads(content) if content is not None else None


def _content(path: Path) -> bytes | None:
    """Return the content of a file without its checksum; None if the file is missing or the checksum is wrong."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, content = content[:32], content[32:]
    return content if hashlib.sha256(content).digest() == checksum else None


def _python_function(value: Any) -> Any:
    """Return the Python function of a kernel or an intrinsic; any other object is returned as it is."""
    return getattr(value, "py_func", getattr(value, "_defn", value))


def closed_over(function: Any) -> tuple[str, ...]:
    """Return the variables that a function closes over, as strings that are the same in every process.

    Numba's key contains them pickled.  Pickled kernels contain a random number of the process, so a kernel that closes
    over other kernels would never be found in the cache.
    """
    names: list[str] = []
    for cell in _python_function(function).__closure__ or ():
        value = cell.cell_contents
        inner = _python_function(value)
        if hasattr(inner, "__code__"):
            names += [f"{inner.__module__}.{inner.__qualname__}", *closed_over(inner)]
        elif isinstance(value, (int, float, str, bytes, tuple)) or hasattr(value, "suffix"):
            names.append(repr(value))
        else:
            raise TypeError(f"a kernel closes over {value!r}, which has no name that lasts")
    return tuple(names)


def _undefined(library: Any) -> list[str]:
    """Return the symbols that the machine code of a kernel imports from the process."""
    module = library._final_module
    named = [*module.functions, *module.global_variables]
    return [symbol.name for symbol in named if symbol.is_declaration and not symbol.name.startswith("llvm.")]


def _resolved(symbols: Iterable[str]) -> bool:
    """Return whether the process defines all these symbols; LLVM aborts the process if one is missing."""
    return all(binding.address_of_symbol(name) for name in symbols)


class _KernelCache(caching.FunctionCache):
    """Numba's function cache with our files; failure to read or write a file is never an error."""

    _impl_class = _CacheImplementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _Files()
        self._base = f"{function.__module__}.{function.__qualname__}"

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (self._base, sig, codegen.magic_tuple(), closed_over(self._py_func))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if cache_directory() is None:  # outside `try`, as its warning may be an error
            return None
        try:
            return self._load_overload(sig, target_context)
        except Exception:
            return None

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load machine code without filling Numba's registries, which takes 0.3 s and only compilation needs."""
        kept = self._cache_file.load(self._index_key(sig, target_context.codegen()))
        if kept is None:
            return None
        symbols, data = kept
        if not _resolved(symbols):
            rtsys.initialize(target_context)  # takes 0.03 s, and suffices for kernels that count references
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
    """Delay Ctrl-C: LLVM calls Python through ctypes, which would swallow the KeyboardInterrupt."""
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
    """Return a decorator that makes the name of a function from a factory unique; apply it before `kernel`.

    Numba distinguishes such functions by a counter that starts anew in every process, so in machine code from two
    processes one symbol can belong to two kernels.
    """

    def rename(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__name__ += suffix
        function.__qualname__ = function.__qualname__.replace(".<locals>.", "_") + suffix
        return function

    return rename


forks.delay_forks(global_compiler_lock)  # a child could never compile if a thread of its parent held the lock


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
    """Compile a function that is inlined into its callers before LLVM optimises them."""
    return _compiled(function, inline="always", _nrt=False)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that is called by address (see `address`), without Python objects, GIL or threads."""
    return _compiled(function, **_LEAN, pipeline_class=KernelCompiler)


def driver(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel that calls others and has no long loops itself: fewer optimisations, less compile time."""
    return _compiled(function, **_LEAN, pipeline_class=DriverCompiler)


def serial(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that Python calls and that runs on the calling thread."""
    return _compiled(function, no_cfunc_wrapper=True, _nrt=False, pipeline_class=KernelCompiler)


def parallel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that Python calls and whose `prange` runs on Numba's threads."""
    return _compiled(function, parallel=True, no_cfunc_wrapper=True)


def address(function: Any, signature: tuple[Any, ...]) -> Any:
    """Compile `function` for `signature` and return its address for `call`; the function itself without the JIT.

    A kernel that is called by address is compiled once, and not again within each of its callers.
    """
    if config.DISABLE_JIT:
        return function
    if signature not in function.overloads:
        function.compile(signature)
    compiled = function.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
