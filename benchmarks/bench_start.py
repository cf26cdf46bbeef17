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
    """Seconds in a new process: to import, and to filter for the first time, without and with code on disk."""

    def setup_cache(self):
        """Return all of them, measured once."""
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
