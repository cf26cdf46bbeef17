"""The cache directory, for machine code, calibrations and wisdom.

Only this module decides where the directory is, creates it, checks its owner and writes to it.  Failures raise OSError
with the name of the folder or file.  A lost cache costs time, but never changes results.
"""

import contextlib
import os
import stat
import sys
import tempfile
import time
import warnings
from pathlib import Path

from .forks import fork_safe_lock

DIRECTORY_VARIABLE = "NUMBASEP_CACHE_DIR"
PAUSES = (0.01, 0.05, 0.2, 0.0)  # seconds between attempts to replace a file that another process has open

_lock = fork_safe_lock()
_warned = False


def root() -> Path:
    """Return the absolute path of the cache directory, which may not exist yet.

    It is NUMBASEP_CACHE_DIR, or by default in the system's directory for caches.

    Raises
    ------
    OSError
        If there is no home directory.
    """
    if given := os.environ.get(DIRECTORY_VARIABLE):
        return Path(given).absolute()
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "numbasep"
    variable, default = (
        ("LOCALAPPDATA", "AppData/Local") if sys.platform == "win32" else ("XDG_CACHE_HOME", ".cache")
    )
    base = Path(os.environ.get(variable, ""))
    # the XDG Base Directory Specification requires that relative paths are ignored
    return (base if base.is_absolute() else _home() / default) / "numbasep"


def _home() -> Path:
    try:
        home = Path.home()
    except (RuntimeError, KeyError) as error:  # HOME is not set, and the user is not in the password database
        raise FileNotFoundError("this user has no home directory") from error
    if not home.is_absolute():
        raise FileNotFoundError(f"the home directory {str(home)!r} is not an absolute path")
    return home


def folder(*names: str) -> Path:
    """Return a folder below `root`, which is created for this user alone if it is missing.

    Raises
    ------
    OSError
        If it cannot be created, or if other users could write to it.
    """
    path = root()
    _create(path)
    _check_owner(path)
    for name in names:
        path = path / name
        _create(path)
        _check_owner(path)
    return path


def _create(path: Path) -> None:
    """Create a folder and its missing parents; other processes may do the same concurrently."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        if path.parent == path:
            raise
        _create(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _check_owner(path: Path) -> None:
    """Raise PermissionError if another user could put machine code into the folder."""
    if not hasattr(os, "geteuid"):  # Windows, where other users cannot write to a profile
        return
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise PermissionError(f"{path} belongs to user {found.st_uid}")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise PermissionError(f"{path} can be written by every user")


def write(path: Path, content: bytes) -> None:
    """Write a file atomically; if several processes do, the last one wins.

    Parameters
    ----------
    path : Path
        The file.  Its folder is created if it is missing, since users may delete it.
    content : bytes
        Content of the file.

    Raises
    ------
    OSError
        If the file cannot be written; no partial file is left then.
    """
    try:
        _create(path.parent)
        handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            _replace(draft, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace(draft: str, path: Path) -> None:
    """Call `os.replace`; retry on Windows, where an open file cannot be replaced."""
    for pause in PAUSES if sys.platform == "win32" else ():
        try:
            os.replace(draft, path)
            return
        except PermissionError:
            time.sleep(pause)
    os.replace(draft, path)


def warn_once(reason: object) -> None:
    """Warn that machine code cannot be cached and say what to do, at most once per process."""
    global _warned
    with _lock:
        if _warned:
            return
        _warned = True  # set before the warning, which may be turned into an error
    warnings.warn(
        f"numbasep cannot keep its machine code and compiles it again in every process: {reason}. "
        f"Set {DIRECTORY_VARIABLE} to a directory that you own, or NUMBASEP_CACHE=0 to silence this.",
        RuntimeWarning,
        stacklevel=3,
    )
