"""How every CPU kernel is compiled, and where its machine code is kept.

Numba keys a disk cache by the file of the kernel itself, so an edit in another file would go unnoticed, and it
fails at decoration when no directory can be written.  Here the directory is keyed by everything that the machine
code depends on (all kernel sources, Numba, LLVM, the host's features), and a cache that cannot be used
costs one warning and nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import caching, config

# kernels allocate nothing, so they need no reference counts: `_nrt` off leaves the atomics out of the loops
_COMMON = {"nogil": True, "error_model": "numpy", "boundscheck": None}
_LEAN = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def cache_root() -> Path:
    """The directory below which numbasep keeps machine code and measurements."""
    named = os.environ.get("NUMBASEP_CACHE_DIR")
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", tempfile.gettempdir())) / "numbasep" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "numbasep"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numbasep"


@functools.cache
def source_key() -> str:
    """Hash of all that the machine code depends on besides its signature."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in [here.parent / "boundary.py", *sorted(here.glob("*.py"))]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    versions = (
        sys.version_info[:2],
        numba.__version__,
        llvmlite.__version__,
        config.CPU_NAME,
        config.CPU_FEATURES,
    )
    digest.update(repr(versions).encode())
    return digest.hexdigest()[:20]


SOURCE_KEY = source_key()  # of the sources that were imported, not of what they may become


@functools.cache
def cache_directory() -> Path | None:
    """Where machine code is kept, or None (after one warning) if nothing can be written there."""
    if os.environ.get("NUMBASEP_CACHE", "1") == "0" or config.DISABLE_JIT:
        return None
    path = cache_root() / "kernels" / source_key()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"numbasep compiles anew in every process: {path} cannot be written ({error}). "
            "Set NUMBASEP_CACHE_DIR to a writable directory, or NUMBASEP_CACHE=0 to silence this.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


class _Locator:
    """Tells Numba's cache where a kernel's files are and that only the directory decides staleness."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(cache_directory())

    def get_source_stamp(self) -> str:
        return source_key()

    def get_disambiguator(self) -> str:
        return str(self._line)

    def ensure_cache_path(self) -> None:
        Path(self.get_cache_path()).mkdir(parents=True, exist_ok=True)

    @classmethod
    def from_function(cls, function: Callable[..., Any], path: str) -> _Locator:  # noqa: ARG003 - Numba's signature
        return cls(function)


class _CacheImplementation(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 - Numba's name


class _KeyedFiles(caching.IndexDataCacheFile):
    """One index and one data file for each kernel and signature.

    Numba keeps all signatures of a function in one index and numbers the data files, so processes that compile
    at the same time can give one number to two signatures and load each other's machine code.
    """

    def _files(self, key: Any) -> caching.IndexDataCacheFile:
        name = hashlib.sha256(repr(key).encode()).hexdigest()[:24]
        return caching.IndexDataCacheFile(self._cache_path, name, self._source_stamp)

    def save(self, key: Any, data: Any) -> None:
        self._files(key).save(key, data)

    def load(self, key: Any) -> Any:
        return self._files(key).load(key)


class _KernelCache(caching.FunctionCache):
    """Numba's function cache in our directory; a file that cannot be read or written is never an error."""

    _impl_class = _CacheImplementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        base = f"{function.__module__}.{function.__qualname__}"
        self._cache_file = _KeyedFiles(self._cache_path, base, source_key())
        self._base = base

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (self._base, *super()._index_key(sig, codegen))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _warn_once(f"numbasep could not keep its machine code: {error}")


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


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


def _compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    if config.DISABLE_JIT:
        return function
    dispatcher = numba.njit(**_COMMON, **options)(function)
    if cache_directory() is not None:
        dispatcher._cache = _KernelCache(function)
    return dispatcher


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that becomes part of its callers, so that LLVM sees and optimises it once for each of them."""
    return _compiled(function, inline="always", _nrt=False)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is called by address (see `address`): no Python, no GIL, no threads."""
    return _compiled(function, **_LEAN)


def serial(function: Callable[..., Any]) -> Callable[..., Any]:
    """A driver that runs on the calling thread."""
    return _compiled(function, no_cfunc_wrapper=True, _nrt=False)


def parallel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A driver whose `prange` runs on Numba's threads."""
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
