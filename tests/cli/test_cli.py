"""The command line: what it prints, what it writes, how it fails."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numbasep
from numbasep import cli
from numbasep.cli import commands
from numbasep.files import formats


@pytest.fixture
def gaussian_file(tmp_path: Path) -> Path:
    taps = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)
    path = tmp_path / "gaussian.npy"
    np.save(path, np.outer(taps, taps) / taps.sum() ** 2)
    return path


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (60, 70), dtype=np.uint8)


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail; return its one line."""
    assert cli.main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("numbasep: error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_explain_prints_the_factors_and_every_route(
    gaussian_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", str(gaussian_file), "--shape", "4096x4096", "--dtype", "float32"]) == 0
    printed = capsys.readouterr().out
    kernel = np.load(gaussian_file)
    assert str(numbasep.plan(kernel, (4096, 4096), np.float32)) in printed
    assert str(numbasep.factorize(kernel)) in printed
    for method in ("direct", "separable", "fft"):
        assert method in printed


def test_explain_reads_kernels_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sobel.csv"
    path.write_text("1, 0, -1\n2, 0, -2\n1, 0, -1\n")
    assert cli.main(["explain", str(path), "--shape", "512x512", "--dtype", "uint8"]) == 0
    assert "3" in capsys.readouterr().out
    np.testing.assert_array_equal(formats.read_kernel(path), [[1, 0, -1], [2, 0, -2], [1, 0, -1]])


def test_explain_passes_its_options_on(gaussian_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--shape", "100x80x3", "--axes", "0,1", "--mode", "wrap", "--method", "direct"]
    arguments += ["--operation", "correlate", "--origin", "1,-1", "--workers", "1"]
    assert cli.main(["explain", str(gaussian_file), *arguments]) == 0
    kernel = np.load(gaussian_file)
    options = {"axes": (0, 1), "mode": "wrap", "method": "direct", "operation": "correlate", "workers": 1}
    plan = numbasep.plan(kernel, (100, 80, 3), np.float32, origin=(1, -1), **options)
    assert str(plan) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "call"),
    [
        (["--gaussian", "2"], lambda a: numbasep.gaussian_filter(a, 2)),
        (["--gaussian", "1,3"], lambda a: numbasep.gaussian_filter(a, (1, 3))),
        (["--uniform", "5"], lambda a: numbasep.uniform_filter(a, 5)),
        (["--sobel", "1", "--dtype", "int16"], lambda a: numbasep.sobel(a, 1, np.int16)),
        (
            ["--log", "1.5", "--dtype", "float32", "--mode", "wrap"],
            lambda a: numbasep.gaussian_laplace(a, 1.5, np.float32, "wrap"),
        ),
    ],
    ids=["gaussian", "gaussian-per-axis", "uniform", "sobel", "log"],
)
def test_filter_writes_what_the_function_returns(
    tmp_path: Path, array: np.ndarray, option: list[str], call
) -> None:
    source, target = tmp_path / "in.npy", tmp_path / "out.npy"
    np.save(source, array)
    assert cli.main(["filter", str(source), str(target), *option]) == 0
    written, expected = np.load(target), call(array)
    assert written.dtype == expected.dtype
    np.testing.assert_array_equal(written, expected)


def test_filter_takes_a_kernel(tmp_path: Path, array: np.ndarray, gaussian_file: Path) -> None:
    source, target = tmp_path / "in.npy", tmp_path / "out.npy"
    np.save(source, array)
    options = ["--kernel", str(gaussian_file), "--dtype", "float64", "--mode", "constant", "--cval", "9"]
    assert cli.main(["filter", str(source), str(target), *options]) == 0
    expected = numbasep.convolve(array, np.load(gaussian_file), np.float64, "constant", 9)
    np.testing.assert_array_equal(np.load(target), expected)


def test_filter_leaves_the_channels_of_an_image_apart(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    colour = np.random.default_rng(4).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    image.fromarray(colour).save(source)
    assert cli.main(["filter", str(source), str(target), "--gaussian", "1.5"]) == 0
    expected = numbasep.gaussian_filter(colour, 1.5, axes=(0, 1), cast="saturate")
    np.testing.assert_array_equal(np.asarray(image.open(target)), expected)


def test_filter_reads_and_writes_the_same_file(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "image.npy"
    np.save(path, array)
    assert cli.main(["filter", str(path), str(path), "--uniform", "3"]) == 0
    np.testing.assert_array_equal(np.load(path), numbasep.uniform_filter(array, 3))


def test_a_failed_filter_leaves_the_output_untouched(
    tmp_path: Path, array: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.npy", tmp_path / "out.npy"
    np.save(source, array)
    target.write_bytes(b"precious")
    assert "mode" in failure(
        capsys, "filter", str(source), str(target), "--gaussian", "1", "--mode", "bounce"
    )
    assert target.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npy", "out.npy"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "missing.npy", "--shape", "8x8"], "missing.npy: No such file"),
        (["filter", "missing.npy", "out.npy", "--gaussian", "1"], "missing.npy: No such file"),
        (["filter", "image.xyz", "out.npy", "--gaussian", "1"], "image.xyz: unknown kind of file"),
        (["demo", "missing.png"], "missing.png"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in failure(capsys, *arguments)


def test_a_kernel_that_is_no_table_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ragged.txt"
    path.write_text("1 2 3\n4 5\n")
    assert "ragged.txt: a kernel is" in failure(capsys, "explain", str(path), "--shape", "8x8")


def test_a_kernel_of_the_wrong_dimension_is_named(
    gaussian_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = failure(capsys, "explain", str(gaussian_file), "--shape", "64x64x64")
    assert "2" in message
    assert "3" in message


def test_a_float_result_does_not_become_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("PIL")
    source = tmp_path / "in.npy"
    np.save(source, np.zeros((8, 8), np.float32))
    message = failure(capsys, "filter", str(source), str(tmp_path / "out.png"), "--gaussian", "1")
    assert "uint8 or uint16, not float32" in message


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sharpen"],
        ["explain", "kernel.npy"],
        ["explain", "kernel.npy", "--shape", "4096by4096"],
        ["explain", "kernel.npy", "--shape", "8x8", "--dtype", "float33"],
        ["filter", "in.npy", "out.npy"],
        ["filter", "in.npy", "out.npy", "--gaussian", "1", "--sobel", "0"],
        ["filter", "in.npy", "out.npy", "--gaussian", "wide"],
        ["explain", "kernel.npy", "--shape", "8x8", "--workers", "0"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch, gaussian_file: Path) -> None:
    def interrupted(path: Path) -> np.ndarray:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "read_kernel", interrupted)
    assert cli.main(["explain", str(gaussian_file), "--shape", "8x8"]) == 130


def test_info_prints_what_a_bug_report_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cli.main(["info"]) == 0
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert printed["numbasep"] == numbasep.__version__
    assert printed["numpy"] == np.__version__
    assert "OMP_NUM_THREADS=3" in printed["environment"]
    assert printed["package"] == str(Path(numbasep.__file__).parent)
    words = "python numba llvmlite scipy cuda arrays platform cpu vector cores threads calibration cache"
    assert set(words.split()) <= set(printed)


def test_the_module_runs_as_a_program(gaussian_file: Path) -> None:
    command = [sys.executable, "-m", "numbasep", "explain", str(gaussian_file), "--shape", "256x256"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "separable" in done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "numbasep", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"numbasep {numbasep.__version__}\n"
