"""Processes like those on Windows: without what only POSIX has, and open files cannot be replaced.

`strip` removes POSIX, after NumPy, Numba and SciPy are imported, as their versions for Windows do not need it;
`environment` makes every process start with it.  ``python -m tests.support.without_posix PART FOLDER`` runs a part of
`PARTS` and prints how many kernels it compiled.  The effects of a compiler or a C library of Windows are not
tested.
"""

import builtins
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# What Windows also has, by the documentation of Python.
OS = """
DirEntry F_OK O_APPEND O_BINARY O_CREAT O_EXCL O_RANDOM O_RDONLY O_RDWR O_TEXT O_TRUNC O_WRONLY P_NOWAIT
P_NOWAITO P_WAIT PathLike R_OK SEEK_CUR SEEK_END SEEK_SET TMP_MAX W_OK X_OK abc abort access altsep chdir
chmod close closerange cpu_count curdir defpath device_encoding devnull dup dup2 environ error execl execle
execlp execlpe execv execve execvp execvpe extsep fdopen fsdecode fsencode fspath fstat fsync ftruncate
get_exec_path get_inheritable get_terminal_size getcwd getcwdb getenv getlogin getpid getppid isatty kill
linesep link listdir lseek lstat makedirs mkdir name open pardir path pathsep pipe popen process_cpu_count
putenv read readlink remove removedirs rename renames replace rmdir scandir sep set_inheritable spawnl
spawnle spawnv spawnve st stat stat_result statvfs_result strerror supports_bytes_environ supports_dir_fd
supports_effective_ids supports_fd supports_follow_symlinks symlink sys system terminal_size times
times_result truncate umask uname_result unlink unsetenv urandom utime waitpid waitstatus_to_exitcode walk
write
""".split()  # noqa: SIM905
SIGNAL = """
Handlers SIGABRT SIGFPE SIGILL SIGINT SIGSEGV SIGTERM SIG_DFL SIG_IGN Signals default_int_handler getsignal
raise_signal set_wakeup_fd signal strsignal valid_signals NSIG
""".split()  # noqa: SIM905
MODULES = (
    "fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "readline", "curses", "crypt", "spwd"
)  # fmt: skip
SITE = "import sys\nsys.path.insert(0, {root!r})\nfrom tests.support.without_posix import strip\nstrip()\n"


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of processes without POSIX; they and their children begin with `strip`.

    Their caches are in `folder`, which the variable of Windows names.
    """
    root = str(Path(__file__).parents[2])
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(SITE.format(root=root), encoding="utf-8")
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBASEP_", "XDG_")) and k != "HOME"}
    paths = os.pathsep.join([str(site), root])
    return {**ours, "PYTHONPATH": paths, "LOCALAPPDATA": str(folder), "PYTHONIOENCODING": "cp1252"}


class Lock:
    """A `threading.Lock` without the method that CPython only defines if there is `os.fork`."""

    def __init__(self, *, made: Callable[[], Any] = threading.Lock) -> None:
        lock = made()
        self.acquire, self.release, self.locked = lock.acquire, lock.release, lock.locked

    def __enter__(self) -> bool:
        return bool(self.acquire())

    def __exit__(self, *_: object) -> None:
        self.release()


def _open_here(*paths: Any) -> list[str]:
    """Return the paths that this process has open or mapped."""
    real = {os.path.realpath(path) for path in paths if isinstance(path, str | os.PathLike)}
    held = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            held.add(os.readlink(f"/proc/self/fd/{entry}"))
        except OSError:
            continue
    with builtins.open("/proc/self/maps", encoding="utf-8") as maps:
        held |= {line.split(None, 5)[5].strip() for line in maps if line.count(" ") >= 5 and "/" in line}
    return sorted(path for path in real for one in held if one == path or one.startswith(path + os.sep))


def _refusing(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return `os.replace` or a similar function that raises for open files, as on Windows."""

    def refuse(*paths: Any, **keywords: Any) -> Any:
        if busy := _open_here(*paths):
            raise PermissionError(13, "The process cannot access the file, it is being used", busy[0])
        return call(*paths, **keywords)

    return refuse


def strip() -> None:
    """Remove what Windows does not have, once."""
    if not hasattr(os, "fork"):
        return
    import asyncio
    import concurrent.futures.thread
    import logging
    import multiprocessing.util
    import platform
    import shutil
    import socket
    import tempfile
    import uuid
    import zipfile

    import numba
    import numba.core.caching
    import numba.np.ufunc.parallel
    import numpy
    import scipy.fft
    import scipy.ndimage
    import scipy.signal

    del asyncio, concurrent, logging, multiprocessing, platform, socket, tempfile, uuid, zipfile
    del numba, numpy, scipy
    for module, kept in ((os, OS), (signal, SIGNAL)):
        for name in dir(module):
            if not name.startswith("_") and name not in kept:
                delattr(module, name)
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for name in ("replace", "rename", "unlink", "remove", "rmdir"):
        setattr(os, name, _refusing(getattr(os, name)))
    # the standard library itself uses POSIX on this system
    shutil._use_fd_functions = subprocess._USE_POSIX_SPAWN = False  # type: ignore[attr-defined]
    subprocess.Popen.kill = subprocess.Popen.terminate  # type: ignore[method-assign]
    threading.Lock = Lock  # type: ignore[assignment,misc]
    from numbasep.system import storage

    storage.sys = SimpleNamespace(platform="win32")  # type: ignore[assignment]


# --------------------------------------------------------------------------- parts


def calls(folder: Path) -> None:
    """Compare common calls with SciPy, on small arrays and on those that several threads share."""
    import numpy as np
    import scipy.ndimage as ndi

    import numbasep as nsp

    random = np.random.default_rng(0)

    def same(ours: Any, theirs: Any, scale: float = 1.0) -> None:
        assert ours.shape == theirs.shape
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * scale), float(np.abs(ours - theirs).max())

    for shape in ((64, 64), (600, 500)):
        x = random.random(shape, np.float32)
        x64 = x.astype(np.float64)
        grey = (x * 255).astype(np.uint8)
        rgb = (random.random((*shape, 3)) * 255).astype(np.uint8)
        same(nsp.gaussian_filter(x, 2), ndi.gaussian_filter(x64, 2))
        same(
            nsp.gaussian_filter(grey, 1.5, output=np.float32),
            ndi.gaussian_filter(grey.astype(float), 1.5),
            255,
        )
        assert np.abs(nsp.gaussian_filter(grey, 2).astype(int) - ndi.gaussian_filter(grey, 2)).max() <= 1
        ours = nsp.gaussian_filter(rgb, 2, axes=(0, 1)).astype(int)
        assert np.abs(ours - ndi.gaussian_filter(rgb, (2, 2, 0))).max() <= 1
        same(nsp.sobel(x, 0), ndi.sobel(x64, 0))
        same(nsp.laplace(x), ndi.laplace(x64))
        same(nsp.gaussian_laplace(x, 2), ndi.gaussian_laplace(x64, 2))
        same(nsp.uniform_filter(x, 9), ndi.uniform_filter(x64, 9))
        dense = random.random((5, 7))
        same(nsp.convolve(x, dense), ndi.convolve(x64, dense), 10)
        disk = np.hypot(*np.mgrid[-6:7, -6:7]) <= 6
        same(nsp.correlate(x, disk), ndi.correlate(x64, disk.astype(float)), 100)
        large = random.random((41, 41))
        same(nsp.convolve(x, large, method="fft"), ndi.convolve(x64, large), 1000)
        z = x64 + 1j * x64[::-1]
        same(nsp.convolve(z, dense), ndi.convolve(z, dense), 10)
        holes = x.copy()
        holes[10:20, 5:9] = np.nan
        weight = ndi.gaussian_filter(np.isfinite(holes).astype(float), 1)
        filled = ndi.gaussian_filter(np.nan_to_num(x64 * np.isfinite(holes)), 1)
        ours = nsp.gaussian_filter(holes, 1, nan_policy="omit")
        seen = weight > 1e-3
        same(ours[seen], (filled / np.where(seen, weight, 1))[seen])
        plan = nsp.plan(dense, shape, np.float32)
        same(plan(x), ndi.convolve(x64, dense), 10)
        assert "direct" in str(plan)
    same(nsp.gaussian_filter(np.ones((9, 10, 11)), 1), np.ones((9, 10, 11)))
    assert nsp.factorize(np.outer([1, 2, 1], [1, 2, 1])).rank == 1


def layers(folder: Path) -> None:
    """Run a separable convolution over channels."""
    import numpy as np
    import scipy.ndimage as ndi

    from numbasep import nn

    random = np.random.default_rng(0)
    x = random.random((2, 20, 24, 8), np.float32)
    taps, mix = random.random((3, 3, 8, 1), np.float32), random.random((1, 1, 8, 16), np.float32)
    ours = nn.separable_conv2d(x, taps, mix, [1] * 4, "SAME")
    each = [ndi.correlate(x[..., c], taps[None, :, :, c, 0], mode="constant") for c in range(8)]
    assert np.allclose(ours, np.stack(each, -1) @ mix[0, 0], rtol=1e-3)


def threads(folder: Path) -> None:
    """Run calls from several threads at once, and settings of threads."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    import numbasep as nsp

    x = np.random.default_rng(0).random((600, 500), np.float32)
    expected = nsp.gaussian_filter(x, 2)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: nsp.gaussian_filter(x, 2), range(40)):
            assert np.array_equal(result, expected)
    with nsp.num_threads(1):
        assert np.allclose(nsp.gaussian_filter(x, 2, workers=2), expected)


def commands(folder: Path) -> None:
    """Run the command line on files, with its output in a code page of few characters."""
    import contextlib
    import io

    import numpy as np
    import scipy.ndimage as ndi

    from numbasep.cli import main

    def run(*arguments: str) -> str:
        written = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="strict")
        with contextlib.redirect_stdout(written):
            assert main(arguments) == 0, arguments
            written.flush()
            return written.buffer.getvalue().decode("cp1252")  # type: ignore[attr-defined,no-any-return]

    x = np.random.default_rng(0).random((120, 90), np.float32)
    kernel, source, target = folder / "kernel.csv", folder / "in.npy", folder / "out.npy"
    kernel.write_text("1,2,1\n2,4,2\n1,2,1\n", encoding="utf-8")
    np.save(source, x)
    assert "cores" in run("info")
    assert "separable" in run("explain", str(kernel), "--shape", "512x512")
    for _ in range(2):  # the second replaces the result of the first
        run("filter", str(source), str(target), "--gaussian", "2")
    assert np.allclose(np.load(target), ndi.gaussian_filter(x.astype(float), 2), atol=1e-5)
    assert not list(folder.glob("*.partial"))


def measurements(folder: Path) -> None:
    """Store and reload a calibration on few sizes, and measured plans."""
    import numpy as np

    import numbasep as nsp
    from numbasep.calibration import calibrate, trials
    from numbasep.planning import machine
    from numbasep.plans import measure
    from numbasep.system import storage

    assert storage.root() == Path(os.environ["LOCALAPPDATA"], "numbasep")
    weights = np.outer(*[np.exp(-(np.linspace(-2, 2, 9) ** 2))] * 2)
    assert "measured" in str(nsp.plan(weights, (200, 300), np.float32, effort="measure"))
    trials.REPEATS = 2
    calibrate.SHAPES, calibrate.LARGE_SIDES = ((64, 64),), (512,)
    calibrate.TILES = (32, 64, 128)
    measured = nsp.calibrate()
    machine.forget()
    assert machine.current() == measured
    assert len(list(storage.root().glob("wisdom-*.json"))) == 1
    measure.forget_wisdom()
    assert not list(storage.root().glob("wisdom-*.json"))


def kept(folder: Path) -> None:
    """Run a few kernels; a second process with this part compiles none."""
    import numpy as np

    import numbasep as nsp
    from numbasep.system import storage

    x = np.ones((64, 64), np.float32)
    assert np.allclose(nsp.gaussian_filter(x, 2), 1)
    assert list((storage.root() / "kernels").glob("*/*.nbc"))


def warm(folder: Path) -> None:
    """Compile ahead in two processes, which are started as on Windows."""
    from numbasep.api import warmup
    from numbasep.system import storage

    warmup._run_processes([("<f4", "on one thread"), ("<f4", "dense kernels")], 2)
    assert len(list((storage.root() / "kernels").glob("*/*.nbc"))) > 2
    before = _compiled[:]
    warmup.run_jobs([("<f4", "on one thread"), ("<f4", "dense kernels")])
    assert _compiled == before, _compiled


PARTS = {part.__name__: part for part in (calls, layers, threads, commands, measurements, kept, warm)}
_compiled: list[str] = []


def main(part: str, folder: str) -> None:
    """Run a part and print how many kernels it compiled."""
    import numba.core.event as event

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, happened: Any) -> None:
            _compiled.append(happened.data["dispatcher"].py_func.__qualname__)

        def on_end(self, happened: Any) -> None:
            pass

    strip()
    assert not hasattr(os, "fork")
    assert not hasattr(threading.Lock(), "_at_fork_reinit")
    event.register("numba:compile", Listener())
    PARTS[part](Path(folder))
    sys.stdout.write(f"{len(_compiled)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
