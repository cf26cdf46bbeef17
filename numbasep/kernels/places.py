"""Start addresses of the planes that a task reads and writes."""

from __future__ import annotations

from .geometry import (
    OUTER_AXES,
    OUTER_ENTRIES,
    OUTER_IN,
    OUTER_OUT,
    OUTER_SIZE,
    OUTER_TAPS,
    OUTSIDE_PLANE,
)
from .jit import kernel


@kernel
def locate_source(plane, source, geometry, outer, outer_taps):
    """Where input plane `source` of output plane `plane` starts in `x`, or OUTSIDE_PLANE."""
    at = 0
    for axis in range(geometry[OUTER_AXES] - 1, -1, -1):
        entry = OUTER_ENTRIES * axis
        size, taps = outer[entry + OUTER_SIZE], outer[entry + OUTER_TAPS]
        position = plane % size
        plane //= size
        distance = outer[outer[entry + OUTER_IN] + position * taps + outer_taps[source, axis]]
        if distance == OUTSIDE_PLANE:
            return OUTSIDE_PLANE
        at += distance
    return at


@kernel
def locate_target(plane, geometry, outer):
    """Where output plane `plane` starts in `y`."""
    at = 0
    for axis in range(geometry[OUTER_AXES] - 1, -1, -1):
        entry = OUTER_ENTRIES * axis
        size = outer[entry + OUTER_SIZE]
        at += outer[outer[entry + OUTER_OUT] + plane % size]
        plane //= size
    return at
