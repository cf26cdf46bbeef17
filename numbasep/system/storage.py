"""The cache directory: machine code, calibrations and wisdom.

Nothing else decides where that is, creates it, checks whose it is or writes into it.  What goes wrong here is an
OSError that names the folder or the file.  Losing what is kept costs time, never results.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
import time
import warnings
from pathlib import Path

from .forks import lasting_lock

DIRECTORY_VARIABLE = "NUMBASEP_CACHE_DIR"
PAUSES = (0.01, 0.05, 0.2, 0.0)  # seconds between attempts to replace a file that another process has open

_lock = lasting_lock()
_warned = False


def root() -> Path:
    """The folder below which everything is kept, which may not exist: an absolute path.

    It is NUMBASEP_CACHE_DIR, or where the system wants caches to be.

    Raises
    ------
    OSError
        If there is no home directory to put it in.
    """
    if given := os.environ.get(DIRECTORY_VARIABLE):
        return Path(given).absolute()
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "numbasep"
    variable, default = (
        ("LOCALAPPDATA", "AppData/Local") if sys.platform == "win32" else ("XDG_CACHE_HOME", ".cache")
    )
    base = Path(os.environ.get(variable, ""))
    # the XDG Base Directory Specification wants relative paths to be ignored
    return (base if base.is_absolute() else _home() / default) / "numbasep"


def _home() -> Path:
    try:
        home = Path.home()
    except (RuntimeError, KeyError) as error:  # HOME is not set, and the user is in no list of users
        raise FileNotFoundError("this user has no home directory") from error
    if not home.is_absolute():
        raise FileNotFoundError(f"the home directory {str(home)!r} is not an absolute path")
    return home


def folder(*names: str) -> Path:
    """The folder of these names below `root`, for this user alone; it is created if it is missing.

    Raises
    ------
    OSError
        If it cannot be created, or if somebody else could put files into it.
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
    """Create a folder and what is missing above it; another process may do the same at the same time."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        if path.parent == path:
            raise
        _create(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _check_owner(path: Path) -> None:
    """Refuse a folder into which somebody else could put machine code."""
    if not hasattr(os, "geteuid"):  # on Windows, a profile is closed to other users
        return
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise PermissionError(f"{path} belongs to user {found.st_uid}")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise PermissionError(f"{path} can be written by every user")


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; of several processes that do, the last wins.

    Parameters
    ----------
    path : Path
        The file.  Its folder is created if it is missing: somebody may have tidied up.
    content : bytes
        What it shall hold.

    Raises
    ------
    OSError
        If that is impossible; nothing is left behind then.
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
    """`os.replace`, with some patience on Windows, where a file that is open anywhere cannot be replaced."""
    for pause in PAUSES if sys.platform == "win32" else ():
        try:
            os.replace(draft, path)
            return
        except PermissionError:
            time.sleep(pause)
    os.replace(draft, path)


def warn_once(reason: object) -> None:
    """Say that machine code cannot be kept, and what to do; once a process, whatever else goes wrong."""
    global _warned
    with _lock:
        if _warned:
            return
        _warned = True  # before the warning, which may be an error
    warnings.warn(
        f"numbasep cannot keep its machine code and compiles it anew in every process: {reason}. "
        f"Set {DIRECTORY_VARIABLE} to a directory of yours, or NUMBASEP_CACHE=0 to silence this.",
        RuntimeWarning,
        stacklevel=3,
    )
