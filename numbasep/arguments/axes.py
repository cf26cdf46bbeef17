"""Arguments with one value for each filtered axis: checked and put in order."""

import operator
from typing import Any

import numpy as np


class KernelShapeError(ValueError, RuntimeError):
    """A kernel that does not fit the array: a ValueError, and a RuntimeError as SciPy raises."""


def integer(name: str, value: object) -> int:
    """Return `value` as an int; raise a TypeError that names the argument if it is none."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError as error:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        raise TypeError(f"{name} must be an integer, got {value!r}: {error}") from None


def per_axis(name: str, value: object, count: int) -> tuple[Any, ...]:
    """Return `value` for each of `count` axes: a scalar or string is repeated, a sequence must have this length."""
    if isinstance(value, str) or not np.iterable(value):
        return (value,) * count
    values = tuple(value)
    if len(values) != count:
        raise KernelShapeError(
            f"sequence argument must have length equal to input rank: {name} must be one value or a sequence of "
            f"{count}, one for each filtered axis, got {len(values)}: {value!r}"
        )
    return values


def normalize_axes(axes: object, ndim: int) -> tuple[int, ...]:
    """Return axes as distinct integers in [0, ndim), in the order given; None means all axes.

    Raises
    ------
    numpy.exceptions.AxisError
        If an axis is out of range (a ValueError and an IndexError).
    ValueError
        If an axis is repeated, or there are more axes than the array has.
    """
    if axes is None:
        return tuple(range(ndim))
    given = tuple(axes) if np.iterable(axes) else (axes,)
    if len(given) > ndim:
        raise ValueError(f"axes out of range: at most {ndim} for {ndim} dimensions, got {axes!r}")
    normal = []
    for axis in given:
        number = integer("axes", axis)
        if not -ndim <= number < ndim:
            raise np.exceptions.AxisError(f"axes: axis {number} is out of range for {ndim} dimensions")
        normal.append(number % ndim)
    if len(set(normal)) != len(normal):
        raise ValueError(f"axes must be unique, got {axes!r}")
    return tuple(normal)


def axis_strides(stride: object, count: int) -> tuple[int, ...]:
    """Return the checked stride of each of `count` filtered axes.

    Raises
    ------
    TypeError
        If a stride is not an integer.
    ValueError
        If a stride is below 1, or their number is not `count`.
    """
    if type(stride) is int and stride == 1:
        return (1,) * count
    strides = per_axis("stride", stride, count)
    try:
        found = tuple(map(operator.index, strides))
    except TypeError:
        found = None
    if found is None or any(isinstance(one, (bool, np.bool_)) for one in strides):
        raise TypeError(f"stride must be a positive integer, or one for each filtered axis, got {stride!r}")
    if any(one < 1 for one in found):
        raise ValueError(f"stride must be at least 1, once or for each filtered axis, got {stride!r}")
    return found


def is_strided(stride: object) -> bool:
    """Return whether a `stride` argument has an entry other than 1."""
    return any(one != 1 for one in (stride if np.iterable(stride) else (stride,)))


def dense_axes(
    axes: object, ndim: int, mode: object, origin: object, stride: object = 1
) -> tuple[tuple[int, ...], tuple[Any, ...], tuple[Any, ...], tuple[int, ...]]:
    """Return the filtered axes of a dense kernel in ascending order, and the mode, origin and stride of each.

    As in SciPy, the axes of the kernel are the filtered axes in ascending order, whatever the order of `axes`.
    Entry j of `mode` and of `stride` belongs to ``axes[j]``.  So does entry j of `origin`, unless all axes are
    filtered: then it belongs to axis j.
    """
    named = normalize_axes(axes, ndim)
    modes, origins = per_axis("mode", mode, len(named)), per_axis("origin", origin, len(named))
    strides = axis_strides(stride, len(named))
    order = sorted(range(len(named)), key=named.__getitem__)
    if len(named) < ndim:
        origins = tuple(origins[j] for j in order)
    return (
        tuple(sorted(named)), tuple(modes[j] for j in order), origins, tuple(strides[j] for j in order),
    )  # fmt: skip
