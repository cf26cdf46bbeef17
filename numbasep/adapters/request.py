"""What a call asks for, from its arguments alone: windows, result type, and the same call on a part of the array.

Arguments are checked as the functions check them, with the same messages, before any sample is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..api import gaussian, gaussian_derivatives
from ..api.bodies import as_taps, check_cval, make_options
from ..api.build import as_weights
from ..arrays import result_dtype
from ..axes import KernelShapeError, axis_strides, dense_axes, integer, normalize_axes, per_axis
from ..problem import NAN_POLICIES, Window, check_dtype, make_window, make_windows

Arguments = Mapping[str, Any]

DENSE = ("convolve", "correlate")
"""Functions of a kernel whose axes are the filtered axes in ascending order."""

ONE_AXIS = ("convolve1d", "correlate1d", "uniform_filter1d", "gaussian_filter1d")
"""Functions with a parameter `axis`, and one `mode`, for the axis that they filter."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call of a filter without its arrays."""

    name: str
    """Public name of the function."""
    arguments: Arguments
    """All its arguments but the array and the mask; axes are numbers from 0."""
    named: tuple[int, ...]
    """Axes in the order of the arguments that are given for each axis."""
    windows: tuple[Window, ...]
    """Filtered axes."""
    dtype: np.dtype[Any]
    """Type of the result."""

    @property
    def one_mode(self) -> bool:
        """Whether the function means something else by modes that differ between axes."""
        return self.name in ("gaussian_laplace", "gaussian_gradient_magnitude")

    def on_part(self, within: Mapping[int, bool]) -> dict[str, Any]:
        """Arguments for a part of the array.

        Parameters
        ----------
        within : mapping of int to bool
            By filtered axis: whether the part holds all samples that its results need, so that the mode is "valid".
        """
        arguments = dict(self.arguments)
        modes = list(per_axis("mode", arguments["mode"], len(self.named)))
        origins = list(per_axis("origin", arguments.get("origin", 0), len(self.named)))
        for position, axis in enumerate(self.named):
            if within.get(axis, False):
                modes[position], origins[position] = "valid", 0
        single = self.name in ONE_AXIS
        arguments["mode"] = modes[0] if single else tuple(modes)
        if "origin" in arguments:
            arguments["origin"] = origins[0] if single else tuple(origins)
        return arguments


def make_request(name: str, arguments: Arguments, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Request:
    """The request of a call on an array of this shape and type.

    Raises
    ------
    ValueError, TypeError
        As the function itself; and for an `output` that is an array.
    """
    check_dtype(dtype, "input")
    _check_shared(arguments, dtype)
    if name in DENSE:
        arguments = _ascending(arguments, len(shape))
    named, windows, complex_kernel = _DESCRIBE[name](arguments, shape)
    output = arguments["output"]
    result = result_dtype(output, dtype, complex_result=complex_kernel or dtype.kind == "c")
    fixed = {key: value for key, value in arguments.items() if key not in ("input", "mask", "kwargs")}
    fixed |= arguments.get("kwargs", {})
    fixed["output"] = result
    if name in ONE_AXIS:
        (fixed["axis"],) = named
    elif "axes" in fixed and not isinstance(fixed.get("kernels"), Mapping):
        fixed["axes"] = named
    return Request(name, fixed, named, tuple(sorted(windows, key=lambda w: w.axis)), result)


def _ascending(arguments: Arguments, ndim: int) -> Arguments:
    """The same call with its axes in the order of the axes of the kernel."""
    axes, mode, origin, stride = dense_axes(
        arguments["axes"], ndim, arguments["mode"], arguments["origin"], arguments.get("stride", 1)
    )
    return {**arguments, "axes": axes, "mode": mode, "origin": origin, "stride": stride}


def _check_shared(arguments: Arguments, dtype: np.dtype[Any]) -> None:
    output = arguments["output"]
    if not (output is None or isinstance(output, (str, type, np.dtype))):
        raise TypeError(
            f"output must be a dtype or None for an array that is computed later, got a {type(output).__name__}"
        )
    make_options(*(arguments[key] for key in ("method", "rtol", "workers", "device", "cast")))
    check_cval(arguments["cval"], complex_data=dtype.kind == "c")
    if arguments["nan_policy"] not in NAN_POLICIES:
        allowed = ", ".join(map(repr, NAN_POLICIES))
        raise ValueError(f"nan_policy must be one of {allowed}, got {arguments['nan_policy']!r}")


# ------------------------------------------------------------------------------------- windows by function

Described = tuple[tuple[int, ...], Sequence[Window], bool]
"""Axes in the order of the arguments; windows; whether the kernel is complex."""


def _dense(flip: bool) -> Callable[[Arguments, tuple[int, ...]], Described]:
    def describe(given: Arguments, shape: tuple[int, ...]) -> Described:
        kernel = as_weights(given["weights"], conjugate=False)
        named = given["axes"]
        if kernel.ndim != len(named):
            raise KernelShapeError(
                f"weights.ndim ({kernel.ndim}) must match len(axes) ({len(named)}): "
                "one kernel axis for each filtered axis of the input"
            )
        windows = make_windows(
            shape,
            named,
            kernel.shape,
            given["mode"],
            given["origin"],
            flip=flip,
            stride=given.get("stride", 1),
        )
        return named, windows, kernel.dtype.kind == "c"

    return describe


def _line(flip: bool) -> Callable[[Arguments, tuple[int, ...]], Described]:
    def describe(given: Arguments, shape: tuple[int, ...]) -> Described:
        (axis,) = normalize_axes(integer("axis", given["axis"]), len(shape))
        mode, origin = given["mode"], given["origin"]
        taps = as_taps(given["weights"], "weights", origin, mode, flip=flip).weights
        windows = make_windows(
            shape, (axis,), [taps.size], mode, origin, flip=flip, stride=given.get("stride", 1)
        )
        return (axis,), windows, taps.dtype.kind == "c"

    return describe


def _axiswise(flip: bool) -> Callable[[Arguments, tuple[int, ...]], Described]:
    def describe(given: Arguments, shape: tuple[int, ...]) -> Described:
        axes, kernels = given["axes"], given["kernels"]
        if isinstance(kernels, Mapping):
            if axes is not None:
                raise ValueError("axes must be None if kernels maps axes to taps")
            axes, kernels = tuple(kernels), tuple(kernels.values())
        elif isinstance(kernels, np.ndarray) and kernels.ndim == 1 and kernels.dtype.kind != "O":
            raise TypeError(
                "kernels must be a sequence of 1-D arrays or a mapping from axes to them, got one 1-D array"
            )
        named = normalize_axes(axes, len(shape))
        taps = tuple(
            np.asarray(as_weights(k, conjugate=False, name=f"kernels[{j}]")) for j, k in enumerate(kernels)
        )
        if len(taps) != len(named):
            raise KernelShapeError(
                f"kernels must hold one array for each of {len(named)} axes, got {len(taps)}"
            )
        if any(t.ndim != 1 for t in taps):
            raise KernelShapeError(f"kernels must be one-dimensional, got shapes {[t.shape for t in taps]}")
        sizes = [t.size for t in taps]
        windows = make_windows(
            shape, named, sizes, given["mode"], given["origin"], flip=flip, stride=given.get("stride", 1)
        )
        return named, windows, any(t.dtype.kind == "c" for t in taps)

    return describe


def _gaussian_1d(given: Arguments, shape: tuple[int, ...]) -> Described:
    named = normalize_axes(integer("axis", given["axis"]), len(shape))
    (order,) = gaussian.derivative_orders(given["order"], 1)
    windows = _gaussian_windows(given, named, shape, given["truncate"], given["radius"])
    if order and not _smoothed_axes(given, named, given["truncate"], given["radius"]):
        raise ValueError(
            f"sigma must be positive for a derivative, got sigma={given['sigma']!r} with order={order!r}"
        )
    return named, windows, False


def _gaussian(given: Arguments, shape: tuple[int, ...]) -> Described:
    named = normalize_axes(given["axes"], len(shape))
    gaussian.derivative_orders(given["order"], len(named))
    return named, _gaussian_windows(given, named, shape, given["truncate"], given["radius"]), False


def _gaussian_derivatives(given: Arguments, shape: tuple[int, ...]) -> Described:
    named = normalize_axes(given["axes"], len(shape))
    truncate, radius = gaussian_derivatives.taps_keywords(dict(given["kwargs"]))
    windows = _gaussian_windows(given, named, shape, truncate, radius)
    if windows and len(windows) < len(named):
        raise ValueError(f"sigma must be positive along every filtered axis, got {given['sigma']!r}")
    return named, windows, False


def _gaussian_windows(
    given: Arguments, named: tuple[int, ...], shape: tuple[int, ...], truncate: Any, radius: Any
) -> list[Window]:
    taps = _smoothed_axes(given, named, truncate, radius)
    return _smoothed_windows(given, named, shape, taps, dict.fromkeys(named, 0))


def _smoothed_axes(given: Arguments, named: tuple[int, ...], truncate: Any, radius: Any) -> dict[int, int]:
    """Taps of the axes along which a Gaussian is not negligible."""
    axes = gaussian.gaussian_axes(named, given["sigma"], given["mode"], truncate, radius, given["spacing"])
    return {a.axis: 2 * a.radius + 1 for a in axes}


def _smoothed_windows(
    given: Arguments, named: tuple[int, ...], shape: tuple[int, ...], taps: Mapping[int, int],
    origins: Mapping[int, Any],
) -> list[Window]:  # fmt: skip
    """Windows of the axes that have taps, and of those that are left alone but for a stride."""
    modes, strides = (
        per_axis("mode", given["mode"], len(named)),
        axis_strides(given.get("stride", 1), len(named)),
    )
    return [
        make_window(
            axis, shape[axis], taps.get(axis, 1), integer("origin", origins[axis]) if axis in taps else 0, mode,
            flip=False, stride=stride,
        )
        for axis, mode, stride in zip(named, modes, strides, strict=True)
        if axis in taps or stride > 1
    ]  # fmt: skip


def _uniform_1d(given: Arguments, shape: tuple[int, ...]) -> Described:
    named = normalize_axes(integer("axis", given["axis"]), len(shape))
    size = integer("size", given["size"])
    if size < 1:
        raise KernelShapeError(f"incorrect filter size: size must be at least 1, got {size!r}")
    windows = make_windows(
        shape, named, [size], given["mode"], given["origin"], flip=False, stride=given.get("stride", 1)
    )
    return named, windows, False


def _uniform(given: Arguments, shape: tuple[int, ...]) -> Described:
    named = normalize_axes(given["axes"], len(shape))
    sizes = [int(n) for n in per_axis("size", given["size"], len(named))]
    if any(n < 0 for n in sizes):
        raise ValueError(f"size must not be negative, got {given['size']!r}")
    taps = {axis: n for axis, n in zip(named, sizes, strict=True) if n > 1}
    origins = dict(zip(named, per_axis("origin", given["origin"], len(named)), strict=True))
    return named, _smoothed_windows(given, named, shape, taps, origins), False


def _difference(given: Arguments, shape: tuple[int, ...]) -> Described:
    normalize_axes(integer("axis", given["axis"]), len(shape))
    named = tuple(range(len(shape)))
    return named, make_windows(shape, named, [3] * len(named), given["mode"], 0, flip=False), False


def _laplace(given: Arguments, shape: tuple[int, ...]) -> Described:
    named = normalize_axes(given["axes"], len(shape))
    return named, make_windows(shape, named, [3] * len(named), given["mode"], 0, flip=False), False


_DESCRIBE: dict[str, Callable[[Arguments, tuple[int, ...]], Described]] = {
    "convolve": _dense(flip=True),
    "correlate": _dense(flip=False),
    "convolve1d": _line(flip=True),
    "correlate1d": _line(flip=False),
    "separable_convolve": _axiswise(flip=True),
    "separable_correlate": _axiswise(flip=False),
    "gaussian_filter1d": _gaussian_1d,
    "gaussian_filter": _gaussian,
    "gaussian_laplace": _gaussian_derivatives,
    "gaussian_gradient_magnitude": _gaussian_derivatives,
    "uniform_filter1d": _uniform_1d,
    "uniform_filter": _uniform,
    "sobel": _difference,
    "prewitt": _difference,
    "laplace": _laplace,
}
