"""The CUDA backend where there is no GPU: programs as tables, plans, prices, packed launches, the errors."""

import ctypes
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numbasep
from numbasep.arguments.boundary import Boundary
from numbasep.cuda import driver
from numbasep.cuda.compiler import CudaUnavailableError
from numbasep.cuda.intrinsics.vocabulary import SIMULATED
from numbasep.cuda.launches import Launch, Slot
from numbasep.cuda.passes import build_program
from numbasep.cuda.tables import column_table, extended_positions, pieces_of
from numbasep.planning import accelerator, overlap_cuda, planner, routes_cuda
from numbasep.planning.cuda_limits import TAP_CLASSES
from numbasep.planning.operators import support_factor
from tests.support import oracle
from tests.support.problems import facts, form, problem

H200 = accelerator.REFERENCE
gpu_is_there = not SIMULATED and driver.missing() is None


@given(
    st.integers(-40, 40), st.integers(0, 60), st.integers(1, 20), st.sampled_from(sorted(Boundary, key=int)),
    st.integers(1, 4),
)  # fmt: skip
def test_index_tables(first: int, count: int, size: int, boundary: Boundary, step: int) -> None:
    expected = oracle.source_indices(first, count, size, boundary.name.lower())
    np.testing.assert_array_equal(extended_positions(first, count, size, boundary), expected)
    window = SimpleNamespace(size=size, boundary=boundary)
    wide = oracle.source_indices(first, count, size, boundary.name.lower()).repeat(step)
    channels = np.tile(np.arange(step), count)
    wide = np.where(wide == oracle.OUTSIDE, oracle.OUTSIDE, wide * step + channels)
    np.testing.assert_array_equal(column_table(window, first * step, count * step, step), wide)  # type: ignore[arg-type]


@given(st.sets(st.integers(0, 60)), st.sampled_from([1, 4]))
def test_pieces_cover_every_tap_once(positions: set[int], align: int) -> None:
    pieces = pieces_of(np.array(sorted(positions), int), (16, 4, 1), align)
    covered = [start + k for start, length in pieces for k in range(length)]
    assert covered == sorted(positions)
    assert all(length == 1 or start % align == 0 for start, length in pieces)


def launches(
    shape: tuple[int, ...], taps: tuple[int, ...], terms: int = 1, dtype: str = "f4", **options: Any
) -> Any:
    asked = problem(shape, taps, dtype, device="cuda", **options)
    kernel = [tuple(support_factor(np.arange(1.0, n + 1) + t) for n in taps) for t in range(terms)]
    return build_program(asked, kernel, 1.0, None, multiprocessors=132).launches


def families(*arguments: Any, **options: Any) -> list[str]:
    return [
        type(launch.variant).__name__.removesuffix("Variant") for launch in launches(*arguments, **options)
    ]


def test_which_kernels_run() -> None:
    assert families((512, 512), (9, 9)) == ["Plane"]
    assert families((512, 512), (9, 9), 3) == ["Plane"]
    assert families((512, 512), (9, 9), 4) == ["Plane"] * 4 + ["Columns"]
    assert families((512, 512), (65, 65)) == ["Lines", "Columns"]
    assert families((64, 64, 64), (5, 5, 5)) == ["Plane", "Plane"]
    assert families((64, 64, 64), (5, 5, 5), 2) == ["Plane", "Plane", "Columns"]
    assert families((64, 64, 64), (5, 5, 65)) == ["Lines", "Plane", "Plane"]


def test_machine_code_is_shared_by_sizes_modes_and_sigmas() -> None:
    """One variant for every image size, mode and set of taps; two for each number of taps that has a class."""
    one = {
        launches(shape, (9, 9), mode=mode)[0].variant
        for shape in ((64, 64), (65, 77), (4096, 4096))
        for mode in ("reflect", "wrap", "constant")
    }
    assert len(one) == 1
    variants = {launches((128, 128), (n, n))[0].variant for n in range(2, 34)}
    assert len(variants) <= 2 * len(TAP_CLASSES)
    assert sum(variant.masked for variant in variants) <= len(TAP_CLASSES)


@pytest.mark.parametrize(
    ("dtype", "output", "cast", "weight", "bounded"),
    [
        ("u1", "u1", "truncate", 1.0, True),
        ("u2", "u1", "truncate", 1.0, True),
        ("u1", "u1", "truncate", 2.0**20, False),
        ("u1", "u1", "saturate", 1.0, False),
        ("f4", "u1", "truncate", 1.0, False),
        ("u1", "f4", "truncate", 1.0, False),
    ],
)
def test_which_casts_need_no_check(dtype: str, output: str, cast: str, weight: float, bounded: bool) -> None:
    asked = problem((64, 64), (3, 3), dtype, output=output, cast=cast, device="cuda")
    terms = [tuple(support_factor(np.full(3, weight)) for _ in range(2))]
    (launch,) = build_program(asked, terms, 1.0, None, multiprocessors=132).launches
    assert launch.variant.result.bounded == bounded


def test_images_and_arrays_of_any_size() -> None:
    (tall,) = launches((10_000_000, 4), (3, 3))
    assert tall.blocks < 2**31
    (big,) = launches((3, 40_000, 40_000), (3, 3), axes=(1, 2))
    starts = big.arguments[4]
    assert starts.dtype == np.int64
    assert starts.max() == 2 * 40_000**2  # elements, beyond 32 bits in bytes
    assert big.arguments[2].dtype == np.int64


def test_tables_do_not_grow_with_the_array() -> None:
    """One line of ten billion samples: what lies beyond its ends is all that is written down."""
    for taps in (9, 65):
        (launch,) = launches((10_000_000_000,), (taps,))
        assert sum(a.nbytes for a in launch.arguments if isinstance(a, np.ndarray)) < 1 << 14
    (tall,) = launches((10_000_000_000, 4), (3, 3))
    assert sum(a.nbytes for a in tall.arguments if isinstance(a, np.ndarray)) < 1 << 14


def test_tasks_fill_the_device_without_filtering_rows_twice() -> None:
    (small,) = launches((512, 512), (9, 9))
    (large,) = launches((16384, 16384), (9, 9))
    assert small.warps == 1  # a block each: tasks go to all multiprocessors
    assert small.blocks >= 128
    (medium,) = launches((2048, 2048), (9, 9))
    assert medium.warps == medium.variant.warps == large.warps
    strip_rows = 8  # position among the arguments
    assert large.arguments[strip_rows] == 256


@pytest.mark.parametrize(
    ("shape", "taps", "kernels"),
    [((64, 64), (9, 9), ["plane"]), ((64,), (5,), ["plane"]), ((64, 64), (65, 65), [])],
)
def test_passes_of_what_is_one_launch(
    shape: tuple[int, ...], taps: tuple[int, ...], kernels: list[str]
) -> None:
    """As predicted from the kernel's facts alone, and as written down for its weights."""
    asked = problem(shape, taps, device="cuda", method="separable")
    chosen = planner.choose(asked, facts(taps, forms=[form((taps,))]), H200).chosen
    assert [one.kernel for one in chosen.passes] == kernels
    assert sum(one.seconds for one in chosen.passes) == (chosen.seconds if kernels else 0)
    assert (families(shape, taps) == ["Plane"]) == (kernels == ["plane"])


def test_choices_and_certificates_are_those_of_the_cpu() -> None:
    asked = problem((4096, 4096), (9, 9), device="cuda")
    known = facts((9, 9), forms=[form()])
    on_gpu = planner.choose(asked, known, H200)
    on_cpu = planner.choose(problem((4096, 4096), (9, 9)), known, numbasep.planning.machine.REFERENCE)
    for ours, theirs in zip(on_gpu.candidates, on_cpu.candidates, strict=True):
        assert ours.method == theirs.method
        if ours.feasible and theirs.feasible and ours.method != "fft":  # whose blocks are larger
            assert (ours.error_bound, ours.exact, ours.rank) == (
                theirs.error_bound,
                theirs.exact,
                theirs.rank,
            )
    assert on_gpu.chosen.method == "separable"


def test_a_form_that_spreads_nan_is_repaired_in_one_pass_and_refused_in_more() -> None:
    incoherent = form(((9, 9), (9, 9)), coherent=False)
    known = facts((9, 9), forms=[incoherent])
    chosen = planner.choose(problem((512, 512), (9, 9), device="cuda"), known, H200).chosen
    assert chosen.method == "separable"
    assert chosen.needs_finite  # which makes the kernel repair
    long = facts((65, 65), forms=[form(((65, 65), (65, 65)), coherent=False)])
    choice = planner.choose(problem((512, 512), (65, 65), device="cuda"), long, H200)
    assert choice.candidates[1].reason == routes_cuda.SPREADS
    assert choice.chosen.method == "fft"
    assert choice.fallback is not None  # for data that are not finite, and arrays without transforms
    assert choice.fallback.method == "direct"


def test_a_plan_explains_itself_without_a_gpu() -> None:
    large = numbasep.plan(np.random.default_rng(0).random((65, 65)), (4096, 4096), np.float32, device="cuda")
    assert "arrays not from CuPy or PyTorch: direct" in str(large)
    text = str(numbasep.plan(np.ones((5, 5)), (512, 512), np.uint8, device="cuda"))
    assert "integer results of transforms are made on the CPU only" in text
    assert "to the GPU and back" in text
    assert "not measured" in text


@pytest.mark.parametrize("weights", [np.ones((3, 3)) * 1j])
def test_what_the_gpu_does_not_do(weights: np.ndarray) -> None:
    with pytest.raises(ValueError, match="plans for the GPU have real weights"):
        numbasep.plan(weights, (16, 16), np.complex64, device="cuda")
    with pytest.raises(ValueError, match="method='fft' cannot"):
        numbasep.plan(np.ones((3, 3)), (16, 16), np.uint8, device="cuda", method="fft")


# ------------------------------------------------------------------------------ launching


def test_a_packed_launch_patches_two_pointers_and_what_depends_on_them() -> None:
    seen = []

    def enqueue(function: Any, *arguments: Any) -> tuple[int]:
        *geometry, stream, parameters, extra = arguments
        count = 7  # two arrays, flag, pitch, taps
        pointers = (ctypes.c_int64 * count).from_address(parameters)
        values = [ctypes.string_at(pointer, 8) for pointer in pointers]
        seen.append((geometry, stream, values, extra))
        return (0,)

    device = SimpleNamespace(kernel=lambda variant: variant, _driver=SimpleNamespace(cuLaunchKernel=enqueue))
    launch = Launch("kernel", 12, 4, (Slot(0), Slot(1), 1, 640, (0.5, 0.25), 2.0), aligned_in=2, pitch_out=3)
    packed = driver.PackedLaunch(device, launch, "f4", None)

    def integer(word: bytes) -> int:
        return struct.unpack("<q", word)[0]

    packed({0: (1 << 40, 8), 1: (2 << 40, 8)}, 77)
    packed({0: ((1 << 40) + 4, 8), 1: ((2 << 40) + 8, 8)}, 0)
    packed({0: (1 << 40, 8), 1: (2 << 40, 8)}, 0)
    (geometry, stream, values, extra), unaligned, again = seen
    assert geometry == [12, 1, 1, 32, 4, 1, 0]
    assert (stream, extra) == (77, 0)
    assert [integer(word) for word in values[:4]] == [1 << 40, 2 << 40, 1, 640]
    assert [struct.unpack("<f", word[:4])[0] for word in values[4:]] == [0.5, 0.25, 2.0]
    assert [integer(word) for word in unaligned[2][:4]] == [(1 << 40) + 4, (2 << 40) + 8, 0, -640]
    assert again[2] == values


# ------------------------------------------------------------------------------ without a GPU


@pytest.mark.skipif(gpu_is_there or SIMULATED, reason="there is a GPU, or its simulator")
def test_one_clear_error_and_never_a_silent_fall_back() -> None:
    x = np.zeros((4, 4), np.float32)
    with pytest.raises(CudaUnavailableError) as error:
        numbasep.gaussian_filter(x, 1.0, device="cuda")
    assert 'pip install "numbasep[cuda]"' in str(error.value) or "driver" in str(error.value)
    with pytest.raises(CudaUnavailableError):
        numbasep.plan(np.ones((3, 3)), (4, 4), np.float32, device="cuda")(x)
    with pytest.raises(CudaUnavailableError):
        numbasep.calibrate(device="cuda")


def test_configuration_tells_the_state_of_cuda(capsys: pytest.CaptureFixture[str]) -> None:
    numbasep.show_config()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cuda ")]
    assert line.split()[1:]
    if not gpu_is_there and not SIMULATED:
        assert "no: " in line


def test_numba_cuda_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from numbasep.cuda import compiler

    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda _name: None)
    assert compiler.missing() == 'numba-cuda is not installed: python -m pip install "numbasep[cuda]"'


@pytest.mark.parametrize(
    ("shape", "taps"), [((8192, 8192), (301, 301)), ((16384, 16384), (65, 65)), ((512, 512, 512), (33, 33, 33))]
)  # fmt: skip
def test_blocks_of_transforms_waste_little(shape: tuple[int, ...], taps: tuple[int, ...]) -> None:
    cut = overlap_cuda.blocks(problem(shape, taps, device="cuda"))
    assert cut.points * cut.batch <= overlap_cuda.MOST_POINTS
    assert cut.number * cut.points * cut.batch < 1.5 * np.prod(shape)
    assert all(count * step >= n for count, step, n in zip(cut.counts, cut.steps, shape, strict=True))
