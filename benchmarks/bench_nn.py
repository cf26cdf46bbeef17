"""The convolutions over channels on MobileNet-v1 layers, and a comparison: ``python -m benchmarks.bench_nn``.

Howard et al., "MobileNets", 2017, table 1: every depthwise separable layer, 3 x 3, float32, channels last.
In the comparison all libraries read the same memory and take turns in blocks of calls, with a pause before each
block so that waiting threads of one library do not slow down another.  Results are written to
``benchmarks/results/nn.json`` and ``nn.md``.  ``--target haswell`` compiles numbasep for that processor and holds
PyTorch to its instructions; results are written to ``nn_haswell.json`` and ``nn_haswell.md``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from numbasep import nn

from . import common
from .common import Array

LAYERS = (
    # image side, input channels, output channels, stride
    (112, 32, 64, 1),
    (112, 64, 128, 2),
    (56, 128, 128, 1),
    (56, 128, 256, 2),
    (28, 256, 256, 1),
    (28, 256, 512, 2),
    (14, 512, 512, 1),
    (14, 512, 1024, 2),
    (7, 1024, 1024, 1),
)
NAMES = {
    f"{side}x{side}x{channels} to {outputs}, stride {stride}": (side, channels, outputs, stride)
    for side, channels, outputs, stride in LAYERS
}
PADDING = ((0, 0), (1, 1), (1, 1), (0, 0))  # PyTorch's padding=1, which "SAME" is not for stride 2
HELD = {
    "haswell": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
}  # PyTorch's settings by processor
Calls = dict[str, Callable[[], Any]]


def layer(batch: int, side: int, channels: int, outputs: int) -> tuple[Array, Array, Array]:
    """Return an input, depthwise and pointwise filters, each starting on a cache line."""
    rng = np.random.default_rng(0)
    shapes = (batch, side, side, channels), (3, 3, channels, 1), (1, 1, channels, outputs)
    return tuple(on_cache_line(rng.standard_normal(shape, np.float32)) for shape in shapes)  # type: ignore[return-value]


def on_cache_line(array: Array) -> Array:
    """Return a copy that starts on a cache line, as the tensors of the other libraries do."""
    raw = np.empty(array.nbytes + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    copy = raw[skip : skip + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class MobileNetLayers:
    """Depthwise and depthwise separable layers."""

    params = [(1, 8), list(NAMES)]
    param_names = ("batch", "layer")

    def setup(self, batch, name):
        side, channels, outputs, stride = NAMES[name]
        side = min(side, common.SIDE)
        self.arrays = layer(batch, side, channels, outputs)
        self.strides = (1, stride, stride, 1)
        self.plan = nn.plan_separable_conv2d(self.arrays[0].shape, *self.arrays[1:], self.strides, PADDING)
        self.time_separable(batch, name)
        self.time_depthwise(batch, name)

    def time_separable(self, batch, name):
        nn.separable_conv2d(*self.arrays, self.strides, PADDING)

    def time_separable_plan(self, batch, name):
        self.plan(self.arrays[0])

    def time_depthwise(self, batch, name):
        nn.depthwise_conv2d(*self.arrays[:2], self.strides, PADDING)


class OrdinaryConvolution:
    """`conv2d` on filters with and without a depthwise separable form."""

    params = [("full rank", "separable"), ("NHWC", "NCHW")]
    param_names = ("filters", "data_format")

    def setup(self, filters, data_format):
        side = min(56, common.SIDE)
        x, depthwise, pointwise = layer(1, side, 64, 64)
        self.filters = np.random.default_rng(1).standard_normal((3, 3, 64, 64), np.float32)
        if filters == "separable":
            self.filters = depthwise * pointwise
        self.x = x if data_format == "NHWC" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        self.time_conv2d(filters, data_format)

    def time_conv2d(self, filters, data_format):
        nn.conv2d(self.x, self.filters, 1, "SAME", data_format)


# --------------------------------------------------------------------------- comparison


def numbasep_calls(x: Array, depthwise: Array, pointwise: Array, stride: int) -> dict[str, Calls]:
    """Return the calls of numbasep."""
    strides = (1, stride, stride, 1)
    return {
        "depthwise": {"numbasep": lambda: nn.depthwise_conv2d(x, depthwise, strides, PADDING)},
        "separable": {"numbasep": lambda: nn.separable_conv2d(x, depthwise, pointwise, strides, PADDING)},
    }


def torch_calls(x: Array, depthwise: Array, pointwise: Array, stride: int) -> dict[str, Calls]:
    """Return the calls of PyTorch, channels last, without autograd."""
    try:
        import torch
    except ImportError:
        return {}
    last = torch.channels_last
    image = torch.from_numpy(x).permute(0, 3, 1, 2)
    taps = torch.from_numpy(depthwise).permute(2, 3, 0, 1).contiguous()
    matrix = torch.from_numpy(pointwise).permute(3, 2, 0, 1).contiguous(memory_format=last)
    conv2d = torch.nn.functional.conv2d

    @torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
    def first() -> Any:
        return conv2d(image, taps, stride=stride, padding=1, groups=x.shape[3])

    @torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
    def both() -> Any:
        return conv2d(conv2d(image, taps, stride=stride, padding=1, groups=x.shape[3]), matrix)

    return {"depthwise": {"PyTorch": first}, "separable": {"PyTorch": both}}


def tensorflow_calls(x: Array, depthwise: Array, pointwise: Array, stride: int) -> dict[str, Calls]:
    """Return the calls of TensorFlow, as compiled graph functions."""
    try:
        import tensorflow as tf
    except ImportError:
        return {}
    image, taps, matrix = (tf.constant(array) for array in (x, depthwise, pointwise))
    strides = (1, stride, stride, 1)
    first = tf.function(lambda a, b: tf.nn.depthwise_conv2d(a, b, strides, PADDING)).get_concrete_function(
        image, taps
    )
    both = tf.function(
        lambda a, b, c: tf.nn.separable_conv2d(a, b, c, strides, PADDING)
    ).get_concrete_function(image, taps, matrix)
    return {
        "depthwise": {"TensorFlow": lambda: first(image, taps)},
        "separable": {"TensorFlow": lambda: both(image, taps, matrix)},
    }


def as_array(result: Any) -> Array:
    """Return any library's result as an NHWC array."""
    if isinstance(result, np.ndarray):
        return result
    return result.permute(0, 2, 3, 1).numpy() if hasattr(result, "permute") else result.numpy()


def take_block(function: Callable[[], Any], seconds: float) -> float:
    """Return the best call, in milliseconds, of a block of them."""
    time.sleep(0.02)
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def check(calls: Calls, what: str) -> None:
    """Call every library once, which also compiles; raise an AssertionError if a result differs."""
    expected = as_array(calls["numbasep"]()).astype(np.float64)
    for name, call in calls.items():
        difference = np.abs(as_array(call()) - expected).max() / np.abs(expected).max()
        if difference > 2e-6:
            raise AssertionError(f"{name} differs by {difference:.1e} on {what}")


def compare(
    libraries: Sequence[Callable[..., dict[str, Calls]]], batches: Sequence[int], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Measure every layer, with a block of each library in every round, so that other work affects all layers alike."""
    records: list[dict[str, Any]] = []
    measured: list[Calls] = []
    for batch in batches:
        for side, channels, outputs, stride in LAYERS:
            arrays = layer(batch, side, channels, outputs)
            found = [make(*arrays, stride) for make in libraries]
            for operation in ("depthwise", "separable"):
                calls = {name: call for calls in found for name, call in calls.get(operation, {}).items()}
                check(calls, f"{operation} {side} {channels}")
                measured.append(calls)
                records.append({
                    "operation": operation, "batch": batch, "side": side, "channels": channels,
                    "outputs": outputs, "stride": stride, "milliseconds": dict.fromkeys(calls, math.inf),
                })  # fmt: skip
    for _ in range(rounds):
        for record, calls in zip(records, measured, strict=True):
            best = record["milliseconds"]
            for name, call in calls.items():
                best[name] = min(best[name], take_block(call, seconds))
    return records


def ratio(record: dict[str, Any]) -> float:
    """Return the time of the fastest other library over that of numbasep."""
    others = [value for name, value in record["milliseconds"].items() if name != "numbasep"]
    return min(others) / record["milliseconds"]["numbasep"] if others else math.nan


def table(measured: dict[str, Any]) -> str:
    """Return the machine and the records as Markdown, with geometric means."""
    records, machine = measured["records"], measured["machine"]
    names = list(records[0]["milliseconds"])
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores; {machine['target']}; "
        + ", ".join(f"{name} {version}" for name, version in measured["versions"].items()),
        "",
        f"| operation | batch | layer | {' | '.join(f'{name}, ms' for name in names)} | best other / ours |",
        "|---|---|---|" + "---|" * (len(names) + 1),
    ]
    for record in records:
        side, channels, outputs, stride = (record[k] for k in ("side", "channels", "outputs", "stride"))
        sizes = f"{side}x{side}x{channels} -> {outputs}, stride {stride}"
        figures = " | ".join(f"{record['milliseconds'][name]:.3f}" for name in names)
        lines.append(
            f"| {record['operation']} | {record['batch']} | {sizes} | {figures} | {ratio(record):.2f} |"
        )
    for operation, batch in sorted({(record["operation"], record["batch"]) for record in records}):
        found = [ratio(r) for r in records if (r["operation"], r["batch"]) == (operation, batch)]
        mean = math.exp(statistics.fmean(map(math.log, found)))
        lines.append(f"\n{operation}, batch {batch}: geometric mean {mean:.2f}, least {min(found):.2f}")
    return "\n".join(lines) + "\n"


def versions() -> dict[str, str]:
    """Return the versions of the compared libraries."""
    found = {}
    for name in ("numbasep", "numba", "numpy", "torch", "tensorflow", "tensorflow-cpu"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Run the comparison."""
    from .peers import RESULTS, TARGETS, machine

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_nn", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=0.02, help="of a block of calls")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    parser.add_argument("--target", choices=sorted(HELD), help="compare as on this processor")
    arguments = parser.parse_args(argv)
    target = arguments.target
    if target and os.environ.get("NUMBA_CPU_NAME") != target:
        os.environ |= {"NUMBA_CPU_NAME": target, "NUMBA_CPU_FEATURES": TARGETS[target], **HELD[target]}
        given = sys.argv[1:] if argv is None else list(argv)
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.bench_nn", *given])
    others = [torch_calls] if target else [torch_calls, tensorflow_calls]  # TensorFlow cannot be held
    records = compare([numbasep_calls, *others], arguments.batch, arguments.rounds, arguments.seconds)
    arguments.results.mkdir(parents=True, exist_ok=True)
    measured = {"machine": machine(), "versions": versions(), "records": records}
    if target:
        measured["machine"]["target"] += ", PyTorch held to its instructions"
    stem = f"nn_{target}" if target else "nn"
    (arguments.results / f"{stem}.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    (arguments.results / f"{stem}.md").write_text(table(measured), encoding="utf-8")
    print(table(measured))


if __name__ == "__main__":
    main()
