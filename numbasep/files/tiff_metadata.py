"""Read and write metadata of TIFF files: ImageJ, OME, or plain tags.

The library is `tifffile`. Metadata to be written are keywords of `tifffile.imwrite`, stored in the first page.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np

from .metadata import UNITS, Metadata, NamedAxis, convert, named_axis, unit_name

INCH, CENTIMETER = 2, 3
"""Values of the tag ResolutionUnit."""

IMAGEJ_TYPES = "BHhf"
"""Type characters that ImageJ's format supports."""

OME_TYPES = (
    "int8",
    "int16",
    "int32",
    "uint8",
    "uint16",
    "uint32",
    "float32",
    "float64",
    "complex64",
    "complex128",
)

_PLANE = ("DeltaT", "ExposureTime", "PositionX", "PositionY", "PositionZ")
_PER_PLANE = tuple(name + unit for name in _PLANE for unit in ("", "Unit"))
_PER_CHANNEL = (
    "Name", "AcquisitionMode", "Color", "ContrastMethod", "EmissionWavelength", "EmissionWavelengthUnit",
    "ExcitationWavelength", "ExcitationWavelengthUnit", "Fluor", "IlluminationType", "NDFilter", "PinholeSize",
    "PinholeSizeUnit", "PockelCellSetting",
)  # fmt: skip

AxisScale = tuple[Any, str | None, Any]
"""(Step, unit, start) of an axis as in the file, where they are not always numbers."""

# -------------------------------------------------------------------------------------------- reading


def read_metadata(tiff: Any, series: Any) -> Metadata:
    """Read the metadata of a series of an open `tifffile.TiffFile`."""
    letters = str(series.axes)
    axes = tuple(named_axis(None if letter in "QI" else letter.lower()) for letter in letters)
    if tiff.is_imagej and tiff.imagej_metadata:
        return Metadata(_imagej_axes(axes, tiff), "imagej", dict(tiff.imagej_metadata))
    shown = {"photometric": series.keyframe.photometric.name.lower()}
    if tiff.is_ome:
        pixels, details = _parse_ome(tiff.ome_metadata)
        if pixels is not None:
            return Metadata(_ome_axes(axes, pixels), "ome", details | shown)
    return Metadata(_tagged_axes(axes, tiff), "tiff", shown)


def _resolution(tiff: Any) -> tuple[float | None, float | None, int]:
    """Return the distances of columns and rows, or None without valid tags, and the tag ResolutionUnit."""
    tags = tiff.pages.first.tags
    steps = []
    for name in ("XResolution", "YResolution"):
        value: Any = tags[name].value if name in tags else None
        rational = isinstance(value, tuple) and len(value) == 2 and all(value)
        steps.append(value[1] / value[0] if rational else None)
    unit = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else INCH
    return steps[0], steps[1], int(unit)


def _with_steps(axes: Sequence[NamedAxis], scales: Mapping[Any, AxisScale]) -> tuple[NamedAxis, ...]:
    """Set steps, units and starts of axes, given by name, where the step is a positive number."""
    found = []
    for axis in axes:
        step, unit, start = scales.get(axis.name, (None, None, 0))
        known = _number(step)
        if known is None or known <= 0:
            found.append(axis)
        else:
            found.append(NamedAxis(axis.name, axis.kind, known, unit, _number(start) or 0.0))
    return tuple(found)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _imagej_axes(axes: Sequence[NamedAxis], tiff: Any) -> tuple[NamedAxis, ...]:
    """Read steps of an ImageJ file: columns and rows from tags, slices, frames and origins from the description."""
    entries = tiff.imagej_metadata
    x, y, tag = _resolution(tiff)
    unit = (
        unit_name(str(entries["unit"]))
        if "unit" in entries
        else {INCH: "inch", CENTIMETER: "centimeter"}.get(tag)
    )
    if unit is None and "spacing" not in entries and (x, y) in ((1.0, 1.0), (None, None)):
        x = y = None  # not calibrated
    steps: dict[Any, AxisScale] = {"t": (entries.get("finterval"), "second", 0)}
    for name, step in (("x", x), ("y", y), ("z", entries.get("spacing"))):
        own = unit_name(str(entries[f"{name}unit"])) if f"{name}unit" in entries else unit
        origin, distance = _number(entries.get(f"{name}origin")), _number(step)
        steps[name] = step, own, -origin * distance if origin and distance else 0
    return _with_steps(axes, steps)


def _tagged_axes(axes: Sequence[NamedAxis], tiff: Any) -> tuple[NamedAxis, ...]:
    """Read steps of a plain file: columns and rows from tags, the rest from where `plain_keywords` writes it."""
    x, y, tag = _resolution(tiff)
    entries: dict[str, Any] = (tiff.shaped_metadata or ({},))[0] if tiff.is_shaped else {}
    unit = unit_name(str(entries["unit"])) if "unit" in entries else None
    tagged = {INCH: "inch", CENTIMETER: "centimeter"}.get(tag)
    if tagged is None and unit is None and (x, y) == (1.0, 1.0) and "spacing" not in entries:
        x = y = None
    if unit is None:
        unit = tagged
    x, y = (None if step is None else convert(step, tagged, unit) or step for step in (x, y))
    steps = {"x": (x, unit, 0), "y": (y, unit, 0), "z": (entries.get("spacing"), unit, 0)}
    return _with_steps(axes, steps | {"t": (entries.get("finterval"), "second", 0)})


def _parse_ome(text: str) -> tuple[Any, dict[str, Any]]:
    """Return the element Pixels of the first image, or None, and other details as keywords of `tifffile.OmeXml`."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None, {}
    for element in root.iter():
        element.tag = re.sub(r"^\{.*\}", "", element.tag)
    image = root.find("Image")
    pixels = None if image is None else image.find("Pixels")
    if image is None or pixels is None:
        return None, {}
    details: dict[str, Any] = {}
    if image.get("Name"):
        details["Name"] = image.get("Name")
    for name in ("AcquisitionDate", "Description"):
        if image.findtext(name):
            details[name] = image.findtext(name)
    details["Channel"] = _columns(pixels.findall("Channel"), _PER_CHANNEL)
    details["Plane"] = _columns(_in_order(pixels), _PER_PLANE)
    return pixels, details


def _in_order(pixels: Any) -> list[Any]:
    """Return the elements Plane in the order of the planes in the array."""
    order = [f"The{letter}" for letter in pixels.get("DimensionOrder", "XYCZT")[:1:-1]]
    planes = pixels.findall("Plane")
    return sorted(planes, key=lambda plane: tuple(int(plane.get(name, 0)) for name in order))


def _columns(elements: Sequence[Any], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the attributes that all elements have, as a list of values each."""
    found = {name: [element.get(name) for element in elements] for name in names}
    return {name: values for name, values in found.items() if values and None not in values}


def _ome_axes(axes: Sequence[NamedAxis], pixels: Any) -> tuple[NamedAxis, ...]:
    entries: dict[Any, AxisScale] = {
        name: (
            pixels.get(f"PhysicalSize{name.upper()}"),
            unit_name(pixels.get(f"PhysicalSize{name.upper()}Unit", "µm")),
            0,
        )
        for name in "xyz"
    }
    entries["t"] = pixels.get("TimeIncrement"), unit_name(pixels.get("TimeIncrementUnit", "s")), 0
    return _with_steps(axes, entries)


# -------------------------------------------------------------------------------------------- writing


def letters_of(metadata: Metadata) -> str | None:
    """Return a letter for each axis, "Q" for axes without a suitable name; None if no axis has one."""
    words = {"time": "T", "channel": "C"}
    letters = "".join(
        words.get(name, name.upper() if len(name) == 1 and name.isascii() and name.isalpha() else "Q")
        for name in (axis.name or "" for axis in metadata.axes)
    )
    return letters if letters.strip("Q") else None


def fits_imagej(letters: str | None, shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Return whether ImageJ's format supports an array of these axes, shape and type."""
    if (
        letters is None
        or dtype.char not in IMAGEJ_TYPES
        or 0 in shape
        or not letters.rstrip("S").endswith("YX")
    ):
        return False
    places = ["TZCYXS".find(letter) for letter in letters]
    colours = shape[-1] if letters.endswith("S") else 0
    return (
        places == sorted(set(places))
        and places[0] >= 0
        and (not colours or (colours in (3, 4) and dtype.char == "B"))
        and np.prod(shape, dtype=float) * dtype.itemsize < 2**32 - 2**25
    )


def fits_ome(letters: str | None, shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Return whether OME-TIFF, as written by `tifffile`, supports an array of these axes, shape and type."""
    if letters is None or dtype.name not in OME_TYPES or 0 in shape:
        return False
    parts = re.fullmatch("([TZC]*)(YX|YXS|SYX)", letters)
    return parts is not None and len(set(parts[1])) == len(parts[1])


def imagej_keywords(letters: str, shape: Sequence[int], metadata: Metadata) -> dict[str, Any]:
    """Return the keywords of an ImageJ file."""
    skipped = ("images", "channels", "slices", "frames", "order", "axes")
    entries = {key: value for key, value in metadata.details.items() if key not in skipped}
    axes = {axis.name: axis for axis in metadata.axes}
    planes = np.prod([n for n, letter in zip(shape, letters, strict=True) if letter in "TZC"], dtype=int)
    channels = shape[letters.index("C")] if "C" in letters else 1
    for key, count in (("Labels", planes), ("Ranges", 2 * channels), ("LUTs", channels)):
        values = entries.get(key)
        if values is not None and count != (len(values) if isinstance(values, (list, tuple)) else 1):
            del entries[key]  # the number of planes or channels has changed
    if "Ranges" in entries:
        entries["Ranges"] = np.array(
            entries["Ranges"]
        )  # an array is a single value to all releases of tifffile
    unit = next((axes[name].unit for name in "xyz" if name in axes and axes[name].unit), None)
    if unit and unit != unit_name(str(entries.get("unit", ""))):
        entries["unit"] = UNITS[unit].plain if unit in UNITS else unit
    for name, key in (("z", "spacing"), ("t", "finterval")):
        if name in axes and (step := axes[name].step) is not None:
            common = unit if name == "z" else "second"
            entries[key] = convert(step, axes[name].unit or common, common) or step
    if "finterval" in entries:
        entries.pop("fps", None)
    for name in "xyz":
        axis = axes.get(name, NamedAxis())
        if entries.pop(f"{name}origin", None) is not None or axis.start:
            entries[f"{name}origin"] = round(-axis.start / (axis.step or 1.0), 9)
    texts = {key: _ascii(value) for key, value in entries.items() if isinstance(value, str) and key != "Info"}
    return {"imagej": True, "metadata": {"axes": letters, **entries, **texts}} | _tags(
        axes, unit, plain=False
    )


def _ascii(text: str) -> str:
    """Escape characters that descriptions cannot store."""
    return text.encode("ascii", "backslashreplace").decode()


def ome_keywords(letters: str, shape: Sequence[int], metadata: Metadata) -> dict[str, Any]:
    """Return the keywords of an OME-TIFF."""
    axes = {axis.name: axis for axis in metadata.axes}
    entries = dict(metadata.details) if metadata.format == "ome" else {}
    entries.pop("photometric", None)
    planes = np.prod([n for n, letter in zip(shape, letters, strict=True) if letter in "TZC"], dtype=int)
    channels = shape[letters.index("C")] if "C" in letters else 1
    for key, count in (("Channel", channels), ("Plane", planes)):
        if any(len(values) != count for values in entries.get(key, {}).values()):
            del entries[key]
    sizes = {name: (f"PhysicalSize{name.upper()}", "reference frame") for name in "xyz"}
    for name, (key, no_unit) in (sizes | {"t": ("TimeIncrement", "")}).items():
        axis = axes.get(name, NamedAxis())
        if axis.step is None or (name == "t" and axis.unit not in (None, *UNITS)):
            continue
        entries[key] = axis.step
        symbol = UNITS[axis.unit].symbol if axis.unit in UNITS else no_unit
        if symbol:
            entries[f"{key}Unit"] = symbol
    unit = axes.get("x", NamedAxis()).unit
    return {"ome": True, "metadata": {"axes": letters, **entries}} | _tags(axes, unit, plain=True)


def plain_keywords(letters: str | None, metadata: Metadata) -> dict[str, Any]:
    """Return the keywords of a plain TIFF: tags, and a description for metadata without a tag."""
    axes = {axis.name: axis for axis in metadata.axes}
    unit = next((axes[name].unit for name in "xyz" if name in axes and axes[name].unit), None)
    entries: dict[str, Any] = {"axes": letters} if letters else {}
    if "z" in axes and (step := axes["z"].step) is not None:
        entries["spacing"] = convert(step, axes["z"].unit, unit) or step
    if "t" in axes and (step := axes["t"].step) is not None:
        entries["finterval"] = convert(step, axes["t"].unit, "second") or step
    if unit:
        entries["unit"] = _ascii(unit)
    return {"metadata": entries} | _tags(axes, unit, plain=True)


def _tags(axes: Mapping[str | None, NamedAxis], unit: str | None, *, plain: bool) -> dict[str, Any]:
    """Return the keywords of the resolution tags, per inch or centimeter if `plain`, otherwise per ImageJ's unit."""
    steps = [axes.get(name, NamedAxis()).step for name in "xy"]
    if None in steps:
        return {}
    wanted = unit
    if plain and unit in UNITS:
        wanted = "inch" if unit == "inch" else "centimeter"
    lengths = [
        convert(step or 1.0, axes[name].unit, wanted) or step or 1.0
        for name, step in zip("xy", steps, strict=True)
    ]
    tag = {"inch": "INCH", "centimeter": "CENTIMETER"}.get(wanted or "", "NONE") if plain else "NONE"
    return {"resolution": tuple(1.0 / length for length in lengths), "resolutionunit": tag}


def colour_keywords(letters: str | None, shape: Sequence[int], metadata: Metadata) -> dict[str, Any]:
    """Return the keywords for the colour interpretation of samples and for interleaved or planar colours."""
    photometric = metadata.details.get("photometric")
    if letters is None or "S" not in letters:
        return {"photometric": "miniswhite" if photometric == "miniswhite" else "minisblack"}
    samples = shape[letters.index("S")]
    colours = photometric if photometric in ("separated", "cielab") else "rgb"
    return {
        "photometric": colours if samples in (3, 4) else "minisblack",
        "planarconfig": "contig" if letters.endswith("S") else "separate",
    }
