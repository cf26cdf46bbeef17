"""Metadata of an array in a file: names and kinds of axes, spacing, and what only its format knows.

Names are in lower case, and units those of OME-Zarr ("micrometer"), whatever the format; each format translates them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

SPACE, TIME, CHANNEL = "space", "time", "channel"

KINDS = {"t": TIME, "time": TIME, "c": CHANNEL, "channel": CHANNEL, "s": CHANNEL}
"""Kinds of axes by their names; all others are axes in space.  "s" are the colours of one sample in TIFF."""

IMAGES = ("image", "tiff", "imagej", "ome", "ome-zarr")
"""Formats of images: channels and times are not filtered unless the axes are named."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of length or time."""

    factor: float
    """Its size in meters or seconds."""
    symbol: str
    """What OME-XML calls it."""
    plain: str
    """What ImageJ calls it, in ASCII."""
    kind: str = SPACE
    """What it is a unit of."""


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
"""By their names in OME-Zarr."""

_ALIASES = {"micron": "micrometer", "us": "microsecond", "in": "inch", '"': "inch"}
_ALIASES |= {text.lower(): name for name, unit in UNITS.items() for text in (unit.symbol, unit.plain)}
_NO_UNIT = ("", "pixel", "pixels", "px", "frame", "reference frame")


def unit_name(text: str | None) -> str | None:
    """The name of a unit as files spell it; None if that says nothing, the text itself if it is not known.

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
    """A length or time in another unit; None if that cannot be."""
    if unit == wanted:
        return value
    here, there = UNITS.get(unit or ""), UNITS.get(wanted or "")
    if here is None or there is None or here.kind != there.kind:
        return None
    return value * (here.factor / there.factor)


@dataclass(frozen=True, slots=True)
class NamedAxis:
    """One axis of an array."""

    name: str | None = None
    """Its name; None if the file gives none."""
    kind: str = SPACE
    """"space", "time" or "channel"."""
    step: float | None = None
    """Distance of samples; None if the file does not say."""
    unit: str | None = None
    """Unit of `step`: one of `UNITS`, or what the file calls it."""
    start: float = 0.0
    """Position of the first sample, in the same unit."""

    def of_result(self, stride: int, shift: int) -> NamedAxis:
        """The axis of samples `shift`, `shift` + `stride`, and so on."""
        if self.step is None:
            return self
        return replace(self, step=self.step * stride, start=self.start + shift * self.step)


def named_axis(name: str | None) -> NamedAxis:
    """An axis of which the file gives no more than the name."""
    return NamedAxis(name, KINDS.get((name or "").lower(), SPACE))


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file says of its array."""

    axes: tuple[NamedAxis, ...]
    """One for each axis of the array."""
    format: str = ""
    """Where it comes from: "imagej", "ome", "tiff", "ome-zarr", "zarr", "image", or "" of files that say nothing."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What only files of the same format hold."""

    @property
    def image_axes(self) -> tuple[int, ...] | None:
        """The axes in space of an image; None if it has no others, or the file is no image."""
        kept = tuple(k for k, axis in enumerate(self.axes) if axis.kind == SPACE)
        return kept if self.format in IMAGES and len(kept) < len(self.axes) else None

    @property
    def names(self) -> tuple[str | None, ...] | None:
        """Names of all axes, or None if none has one."""
        names = tuple(axis.name for axis in self.axes)
        return names if any(names) else None

    def spacing(self, axes: Sequence[int]) -> tuple[float, ...]:
        """The distances of samples along some axes, all in the unit of the last of them.

        Raises
        ------
        ValueError
            The file does not say one of them, or they have no unit in common.
        """
        found = []
        for number in axes:
            axis, unit = self.axes[number], self.axes[axes[-1]].unit
            called = f"axis {number}" + (f" ({axis.name})" if axis.name else "")
            if axis.step is None:
                raise ValueError(
                    f"--spacing file: the file says no distance of samples along {called}: "
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
        """The same of an array that starts at sample `shifts` and holds every `strides`-th sample from there."""
        axes = tuple(
            axis.of_result(stride, shift)
            for axis, stride, shift in zip(self.axes, strides, shifts, strict=True)
        )
        if all(stride == 1 for stride in strides) and not any(shifts):
            return replace(self, axes=axes)
        kept = {key: value for key, value in self.details.items() if key not in ("ROI", "Overlays")}
        return replace(self, axes=axes, details=kept)

    def with_spacing(self, axes: Sequence[int], spacing: Sequence[float]) -> Metadata:
        """With these distances where the file says none."""
        given = dict(zip(axes, spacing, strict=True))
        told = tuple(
            replace(axis, step=given[k]) if k in given and axis.step is None else axis
            for k, axis in enumerate(self.axes)
        )
        return replace(self, axes=told)


def no_metadata(ndim: int) -> Metadata:
    """Of files that hold samples only."""
    return Metadata((NamedAxis(),) * ndim)
