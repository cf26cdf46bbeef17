"""Wrong arguments of every public filter: error type, a message that names the argument, output untouched."""

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


@pytest.mark.parametrize("name", [name for name in FILTERS if not name.startswith("generic")])
def test_true_is_no_number_of_workers(name: str) -> None:
    """Nor after the same call with 1, which equals True: calls are remembered by their arguments."""
    arguments, _ = FILTERS[name]
    refuse(name, arguments, {"workers": True}, "workers")
    for _ in range(2):
        shape = (2, 4, 5) if name == "filter_bank" else (4, 5)
        getattr(nsp, name)(X, *arguments, output=np.zeros(shape), workers=1)
    refuse(name, arguments, {"workers": True}, "workers")


def test_equal_numbers_of_another_type_are_refused_after_those_that_are_allowed() -> None:
    wrong = np.float32(1)
    for _ in range(2):
        nsp.convolve1d(X, [1, 2, 1], axis=1, output=np.zeros((4, 5)))
        refuse("convolve1d", ([1, 2, 1],), {"axis": wrong}, "axis")


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
NAMES: dict[str, tuple[str, ...]] = {
    "separable_conv2d": ("input", "filter", "pointwise_filter", "strides", "padding"),
    "depthwise_conv2d": ("input", "filter", "strides", "padding"),
    "conv2d": ("input", "filter", "strides", "padding"),
}
VALUES: dict[str, dict[str, Any]] = {
    "separable_conv2d": {"filter": DEPTHWISE, "pointwise_filter": POINTWISE},
    "depthwise_conv2d": {"filter": DEPTHWISE},
    "conv2d": {"filter": ORDINARY},
}
CHANNELS = {"separable_conv2d": 4, "depthwise_conv2d": 6, "conv2d": 4}
RIGHT: dict[str, dict[str, Any]] = {}
"""Arguments of a right call of every function, in order."""
for _name, _names in NAMES.items():
    _given = {"input": IMAGE, **VALUES[_name], "strides": (1, 1, 1, 1), "padding": "SAME"}
    RIGHT[_name] = {key: _given[key] for key in _names}
    RIGHT[f"{_name}_vjp"] = {"gradient": np.ones((1, 6, 7, CHANNELS[_name])), **RIGHT[_name]}
    RIGHT[f"plan_{_name}"] = RIGHT[_name] | {"input": IMAGE.shape}
RIGHT["factorize_conv2d"] = {"filter": ORDINARY}
METHODS = tuple(name for name in RIGHT if "vjp" not in name and "factorize" not in name)
ALL_BUT_FACTORS = tuple(name for name in RIGHT if name != "factorize_conv2d")
ARRAYS = tuple(name for name in ALL_BUT_FACTORS if "plan" not in name)
PLANS = tuple(name for name in RIGHT if "plan" in name)
GRADIENTS = tuple(name for name in RIGHT if "vjp" in name)
RESULTS = ("ConvolutionCandidate", "ConvolutionPlan", "DepthwiseSeparable")

WRONG: dict[str, tuple[tuple[str, ...], str, Any, str]] = {
    "input of three dimensions": (ARRAYS, "input", IMAGE[0], "input"),
    "input of objects": (ARRAYS, "input", IMAGE.astype(object), "input"),
    "input of integers": (ARRAYS, "input", IMAGE.astype(int), "input"),
    "input of other channels": (ARRAYS, "input", np.ones((1, 6, 7, 5)), "channels"),
    "input of another type": (ARRAYS, "input", IMAGE.astype(np.float32), "dtype"),
    "shape of three": (PLANS, "input", (6, 7, 3), "input"),
    "shape with a negative size": (PLANS, "input", (1, -6, 7, 3), "shape"),
    "shape that is text": (PLANS, "input", "1673", "shape"),
    "shape of other channels": (PLANS, "input", (1, 6, 7, 5), "channels"),
    "filter of three dimensions": (tuple(RIGHT), "filter", np.ones((3, 3, 3)), "filter"),
    "filter of objects": (tuple(RIGHT), "filter", DEPTHWISE.astype(object), "filter"),
    "filter of integers": (tuple(RIGHT), "filter", DEPTHWISE.astype(int), "filter"),
    "empty filter": (tuple(RIGHT), "filter", np.ones((0, 3, 3, 2)), "filter"),
    "strides over batches": (ALL_BUT_FACTORS, "strides", (2, 1, 1, 1), "strides"),
    "strides of zero": (ALL_BUT_FACTORS, "strides", (1, 0, 0, 1), "strides"),
    "strides of five": (ALL_BUT_FACTORS, "strides", (1, 1, 1, 1, 1), "strides"),
    "strides that are text": (ALL_BUT_FACTORS, "strides", "one", "strides"),
    "unknown padding": (ALL_BUT_FACTORS, "padding", "FULL", "padding"),
    "padding of channels": (ALL_BUT_FACTORS, "padding", [[0, 0], [1, 1], [1, 1], [1, 1]], "padding"),
    "unknown data_format": (ALL_BUT_FACTORS, "data_format", "CHWN", "data_format"),
    "dilations of zero": (ALL_BUT_FACTORS, "dilations", (0, 0), "dilation"),
    "no workers": (ALL_BUT_FACTORS, "workers", 0, "workers"),
    "workers that are true": (ALL_BUT_FACTORS, "workers", True, "workers"),
    "unknown device": (METHODS, "device", "tpu", "device"),
    "unknown method": (METHODS, "method", "fft", "method"),
    "gradient of another shape": (GRADIENTS, "gradient", np.ones((1, 6, 7, 9)), "gradient"),
    "gradient of another type": (GRADIENTS, "gradient", np.ones((1, 6, 7, 4), np.float32), "gradient"),
    "filter with NaN": (("factorize_conv2d",), "filter", ORDINARY * np.nan, "filter"),
    "rtol below zero": (("factorize_conv2d", "conv2d", "plan_conv2d"), "rtol", -1.0, "rtol"),
    "rtol that is text": (("factorize_conv2d", "conv2d", "plan_conv2d"), "rtol", "small", "rtol"),
    "no channel_multiplier": (("factorize_conv2d",), "channel_multiplier", 0, "channel_multiplier"),
    "channel_multiplier of two and a half": (
        ("factorize_conv2d",),
        "channel_multiplier",
        2.5,
        "channel_multiplier",
    ),
    "output of another shape": (tuple(NAMES), "output", np.full((1, 6, 7, 9), 7.0), "output"),
    "output of another type": (tuple(NAMES), "output", np.full((1, 6, 7, 9), 7.0, np.float32), "output"),
    "output that is a list": (tuple(NAMES), "output", [], "output"),
}


def test_every_function_over_channels_is_in_the_table() -> None:
    assert {*RIGHT, *RESULTS} == set(nn.__all__)
    assert {name for names, *_ in WRONG.values() for name in names} == set(RIGHT)


@pytest.mark.parametrize("name", RIGHT)
def test_right_arguments_over_channels(name: str) -> None:
    getattr(nn, name)(*RIGHT[name].values())


@pytest.mark.parametrize(("case", "name"), [(case, name) for case, row in WRONG.items() for name in row[0]])
def test_wrong_arguments_over_channels(case: str, name: str) -> None:
    _, argument, value, word = WRONG[case]
    arguments, options = dict(RIGHT[name]), {}
    if argument in arguments:
        arguments[argument] = value
    else:
        options[argument] = value
    output = options.get("output")
    if output is None and name in NAMES:
        output = options["output"] = np.full((1, 6, 7, CHANNELS[name]), 7.0)
    before = [np.array(v, copy=True) for v in arguments.values() if isinstance(v, np.ndarray)]
    with pytest.raises((ValueError, TypeError)) as caught:
        getattr(nn, name)(*arguments.values(), **options)
    assert word in str(caught.value), caught.value
    for array, copy in zip([v for v in arguments.values() if isinstance(v, np.ndarray)], before, strict=True):
        np.testing.assert_array_equal(array, copy)
    if isinstance(output, np.ndarray):
        np.testing.assert_array_equal(output, 7.0, err_msg="output was written to")


def test_a_plan_refuses_other_arrays() -> None:
    plan = nn.plan_conv2d(IMAGE.shape, ORDINARY, 1, "SAME")
    out = np.full((1, 6, 7, 4), 7.0)
    for wrong in (IMAGE[0], IMAGE.astype(np.float32), IMAGE.astype(object), np.ones((1, 6, 7, 4))):
        with pytest.raises((ValueError, TypeError), match="input"):
            plan(wrong, out)
    np.testing.assert_array_equal(out, 7.0)
    for name, given in RIGHT.items():
        if name in NAMES:
            shape = (1, 6, 7, CHANNELS[name])
            target = np.full(shape, 7.0)
            target.flags.writeable = False
            with pytest.raises((ValueError, TypeError), match="output"):
                getattr(nn, name)(*given.values(), output=target)
