"""Wrong arguments of every public filter: error type, a message that names the argument, output untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep import nn

X = np.arange(20.0).reshape(4, 5)
W = np.ones((3, 3))
OBJECTS = np.full((4, 5), "a", object)


def second(x: Any, axis: int, output: Any, mode: Any, cval: Any) -> Any:
    return nsp.correlate1d(x, [1, -2, 1], axis, output, mode, cval)


# What a right call of each is given beside the input; generic filters hand their keywords to the derivative.
FILTERS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "convolve": ((W,), {}),
    "correlate": ((W,), {}),
    "separable_convolve": (([[1, 2, 1], [1, 2, 1]],), {}),
    "separable_correlate": (([[1, 2, 1], [1, 2, 1]],), {}),
    "convolve1d": (([1, 2, 1],), {}),
    "correlate1d": (([1, 2, 1],), {}),
    "uniform_filter1d": ((3,), {}),
    "uniform_filter": ((3,), {}),
    "sobel": ((), {}),
    "prewitt": ((), {}),
    "laplace": ((), {}),
    "generic_laplace": ((second,), {}),
    "generic_gradient_magnitude": ((second,), {}),
    "gaussian_filter1d": ((1.0,), {}),
    "gaussian_filter": ((1.0,), {}),
    "gaussian_laplace": ((1.0,), {}),
    "gaussian_gradient_magnitude": ((1.0,), {}),
    "filter_bank": (([W, W],), {}),
}
EVERYWHERE: dict[str, tuple[dict[str, Any], str]] = {
    "input of objects": ({"input": OBJECTS}, "input"),
    "input of longdouble": ({"input": X.astype(np.longdouble)}, "input"),
    "unknown mode": ({"mode": "symmetric"}, "mode"),
    "output of a wrong shape": ({"output": np.zeros((5, 3))}, "output"),
    "output that cannot be written": ({"output": "READ-ONLY"}, "output"),
    "output of objects": ({"output": object}, "output"),
    "unknown method": ({"method": "fast"}, "method"),
    "negative rtol": ({"rtol": -1.0}, "rtol"),
    "no workers": ({"workers": 0}, "workers"),
    "workers that are no number": ({"workers": "all"}, "workers"),
    "unknown device": ({"device": "tpu"}, "device"),
    "unknown nan_policy": ({"nan_policy": "ignore"}, "nan_policy"),
    "mask of another shape": ({"mask": np.ones((5, 4), bool)}, "mask"),
    "mask of numbers": ({"mask": np.ones((4, 5))}, "mask"),
    "unknown cast": ({"cast": "round"}, "cast"),
    "cval that is text": ({"mode": "constant", "cval": "a"}, "cval"),
}
OWN: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], str]] = {
    "taps of two dimensions": ("convolve1d", (W,), {}, "weights"),
    "no taps": ("correlate1d", ([],), {}, "weights"),
    "taps with NaN": ("convolve1d", ([1, np.nan],), {}, "weights"),
    "axis beyond": ("convolve1d", ([1, 2],), {"axis": 2}, "axis"),
    "origin beyond": ("correlate1d", ([1, 2, 1],), {"origin": 5}, "origin"),
    "size zero": ("uniform_filter1d", (0,), {}, "size"),
    "size that is text": ("uniform_filter", ("3",), {}, "size"),
    "sizes of a wrong number": ("uniform_filter", ((3, 3, 3),), {}, "size"),
    "axis that is no integer": ("sobel", (), {"axis": 0.5}, "axis"),
    "axis below": ("prewitt", (), {"axis": -3}, "axis"),
    "axes twice": ("laplace", (), {"axes": (0, 0)}, "axes"),
    "negative sigma": ("gaussian_filter", (-1.0,), {}, "sigma"),
    "sigma NaN": ("gaussian_filter", (np.nan,), {}, "sigma"),
    "sigma text": ("gaussian_filter1d", ("wide",), {}, "sigma"),
    "sigmas of a wrong number": ("gaussian_laplace", ((1, 1, 1),), {}, "sigma"),
    "negative order": ("gaussian_filter", (1.0, -1), {}, "order"),
    "order that is no integer": ("gaussian_filter1d", (1.0,), {"order": 0.5}, "order"),
    "negative radius": ("gaussian_filter", (1.0,), {"radius": -1}, "radius"),
    "negative truncate": ("gaussian_filter", (1.0,), {"truncate": -1.0}, "truncate"),
    "spacing zero": ("gaussian_filter", (1.0,), {"spacing": 0.0}, "spacing"),
    "no kernels": ("filter_bank", ([],), {}, "kernels"),
    "unknown operation": ("filter_bank", ([W],), {"operation": "blur"}, "operation"),
    "kernels of a wrong number": ("separable_convolve", ([[1, 2]] * 3,), {}, "kernels"),
    "kernel of two dimensions": ("separable_correlate", ([W, W],), {}, "kernels"),
    "derivative that cannot be called": ("generic_laplace", (3,), {}, "derivative2"),
}


def refuse(name: str, arguments: tuple[Any, ...], options: dict[str, Any], word: str) -> None:
    """The call raises, its message names the argument, and nothing was written."""
    __tracebackhide__ = True
    options = dict(options)
    x = options.pop("input", X)
    shape = (2, 4, 5) if name == "filter_bank" else (4, 5)
    guard = np.full(shape, 7.0)
    if isinstance(options.get("output"), str):
        guard.flags.writeable = False
        options["output"] = guard
    options.setdefault("output", guard)
    given = x.copy()
    with pytest.raises((ValueError, TypeError)) as caught:
        getattr(nsp, name)(x, *arguments, **options)
    assert word in str(caught.value), caught.value
    np.testing.assert_array_equal(guard, 7.0, err_msg="output was written to")
    np.testing.assert_array_equal(x, given, err_msg="input was written to")


def test_every_filter_is_in_the_table() -> None:
    others = {
        "Plan", "SeparableKernel", "calibrate", "factorize", "is_separable", "nn", "num_threads", "plan",
        "set_num_threads", "show_config", "warmup",
    }  # fmt: skip
    assert {name for name in nsp.__all__ if name not in others} == set(FILTERS)


@pytest.mark.parametrize("case", EVERYWHERE)
@pytest.mark.parametrize("name", FILTERS)
def test_keywords_of_every_filter(name: str, case: str) -> None:
    arguments, keywords = FILTERS[name]
    options, word = EVERYWHERE[case]
    refuse(name, arguments, {**keywords, **options}, word)


@pytest.mark.parametrize("case", OWN)
def test_own_arguments(case: str) -> None:
    name, arguments, options, word = OWN[case]
    refuse(name, arguments, options, word)


# --------------------------------------------------------------------------- over channels

IMAGE, DEPTHWISE = np.ones((1, 6, 7, 3)), np.ones((3, 3, 3, 2))
POINTWISE, ORDINARY = np.ones((1, 1, 6, 4)), np.ones((3, 3, 3, 4))
RIGHT: dict[str, tuple[Any, ...]] = {
    "separable_conv2d": (IMAGE, DEPTHWISE, POINTWISE, (1, 1, 1, 1), "SAME"),
    "depthwise_conv2d": (IMAGE, DEPTHWISE, (1, 1, 1, 1), "SAME"),
    "conv2d": (IMAGE, ORDINARY, (1, 1, 1, 1), "SAME"),
}
POSITION = {
    name: {"input": 0, "filter": 1, "strides": len(a) - 2, "padding": len(a) - 1} for name, a in RIGHT.items()
}
WRONG: dict[str, tuple[str, Any, str]] = {
    "input of three dimensions": ("input", IMAGE[0], "input"),
    "input of objects": ("input", IMAGE.astype(object), "input"),
    "input of integers": ("input", IMAGE.astype(int), "input"),
    "input of other channels": ("input", np.ones((1, 6, 7, 5)), "channels"),
    "filter of three dimensions": ("filter", np.ones((3, 3, 3)), "filter"),
    "empty filter": ("filter", np.ones((0, 3, 3, 2)), "filter"),
    "strides over batches": ("strides", (2, 1, 1, 1), "strides"),
    "strides of zero": ("strides", (1, 0, 0, 1), "strides"),
    "strides of five": ("strides", (1, 1, 1, 1, 1), "strides"),
    "strides that are text": ("strides", "one", "strides"),
    "unknown padding": ("padding", "FULL", "padding"),
    "padding of channels": ("padding", [[0, 0], [1, 1], [1, 1], [1, 1]], "padding"),
    "unknown data_format": ("data_format", "CHWN", "data_format"),
    "dilations of zero": ("dilations", (0, 0), "dilation"),
    "no workers": ("workers", 0, "workers"),
    "unknown device": ("device", "tpu", "device"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("name", RIGHT)
def test_convolutions_over_channels(name: str, case: str) -> None:
    argument, value, word = WRONG[case]
    arguments, options = list(RIGHT[name]), {}
    if argument in POSITION[name]:
        arguments[POSITION[name][argument]] = value
    else:
        options[argument] = value
    with pytest.raises((ValueError, TypeError)) as caught:
        getattr(nn, name)(*arguments, **options)
    assert word in str(caught.value), caught.value
