"""Read and write the attributes of OME-Zarr groups.

Versions 0.4 and 0.5 are read, version 0.5 (https://ngff.openmicroscopy.org/0.5/) is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .metadata import CHANNEL, SPACE, TIME, Metadata, NamedAxis

VERSION = "0.5"
ORDER = (TIME, CHANNEL, SPACE)
"""Kinds of axes in the order required by the specification."""

SPATIAL_NAMES = ("z", "y", "x")
"""Names given to unnamed spatial axes, from the last axis on."""


def _multiscales(attributes: Mapping[str, Any]) -> dict[str, Any]:
    ome = attributes.get("ome", attributes)
    images = ome.get("multiscales") if isinstance(ome, Mapping) else None
    found = images[0] if isinstance(images, list) and images else {}
    return found if isinstance(found, dict) else {}


def levels_of(attributes: Mapping[str, Any]) -> list[str]:
    """Return the paths of the levels of an image, largest first; empty if the group is not an image."""
    datasets = _multiscales(attributes).get("datasets") or ()
    return [str(level["path"]) for level in datasets if isinstance(level, Mapping) and "path" in level]


def first_level(attributes: Mapping[str, Any]) -> str | None:
    """Return the path of the largest level, or None if the group is not an image."""
    return next(iter(levels_of(attributes)), None)


def read_axes(attributes: Mapping[str, Any], level: str) -> tuple[NamedAxis, ...] | None:
    """Return the axes of a level, or None if they are not described as in version 0.4 or later."""
    image = _multiscales(attributes)
    described = image.get("axes") or ()
    if not described or not all(isinstance(axis, Mapping) for axis in described):
        return None
    dataset = next(d for d in image["datasets"] if d.get("path") == level)
    steps, starts = [1.0] * len(described), [0.0] * len(described)
    for given in (*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
        if len(given.get("scale", ())) == len(steps):
            steps = [a * b for a, b in zip(steps, given["scale"], strict=True)]
            starts = [a * b for a, b in zip(starts, given["scale"], strict=True)]
        if len(given.get("translation", ())) == len(starts):
            starts = [a + b for a, b in zip(starts, given["translation"], strict=True)]
    return tuple(
        _read_axis(axis, step, start) for axis, step, start in zip(described, steps, starts, strict=True)
    )


def _read_axis(axis: Mapping[str, Any], step: float, start: float) -> NamedAxis:
    """Read an axis; a scale of 1 without a unit means that the step is unknown."""
    unit, kind = axis.get("unit"), axis.get("type") or CHANNEL
    known = kind in (SPACE, TIME) and (unit is not None or step != 1.0)
    return NamedAxis(
        axis.get("name"), kind if kind in ORDER else CHANNEL, step if known else None, unit, start
    )


def image_axes(metadata: Metadata, filtered: Sequence[int]) -> tuple[NamedAxis, ...]:
    """Return the axes with a name and a kind each, as OME-Zarr requires.

    Parameters
    ----------
    metadata : Metadata
        Metadata of the file.
    filtered : sequence of int
        Filtered axes.  Unnamed axes that are filtered are spatial; other unnamed axes are channels or, for the
        first of two, time.

    Raises
    ------
    ValueError
        OME-Zarr does not support the axes.
    """
    axes = list(metadata.axes)
    others = [k for k, axis in enumerate(axes) if axis.name is None and k not in filtered]
    for number, name, kind in zip(reversed(others), ("c", "t"), (CHANNEL, TIME), strict=False):
        axes[number] = replace(axes[number], name=name, kind=kind)
    unnamed = [k for k, axis in enumerate(axes) if axis.name is None]
    free = [name for name in SPATIAL_NAMES if all(axis.name != name for axis in axes)]
    for number, name in zip(reversed(unnamed), reversed(free), strict=False):
        axes[number] = replace(axes[number], name=name)
    axes = [replace(axis, name="c") if axis.name == "s" else axis for axis in axes]
    kinds = [axis.kind for axis in axes]
    names = [axis.name for axis in axes]
    if (
        not 2 <= kinds.count(SPACE) <= 3
        or kinds.count(TIME) > 1
        or kinds.count(CHANNEL) > 1
        or None in names
        or len(set(names)) < len(names)
    ):
        told = ", ".join(f"{axis.name or 'without a name'} ({axis.kind})" for axis in axes)
        raise ValueError(
            "--pyramid: an image of OME-Zarr has two or three axes in space, at most one time and one of channels; "
            f"this has {told}: give --axes, the axes in space"
        )
    return tuple(axes)


def stored_order(axes: Sequence[NamedAxis]) -> tuple[int, ...]:
    """Return the order of the axes required by the specification: time, channels, space."""
    return tuple(sorted(range(len(axes)), key=lambda k: ORDER.index(axes[k].kind)))


def describe(
    name: str, axes: Sequence[NamedAxis], factors: Sequence[Sequence[int]], method: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the attribute "ome" of an image.

    Parameters
    ----------
    name : str
        Name of the image.
    axes : sequence of NamedAxis
        Axes of the largest level.
    factors : sequence of sequences of int
        For each level and axis, the distance of its samples in samples of the largest level.
    method : mapping
        Description of how the levels were made.
    """
    datasets = []
    for level, steps in enumerate(factors):
        scale = [(axis.step or 1.0) * step for axis, step in zip(axes, steps, strict=True)]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if any(axis.start for axis in axes):
            transformations.append({"type": "translation", "translation": [axis.start for axis in axes]})
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    image = {
        "name": name,
        "axes": [_describe_axis(axis) for axis in axes],
        "datasets": datasets,
        "type": "gaussian",
        "metadata": dict(method),
    }
    return {"version": VERSION, "multiscales": [image]}


def _describe_axis(axis: NamedAxis) -> dict[str, str]:
    described = {"name": str(axis.name), "type": axis.kind}
    if axis.unit is not None and axis.step is not None and axis.kind != CHANNEL:
        described["unit"] = axis.unit
    return described


def omero_of(attributes: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """Return the transitional attribute "omero", with rendering settings, if the number of channels is unchanged."""
    ome = attributes.get("ome", attributes)
    omero = ome.get("omero") if isinstance(ome, Mapping) else None
    if not isinstance(omero, dict) or len(omero.get("channels", ())) != channels:
        return {}
    return {"omero": omero}


def others(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an array or image other than those of axes and levels."""
    own = ("ome", "multiscales", "omero", "_ARRAY_DIMENSIONS")
    return {key: value for key, value in attributes.items() if key not in own}
