"""``python -m numbasep filter``: files of all kinds, larger than memory, interrupted, and what it says then."""

import gc
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep import cli
from numbasep.adapters import out_of_core
from numbasep.cli import arguments
from numbasep.files import zarr_arrays
from tests.support.file_commands import failure, peak, read, run, write
from tests.support.processes import PATIENCE

RNG = np.random.default_rng(11)
VOLUME = RNG.integers(0, 60000, (30, 60, 70), dtype=np.uint16)
SMALL = "400kB"  # of memory: a few blocks of the volume

zarr = pytest.importorskip("zarr", reason="needs zarr: pip install numbasep[io]")
tifffile = pytest.importorskip("tifffile", reason="needs tifffile: pip install numbasep[io]")
pytest.importorskip("dask", reason="needs dask: pip install numbasep[io]")

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of new zarr arrays that suit the small volume."""
    monkeypatch.setattr(zarr_arrays, "new_chunks", lambda shape: tuple(min(n, 16) for n in shape))


def test_chunks_of_new_zarr_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for shape in [(3, 2000, 3000, 4000), (5000, 40), (10**9,), (5, 0, 7), ()]:
        chunks = zarr_arrays.new_chunks(shape)
        assert len(chunks) == len(shape)
        assert all(1 <= c <= max(n, 1) for c, n in zip(chunks, shape, strict=True))
        assert np.prod(chunks) <= 2**18


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The blocks that were filtered."""
    done: list[Any] = []
    original = out_of_core.filter_block

    def counted(request: Any, grid: Any, block: Any, *rest: Any) -> Any:
        done.append(block)
        return original(request, grid, block, *rest)

    monkeypatch.setattr(out_of_core, "filter_block", counted)
    return done


# --------------------------------------------------------------------------------------- same results


def assert_rounded_alike(
    result: np.ndarray, expected: np.ndarray, exact: np.ndarray, edge: float = 0.0
) -> None:
    """Integers made of sums that may differ in their last bits: one apart, only where these meet the edge of a step."""
    apart = np.abs(result.astype(np.int64) - expected)
    assert result.dtype == expected.dtype
    assert apart.max() <= 1
    off = exact[apart > 0] - edge
    bound = 32 * float(np.finfo(np.float32).eps) / 2 * 60000  # fewer roundings than any of these filters has
    assert np.abs(off - np.rint(off)).max(initial=0.0) <= bound


@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".tif"])
@pytest.mark.parametrize("target", [".npy", ".zarr", ".tif"])
def test_from_any_kind_of_file_to_any_other_in_blocks(
    suffix: str, target: str, tmp_path: Path, blocks: list[Any]
) -> None:
    source, result = write(tmp_path / f"in{suffix}", VOLUME), tmp_path / f"out{target}"
    run(source, result, "--gaussian", "2", "--spacing", "3,1,1", "--memory", SMALL, "--cast", "saturate")
    assert len(blocks) > 1
    expected = nsp.gaussian_filter(VOLUME, 2, spacing=(3, 1, 1), cast="saturate")
    exact = nsp.gaussian_filter(VOLUME, 2, spacing=(3, 1, 1), output=np.float64)
    assert_rounded_alike(read(result), expected, exact, edge=0.5)  # "saturate" rounds
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([source.name, result.name])


def sobel_of_planes(x: np.ndarray) -> np.ndarray:
    return np.stack([nsp.sobel(plane, 1, np.int32) for plane in x])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--uniform 5 --mode wrap", lambda x: nsp.uniform_filter(x, 5, mode="wrap")),
        ("--gaussian 1,9,2 --mode mirror", lambda x: nsp.gaussian_filter(x, (1, 9, 2), mode="mirror")),
        (
            "--gaussian 1.5 --mode constant --cval 900.5",
            lambda x: nsp.gaussian_filter(x, 1.5, mode="constant", cval=900.5),
        ),
        ("--gaussian 1 --mode valid", lambda x: nsp.gaussian_filter(x, 1, mode="valid")),
        ("--uniform 4 --mode full", lambda x: nsp.uniform_filter(x, 4, mode="full")),
        (
            "--log 1 --dtype int32 --mode constant",
            lambda x: nsp.gaussian_laplace(x, 1, np.int32, mode="constant"),
        ),
        ("--sobel 1 --dtype int32", lambda x: nsp.sobel(x, 1, np.int32)),
        ("--sobel -1 --axes 1,2 --dtype int32", sobel_of_planes),
        ("--gaussian 2,1 --axes 2,1", lambda x: nsp.gaussian_filter(x, (2, 1), axes=(2, 1))),
    ],
)
def test_blocks_have_the_result_of_the_whole(
    options: str, expected: Any, tmp_path: Path, blocks: list[Any]
) -> None:
    source = write(tmp_path / "in.zarr", VOLUME)
    run(source, tmp_path / "out.npy", *options.split(), "--memory", "600kB")
    assert len(blocks) > 1
    if "--gaussian" in options:  # a part with a short axis is summed in another order at its edges
        exact = expected(VOLUME.astype(np.float64))
        assert_rounded_alike(np.load(tmp_path / "out.npy"), expected(VOLUME), exact)
    else:
        np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected(VOLUME))


def test_a_kernel_on_a_volume_in_blocks(tmp_path: Path, blocks: list[Any]) -> None:
    kernel = RNG.random((3, 4, 5))
    np.save(tmp_path / "kernel.npy", kernel)
    x = VOLUME.astype(np.float32)
    source = write(tmp_path / "in.npy", x)
    run(source, tmp_path / "out.zarr", "--kernel", tmp_path / "kernel.npy", "--memory", SMALL)
    assert len(blocks) > 1
    expected = nsp.convolve(x, kernel)
    np.testing.assert_allclose(read(tmp_path / "out.zarr"), expected, rtol=1e-5)


def test_a_zarr_keeps_its_chunks_and_attributes(tmp_path: Path) -> None:
    attributes = {"unit": "micrometre", "channels": ["DAPI"]}
    source = write(tmp_path / "in.zarr", VOLUME, attributes=attributes, dimension_names=("z", "y", "x"))
    run(source, tmp_path / "out.zarr", "--uniform", "3", "--memory", SMALL)
    made = zarr.open_array(str(tmp_path / "out.zarr"), mode="r")
    assert made.chunks == (8, 16, 16)
    assert dict(made.attrs) == attributes
    assert made.metadata.dimension_names == ("z", "y", "x")


def test_an_array_of_a_group_and_the_group_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zarr.create_group(str(tmp_path / "in.zarr"))
    write(tmp_path / "in.zarr" / "0", VOLUME)
    run(tmp_path / "in.zarr" / "0", tmp_path / "out.npy", "--uniform", "3")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), nsp.uniform_filter(VOLUME, 3))
    message = failure(capsys, tmp_path / "in.zarr", tmp_path / "out.npy", "--uniform", "3")
    assert "a group; name one of its arrays" in message
    assert str(Path("in.zarr", "0")) in message


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_and_byte_order_of_npy(order: Any, tmp_path: Path) -> None:
    x = np.asarray(VOLUME.astype(">f4"), order=order)
    run(write(tmp_path / "in.npy", x), tmp_path / "out.npy", "--uniform", "3", "--memory", "800kB")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), nsp.uniform_filter(x, 3))


def test_compressed_and_coloured_tif(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (50, 40, 3), dtype=np.uint8)
    for name, options in {"raw": {}, "zip": {"compression": "zlib", "rowsperstrip": 16}}.items():
        source = write(tmp_path / f"{name}.tif", colour, photometric="rgb", **options)
        run(source, tmp_path / f"{name}-out.tif", "--gaussian", "2", "--memory", "30kB")
        gc.collect()  # a file that was left open would warn
        expected = nsp.gaussian_filter(colour, 2, axes=(0, 1), cast="saturate")
        np.testing.assert_array_equal(read(tmp_path / f"{name}-out.tif"), expected)


def test_the_derivative_of_a_coloured_image_leaves_channels_apart(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow: pip install numbasep[io]")
    colour = RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image.fromarray(colour).save(tmp_path / "in.png")
    run(tmp_path / "in.png", tmp_path / "out.npy", "--sobel", "0", "--dtype", "int16")
    expected = np.stack([nsp.sobel(colour[..., k], 0, np.int16) for k in range(3)], axis=-1)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_empty_arrays(tmp_path: Path) -> None:
    run(write(tmp_path / "in.npy", np.zeros((0, 5))), tmp_path / "out.npy", "--gaussian", "1")
    assert np.load(tmp_path / "out.npy").shape == (0, 5)


# ------------------------------------------------------------------------------------------- memory


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in kilobytes on Linux only")
def test_memory_is_bounded(tmp_path: Path) -> None:
    limit = 100_000_000
    shape, chunks = (96, 1024, 1024), (32, 256, 256)
    volume = zarr.create_array(str(tmp_path / "in.zarr"), shape=shape, chunks=chunks, dtype="f4")
    volume[...] = 3.0
    assert volume.nbytes > 4 * limit
    small = write(tmp_path / "small.zarr", np.ones((40, 200, 200), np.float32))
    options = ("--gaussian", "2", "--spacing", "3,1,1", "--workers", "2", "--memory")
    base = peak(small, tmp_path / "a.zarr", *options, "3MB")
    assert peak(tmp_path / "in.zarr", tmp_path / "b.zarr", *options, limit) - base < limit
    assert peak(tmp_path / "in.zarr", tmp_path / "c.npy", *options, limit) - base < limit
    result = zarr.open_array(str(tmp_path / "b.zarr"), mode="r")
    np.testing.assert_allclose(result[::37, ::101, ::103], 3.0, rtol=1e-6)


def test_a_limit_that_nothing_fits_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.zarr", VOLUME)
    message = failure(capsys, source, tmp_path / "out.npy", "--gaussian", "2", "--memory", "4kB")
    assert "0.004 MB do not hold a block of (8, 16, 16) samples" in message
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("100", 100), ("4kB", 4000), ("1.5GiB", 3 << 29), ("2G", 2 * 10**9), ("64 MiB", 64 << 20)],
)
def test_amounts_of_memory(text: str, size: int) -> None:
    assert arguments.memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "3TBX", "nan"])
def test_what_is_no_amount_of_memory(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["filter", "in.npy", "out.npy", "--gaussian", "1", f"--memory={text}"])
    assert stopped.value.code == 2
    assert "is not an amount of memory" in capsys.readouterr().err


# ------------------------------------------------------------------------------- interrupts, leftovers

SLOW = """
import sys, time
from numbasep.adapters import out_of_core
original = out_of_core.filter_block
def slow(*words):
    time.sleep(0.5)  # whoever waits for the first blocks sees them before the last
    return original(*words)
out_of_core.filter_block = slow
from numbasep.cli import main
sys.exit(main(sys.argv[1:]))
"""


def interrupted(tmp_path: Path, number: int) -> subprocess.Popen[str]:
    """A run that was sent a signal after its first blocks were written."""
    source = write(tmp_path / "in.zarr", VOLUME)
    command = [
        sys.executable,
        "-c",
        SLOW,
        "filter",
        source,
        tmp_path / "out.zarr",
        "--uniform",
        "3",
        "--memory",
        SMALL,
    ]
    process = subprocess.Popen(list(map(str, command)), text=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE
    while not list((tmp_path / "out.zarr.partial").glob("c/*/*/*")):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    return process


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    process = interrupted(tmp_path, signal.SIGINT)
    _, printed = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert printed == "numbasep: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in.zarr"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_killed_run_leaves_nothing_that_looks_whole_and_the_next_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = interrupted(tmp_path, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.zarr", "out.zarr.partial"]
    message = failure(capsys, tmp_path / "in.zarr", tmp_path / "out.zarr", "--uniform", "3")
    assert "out.zarr.partial: another run is writing it, or was killed" in message
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".tif"])
def test_a_failure_in_the_middle_leaves_the_old_result(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in.npy", VOLUME)
    old = write(tmp_path / f"out{suffix}", VOLUME[::-1])
    original = out_of_core.filter_block

    def failing(request: Any, grid: Any, block: Any, *rest: Any) -> Any:
        if block == list(grid.blocks)[-1]:
            raise OSError(28, "No space left on device", "out")
        return original(request, grid, block, *rest)

    monkeypatch.setattr(out_of_core, "filter_block", failing)
    message = failure(capsys, source, old, "--uniform", "3", "--memory", SMALL, "--overwrite")
    assert "No space left on device" in message
    np.testing.assert_array_equal(read(old), VOLUME[::-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npy", old.name]


def test_a_zarr_is_replaced_only_if_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = write(tmp_path / "in.npy", VOLUME), write(tmp_path / "out.zarr", VOLUME)
    assert "it exists: give --overwrite" in failure(capsys, source, target, "--uniform", "3")
    np.testing.assert_array_equal(read(target), VOLUME)
    run(source, target, "--uniform", "3", "--overwrite")
    np.testing.assert_array_equal(read(target), nsp.uniform_filter(VOLUME, 3))
    run(target, target, "--uniform", "3", "--overwrite", "--memory", SMALL)
    np.testing.assert_array_equal(read(target), nsp.uniform_filter(nsp.uniform_filter(VOLUME, 3), 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npy", "out.zarr"]


# ------------------------------------------------------------------------------------------ messages


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["in.npy", "out.npy", "--sobel", "0", "--spacing", "2"],
            "--spacing applies to --gaussian and --log",
        ),
        (
            ["in.npy", "out.npy", "--sobel", "0", "--axes", "1,2"],
            "--sobel must name one of the filtered axes",
        ),
        (["in.npy", "out.npy", "--gaussian", "1,2"], "sigma must be one value or a sequence of 3"),
        (["in.npy", "out.npy", "--gaussian", "1", "--mode", "bounce"], "mode='bounce'"),
        (["in.npy", "out.png", "--gaussian", "1", "--dtype", "float32"], "uint8 or uint16, not float32"),
        (["in.npy", "nowhere/out.npy", "--gaussian", "1"], "nowhere: no such folder"),
        (["missing.zarr", "out.npy", "--gaussian", "1"], "missing.zarr: No such file"),
        (["in.npy", "out.jpeg2000", "--gaussian", "1"], "unknown kind of file; allowed are .npy .zarr .tif"),
    ],
)
def test_errors_name_what_is_wrong(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("in.npy"), VOLUME)
    assert message in failure(capsys, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [("zarr", "in.npy", "out.zarr"), ("tifffile", "in.npy", "out.tif"), ("dask", "in.npy", "out.npy")],
)
def test_a_missing_library_is_named(
    module: str,
    source: str,
    target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / source, VOLUME)
    monkeypatch.setitem(sys.modules, module, None)
    message = failure(capsys, tmp_path / source, tmp_path / target, "--uniform", "3", "--memory", SMALL)
    assert module in message
    assert 'pip install "numbasep[io]"' in message
    assert [path.name for path in tmp_path.iterdir()] == [source]


def test_progress_is_shown_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in.npy", VOLUME)
    for quiet in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        run(source, tmp_path / "out.npy", "--uniform", "3", "--memory", SMALL, *["--quiet"] * quiet)
        assert ("100%" in capsys.readouterr().err) is not quiet


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["filter", "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    for words in ("examples:", "--spacing 3,1,1", "numbasep[io]", "OUTPUT.partial", "--memory SIZE"):
        assert words in printed
