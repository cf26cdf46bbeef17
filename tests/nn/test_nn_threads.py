"""The convolutions over channels from several threads and after a fork; and what importing them loads."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from numbasep import nn


def layer():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 28, 28, 64), np.float32)
    return x, rng.standard_normal((3, 3, 64, 1), np.float32), rng.standard_normal((1, 1, 64, 64), np.float32)


def test_four_threads_at_once():
    arrays = layer()
    expected = nn.separable_conv2d(*arrays, (1, 1, 1, 1), "SAME")
    equal = []

    def work():
        for _ in range(10):
            equal.append(np.array_equal(nn.separable_conv2d(*arrays, (1, 1, 1, 1), "SAME"), expected))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal == [True] * 40


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("layer_name", ["omp", "workqueue"])
def test_threads_and_fork_under_every_layer(layer_name):
    done = run(
        """
        import os, threading
        import numpy as np
        from numbasep import nn
        x, d, p = np.ones((1, 40, 40, 64), "f4"), np.ones((3, 3, 64, 1), "f4"), np.ones((1, 1, 64, 64), "f4")
        call = lambda: nn.separable_conv2d(x, d, p, (1, 1, 1, 1), "SAME")
        expected = call()
        threads = [threading.Thread(target=lambda: [call() for _ in range(5)]) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(call(), expected) else 3)
        print("child", os.waitpid(child, 0)[1])
        """,
        NUMBA_THREADING_LAYER=layer_name,
    )
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"Numba's {layer_name} threading layer is not available here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["child", "0"]


def test_import_compiles_nothing_and_loads_no_gpu():
    done = run(
        """
        import sys
        import numbasep.nn
        from numbasep.nn.kernels import channels_last
        print([name for name in ("numba.cuda", "dask", "xarray", "matplotlib") if name in sys.modules])
        print(len(getattr(channels_last.run_parallel, "overloads", ())))
        """
    )
    assert done.stdout.split() == ["[]", "0"], done.stderr
