"""Metadata of an array in a file: names and kinds of axes, spacing, and details specific to the format.

Names are in lower case and units are those of OME-Zarr ("micrometer"); each format translates them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

SPACE, TIME, CHANNEL = "space", "time", "channel"

KINDS = {"t": TIME, "time": TIME, "c": CHANNEL, "channel": CHANNEL, "s": CHANNEL}
"""Name of an axis -> its kind; other axes are spatial.  "s" is the axis of colour components in TIFF."""

IMAGES = ("image", "tiff", "imagej", "ome", "ome-zarr")
"""Formats of images, in which axes of channels and time are filtered only if the user names them."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of length or time."""

    factor: float
    """Size of the unit in meters or seconds."""
    symbol: str
    """Symbol in OME-XML."""
    plain: str
    """Name in ImageJ, in ASCII."""
    kind: str = SPACE
    """Quantity that it measures, "space" or "time"."""


UNITS = {
    "angstrom": Unit(1e-10, "Å", "angstrom"),
    "nanometer": Unit(1e-9, "nm", "nm"),
    "micrometer": Unit(1e-6, "µm", "um"),
    "millimeter": Unit(1e-3, "mm", "mm"),
    "centimeter": Unit(1e-2, "cm", "cm"),
    "meter": Unit(1.0, "m", "m"),
    "kilometer": Unit(1e3, "km", "km"),
    "inch": Unit(0.0254, "in", "inch"),
    "foot": Unit(0.3048, "ft", "ft"),
    "nanosecond": Unit(1e-9, "ns", "nsec", TIME),
    "microsecond": Unit(1e-6, "µs", "usec", TIME),
    "millisecond": Unit(1e-3, "ms", "msec", TIME),
    "second": Unit(1.0, "s", "sec", TIME),
    "minute": Unit(60.0, "min", "min", TIME),
    "hour": Unit(3600.0, "h", "hour", TIME),
    "day": Unit(86400.0, "d", "day", TIME),
}
"""Name in OME-Zarr -> unit."""

_ALIASES = {"micron": "micrometer", "us": "microsecond", "in": "inch", '"': "inch"}
_ALIASES |= {text.lower(): name for name, unit in UNITS.items() for text in (unit.symbol, unit.plain)}
_NO_UNIT = ("", "pixel", "pixels", "px", "frame", "reference frame")


def unit_name(text: str | None) -> str | None:
    """Normalize the name of a unit; return None for "pixel" and the like, and unknown names unchanged.

    Examples
    --------
    >>> unit_name("µm"), unit_name("microns"), unit_name("pixel"), unit_name("furlong")
    ('micrometer', 'micrometer', None, 'furlong')
    """
    plain = (text or "").strip().replace("\\u00B5", "µ").replace("μ", "µ").lower()
    if plain in _NO_UNIT:
        return None
    for known in (plain, plain.removesuffix("s")):
        if known in UNITS:
            return known
        if known in _ALIASES:
            return _ALIASES[known]
    return text


def convert(value: float, unit: str | None, wanted: str | None) -> float | None:
    """Convert a length or time to another unit; return None if that is impossible."""
    if unit == wanted:
        return value
    here, there = UNITS.get(unit or ""), UNITS.get(wanted or "")
    if here is None or there is None or here.kind != there.kind:
        return None
    return value * (here.factor / there.factor)


@dataclass(frozen=True, slots=True)
class NamedAxis:
    """Metadata of an axis of an array."""

    name: str | None = None
    """Name, or None if the file has none."""
    kind: str = SPACE
    """"space", "time" or "channel"."""
    step: float | None = None
    """Distance of adjacent samples, or None if the file does not have it."""
    unit: str | None = None
    """Unit of `step`: a key of `UNITS`, or the name in the file."""
    start: float = 0.0
    """Position of the first sample, in the same unit."""

    def of_result(self, stride: int, shift: int) -> NamedAxis:
        """Return the axis of the samples `shift`, `shift` + `stride`, and so on."""
        if self.step is None:
            return self
        return replace(self, step=self.step * stride, start=self.start + shift * self.step)


def named_axis(name: str | None) -> NamedAxis:
    """Return an axis of which only the name is known."""
    return NamedAxis(name, KINDS.get((name or "").lower(), SPACE))


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata of the array in a file."""

    axes: tuple[NamedAxis, ...]
    """Metadata of each axis of the array."""
    format: str = ""
    """Format: "imagej", "ome", "tiff", "ome-zarr", "zarr", "image", or "" for files without metadata."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Details that only files of the same format can store."""

    @property
    def image_axes(self) -> tuple[int, ...] | None:
        """Spatial axes of an image; None if all axes are spatial or the file is not an image."""
        kept = tuple(k for k, axis in enumerate(self.axes) if axis.kind == SPACE)
        return kept if self.format in IMAGES and len(kept) < len(self.axes) else None

    @property
    def names(self) -> tuple[str | None, ...] | None:
        """Names of all axes, or None if no axis has a name."""
        names = tuple(axis.name for axis in self.axes)
        return names if any(names) else None

    def spacing(self, axes: Sequence[int]) -> tuple[float, ...]:
        """Return the distances of samples along the given axes, in the unit of the last axis.

        Raises
        ------
        ValueError
            The file does not have one of them, or they have no common unit.
        """
        found = []
        for number in axes:
            axis, unit = self.axes[number], self.axes[axes[-1]].unit
            called = f"axis {number}" + (f" ({axis.name})" if axis.name else "")
            if axis.step is None:
                raise ValueError(
                    f"--spacing file: the file has no distance of samples along {called}: "
                    "give numbers, or other --axes"
                )
            step = convert(axis.step, axis.unit, unit)
            if step is None:
                raise ValueError(
                    f"--spacing file: {axis.unit} along {called} and {unit} along axis {axes[-1]} "
                    "have no unit in common: give numbers, or other --axes"
                )
            found.append(step)
        return tuple(found)

    def of_result(self, strides: Sequence[int], shifts: Sequence[int]) -> Metadata:
        """Return the metadata of a result that has every `strides`-th sample from sample `shifts` on."""
        axes = tuple(
            axis.of_result(stride, shift)
            for axis, stride, shift in zip(self.axes, strides, shifts, strict=True)
        )
        if all(stride == 1 for stride in strides) and not any(shifts):
            return replace(self, axes=axes)
        kept = {key: value for key, value in self.details.items() if key not in ("ROI", "Overlays")}
        return replace(self, axes=axes, details=kept)

    def with_spacing(self, axes: Sequence[int], spacing: Sequence[float]) -> Metadata:
        """Return the metadata with the given distances of samples for axes that have none."""
        given = dict(zip(axes, spacing, strict=True))
        told = tuple(
            replace(axis, step=given[k]) if k in given and axis.step is None else axis
            for k, axis in enumerate(self.axes)
        )
        return replace(self, axes=told)


def no_metadata(ndim: int) -> Metadata:
    """Return the metadata of a file that has samples only."""
    return Metadata((NamedAxis(),) * ndim)
