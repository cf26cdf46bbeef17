"""Ctrl-C in a long call: KeyboardInterrupt soon, and a process that computes right results afterwards."""

import os
import signal
from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep.cpu import pass_request, plane_pass
from numbasep.nn import tiling
from tests.support.processes import assert_succeeds, run_program

needs_signals = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals")

# Calls that take from five seconds to minutes, each with a small one of the same kernels: it compiles them, and
# shows afterwards that the process is well. What the timer's thread does is what a terminal does.
PRELUDE = """
import os, signal, sys, threading, time
import numpy as np, numbasep as nsp
from numbasep import nn

rng = np.random.default_rng(0)
x, small = np.ones((4000, 4000), "f4"), np.ones((800, 800), "f4")
channels = np.ones((1, 1024, 1024, 32), "f4")
weights = {n: rng.random((n, n)) for n in (9, 301)}
row = rng.random((1, 30001))
spread, mixed = rng.random((41, 41, 32, 1), "f4"), np.ones((7, 7, 32, 512), "f4")
CALLS = {
    "direct": (lambda **o: nsp.convolve(x, weights[301], method="direct", **o),
               lambda **o: nsp.convolve(small, weights[9], method="direct", **o)),
    "strided": (lambda **o: nsp.convolve(x[:, ::-1], weights[301], method="direct", **o),
                lambda **o: nsp.convolve(small[:, ::-1], weights[9], method="direct", **o)),
    "separable": (lambda **o: nsp.convolve(x, row, method="separable", mode="wrap", **o),
                  lambda **o: nsp.convolve(small, row[:, :3001], method="separable", mode="wrap", **o)),
    "fft": (lambda **o: [nsp.convolve(x, weights[301], method="fft", rtol=1e-3, **o) for _ in range(20)],
            lambda **o: nsp.convolve(small, weights[9], method="fft", rtol=1e-3, **o)),
    "conv2d": (lambda **o: nn.conv2d(channels, mixed, 1, "SAME", **o),
               lambda **o: nn.conv2d(channels[:, :40, :40], mixed, 1, "SAME", **o)),
    "depthwise_conv2d": (lambda **o: nn.depthwise_conv2d(channels, spread, (1, 1, 1, 1), "SAME", **o),
                         lambda **o: nn.depthwise_conv2d(channels[:, :40, :40], spread, (1, 1, 1, 1), "SAME", **o)),
}
"""
INTERRUPT = """
for workers in (1, 2):
    for name, (long, short) in CALLS.items():
        expected = short(workers=workers)
        sent = []
        def interrupt():
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)
        timer = threading.Timer(0.2, interrupt)
        timer.start()
        try:
            long(workers=workers)
        except KeyboardInterrupt:
            took = time.perf_counter() - sent[0]
            print(f"{name} with {workers} workers: interrupted after {took:.2f} s")
            assert took < 10, (name, workers, took)  # of far more that the call takes, on a crowded machine
        else:
            raise AssertionError(f"{name} with {workers} workers was not interrupted")
        timer.join()
        np.testing.assert_array_equal(short(workers=workers), expected)
"""
TERMINATE = """
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
CALLS["direct"][0]()
"""
# LLVM hands compiled code to Python through ctypes, where the KeyboardInterrupt of a signal would be lost.
INTERRUPT_COMPILER = """
import signal, sys
import numpy as np
from numba.core import codegen
hook = codegen.JITCodeLibrary._object_compiled_hook.__func__
caught = []
def interrupted(cls, *arguments):
    if not caught:
        caught.append(True)
        signal.raise_signal(signal.SIGINT)
        for _ in range(10): pass  # Python handles signals here
    return hook(cls, *arguments)
codegen.JITCodeLibrary._object_compiled_hook = classmethod(interrupted)
import numbasep as nsp
from numbasep.cpu.jit import serial
@serial
def double(x):
    for i in range(x.size):
        x[i] *= 2
x = np.ones(3)
try:
    double(x)
except KeyboardInterrupt:
    assert x.tolist() == [1, 1, 1]
else:
    raise AssertionError("the interrupt was lost")
double(x)
assert x.tolist() == [2, 2, 2]
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


@needs_signals
def test_interrupt_ends_long_calls() -> None:
    assert_succeeds(PRELUDE + INTERRUPT)


@needs_signals
def test_terminate_ends_the_process() -> None:
    done = run_program(PRELUDE + TERMINATE)
    assert done.returncode == -signal.SIGTERM, done.stderr


@needs_signals
def test_interrupt_of_the_compiler_is_not_lost(tmp_path: Any) -> None:
    done = run_program(INTERRUPT_COMPILER, NUMBASEP_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "ignored" not in done.stderr, done.stderr
    assert (
        assert_succeeds(INTERRUPT_COMPILER.replace("raise AssertionError(", "print("), NUMBASEP_CACHE="0")
        == ""
    )


@pytest.fixture
def in_batches(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make batches of one task of a few rows for each thread, and count them."""
    batches: list[tuple[int, int]] = []

    def counting(run: Any) -> Any:
        def counted(*arguments: Any) -> None:
            batches.append(arguments[4:6])
            if len(batches) == interrupt_at[0]:
                signal.raise_signal(signal.SIGINT)
            run(*arguments)

        return counted

    interrupt_at = [0]
    monkeypatch.setattr(pass_request, "BATCH_WORK", 1)
    for name in ("run_serial", "run_parallel"):
        monkeypatch.setattr(plane_pass.drivers, name, counting(getattr(plane_pass.drivers, name)))
    return batches, interrupt_at


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kernel", [np.ones((5, 5)), np.random.default_rng(0).random((5, 5))])
def test_batches_give_the_same_bits_and_can_be_interrupted(
    in_batches: Any, workers: int, kernel: Any
) -> None:
    batches, interrupt_at = in_batches
    x = np.random.default_rng(1).random((200, 500), dtype=np.float32)
    out = np.zeros_like(x)
    interrupt_at[0] = 4
    with pytest.raises(KeyboardInterrupt):
        nsp.convolve(x, kernel, output=out, method="direct", workers=workers)
    assert len(batches) == 4
    assert not out[-16:].any()  # the rest was not computed
    interrupt_at[0] = 0
    result = nsp.convolve(x, kernel, method="direct", workers=workers)
    assert len(batches) > 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pass_request, "BATCH_WORK", 1 << 31)
        whole = nsp.convolve(x, kernel + 0.0, method="direct", workers=workers, mode="reflect", rtol=1e-7)
    assert batches[-1] != batches[-2]
    np.testing.assert_array_equal(result, whole)


def test_batches_of_a_convolution_over_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    from numbasep import nn
    from numbasep.nn import execute

    rng = np.random.default_rng(0)
    x = rng.random((1, 60, 50, 8), dtype=np.float32)
    filters = rng.random((3, 3, 8, 16), dtype=np.float32)
    expected = {}
    for batches in (1, 7):
        for cached in (tiling.tile, execute._layout):
            cached.cache_clear()
        monkeypatch.setattr(
            tiling, "BATCH_MULTIPLICATIONS", (1 << 31) if batches == 1 else 60 * 50 * 8 * 9 * 16 // 7
        )
        for layout in ("NHWC", "NCHW"):
            image = x if layout == "NHWC" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
            for workers in (1, 2):
                result = nn.conv2d(image, filters, 1, "SAME", layout, workers=workers)
                np.testing.assert_array_equal(result, expected.setdefault(layout, result))
                depth = nn.depthwise_conv2d(
                    image, filters, (1, 1, 1, 1), "SAME", data_format=layout, workers=workers
                )
                np.testing.assert_array_equal(depth, expected.setdefault(layout + "depthwise", depth))
    for cached in (tiling.tile, execute._layout):
        cached.cache_clear()
