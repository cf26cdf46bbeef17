"""What files say of themselves, through ``python -m numbasep filter``: axes, distances, colours, attributes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep.files import formats, metadata
from numbasep.files.metadata import NamedAxis
from tests.support.file_commands import assert_same, failure, read, run, write

zarr = pytest.importorskip("zarr", reason="needs zarr: pip install numbasep[io]")
tifffile = pytest.importorskip("tifffile", reason="needs tifffile: pip install numbasep[io]")

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::ResourceWarning")

RNG = np.random.default_rng(12)
STACK = RNG.integers(0, 60000, (6, 20, 25), dtype=np.uint16)
LUT = np.stack([np.arange(256, dtype=np.uint8)] * 3)


def axes_of(path: Path) -> tuple[NamedAxis, ...]:
    with formats.open_source(path) as source:
        return source.metadata.axes


def steps_of(path: Path) -> dict[str | None, tuple[float | None, str | None]]:
    return {axis.name: (axis.step and round(axis.step, 9), axis.unit) for axis in axes_of(path)}


def series_of(path: Path) -> tuple[str, Any]:
    with tifffile.TiffFile(path) as tiff:
        return tiff.series[0].axes, tiff.pages.first


def write_imagej(path: Path, array: np.ndarray = STACK, axes: str = "ZYX", **said: Any) -> Path:
    """A stack of voxels of 0.8 x 0.25 x 0.25 micrometers, as ImageJ writes it."""
    told = {"axes": axes, "spacing": 0.8, "unit": "um", **said}
    tifffile.imwrite(path, array, imagej=True, resolution=(4.0, 4.0), metadata=told)
    return path


def write_ome(path: Path, array: np.ndarray, axes: str, **said: Any) -> Path:
    tifffile.imwrite(path, array, ome=True, metadata={"axes": axes, **said})
    return path


MICROMETERS = {"z": (0.8, "micrometer"), "y": (0.25, "micrometer"), "x": (0.25, "micrometer")}

# ------------------------------------------------------------------------------------------- ImageJ


def test_an_imagej_stack_keeps_its_axes_and_all_that_it_says(tmp_path: Path) -> None:
    labels = [f"slice {k}" for k in range(len(STACK))]
    said = {
        "Info": "of µ",
        "Labels": labels,
        "Ranges": np.array([0.0, 9.0]),
        "LUTs": [LUT],
        "ROI": b"roi",
        "loop": True,
    }
    source, result = write_imagej(tmp_path / "in.tif", **said, xorigin=5, finterval=2.5), tmp_path / "out.tif"
    run(source, result, "--gaussian", "1", "--spacing", "file")
    expected = nsp.gaussian_filter(STACK, 1, spacing=(0.8, 0.25, 0.25), cast="saturate")
    np.testing.assert_array_equal(read(result), expected)
    with tifffile.TiffFile(source) as before, tifffile.TiffFile(result) as after:
        assert after.series[0].axes == "ZYX"
        told, kept = before.imagej_metadata, after.imagej_metadata
        np.testing.assert_array_equal(told.pop("LUTs"), kept.pop("LUTs"))
        assert kept == told
        tags = before.pages.first.tags
        for name in ("XResolution", "YResolution", "ResolutionUnit"):
            assert after.pages.first.tags[name].value == tags[name].value


def test_strides_make_voxels_larger_and_drop_what_belongs_to_slices(tmp_path: Path) -> None:
    labels = [f"slice {k}" for k in range(len(STACK))]
    source = write_imagej(
        tmp_path / "in.tif", Labels=labels, Ranges=np.array([0.0, 9.0]), ROI=b"roi", xorigin=5
    )
    run(source, tmp_path / "out.tif", "--uniform", "3", "--stride", "2,1,4")
    assert [axis.step for axis in axes_of(tmp_path / "out.tif")] == pytest.approx([1.6, 0.25, 1.0])
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        said = tiff.imagej_metadata
        assert said["Ranges"] == (0.0, 9.0)
        assert "Labels" not in said
        assert "ROI" not in said
        assert said["xorigin"] == 1.25  # in pixels
        assert said["unit"] == "um"


def test_modes_that_move_the_first_result_move_the_origin(tmp_path: Path) -> None:
    source = write_imagej(tmp_path / "in.tif", yorigin=5)
    for mode, origin in (("valid", 3), ("full", 7), ("wrap", 5)):
        run(source, tmp_path / "out.tif", "--uniform", "5", "--axes", "1", "--mode", mode)
        with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
            assert tiff.imagej_metadata["yorigin"] == origin


@pytest.mark.parametrize(
    ("axes", "shape"), [("TZCYX", (2, 3, 2, 9, 8)), ("CYX", (2, 9, 8)), ("TYX", (4, 9, 8)), ("YX", (9, 8))]
)
def test_hyperstacks_are_filtered_in_space_only(axes: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = RNG.random(shape, np.float32)
    source = write_imagej(tmp_path / "in.tif", array, axes, finterval=3.0)
    run(source, tmp_path / "out.tif", "--uniform", "3", "--stride", "2")
    space = tuple(k for k, letter in enumerate(axes) if letter in "ZYX")
    every = tuple(slice(None, None, 2 if k in space else None) for k in range(array.ndim))
    assert_same(read(tmp_path / "out.tif"), nsp.uniform_filter(array, 3, axes=space)[every].squeeze())
    assert series_of(tmp_path / "out.tif")[0] == axes
    if "T" in axes:
        assert steps_of(tmp_path / "out.tif")["t"] == (3.0, "second")


@pytest.mark.parametrize(("dtype", "ome"), [("float64", True), ("int16", False), ("int64", False)])
def test_types_that_imagej_does_not_hold_keep_axes_and_distances(
    dtype: str, ome: bool, tmp_path: Path
) -> None:
    source, result = write_imagej(tmp_path / "in.tif"), tmp_path / "out.tif"
    run(source, result, "--uniform", "3", "--dtype", dtype)
    assert read(result).dtype == dtype
    assert series_of(result)[0] == "ZYX"
    assert steps_of(result) == MICROMETERS
    with tifffile.TiffFile(result) as tiff:
        assert bool(tiff.is_ome) is ome
    run(result, result, "--uniform", "3")  # and so it stays
    assert steps_of(result) == MICROMETERS


def test_units_as_imagej_spells_them(tmp_path: Path) -> None:
    for text, unit in {"micron": "micrometer", "\\u00B5m": "micrometer", "furlong": "furlong"}.items():
        source = write_imagej(tmp_path / "in.tif", unit=text)
        run(source, tmp_path / "out.tif", "--uniform", "3")
        assert axes_of(tmp_path / "out.tif")[0].unit == unit
        with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
            assert tiff.imagej_metadata["unit"] == text
        run(source, tmp_path / "out.ome.tif", "--uniform", "3")
        with tifffile.TiffFile(tmp_path / "out.ome.tif") as tiff:
            symbol = "µm" if unit == "micrometer" else "reference frame"
            assert f'PhysicalSizeZUnit="{symbol}"' in tiff.ome_metadata


# --------------------------------------------------------------------------------------------- OME


def test_an_ome_tiff_keeps_its_axes_sizes_channels_and_times(tmp_path: Path) -> None:
    array = RNG.integers(0, 60000, (3, 2, 4, 20, 25), dtype=np.uint16)
    sizes = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "PhysicalSizeZ": 300.0, "PhysicalSizeZUnit": "nm"}
    times = {
        "TimeIncrement": 5.0,
        "TimeIncrementUnit": "ms",
        "Plane": {"DeltaT": [float(k) for k in range(24)]},
    }
    channels = {"Name": "cells & µ", "Channel": {"Name": ["DAPI", "GFP"], "Color": [255, -1]}}
    source = write_ome(tmp_path / "in.ome.tif", array, "TCZYX", **sizes, **times, **channels)
    result = tmp_path / "out.tif"
    run(source, result, "--gaussian", "0.2", "--spacing", "file")
    expected = nsp.gaussian_filter(array, 0.2, spacing=(0.3, 0.1, 0.1), axes=(2, 3, 4), cast="saturate")
    np.testing.assert_array_equal(read(result), expected)
    assert series_of(result)[0] == "TCZYX"
    assert steps_of(result) == steps_of(source)
    with tifffile.TiffFile(source) as before, tifffile.TiffFile(result) as after:
        told, kept = (tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"] for tiff in (before, after))
        assert kept["Name"] == told["Name"] == "cells & µ"
        for key in (
            "Channel",
            "Plane",
            "TimeIncrement",
            "TimeIncrementUnit",
            "PhysicalSizeZ",
            "PhysicalSizeZUnit",
        ):
            assert kept["Pixels"][key] == told["Pixels"][key], key
    run(source, result, "--uniform", "3", "--axes", "0,4", "--stride", "2")
    with tifffile.TiffFile(result) as after:
        kept = tifffile.xml2dict(after.ome_metadata)["OME"]["Image"]["Pixels"]
        assert (kept["TimeIncrement"], kept["PhysicalSizeX"], kept["PhysicalSizeY"]) == (10.0, 0.2, 0.1)
        assert "Plane" not in kept  # there are fewer
        assert [channel["Name"] for channel in kept["Channel"]] == ["DAPI", "GFP"]


def test_names_that_end_in_ome_tif_are_ome(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source in (write_imagej(tmp_path / "in.tif"), write(tmp_path / "in.npy", STACK)):
        run(source, tmp_path / "out.ome.tif", "--gaussian", "1", "--spacing", "0.8,0.25,0.25")
        with tifffile.TiffFile(tmp_path / "out.ome.tif") as tiff:
            assert tiff.is_ome
        assert [axis.step for axis in axes_of(tmp_path / "out.ome.tif")] == pytest.approx([0.8, 0.25, 0.25])
    message = failure(capsys, source, tmp_path / "o.ome.tif", "--uniform", "3", "--dtype", "int64")
    assert "o.ome.tif: OME-TIFF does not support int64" in message
    assert not list(tmp_path.glob("o.ome.tif*"))


# ---------------------------------------------------------------------------------- colours and tags


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("target", ["out.tif", "out.ome.tif"])
def test_colours_stay_colours(target: str, planes: str, compression: str | None, tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (20, 25, 3) if planes == "contig" else (3, 20, 25), dtype=np.uint8)
    tags = {"resolution": (300, 300), "resolutionunit": "INCH"}
    tifffile.imwrite(
        tmp_path / "in.tif", colour, photometric="rgb", planarconfig=planes, compression=compression, **tags
    )
    run(tmp_path / "in.tif", tmp_path / target, "--gaussian", "2", "--stride", "2")
    axes = (0, 1) if planes == "contig" else (1, 2)
    every = tuple(slice(None, None, 2 if axis in axes else None) for axis in range(3))
    expected = nsp.gaussian_filter(colour, 2, axes=axes, cast="saturate")[every]
    assert_same(read(tmp_path / target), expected)
    letters, page = series_of(tmp_path / target)
    assert letters == ("YXS" if planes == "contig" else "SYX")
    assert page.photometric == tifffile.PHOTOMETRIC.RGB
    assert page.planarconfig == tifffile.PLANARCONFIG[planes.upper()]
    assert page.tags["XResolution"].value == (150, 1)
    assert page.tags["ResolutionUnit"].value == 2


@pytest.mark.parametrize(
    ("photometric", "shape"),
    [("miniswhite", (20, 25)), ("separated", (20, 25, 4)), ("cielab", (20, 25, 3)), ("rgb", (20, 25, 4))],
)
def test_what_samples_look_like_stays(photometric: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = RNG.integers(0, 256, shape, dtype=np.uint8)
    for name in ("in.tif", "in.ome.tif"):
        tifffile.imwrite(tmp_path / name, array, photometric=photometric)
        run(tmp_path / name, tmp_path / "out.tif", "--uniform", "3")
        expected = nsp.uniform_filter(array, 3, axes=(0, 1), cast="saturate")
        np.testing.assert_array_equal(read(tmp_path / "out.tif"), expected)
        assert series_of(tmp_path / "out.tif")[1].photometric.name.lower() == photometric


def test_coloured_imagej_images(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (20, 25, 3), dtype=np.uint8)
    source = write_imagej(tmp_path / "in.tif", colour, "YXS")
    run(source, tmp_path / "out.tif", "--uniform", "3")
    assert series_of(tmp_path / "out.tif")[0] == "YXS"
    assert series_of(tmp_path / "out.tif")[1].is_imagej
    run(source, tmp_path / "out.tif", "--uniform", "3", "--dtype", "float32")
    letters, page = series_of(tmp_path / "out.tif")
    assert (letters, page.photometric) == ("YXS", tifffile.PHOTOMETRIC.RGB)


def test_a_photograph_becomes_a_coloured_tif(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow: pip install numbasep[io]")
    for samples, photometric in ((3, "RGB"), (4, "RGB"), (2, "MINISBLACK")):
        picture = RNG.integers(0, 256, (20, 25, samples), dtype=np.uint8)
        image.fromarray(picture).save(tmp_path / "in.png")
        run(tmp_path / "in.png", tmp_path / "out.tif", "--uniform", "3")
        letters, page = series_of(tmp_path / "out.tif")
        assert (letters, page.photometric.name) == ("YXS", photometric)
        np.testing.assert_array_equal(
            read(tmp_path / "out.tif"), nsp.uniform_filter(picture, 3, axes=(0, 1), cast="saturate")
        )


@pytest.mark.parametrize("said", [{}, {"axes": "ZYX"}, {"axes": "ZYX", "spacing": 3.0, "unit": "mm"}])
def test_plain_tiffs(said: dict[str, Any], tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.tif", STACK, metadata=said, resolution=(50, 50), resolutionunit="CENTIMETER",
        photometric="minisblack",
    )  # fmt: skip
    run(source, tmp_path / "out.tif", "--uniform", "3")
    assert steps_of(tmp_path / "out.tif") == steps_of(source)
    assert series_of(tmp_path / "out.tif")[0] == series_of(source)[0]
    if "spacing" in said:
        assert [axis.step for axis in axes_of(source)] == pytest.approx([3.0, 0.2, 0.2])
        assert axes_of(source)[0].unit == "millimeter"


# --------------------------------------------------------------------------------------------- zarr


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_arrays_keep_attributes_and_dimension_names(zarr_format: int, tmp_path: Path) -> None:
    attributes: dict[str, Any] = {"units": "K", "history": ["made"]}
    names: Any = ["time", "lat", "lon"]
    if zarr_format == 2:  # as xarray writes it
        attributes["_ARRAY_DIMENSIONS"], names = names, None
    write(
        tmp_path / "in.zarr", STACK, attributes=attributes, dimension_names=names, zarr_format=zarr_format
    )  # fmt: skip
    run(tmp_path / "in.zarr", tmp_path / "out.zarr", "--uniform", "3", "--stride", "1,2,2")
    made = zarr.open_array(str(tmp_path / "out.zarr"), mode="r")
    assert dict(made.attrs) == attributes
    assert made.metadata.zarr_format == zarr_format
    assert [axis.name for axis in axes_of(tmp_path / "out.zarr")] == ["time", "lat", "lon"]
    np.testing.assert_array_equal(
        made[...], nsp.uniform_filter(STACK, 3)[:, ::2, ::2]
    )  # all axes are filtered


def test_xarray_finds_the_dimensions(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray", reason="needs xarray: pip install numbasep[xarray]")
    zarr.create_group(str(tmp_path / "out.zarr"))
    source = write_imagej(tmp_path / "in.tif")
    run(source, tmp_path / "out.zarr" / "t", "--uniform", "3")
    with xarray.open_zarr(tmp_path / "out.zarr", consolidated=False) as opened:
        assert opened["t"].dims == ("z", "y", "x")


def test_names_go_from_one_format_to_the_other(tmp_path: Path) -> None:
    for options in ({}, {"compression": "zlib"}):
        tifffile.imwrite(
            tmp_path / "in.tif", STACK, photometric="minisblack", metadata={"axes": "ZYX"}, **options
        )
        run(tmp_path / "in.tif", tmp_path / "out.zarr", "--uniform", "3", "--overwrite")
        made = zarr.open_array(str(tmp_path / "out.zarr"), mode="r")
        assert made.metadata.zarr_format == 3
        assert made.metadata.dimension_names == ("z", "y", "x")
        assert dict(made.attrs) == {}
    run(tmp_path / "out.zarr", tmp_path / "out.tif", "--uniform", "3")
    assert series_of(tmp_path / "out.tif")[0] == "ZYX"
    run(tmp_path / "out.zarr", tmp_path / "out.ome.tif", "--uniform", "3")
    assert series_of(tmp_path / "out.ome.tif")[0] == "ZYX"


def ome_zarr(path: Path, version: str) -> Path:
    """An image of one level, of voxels of 0.8 x 0.25 x 0.25 micrometers."""
    image = {
        "axes": [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"],
        "datasets": [{
            "path": "s0",
            "coordinateTransformations": [
                {"type": "scale", "scale": [8.0, 0.25, 0.25]}, {"type": "translation", "translation": [10.0, 0, 0]}
            ],
        }],
        "coordinateTransformations": [{"type": "scale", "scale": [0.1, 1, 1]}],
    }  # fmt: skip
    told: dict[str, Any] = {"multiscales": [image]}
    attributes = told if version == "0.4" else {"ome": {"version": version, **told}}
    group = zarr.create_group(str(path), zarr_format=2 if version == "0.4" else 3, attributes=attributes)
    array = group.create_array("s0", shape=STACK.shape, dtype=STACK.dtype, chunks=(4, 8, 8))
    array[...] = STACK
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("name", [".", "s0"])
def test_a_level_of_an_ome_zarr_image_has_what_the_image_says(
    name: str, version: str, tmp_path: Path
) -> None:
    source = ome_zarr(tmp_path / "in.zarr", version) / name
    assert steps_of(source) == MICROMETERS
    assert axes_of(source)[0].start == 1.0
    run(source, tmp_path / "out.tif", "--gaussian", "1", "--spacing", "file", "--stride", "2")
    expected = nsp.gaussian_filter(STACK, 1, spacing=(0.8, 0.25, 0.25), cast="saturate")[::2, ::2, ::2]
    assert_same(read(tmp_path / "out.tif"), expected)
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tiff.is_ome
    assert [axis.step for axis in axes_of(tmp_path / "out.tif")] == pytest.approx([1.6, 0.5, 0.5])


@pytest.mark.parametrize(
    "attributes",
    [
        {"ome": 3}, {"multiscales": {}}, {"multiscales": [{"datasets": None}]}, {"multiscales": [{"datasets": [3]}]},
        {"multiscales": [{"datasets": [{"path": "s0"}], "axes": ["z", "y", "x"]}]},
        {"multiscales": [{"datasets": [{"path": "s0"}], "axes": [{"name": "z"}]}]},
        {"_ARRAY_DIMENSIONS": "zyx"},
    ],
)  # fmt: skip
def test_metadata_that_says_nothing_sensible_is_no_obstacle(
    attributes: dict[str, Any], tmp_path: Path
) -> None:
    zarr.create_group(str(tmp_path / "in.zarr"), attributes=attributes)
    write(tmp_path / "in.zarr" / "s0", STACK, attributes=attributes)
    run(tmp_path / "in.zarr" / "s0", tmp_path / "out.npy", "--uniform", "3")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), nsp.uniform_filter(STACK, 3))


# ------------------------------------------------------------------------------------- --spacing file


def test_the_word_file_follows_the_order_of_axes(tmp_path: Path) -> None:
    source = write_imagej(tmp_path / "in.tif")
    run(source, tmp_path / "out.npy", "--gaussian", "0.5,1", "--axes", "2,0", "--spacing", "file")
    expected = nsp.gaussian_filter(STACK, (0.5, 1), axes=(2, 0), spacing=(0.25, 0.8))
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_what_a_file_does_not_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(tmp_path / "no-unit.tif", STACK[0], imagej=True, metadata={"axes": "YX"})
    sources = {
        "axis 0:": write(tmp_path / "in.npy", STACK),
        "axis 0 (y):": tmp_path / "no-unit.tif",
        "axis 0 (z):": write_ome(tmp_path / "in.ome.tif", STACK, "ZYX", PhysicalSizeX=1.0, PhysicalSizeY=1.0),
    }
    for axis, source in sources.items():
        message = failure(capsys, source, tmp_path / "out.npy", "--gaussian", "1", "--spacing", "file")
        assert f"--spacing file: the file has no distance of samples along {axis}" in message
    message = failure(
        capsys, write_imagej(tmp_path / "t.tif", STACK, "TYX", finterval=2.0), tmp_path / "out.npy",
        "--gaussian", "1", "--axes", "0,1", "--spacing", "file",
    )  # fmt: skip
    assert "second along axis 0 (t) and micrometer along axis 1 have no unit in common" in message
    assert not (tmp_path / "out.npy").exists()


def test_what_is_no_spacing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        nsp.cli.main(["filter", "in.npy", "out.npy", "--gaussian", "1", "--spacing", "wide"])
    assert (
        "--spacing: 'wide' is not a number or a comma-separated list of numbers, or 'file'"
        in capsys.readouterr().err
    )


def test_distances_that_the_user_gives_count_where_the_file_says_none(tmp_path: Path) -> None:
    source = write_ome(tmp_path / "in.ome.tif", STACK, "ZYX", PhysicalSizeX=0.5, PhysicalSizeY=0.5)
    run(source, tmp_path / "out.tif", "--gaussian", "1", "--spacing", "3,1,1")
    assert [axis.step for axis in axes_of(tmp_path / "out.tif")] == pytest.approx([3.0, 0.5, 0.5])


def test_units() -> None:
    assert metadata.convert(3.0, "millimeter", "micrometer") == pytest.approx(3000.0)
    assert metadata.convert(3.0, "furlong", "furlong") == 3.0
    assert metadata.convert(3.0, "second", "meter") is None
    assert metadata.convert(3.0, None, "meter") is None
    for name, unit in metadata.UNITS.items():
        for text in (
            name,
            name + "s",
            unit.symbol,
            unit.plain,
            unit.plain.upper() if len(unit.plain) > 2 else name,
        ):
            assert metadata.unit_name(text) == name
