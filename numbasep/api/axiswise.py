"""What the filters that are given axis by axis have in common: taps in place, plain copies, and words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .. import machine
from ..arrays import make_output, result_dtype
from ..casting import store
from ..planner import Plan
from .build import Taps

Array = npt.NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])

Term = dict[int, Taps]
"""One separable term: taps for each axis that it filters."""


def first_in_window(taps: int, mode: object) -> int:
    """Where tap 0 of an odd, centred window stands; "valid" and "full" move it."""
    if mode == "valid":
        return 0
    return 1 - taps if mode == "full" else -(taps // 2)


def centred(weights: Array, mode: object, window: int | None = None) -> Taps:
    """Correlation weights, an odd number of them, in the middle of a window of `window` taps."""
    window = weights.size if window is None else window
    return Taps(weights, first_in_window(window, mode) + (window - weights.size) // 2)


def axis_sum(taps: Mapping[int, Array], modes: Mapping[int, object]) -> list[Term]:
    """The sum over axes of a filter along one axis, the others left alone: how a Laplacian is built."""
    delta = np.ones(1)
    return [{a: centred(taps[b] if a == b else delta, modes[a], taps[a].size) for a in taps} for b in taps]


def copy_input(x: Array, output: Any) -> Array:
    """What a filter without any axis does: a copy in the type of the output."""
    dtype = result_dtype(output, x.dtype, complex_result=x.dtype.kind == "c")
    out = make_output(output, dtype, x.shape, x)
    if dtype.kind in "biu" and x.dtype.kind == "f":
        store(x.astype(np.float64), out)
    else:
        np.copyto(out, x, casting="unsafe")
    return out


def changed(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `options` that are not the default."""
    return {name: value for name, value in options.items() if value is not defaults.get(name)}


class Shortcuts:
    """Plans by the arguments of a call as they came: a repeated call skips everything but running."""

    LIMIT = 512

    def __init__(self) -> None:
        self._plans: dict[Any, Plan] = {}

    def key(self, arguments: tuple[Any, ...], input: Any, output: Any, mask: Any) -> Any:
        """What a call is known by; None for one that is not remembered."""
        if type(input) is not np.ndarray or mask is not None:
            return None
        if output is not None and type(output) is not np.ndarray:
            return None
        key = (arguments, input.shape, input.dtype, None if output is None else output.dtype)
        try:
            hash(key)
        except TypeError:  # a list among the arguments
            return None
        return key

    def find(self, key: Any) -> Plan | None:
        """The plan of an equal call."""
        return None if key is None else self._plans.get(key)

    def keep(self, key: Any, plan: Plan) -> None:
        """Remember the plan of a call."""
        if key is not None:
            if len(self._plans) >= self.LIMIT:
                self._plans.clear()
            self._plans[key] = plan

    def clear(self) -> None:
        """Forget all plans."""
        self._plans.clear()


shortcuts = Shortcuts()
machine.when_changed(shortcuts.clear)


OUTPUT = """output : ndarray or dtype, optional
        Array of the result's shape to write to (it may be `input` itself), or the type of a new one.
        Default: the type of `input`."""
MODE = """mode : str, optional
        How the input continues beyond its edges:
        "reflect" ``(d c b a | a b c d | d c b a)``, "mirror" ``(d c b | a b c d | c b a)``,
        "nearest" ``(a a a a | a b c d | d d d d)``, "wrap" ``(a b c d | a b c d | a b c d)``,
        "constant" ``(k k k k | a b c d | k k k k)`` with k = `cval`; or "valid", the smaller output where the
        kernel lies inside the input, and "full", the larger one wherever it touches the input, continued with
        `cval`."""
MODES = MODE.replace("str, optional", "str or sequence of str, optional").replace(
    "beyond its edges:", "beyond its edges, once or for each filtered axis:"
)
CVAL = """cval : scalar, optional
        Value beyond the edges in modes "constant" and "full"."""
AXES = """axes : int or tuple of int, optional
        Filtered axes, in the order of all arguments that are given for each axis.  Default: all."""
SPACING = """spacing : float or sequence of float, optional
        Distance of samples, once or for each filtered axis; `sigma` is then in the same unit (it is divided
        by `spacing`), and derivatives are taken with respect to that unit."""
RAISES = """Raises
    ------
    ValueError, TypeError
        For an argument out of range, an axis outside the array, an unknown mode or an unsupported type, and
        for a `method` that cannot compute this filter; the message names the argument and what is allowed."""


def documented(keywords: str) -> Callable[[Function], Function]:
    """Fill the paragraphs that all filters share into a docstring."""
    parts = {
        "output": OUTPUT, "mode": MODE, "modes": MODES, "cval": CVAL, "axes": AXES, "spacing": SPACING,
        "keywords": keywords, "raises": RAISES,
    }  # fmt: skip

    def decorate(function: Function) -> Function:
        text = function.__doc__ or ""
        for name, paragraph in parts.items():
            text = text.replace("{" + name + "}", paragraph)
        function.__doc__ = text
        return function

    return decorate


def by_axis(axes: Iterable[int], values: Iterable[Any]) -> dict[int, Any]:
    """`values`, one for each axis, as a mapping."""
    return dict(zip(axes, values, strict=True))
