"""Start of a process: the import, and the first call with and without machine code on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

IMPORT = """
import time, numpy, numba
start = time.perf_counter()
import numbasep
numbasep.convolve
print(time.perf_counter() - start)
"""

FIRST_CALL = """
import time, numpy
image, kernel = numpy.ones((512, 512), numpy.float32), numpy.ones((3, 3), numpy.float32) / 9
import numba, numbasep
start = time.perf_counter()
numbasep.convolve(image, kernel)
print(time.perf_counter() - start)
"""

# Twenty common calls on small arrays, so that the time is that of planning and compiling.
FIRST_SESSION = """
import time, numpy as np, numba, scipy.fft
from numba.core import event
import numbasep as nsp

kernels = set()
class Listener(event.Listener):
    def on_start(self, happened):
        name = happened.data["dispatcher"].py_func
        if name.__module__.startswith("numbasep."):
            kernels.add((name.__module__, name.__qualname__, str(happened.data["args"])))
    def on_end(self, happened):
        pass
event.register("numba:compile", Listener())

random = np.random.default_rng(0).random
image, volume = random((256, 256), np.float32), random((24, 32, 32))
bytes_, colour = (255 * image).astype(np.uint8), (255 * random((64, 64, 3))).astype(np.uint8)
gap = np.where(image < 0.01, np.float32("nan"), image)
y, x = np.mgrid[-8:9, -8:9]
disk = (x * x + y * y <= 64) / 197
start, first = time.perf_counter(), 0.0
for call in (
    lambda: nsp.gaussian_filter(image, 2), lambda: nsp.gaussian_filter(bytes_, 2),
    lambda: nsp.gaussian_filter(colour, 2, axes=(0, 1)), lambda: nsp.gaussian_filter((volume * 65535).astype("u2"), 1),
    lambda: nsp.gaussian_filter(image.astype(float), 2), lambda: nsp.sobel(image), lambda: nsp.laplace(image),
    lambda: nsp.gaussian_laplace(image, 2), lambda: nsp.uniform_filter(image, 5), lambda: nsp.uniform_filter(image, 51),
    lambda: nsp.convolve(image, random((5, 5))), lambda: nsp.convolve(image, random((15, 15))),
    lambda: nsp.convolve(image, disk), lambda: nsp.convolve(image, random((101, 101))),
    lambda: nsp.gaussian_filter(gap, 2, nan_policy="omit"),
    lambda: nsp.convolve(image + 1j * image, np.ones((5, 5))), lambda: nsp.gaussian_gradient_magnitude(image, 2),
    lambda: nsp.convolve1d(random(100_000), random(25)), lambda: nsp.gaussian_filter(np.asfortranarray(volume), 1),
    lambda: nsp.convolve1d(image, random(31)),
):
    call()
    first = first or time.perf_counter() - start
print(first, time.perf_counter() - start, len(kernels))
"""


def printed_by(script, cache):
    """Run a script in a new process with its own cache directory and return the numbers it prints."""
    environment = {**os.environ, "NUMBASEP_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    return [float(word) for word in done.stdout.split()]


def seconds_printed_by(script, cache):
    """Run a script in a new process and return the first number it prints."""
    return printed_by(script, cache)[0]


class Start:
    """Seconds in a new process for the import and for the first call, without and with machine code on disk."""

    def setup_cache(self):
        """Return all times, measured once."""
        with tempfile.TemporaryDirectory() as cache:
            return {
                "import": min(seconds_printed_by(IMPORT, cache) for _ in range(3)),
                "after install": seconds_printed_by(FIRST_CALL, cache),
                "later": min(seconds_printed_by(FIRST_CALL, cache) for _ in range(3)),
            }

    setup_cache.timeout = 300

    def track_import(self, seconds):
        return seconds["import"]

    track_import.unit = "s beyond NumPy and Numba"

    def track_first_call_after_install(self, seconds):
        return seconds["after install"]

    track_first_call_after_install.unit = "s"

    def track_first_call_later(self, seconds):
        return seconds["later"]

    track_first_call_later.unit = "s"


class FirstSession:
    """Twenty common calls without machine code on disk, as in a new user's first session."""

    def setup_cache(self):
        """Return the seconds of the first call, those of all calls, and the number of compiled kernels."""
        with tempfile.TemporaryDirectory() as cache:
            return printed_by(FIRST_SESSION, cache)

    setup_cache.timeout = 600

    def track_first_call(self, session):
        return session[0]

    track_first_call.unit = "s"

    def track_seconds(self, session):
        return session[1]

    track_seconds.unit = "s"

    def track_kernels(self, session):
        return session[2]

    track_kernels.unit = "kernels"
