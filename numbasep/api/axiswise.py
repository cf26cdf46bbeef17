"""Code shared by filters with one set of taps for each axis."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import placeholders
from ..arguments.arrays import make_output, result_dtype
from ..arguments.axes import KernelShapeError, integer
from ..arguments.casting import store
from ..arguments.problem import first_tap
from ..system.types import Array
from .build import Taps, as_weights
from .missing_data import check_missing, refuse_nan

Term = dict[int, Taps]
"""One separable term: the taps for each filtered axis."""


def first_in_window(taps: int, mode: object) -> int:
    """Return the position of tap 0 of a centred window of odd length, relative to the output, for a boundary mode."""
    if mode == "valid":
        return 0
    return 1 - taps if mode == "full" else -(taps // 2)


def place_first(taps: int, origin: object, mode: object, *, flip: bool = False) -> int:
    """Return the position of tap 0, relative to the output, of a window whose centre is shifted by `origin`."""
    shift = integer("origin", origin)
    if mode not in ("valid", "full"):
        return first_tap(taps, shift, flip=flip)
    if shift:
        raise ValueError(f"origin must be 0 along an axis with mode={mode!r}, got {shift}")
    return first_in_window(taps, mode)


def as_taps(weights: npt.ArrayLike, name: str, origin: object, mode: object, *, flip: bool) -> Taps:
    """Return one-dimensional weights as a correlation."""
    taps = as_weights(weights, conjugate=not flip, name=name)
    if taps.ndim != 1:
        raise KernelShapeError(f"{name} must be one-dimensional, got shape {taps.shape}")
    return Taps(
        np.ascontiguousarray(taps[::-1] if flip else taps), place_first(taps.size, origin, mode, flip=flip)
    )


def centred(weights: Array, mode: object, window: int | None = None) -> Taps:
    """Return an odd number of correlation weights, centred in a window of `window` taps."""
    window = weights.size if window is None else window
    return Taps(weights, first_in_window(window, mode) + (window - weights.size) // 2)


def axis_sum(taps: Mapping[int, Array], modes: Mapping[int, object]) -> list[Term]:
    """Return the terms of a sum of filters along one axis each, such as a Laplacian."""
    delta = np.ones(1)
    return [{a: centred(taps[b] if a == b else delta, modes[a], taps[a].size) for a in taps} for b in taps]


def copy_input(
    x: Array, output: Any, cast: str = "truncate", nan_policy: str = "propagate", mask: Any = None
) -> Array:
    """Return a copy in the dtype of the output, which is the result of a filter without axes."""
    check_missing(nan_policy, mask, x.shape)
    refuse_nan(x, nan_policy)
    dtype = result_dtype(output, x.dtype, complex_result=x.dtype.kind == "c")
    if placeholders.held(x) is not None:
        from ..execution import elementwise

        return elementwise.stored(x, output, dtype, x, "truncate")
    out = make_output(output, dtype, x.shape, x)
    if dtype.kind in "biu" and x.dtype.kind == "f":
        store(x.astype(np.float64), out, cast)
    elif dtype.kind in "iu" and x.dtype.kind in "iu" and cast == "saturate":
        own, kept = np.iinfo(x.dtype), np.iinfo(dtype)
        np.copyto(out, x.clip(max(own.min, kept.min), min(own.max, kept.max)), casting="unsafe")
    else:
        with np.errstate(over="ignore"):
            np.copyto(out, x, casting="unsafe")
    return out


def every_sample(x: Array, mask: Any, nan_policy: str, strides: Mapping[int, int]) -> tuple[Array, Any]:
    """Return every `strides`-th sample along axes that are not filtered, and the mask of these samples."""
    mask = check_missing(nan_policy, mask, x.shape)
    refuse_nan(x, nan_policy)
    kept = tuple(slice(None, None, strides.get(axis, 1)) for axis in range(x.ndim))
    return x[kept], None if mask is None else mask[kept]


def changed(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `options` that differ from the defaults."""
    return {name: value for name, value in options.items() if value is not defaults.get(name)}


def by_axis(axes: Iterable[int], values: Iterable[Any]) -> dict[int, Any]:
    """Return a mapping from axes to `values`."""
    return dict(zip(axes, values, strict=True))
