"""What a new process pays: the import, and the first call with and without machine code on disk."""

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


def seconds_printed_by(script, cache):
    """Run a script in a new process with its own cache directory and return the number it prints."""
    environment = {**os.environ, "NUMBASEP_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


class Start:
    """Seconds in a new process."""

    timeout = 300

    def setup(self):
        self.cache = tempfile.TemporaryDirectory()

    def teardown(self):
        self.cache.cleanup()

    def track_import(self):
        return min(seconds_printed_by(IMPORT, self.cache.name) for _ in range(3))

    track_import.unit = "s beyond NumPy and Numba"

    def track_first_call_after_install(self):
        return seconds_printed_by(FIRST_CALL, self.cache.name)

    track_first_call_after_install.unit = "s"

    def track_first_call_later(self):
        seconds_printed_by(FIRST_CALL, self.cache.name)
        return min(seconds_printed_by(FIRST_CALL, self.cache.name) for _ in range(3))

    track_first_call_later.unit = "s"
