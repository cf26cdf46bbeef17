"""OME-Zarr: what the attributes of a group say of the levels of an image, in versions 0.4 and 0.5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .metadata import CHANNEL, SPACE, TIME, Axis


def _multiscales(attributes: Mapping[str, Any]) -> dict[str, Any]:
    ome = attributes.get("ome", attributes)
    images = ome.get("multiscales") if isinstance(ome, Mapping) else None
    found = images[0] if isinstance(images, list) and images else {}
    return found if isinstance(found, dict) else {}


def levels_of(attributes: Mapping[str, Any]) -> list[str]:
    """Paths of the levels of an image, largest first; none if this is no image."""
    datasets = _multiscales(attributes).get("datasets") or ()
    return [str(level["path"]) for level in datasets if isinstance(level, Mapping) and "path" in level]


def first_level(attributes: Mapping[str, Any]) -> str | None:
    """Path of the largest level; None if this is no image."""
    return next(iter(levels_of(attributes)), None)


def read_axes(attributes: Mapping[str, Any], level: str) -> tuple[Axis, ...] | None:
    """The axes of a level; None if they are not described as in version 0.4 and later."""
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


def _read_axis(axis: Mapping[str, Any], step: float, start: float) -> Axis:
    """An axis without a unit is scaled by 1 where its step is not known."""
    unit, kind = axis.get("unit"), axis.get("type") or CHANNEL
    known = kind in (SPACE, TIME) and (unit is not None or step != 1.0)
    return Axis(
        axis.get("name"), kind if kind in (SPACE, TIME) else CHANNEL, step if known else None, unit, start
    )
