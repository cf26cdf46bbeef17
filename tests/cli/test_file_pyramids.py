"""``python -m numbasep filter --pyramid``: OME-Zarr images of several levels, block by block."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep import cli
from numbasep.adapters import out_of_core
from numbasep.cli import pyramid
from numbasep.files import zarr_arrays
from tests.support.file_commands import assert_same, failure, peak, run, write

zarr = pytest.importorskip("zarr", reason="needs zarr: pip install numbasep[io]")
tifffile = pytest.importorskip("tifffile", reason="needs tifffile: pip install numbasep[io]")
pytest.importorskip("dask", reason="needs dask: pip install numbasep[io]")

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::ResourceWarning")

RNG = np.random.default_rng(14)
STACK = RNG.integers(0, 60000, (9, 60, 70), dtype=np.uint16)
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_arrays, "new_chunks", lambda shape: tuple(min(n, 8) for n in shape))


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Voxels of 3 x 0.5 x 0.5 micrometers."""
    said = {"axes": "ZYX", "spacing": 3.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "in.tif", STACK, imagej=True, resolution=(2.0, 2.0), metadata=said)
    return tmp_path / "in.tif"


def levels_of(path: Path) -> list[np.ndarray]:
    group = zarr.open_group(str(path), mode="r")
    return [group[level["path"]][...] for level in image_of(path)["datasets"]]


def image_of(path: Path) -> dict[str, Any]:
    attributes = dict(zarr.open_group(str(path), mode="r").attrs)
    assert_is_an_image(path, attributes)
    return attributes["ome"]["multiscales"][0]


def scales_of(path: Path) -> list[list[float]]:
    return [level["coordinateTransformations"][0]["scale"] for level in image_of(path)["datasets"]]


def further(level: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The next level, by its definition."""
    smooth = nsp.separable_correlate(level, {axis: BINOMIAL for axis in axes}, cast="saturate")
    return smooth[tuple(slice(None, None, 2 if axis in axes else None) for axis in range(level.ndim))]


SPACE_UNITS = """
    angstrom attometer centimeter decimeter exameter femtometer foot gigameter hectometer inch kilometer megameter
    meter micrometer mile millimeter nanometer parsec petameter picometer terameter yard yoctometer yottameter
    zeptometer zettameter
"""


def assert_is_an_image(path: Path, attributes: dict[str, Any]) -> None:
    """What https://ngff.openmicroscopy.org/0.5/ says that an image must be, and its strict schema."""
    ome = attributes["ome"]
    assert ome["version"] == "0.5"
    assert len(ome["multiscales"]) == 1
    image = ome["multiscales"][0]
    assert {"axes", "datasets", "name", "type", "metadata"} <= set(image)
    names, kinds = ([axis[key] for axis in image["axes"]] for key in ("name", "type"))
    assert 2 <= len(names) <= 5
    assert len(set(names)) == len(names)
    assert 2 <= kinds.count("space") <= 3
    assert kinds.count("time") <= 1
    assert kinds.count("channel") <= 1
    assert kinds == sorted(kinds, key=["time", "channel", "space"].index)
    assert all(
        axis["unit"] in SPACE_UNITS for axis in image["axes"] if axis["type"] == "space" and "unit" in axis
    )
    group = zarr.open_group(str(path), mode="r")
    assert group.metadata.zarr_format == 3
    sizes = []
    for level in image["datasets"]:
        array = group[level["path"]]
        sizes.append(array.size)
        assert array.metadata.zarr_format == 3
        assert list(array.metadata.dimension_names) == names
        assert [t["type"] for t in level["coordinateTransformations"]] in (
            ["scale"],
            ["scale", "translation"],
        )
        for given in level["coordinateTransformations"]:
            assert len(given[given["type"]]) == len(names)
            assert all(isinstance(number, (int, float)) for number in given[given["type"]])
    assert sizes == sorted(sizes, reverse=True)
    assert len({group[level["path"]].dtype for level in image["datasets"]}) == 1


# ------------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize("memory", ["400kB", "1GB"])
def test_each_level_is_the_one_before_smoothed_and_strided(
    memory: str, stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    original = out_of_core.filter_block
    monkeypatch.setattr(out_of_core, "filter_block", lambda *words: done.append(0) or original(*words))
    options = ("--gaussian", "1", "--spacing", "file", "--pyramid", "3", "--memory", memory)
    run(stack, tmp_path / "out.ome.zarr", *options)
    assert (len(done) == 4) is (memory == "1GB")
    expected = nsp.gaussian_filter(STACK, 1, spacing=(3.0, 0.5, 0.5), cast="saturate")
    for level in levels_of(tmp_path / "out.ome.zarr"):
        assert_same(level, expected)
        expected = further(level, (0, 1, 2))
    image = image_of(tmp_path / "out.ome.zarr")
    assert image["name"] == "out"
    assert image["axes"] == [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    assert scales_of(tmp_path / "out.ome.zarr") == [[3 * k, 0.5 * k, 0.5 * k] for k in (1, 2, 4, 8)]
    assert [level["path"] for level in image["datasets"]] == ["0", "1", "2", "3"]


def test_levels_are_those_of_opencv(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
    image = RNG.random((61, 70)).astype(np.float32)
    source = write(tmp_path / "in.npy", image)
    run(source, tmp_path / "out.zarr", "--uniform", "1", "--pyramid", "2", "--mode", "mirror")
    levels = levels_of(tmp_path / "out.zarr")
    np.testing.assert_allclose(levels[1], cv2.pyrDown(image), rtol=1e-5)
    np.testing.assert_allclose(levels[2], cv2.pyrDown(cv2.pyrDown(image)), rtol=1e-5)


def test_axes_that_are_short_or_not_filtered_stay(tmp_path: Path, stack: Path) -> None:
    run(stack, tmp_path / "a.zarr", "--uniform", "3", "--pyramid", "4")
    assert [level.shape[0] for level in levels_of(tmp_path / "a.zarr")] == [9, 5, 3, 2, 2]
    assert [scale[0] for scale in scales_of(tmp_path / "a.zarr")] == [3.0, 6.0, 12.0, 24.0, 24.0]
    run(stack, tmp_path / "b.zarr", "--uniform", "3", "--pyramid", "1", "--axes", "1,2")
    assert [level.shape for level in levels_of(tmp_path / "b.zarr")] == [(9, 60, 70), (9, 30, 35)]
    assert scales_of(tmp_path / "b.zarr") == [[3.0, 0.5, 0.5], [3.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    ("mode", "others"), [("wrap", "wrap"), ("constant", "reflect"), ("valid", "reflect")]
)
def test_levels_continue_as_the_array_does_unless_that_would_darken_edges(
    mode: str, others: str, tmp_path: Path
) -> None:
    image = RNG.random((40, 50))
    source = write(tmp_path / "in.npy", image)
    run(source, tmp_path / "out.zarr", "--uniform", "3", "--pyramid", "1", "--mode", mode)
    first = nsp.uniform_filter(image, 3, mode=mode)
    second = nsp.separable_correlate(first, [BINOMIAL] * 2, mode=others)[::2, ::2]
    levels = levels_of(tmp_path / "out.zarr")
    assert_same(levels[0], first)
    np.testing.assert_allclose(levels[1], second, rtol=1e-12)


def test_a_stride_comes_before_the_pyramid(stack: Path, tmp_path: Path) -> None:
    run(stack, tmp_path / "out.zarr", "--uniform", "3", "--stride", "1,2,2", "--pyramid", "1")
    expected = nsp.uniform_filter(STACK, 3, cast="saturate")[:, ::2, ::2]
    levels = levels_of(tmp_path / "out.zarr")
    assert_same(levels[0], expected)
    assert_same(levels[1], further(levels[0], (0, 1, 2)))
    assert scales_of(tmp_path / "out.zarr") == [[3.0, 1.0, 1.0], [6.0, 2.0, 2.0]]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "complex64"])
def test_types(dtype: str, tmp_path: Path) -> None:
    array = RNG.integers(0, 100, (20, 30)).astype(dtype)
    run(write(tmp_path / "in.npy", array), tmp_path / "out.zarr", "--uniform", "3", "--pyramid", "1")
    levels = levels_of(tmp_path / "out.zarr")
    assert [level.dtype for level in levels] == [dtype, dtype]
    assert_same(levels[0], nsp.uniform_filter(array, 3, cast="saturate"))
    assert_same(levels[1], further(levels[0], (0, 1)))


def test_no_further_levels_are_an_image_of_one(stack: Path, tmp_path: Path) -> None:
    run(stack, tmp_path / "out.zarr", "--uniform", "3", "--pyramid", "0")
    assert scales_of(tmp_path / "out.zarr") == [[3.0, 0.5, 0.5]]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in kilobytes on Linux only")
def test_memory_is_bounded(tmp_path: Path) -> None:
    limit = 100_000_000
    volume = zarr.create_array(
        str(tmp_path / "in.zarr"), shape=(96, 1024, 1024), chunks=(32, 256, 256), dtype="f4"
    )
    volume[...] = 3.0
    assert volume.nbytes > 4 * limit
    small = write(tmp_path / "small.zarr", np.ones((40, 200, 200), np.float32))
    options = ("--gaussian", "2", "--pyramid", "2", "--workers", "2", "--memory")
    base = peak(small, tmp_path / "a.zarr", *options, "3MB")
    assert peak(tmp_path / "in.zarr", tmp_path / "b.zarr", *options, limit) - base < limit
    assert peak(tmp_path / "in.zarr", tmp_path / "c.zarr", *options, limit, "--stride", "2") - base < limit
    for level in image_of(tmp_path / "b.zarr")["datasets"]:
        made = zarr.open_array(str(tmp_path / "b.zarr" / level["path"]), mode="r")
        np.testing.assert_allclose(made[::37, ::101, ::103], 3.0, rtol=1e-6)


# --------------------------------------------------------------------------------------- axes and scales


@pytest.mark.parametrize(
    ("axes", "stored", "order"),
    [("YXS", "cyx", (2, 0, 1)), ("ZCYX", "czyx", (1, 0, 2, 3)), ("TCZYX", "tczyx", range(5))],
)
def test_axes_are_stored_in_the_order_of_the_specification(
    axes: str, stored: str, order: tuple[int, ...], tmp_path: Path
) -> None:
    sizes = {"T": 2, "C": 3, "Z": 4, "Y": 20, "X": 30, "S": 3}
    array = RNG.integers(0, 256, [sizes[letter] for letter in axes], dtype=np.uint8)
    said = {
        "axes": axes,
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
        "PhysicalSizeZ": 2.0,
        "TimeIncrement": 7.0,
    }
    photometric = "rgb" if "S" in axes else "minisblack"
    tifffile.imwrite(tmp_path / "in.ome.tif", array, ome=True, photometric=photometric, metadata=said)
    run(
        tmp_path / "in.ome.tif", tmp_path / "out.zarr", "--gaussian", "1", "--spacing", "file", "--pyramid", "1",
        "--memory", "60kB",
    )  # fmt: skip
    space = tuple(k for k, letter in enumerate(axes) if letter in "ZYX")
    spacing = tuple(2.0 if axes[k] == "Z" else 0.5 for k in space)
    expected = nsp.gaussian_filter(array, 1, axes=space, spacing=spacing, cast="saturate").transpose(order)
    levels = levels_of(tmp_path / "out.zarr")
    assert_same(levels[0], expected)
    np.testing.assert_array_equal(
        levels[1], further(expected, tuple(k for k, n in enumerate(stored) if n in "zyx"))
    )
    assert [axis["name"] for axis in image_of(tmp_path / "out.zarr")["axes"]] == list(stored)
    steps = {"t": 7.0, "c": 1.0, "z": 2.0, "y": 0.5, "x": 0.5}
    assert scales_of(tmp_path / "out.zarr")[0] == [steps[name] for name in stored]
    assert scales_of(tmp_path / "out.zarr")[1] == [steps[n] * (2 if n in "zyx" else 1) for n in stored]


@pytest.mark.parametrize(
    ("shape", "axes", "names"),
    [
        ((20, 30), None, "yx"),
        ((9, 20, 30), None, "zyx"),
        ((3, 20, 30), "1,2", "cyx"),
        ((2, 3, 9, 20, 30), "2,3,4", "tczyx"),
    ],
)
def test_axes_without_names(shape: tuple[int, ...], axes: str | None, names: str, tmp_path: Path) -> None:
    source = write(tmp_path / "in.npy", RNG.random(shape, np.float32))
    given = ["--axes", axes] if axes else []
    run(source, tmp_path / "out.zarr", "--gaussian", "1", "--spacing", "2", "--pyramid", "1", *given)
    assert "".join(axis["name"] for axis in image_of(tmp_path / "out.zarr")["axes"]) == names
    assert scales_of(tmp_path / "out.zarr")[0] == [2.0 if name in "zyx" else 1.0 for name in names]
    assert "unit" not in image_of(tmp_path / "out.zarr")["axes"][-1]


def test_names_and_chunks_of_a_zarr_array(tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.zarr",
        STACK,
        chunks=(3, 16, 16),
        dimension_names=("time", "lat", "lon"),
        attributes={"unit": "K"},
    )
    run(source, tmp_path / "out.zarr", "--uniform", "3", "--pyramid", "1", "--spacing", "3,1,1")
    image = image_of(tmp_path / "out.zarr")
    assert [(axis["name"], axis["type"]) for axis in image["axes"]] == [
        ("time", "time"),
        ("lat", "space"),
        ("lon", "space"),
    ]
    levels = levels_of(tmp_path / "out.zarr")
    assert [level.shape for level in levels] == [
        (9, 60, 70),
        (9, 30, 35),
    ]  # time is filtered, but not strided
    assert_same(levels[0], nsp.uniform_filter(STACK, 3, cast="saturate"))
    for level in "01":
        made = zarr.open_array(str(tmp_path / "out.zarr" / level), mode="r")
        assert made.chunks == (3, 16, 16)
        assert dict(made.attrs) == {"unit": "K"}


def test_a_pyramid_of_a_pyramid(stack: Path, tmp_path: Path) -> None:
    run(stack, tmp_path / "a.zarr", "--uniform", "1", "--pyramid", "2")
    omero = {"channels": [{"color": "FF0000", "window": {"start": 0, "end": 9, "min": 0, "max": 9}}]}
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r+")
    group.attrs["ome"] = {**dict(group.attrs)["ome"], "omero": omero}
    group.attrs["sample"] = "liver"
    run(tmp_path / "a.zarr", tmp_path / "b.zarr", "--uniform", "1", "--pyramid", "2")
    assert zarr.open_group(str(tmp_path / "b.zarr"), mode="r").attrs["sample"] == "liver"
    for one, other in zip(levels_of(tmp_path / "a.zarr"), levels_of(tmp_path / "b.zarr"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert scales_of(tmp_path / "b.zarr") == scales_of(tmp_path / "a.zarr")
    assert dict(zarr.open_group(str(tmp_path / "b.zarr"), mode="r").attrs)["ome"]["omero"] == omero
    run(tmp_path / "b.zarr" / "1", tmp_path / "b.zarr", "--uniform", "1", "--pyramid", "1", "--overwrite")
    assert scales_of(tmp_path / "b.zarr") == scales_of(tmp_path / "a.zarr")[1:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zarr", "in.tif"]


def test_the_first_sample_of_all_levels_is_at_the_same_place(stack: Path, tmp_path: Path) -> None:
    run(stack, tmp_path / "a.zarr", "--uniform", "5", "--pyramid", "1", "--mode", "valid")
    for level in image_of(tmp_path / "a.zarr")["datasets"]:
        assert level["coordinateTransformations"][1] == {
            "type": "translation",
            "translation": [6.0, 1.0, 1.0],
        }


# -------------------------------------------------------------------------------------------- readers


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_ome_zarr_py_reads_it(stack: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("ome_zarr.reader", reason="needs ome-zarr: pip install ome-zarr")
    io = pytest.importorskip("ome_zarr.io")
    run(stack, tmp_path / "out.ome.zarr", "--gaussian", "1", "--spacing", "file", "--pyramid", "2")
    (node, *_) = reader.Reader(io.parse_url(tmp_path / "out.ome.zarr"))()
    for read, level in zip(node.data, levels_of(tmp_path / "out.ome.zarr"), strict=True):
        np.testing.assert_array_equal(read.compute(), level)
    assert [axis["name"] for axis in node.metadata["axes"]] == ["z", "y", "x"]
    scales = [given[0]["scale"] for given in node.metadata["coordinateTransformations"]]
    assert scales == scales_of(tmp_path / "out.ome.zarr")


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_models_of_ome_zarr_accept_it(stack: Path, tmp_path: Path) -> None:
    models = pytest.importorskip("ome_zarr_models.v05", reason="needs ome-zarr: pip install ome-zarr")
    run(stack, tmp_path / "out.zarr", "--gaussian", "1", "--pyramid", "2")
    image = models.Image.from_zarr(zarr.open_group(str(tmp_path / "out.zarr"), mode="r"))
    assert len(image.ome_attributes.multiscales[0].datasets) == 3


# ------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["in.npy", "out.npy", "--pyramid", "2"], "--pyramid: OME-Zarr images are folders in .zarr;"),
        (["in.npy", "out.zarr", "--pyramid", "9"], "--pyramid: at most 6 for a result of shape (9, 60, 70)"),
        (["line.npy", "out.zarr", "--pyramid", "1"], "has two or three axes in space"),
        (["four.npy", "out.zarr", "--pyramid", "1"], "give --axes, the axes in space"),
        (["in.npy", "out.zarr", "--pyramid", "1", "--spacing", "1,2"], "--spacing must be one value, or one for each"),
        (["in.npy", "out.zarr", "--pyramid", "1", "--spacing", "file"], "no distance of samples along axis 0"),
        (["in.npy", "out.zarr", "--pyramid", "1", "--memory", "1kB"], "do not hold a block"),
    ],
)  # fmt: skip
def test_errors_leave_nothing(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    zarr.create_array("in.zarr", shape=STACK.shape, dtype=STACK.dtype, chunks=(9, 60, 70))
    np.save("in.npy", STACK)
    np.save("line.npy", STACK[0, 0])
    np.save("four.npy", STACK[None])
    before = sorted(path.name for path in tmp_path.iterdir())
    if "1kB" in words:
        words = ["in.zarr", *words[1:]]
    assert message in failure(capsys, *words, "--uniform", "3")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "²", ""])
def test_what_is_no_number_of_levels(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["filter", "in.npy", "out.zarr", "--gaussian", "1", f"--pyramid={text}"])
    assert stopped.value.code == 2
    assert "argument --pyramid: " in capsys.readouterr().err


def test_a_failure_in_a_further_level_leaves_the_old_image(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(stack, tmp_path / "out.zarr", "--uniform", "3", "--pyramid", "1")
    before = levels_of(tmp_path / "out.zarr")

    def failing(*_: Any) -> None:
        raise OSError(28, "No space left on device", "out")

    monkeypatch.setattr(pyramid, "fill_levels", failing)
    words = (stack, tmp_path / "out.zarr", "--uniform", "5", "--pyramid", "1")
    assert "it exists: give --overwrite" in failure(capsys, *words)
    assert "No space left" in failure(capsys, *words, "--overwrite")
    for one, other in zip(levels_of(tmp_path / "out.zarr"), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", "out.zarr"]
