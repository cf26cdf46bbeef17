"""The PTX of the kernels, run by an interpreter from the public functions down, against the oracle.

Beyond the simulator, which runs `cuda.intrinsics.reference`, this runs the intrinsics themselves, the
packed parameters, and the tables in device memory; `ptx_machine` says what it complains about.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbasep
from numbasep import nn
from numbasep.arguments import casting
from numbasep.cuda import compiler
from numbasep.cuda.intrinsics.vocabulary import SIMULATED
from tests.support import nn_oracle, oracle
from tests.support.cuda_emulated import ELF, DeviceNumbers, EmulatedDriver, EmulatedLibrary
from tests.support.ptx_machine import DeviceFaultError

MISSING = "the simulator compiles nothing" if SIMULATED else compiler.missing()
pytestmark = [pytest.mark.cuda_compile, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

MODES = ("reflect", "mirror", "nearest", "wrap", "constant")
rng = np.random.default_rng(7)


def samples(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(kind)
    return rng.integers(0, min(int(np.iinfo(kind).max), 60000), shape).astype(kind)


def check(
    gpu: EmulatedDriver, x: np.ndarray, weights: Any, mode: Any = "reflect", cval: float = 0.0, **options: Any
) -> Any:
    """Correlate from host memory, compare with the oracle within the plan's bound."""
    weights = np.asarray(weights)
    plan = numbasep.plan(
        weights, x.shape, x.dtype, operation="correlate", mode=mode, cval=cval, device="cuda", **options
    )
    before = len(gpu.launches)
    got = plan(x)
    assert len(gpu.launches) > before, "nothing ran"
    slack = plan.error_bound * oracle.norm(weights) * oracle.largest(x, cval)
    oracle.assert_close(got, oracle.correlate(x, weights, mode, cval), slack)
    return plan


def separable(rows: int, columns: int, rank: int = 1) -> np.ndarray:
    return sum(np.outer(rng.random(rows) + 0.1, rng.random(columns) + 0.1) for _ in range(rank))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(gpu: EmulatedDriver, mode: str) -> None:
    check(gpu, samples((13, 133)), separable(5, 7), mode, cval=1.5)


@pytest.mark.parametrize("mode", MODES)
def test_kernel_larger_than_the_image(gpu: EmulatedDriver, mode: str) -> None:
    check(gpu, samples((3, 5)), separable(9, 13), mode, cval=-0.7, method="separable")


@pytest.mark.parametrize("rank", [2, 3])
def test_terms_and_the_footprint_of_nan(gpu: EmulatedDriver, rank: int) -> None:
    x = samples((20, 140))
    x[9, 70], x[3, 3] = np.nan, np.inf
    plan = check(gpu, x, separable(5, 5, rank), method="separable")
    assert plan.rank == rank


@pytest.mark.parametrize("taps", [4, 11, 17, 33])
def test_tap_classes(gpu: EmulatedDriver, taps: int) -> None:
    check(gpu, samples((12, 300)), separable(taps, taps), "mirror")


@pytest.mark.parametrize("columns", [1, 31, 131, 388])
def test_ragged_and_aligned_widths(gpu: EmulatedDriver, columns: int) -> None:
    check(gpu, samples((11, columns)), separable(3, 5))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "uint16", "int16", "int32"])
@pytest.mark.parametrize("columns", [133, 512])
def test_storage_types(gpu: EmulatedDriver, dtype: str, columns: int) -> None:
    weights = np.outer([1, 4, 6, 4, 1], [1, 2, 1])
    check(gpu, samples((9, columns), dtype), weights / (64 if dtype[0] == "f" else 1), "constant", 3.0)


def test_long_double_taps(gpu: EmulatedDriver) -> None:
    check(gpu, samples((9, 100), "float64"), separable(25, 25))


@pytest.mark.parametrize("cast", ["truncate", "saturate"])
@pytest.mark.parametrize(
    ("dtype", "output"),
    [
        ("float32", "uint8"), ("float32", "float16"), ("float32", "int16"), ("float64", "bool"), ("float64", "int8"),
        ("float64", "int32"), ("float64", "int64"), ("float64", "uint64"),
    ],
)  # fmt: skip
def test_conversion_of_results(gpu: EmulatedDriver, output: str, dtype: str, cast: str) -> None:
    x = samples((4, 30), dtype) * 300
    if output != "uint64" or cast == "saturate":  # which C does not define beyond its range
        x[:, -4:] = np.nan, np.inf, 1e30, -1e30
    got = numbasep.correlate(x, np.array([[0.5]]), output=output, cast=cast, device="cuda")
    expected = np.empty(x.shape, "uint8" if output == "bool" else output)
    casting.store(x * x.dtype.type(0.5), expected, cast)
    np.testing.assert_array_equal(got, expected != 0 if output == "bool" else expected)


@pytest.mark.parametrize("channels", [3, 5])
def test_channels_last(gpu: EmulatedDriver, channels: int) -> None:
    x, weights = samples((9, 45, channels)), separable(3, 5)
    got = numbasep.correlate(x, weights, axes=(0, 1), device="cuda")
    oracle.assert_close(got, oracle.correlate(x, weights, axes=[0, 1]), 1e-5 * oracle.norm(weights))


@pytest.mark.parametrize("taps", [(35, 3), (3, 150), (41, 41)])
@pytest.mark.parametrize("mode", ["wrap", "constant"])
def test_many_taps(gpu: EmulatedDriver, taps: tuple[int, int], mode: str) -> None:
    check(gpu, samples((30, 140)), separable(*taps), mode, cval=0.5, method="separable")


@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64"])
@pytest.mark.parametrize("mode", ["nearest", "constant"])
def test_dense(gpu: EmulatedDriver, dtype: str, mode: str) -> None:
    weights = rng.integers(-3, 4, (5, 6))
    check(gpu, samples((20, 150), dtype), weights, mode, cval=2.0, method="direct")
    check(gpu, samples((5, 6, 20), dtype), rng.integers(1, 4, (2, 3, 3)), mode, cval=2.0, method="direct")


@pytest.mark.parametrize("mode", ["mirror", "constant"])
def test_volumes(gpu: EmulatedDriver, mode: str) -> None:
    x = samples((7, 6, 40))
    taps = [rng.random(3), rng.random(5), rng.random(3)]
    got = numbasep.separable_correlate(x, taps, mode=mode, cval=0.25, device="cuda")
    expected = oracle.separable_correlate(x, taps, mode, 0.25)
    oracle.assert_close(got, expected, 1e-5 * oracle.norm(oracle.outer(taps)) * oracle.largest(x, 0.25))


@pytest.mark.parametrize("skew", [0, 4, 8, 16])
@pytest.mark.parametrize("columns", [256, 301])
def test_arrays_that_start_anywhere(
    gpu: EmulatedDriver, skew: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weights = samples((30, columns)), separable(5, 9)
    monkeypatch.setattr(EmulatedLibrary, "skew", 20 - skew)
    plan = numbasep.plan(weights, x.shape, x.dtype, operation="correlate", device="cuda")
    got = plan(DeviceNumbers(gpu, x, skew))
    expected = oracle.correlate(x, weights)
    oracle.assert_close(got.get(), expected, plan.error_bound * oracle.norm(weights) * oracle.largest(x))


@pytest.mark.parametrize(
    ("skew", "columns"), [(0, 1664), (3, 1664), (0, 1651)], ids=["aligned", "skewed", "ragged"]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_interior_of_small_types(
    gpu: EmulatedDriver, dtype: str, skew: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tiles, of which one touches no edge: whole chunks, or words that begin anywhere."""
    x, weights = samples((14, columns), dtype), np.outer([1, 2, 1], [1, 3, 1, 2, 1])
    weights = weights / 8 if dtype == "float16" else weights
    skew -= skew % x.itemsize
    monkeypatch.setattr(EmulatedLibrary, "skew", 2 * x.itemsize if skew else 0)
    plan = numbasep.plan(
        weights / 8 if dtype == "float16" else weights, x.shape, x.dtype, operation="correlate", device="cuda"
    )
    got = plan(DeviceNumbers(gpu, x, skew)).get()
    expected = oracle.correlate(x, weights / 8 if dtype == "float16" else weights)
    if dtype == "float16":
        oracle.assert_close(got, expected, plan.error_bound * oracle.norm(weights / 8) * oracle.largest(x))
    else:
        np.testing.assert_array_equal(got, oracle.store(expected, got.dtype, "truncate"))


@pytest.mark.parametrize("columns", [512, 509])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_footprint_of_nan_inside(gpu: EmulatedDriver, bad: float, columns: int) -> None:
    """In tiles that touch no edge, and at the end of a row of them."""
    x = samples((16, columns))
    x[7, 200] = x[9, 255] = bad
    weights = separable(5, 5, 2)
    weights[0, 0] = 0
    plan = numbasep.plan(
        weights, x.shape, x.dtype, operation="correlate", device="cuda", method="separable", rtol=1e-3
    )
    slack = plan.error_bound * oracle.norm(weights) * oracle.largest(x)
    oracle.assert_close(plan(x), oracle.correlate(x, weights), slack)


@pytest.mark.parametrize(
    ("dtype", "output"),
    [("uint8", "float32"), ("float32", "uint8"), ("uint8", "uint16"), ("uint8", "float64")],
)
def test_rows_of_other_widths_in_and_out(gpu: EmulatedDriver, dtype: str, output: str) -> None:
    x, weights = samples((10, 1651), dtype), np.outer([1, 2, 1], [1, 0, 2])
    got = numbasep.correlate(x, weights, output=output, device="cuda")
    oracle.assert_close(got, oracle.correlate(x, weights), 1e-5 * oracle.norm(weights) * oracle.largest(x))


@pytest.mark.parametrize("axis", [0, 1])
def test_one_axis_of_colour_images(gpu: EmulatedDriver, axis: int) -> None:
    x, taps = samples((12, 601, 3), "uint8"), np.array([1, 2, 3, 2, 1])
    got = numbasep.correlate1d(x, taps, axis, output=np.uint16, device="cuda")
    np.testing.assert_array_equal(got, oracle.correlate(x, taps, axes=[axis], every_tap=True))


def test_two_bytes_a_lane(gpu: EmulatedDriver) -> None:
    """Four channels under many taps leave registers for two columns a lane, which begins inside of a word."""
    x, weights = samples((5, 91, 4), "uint8"), np.outer([1, 2, 1], rng.integers(1, 5, 33))
    got = numbasep.correlate(x, weights, axes=(0, 1), output=np.float32, device="cuda", method="separable")
    oracle.assert_close(got, oracle.correlate(x, weights, axes=[0, 1]), 1e-5 * oracle.norm(weights) * 255)


def test_strips_of_a_tall_image(gpu: EmulatedDriver) -> None:
    gpu._attributes["multiprocessors"] = 64
    check(gpu, samples((150, 200)), separable(5, 3), "wrap")


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_channels(gpu: EmulatedDriver, dtype: str, data_format: str) -> None:
    x = samples((2, 5, 40, 3), dtype)
    depthwise, pointwise = samples((3, 2, 3, 2), dtype), samples((1, 1, 6, 36), dtype)
    last = data_format == "NHWC"
    given = x if last else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    got = nn.separable_conv2d(
        given, depthwise, pointwise, [1] * 4, "SAME", data_format=data_format, device="cuda"
    )
    got = got if last else got.transpose(0, 2, 3, 1)
    expected = nn_oracle.separable(x, depthwise, pointwise)
    tolerance = {"float16": 4e-3, "float32": 1e-6, "float64": 1e-14}[dtype] * np.abs(expected).max()
    np.testing.assert_allclose(got, expected, atol=tolerance)


def test_a_driver_that_takes_no_machine_code_compiles_ptx(gpu: EmulatedDriver) -> None:
    gpu.takes_machine_code = False
    check(gpu, samples((5, 40)), separable(3, 3))


def test_a_driver_that_takes_nothing_is_named(gpu: EmulatedDriver) -> None:
    gpu.takes_machine_code = gpu.takes_ptx = False
    with pytest.raises(compiler.CudaUnavailableError, match=r"driver knows CUDA 13\.0 .*numbasep\[cuda12\]"):
        check(gpu, samples((5, 40)), separable(3, 3))


def test_a_device_without_memory_pools(gpu: EmulatedDriver) -> None:
    gpu._attributes["pools"] = 0
    check(gpu, samples((5, 40)), separable(3, 3))


def test_a_device_that_the_compiler_does_not_know(
    gpu: EmulatedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a later generation than all that are known: PTX of the last one."""
    gpu._attributes["major"], gpu.takes_machine_code = 31, False
    monkeypatch.setattr(compiler, "architectures", lambda: ((8, 0), (9, 0)))
    assert compiler.target_of((31, 0)) == (9, 0)
    check(gpu, samples((5, 40)), separable(3, 3))


# ------------------------------------------------------------------------------ functions of several launches


def test_banks_magnitudes_and_missing_samples(gpu: EmulatedDriver) -> None:
    x = samples((9, 150))
    kernels = [rng.random((3, 5)), rng.random((3, 3))]
    bank = numbasep.filter_bank(DeviceNumbers(gpu, x), kernels, mode="wrap")
    np.testing.assert_allclose(bank.get(), numbasep.filter_bank(x, kernels, mode="wrap"), atol=1e-5)
    for output in (np.float32, np.uint8, np.float64):
        got = numbasep.gaussian_gradient_magnitude(DeviceNumbers(gpu, x * 50), 1.0, output)
        expected = numbasep.gaussian_gradient_magnitude(x * 50, 1.0, output)
        np.testing.assert_allclose(got.get(), expected, atol=1e-4)
    x[3, 40:60] = np.nan
    mask = np.zeros(x.shape, bool)
    mask[6:, 100:] = True
    got = numbasep.uniform_filter(DeviceNumbers(gpu, x), 5, nan_policy="omit", mask=mask)
    np.testing.assert_allclose(
        got.get(), numbasep.uniform_filter(x, 5, nan_policy="omit", mask=mask), atol=1e-5
    )
    with pytest.raises(ValueError, match="NaN and nan_policy='raise'"):
        numbasep.uniform_filter(DeviceNumbers(gpu, x), 5, nan_policy="raise")


# ------------------------------------------------------------------------------ what runs on a GPU first


def test_the_benchmark_runs_and_reports(
    gpu: EmulatedDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of `benchmarks/gpu.py` but its sizes and repetitions; times are those of the interpreter."""
    from benchmarks import gpu as benchmark

    monkeypatch.setattr(benchmark, "REPEATS", 1)
    monkeypatch.setattr(benchmark, "TERMS", (1, 3))
    monkeypatch.setattr(benchmark, "ROTATED_BYTES", 1)
    monkeypatch.setattr(benchmark, "BLOCKED_BYTES", 1 << 10)
    monkeypatch.setattr(benchmark, "EDGE", 16)
    monkeypatch.setattr(benchmark, "SIDES", (64,))
    monkeypatch.setattr(benchmark, "TAPS", (3, 9))
    monkeypatch.setattr(benchmark, "peers", dict)
    monkeypatch.setattr(benchmark.Gpu, "median_seconds", lambda _, work, *__: (work(0), 1e-3)[1])
    monkeypatch.setattr(benchmark, "host_microseconds", lambda _: {"a prepared launch": 1.0})
    folder = tmp_path / "made" / "here"
    monkeypatch.setattr(sys, "argv", ["gpu", "--results", str(folder)])
    assert benchmark.main() == 0
    text = (folder / "gpu.md").read_text()
    assert "emulated" in text
    assert "host time of a prepared launch" in text
    rows = json.loads((folder / "gpu.json").read_text())["rows"]
    assert {row["case"] for row in rows} >= {"separable", "dense", "volume float64", "separable uint8"}
    assert f"within their bounds: {len(rows)} of {len(rows)}" in text
    monkeypatch.setattr(benchmark, "measure_plan", lambda *_: (_ for _ in ()).throw(RuntimeError("lost")))
    assert benchmark.main() == 1
    assert "lost" in json.loads((folder / "gpu.json").read_text())["failed"][0]


def test_the_benchmark_finds_wrong_results(
    gpu: EmulatedDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import gpu as benchmark

    monkeypatch.setattr(benchmark, "ROTATED_BYTES", 1)
    monkeypatch.setattr(benchmark, "BLOCKED_BYTES", 1 << 10)
    monkeypatch.setattr(benchmark.Gpu, "median_seconds", lambda _, work, *__: (work(0), 1e-3)[1])
    device = benchmark.Gpu()
    with device.device.current():
        assert not benchmark.measure_plan(device, "", benchmark.plane_plan(64, 3, 1), 3, 1, 1.0).wrong
        monkeypatch.setattr(gpu, "cuLaunchKernel", lambda *_: (0,))
        assert benchmark.measure_plan(device, "", benchmark.plane_plan(64, 5, 1), 5, 1, 1.0).wrong


def test_times_on_the_device_are_taken_behind_other_work(
    gpu: EmulatedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the host is ahead: what it takes to enqueue is not measured."""
    from benchmarks import gpu as benchmark

    monkeypatch.setattr(benchmark, "BLOCKED_BYTES", 1 << 10)
    device, runs = benchmark.Gpu(), []
    assert device.median_seconds(runs.append, 5) < 1e-3
    assert len(runs) == 3 + 5 * benchmark.BATCH
    assert runs == list(range(len(runs)))
    before_the_last_two = [function for function, _ in gpu.streams][-3:]
    assert before_the_last_two == ["cuMemsetD8Async", "cuEventRecord", "cuEventRecord"]


def test_tests_run_before_the_benchmark_and_may_fail(tmp_path: Path) -> None:
    """Warnings at import are no errors, a crash is a status, and what was said is kept."""
    from benchmarks.gpu_first import run_tests

    source = tmp_path / "test_first.py"
    source.write_text(
        "import os, warnings\nwarnings.warn('at import', DeprecationWarning)\n"
        "def test_passes(): pass\ndef test_crashes():\n    if os.environ.get('CRASH'): os.abort()\n"
    )
    assert run_tests(tmp_path / "passes", [str(source)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRASH", "1")
        assert run_tests(tmp_path / "crashes", [str(source)]) != 0
    assert "test_crashes" in (tmp_path / "crashes" / "gpu_tests.txt").read_text()
    assert run_tests(tmp_path / "late", [str(source)], 0.01) == 124


# ------------------------------------------------------------------------------ the interpreter itself


@pytest.mark.parametrize(
    ("pattern", "replacement", "complaint"),
    [
        (r"bar\.warp\.sync[^;]*;", "", "without a barrier"),
        (r"cp\.async\.wait_group \d;", "cp.async.wait_group 3;", "another lane wrote|on their way"),
        (r"ld\.shared\.v4\.f32(\s+\{[^}]*\}), \[(%\w+)\];", r"ld.shared.v4.f32\1, [\2+4];", "not aligned"),
        (r"st\.global\.v4\.f32(\s+)\[(%\w+)\]", r"st.global.v4.f32\1[\2+1048576]", "beyond every allocation"),
    ],
)  # fmt: skip
def test_wrong_code_is_found(
    gpu: EmulatedDriver, pattern: str, replacement: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(ptx: str, *_: Any) -> tuple[bytes, str]:
        changed = re.sub(pattern, replacement, ptx)
        assert changed != ptx
        return ELF + changed.encode(), ""

    monkeypatch.setattr(compiler, "assemble", spoiled)
    with pytest.raises(DeviceFaultError, match=complaint):
        check(gpu, samples((9, 384)), separable(3, 3))
