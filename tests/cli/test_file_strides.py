"""``python -m numbasep filter --stride``: every so many results of a file, block by block."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep import cli
from numbasep.adapters import out_of_core
from numbasep.files import stored, zarr_arrays
from tests.support.file_commands import assert_same, failure, read, run, write

pytest.importorskip("zarr", reason="needs zarr: pip install numbasep[io]")
pytest.importorskip("tifffile", reason="needs tifffile: pip install numbasep[io]")
pytest.importorskip("dask", reason="needs dask: pip install numbasep[io]")

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::ResourceWarning")

RNG = np.random.default_rng(13)
VOLUME = RNG.integers(0, 60000, (30, 60, 70), dtype=np.uint16)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[out_of_core.Blocks]:
    """How arrays were filtered."""
    found: list[out_of_core.Blocks] = []
    original = out_of_core.plan_blocks

    def kept(*words: Any) -> out_of_core.Blocks:
        found.append(original(*words))
        return found[-1]

    monkeypatch.setattr(out_of_core, "plan_blocks", kept)
    monkeypatch.setattr(zarr_arrays, "new_chunks", lambda shape: tuple(min(n, 8) for n in shape))
    return found


def pieces(blocks: out_of_core.Blocks) -> int:
    return len(list(blocks.grid.blocks))


@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".tif"])
@pytest.mark.parametrize("target", [".npy", ".zarr", ".tif"])
def test_every_second_result_from_any_kind_of_file_to_any_other(
    suffix: str, target: str, tmp_path: Path, planned: list[out_of_core.Blocks]
) -> None:
    source, result = write(tmp_path / f"in{suffix}", VOLUME), tmp_path / f"out{target}"
    run(source, result, "--gaussian", "2", "--stride", "2", "--memory", "400kB", "--cast", "saturate")
    assert pieces(planned[0]) > 1
    expected = nsp.gaussian_filter(VOLUME, 2, cast="saturate")[::2, ::2, ::2]
    assert_same(read(result), expected)


def every(*strides: int) -> tuple[slice, ...]:
    return tuple(slice(None, None, stride) for stride in strides)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            "--uniform 5 --mode wrap --stride 3",
            lambda x: nsp.uniform_filter(x, 5, mode="wrap")[every(3, 3, 3)],
        ),
        (
            "--gaussian 1 --mode valid --stride 2,1,5",
            lambda x: nsp.gaussian_filter(x, 1, mode="valid")[every(2, 1, 5)],
        ),
        (
            "--uniform 4 --mode full --stride 4",
            lambda x: nsp.uniform_filter(x, 4, mode="full")[every(4, 4, 4)],
        ),
        (
            "--uniform 5 --mode constant --cval 9.5 --stride 2",
            lambda x: nsp.uniform_filter(x, 5, mode="constant", cval=9.5)[every(2, 2, 2)],
        ),
        (
            "--log 1 --dtype int32 --mode constant --stride 7",
            lambda x: nsp.gaussian_laplace(x, 1, np.int32, mode="constant")[every(7, 7, 7)],
        ),
        ("--sobel 1 --dtype int32 --stride 2", lambda x: nsp.sobel(x, 1, np.int32)[every(2, 2, 2)]),
        (
            "--gaussian 2,1 --axes 2,1 --stride 3,2",
            lambda x: nsp.gaussian_filter(x, (2, 1), axes=(2, 1))[every(1, 2, 3)],
        ),
        (
            "--sobel 2 --axes 2,1 --stride 3,2 --dtype int32",
            lambda x: np.stack([nsp.sobel(plane, 1, np.int32)[::2, ::3] for plane in x]),
        ),
        ("--uniform 3 --stride 20", lambda x: nsp.uniform_filter(x, 3)[every(20, 20, 20)]),
        ("--sobel 0 --dtype int32 --stride 100", lambda x: nsp.sobel(x, 0, np.int32)[:1, :1, :1]),
    ],
)
def test_strided_blocks_have_the_result_of_the_slice(
    options: str, expected: Any, tmp_path: Path, planned: list[out_of_core.Blocks]
) -> None:
    source = write(tmp_path / "in.zarr", VOLUME)
    run(source, tmp_path / "out.zarr", *options.split(), "--memory", "600kB")
    assert pieces(planned[0]) > 1
    assert_same(read(tmp_path / "out.zarr"), expected(VOLUME))


def test_a_kernel_on_axes_in_any_order(tmp_path: Path) -> None:
    kernel = RNG.random((3, 5))
    np.save(tmp_path / "kernel.npy", kernel)
    source = write(tmp_path / "in.npy", VOLUME)
    options = ("--kernel", tmp_path / "kernel.npy", "--axes", "2,0", "--stride", "3,2", "--dtype", "float64")
    run(source, tmp_path / "out.npy", *options)
    expected = nsp.convolve(VOLUME, kernel, np.float64, axes=(2, 0))[::2, :, ::3]
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-12)


def test_no_two_blocks_write_to_one_chunk_unless_memory_is_short(
    tmp_path: Path, planned: list[out_of_core.Blocks]
) -> None:
    small = VOLUME[:20, :20, :34]
    source = write(tmp_path / "in.zarr", small, chunks=(8, 8, 8))
    expected = nsp.uniform_filter(small, 3)[::2, ::2, ::2]
    for number, (memory, apart) in enumerate({"100kB": True, "20kB": False}.items()):
        target = tmp_path / f"out{number}.zarr"
        run(source, target, "--uniform", "3", "--stride", "2", "--memory", memory, "--workers", "2")
        assert planned[-1].apart is apart
        np.testing.assert_array_equal(read(target), expected)
        if apart:
            assert all(size % 8 == 0 for sizes in planned[-1].grid.chunks for size in sizes[:-1])


def test_blocks_that_share_chunks_take_turns(
    tmp_path: Path, planned: list[out_of_core.Blocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, most = [0], [0]
    original = stored.Chunked.write

    def slow(self: stored.Chunked, *words: Any) -> None:
        writing[0] += 1
        most[0] = max(most[0], writing[0])
        time.sleep(0.02)
        original(self, *words)
        writing[0] -= 1

    monkeypatch.setattr(stored.Chunked, "write", slow)
    source = write(tmp_path / "in.zarr", VOLUME[:9, :20, :34], chunks=(9, 8, 8))
    options = ("--stride", "2", "--memory", "30kB", "--workers", "2")
    run(source, tmp_path / "out.zarr", "--uniform", "3", *options)
    assert planned[0].at_once == 2
    assert not planned[0].apart
    assert most == [1]


def test_strides_beyond_the_array_compute_one_result(
    tmp_path: Path, planned: list[out_of_core.Blocks]
) -> None:
    source = write(tmp_path / "in.zarr", VOLUME)
    run(source, tmp_path / "out.zarr", "--uniform", "3", "--stride", "100", "--memory", "600kB")
    assert pieces(planned[0]) == 1
    assert_same(read(tmp_path / "out.zarr"), nsp.uniform_filter(VOLUME, 3)[:1, :1, :1])


def test_functions_with_a_stride_compute_no_more_than_is_kept(
    tmp_path: Path, planned: list[out_of_core.Blocks]
) -> None:
    source = write(tmp_path / "in.zarr", VOLUME)
    for options, computed in ((("--uniform", "3"), (15, 30, 35)), (("--log", "1"), (30, 60, 70))):
        run(source, tmp_path / "out.zarr", *options, "--stride", "2", "--overwrite", "--memory", "600kB")
        assert tuple(map(sum, planned[-1].grid.chunks)) == computed
        assert read(tmp_path / "out.zarr").shape == (15, 30, 35)


@pytest.mark.parametrize("text", ["0", "-2", "1.5", "two", "2,0,1", ""])
def test_what_is_no_stride(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["filter", "in.npy", "out.npy", "--gaussian", "1", f"--stride={text}"])
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert "argument --stride" in printed
    assert "is not a positive integer" in printed


def test_strides_that_do_not_match_the_axes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.npy", VOLUME)
    for axes, count in (((), 3), (("--axes", "1"), 1)):
        message = failure(capsys, source, tmp_path / "out.npy", "--uniform", "3", "--stride", "2,2", *axes)
        assert f"--stride must be one value, or one for each of {count} filtered axes, got 2" in message
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


def test_empty_arrays(tmp_path: Path) -> None:
    run(
        write(tmp_path / "in.npy", np.zeros((0, 5))), tmp_path / "out.npy", "--gaussian", "1", "--stride", "2"
    )
    assert np.load(tmp_path / "out.npy").shape == (0, 3)
