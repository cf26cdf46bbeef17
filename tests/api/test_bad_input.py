"""Wrong arguments: the right error, a message that names the argument, and nothing written."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep as nsp

X = np.arange(20.0).reshape(4, 5)
W = np.ones((3, 3))
NOT_NUMBERS = np.full((4, 5), "a", object)

# Every row: what is wrong, positional arguments, keywords, error types (all of them), words of the message.
TABLE: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[type, ...], tuple[str, ...]]] = {
    "kernel of too many dimensions": ((X, np.ones((3, 3, 3))), {}, (RuntimeError, ValueError), ("weights",)),
    "kernel of too few dimensions": ((X, np.ones(3)), {}, (RuntimeError, ValueError), ("weights",)),
    "kernel that does not fit the axes": (
        (X, W),
        {"axes": (0,)},
        (RuntimeError, ValueError),
        ("weights.ndim (2) must match", "len(axes) (1)"),
    ),
    "empty kernel": ((X, np.ones((0, 3))), {}, (RuntimeError, ValueError), ("weights",)),
    "kernel with NaN": ((X, np.full((3, 3), np.nan)), {}, (ValueError,), ("weights", "finite")),
    "kernel with infinity": ((X, np.array([[1, np.inf]])), {}, (ValueError,), ("weights", "finite")),
    "kernel of objects": ((X, NOT_NUMBERS), {}, (TypeError, ValueError), ("weights", "object")),
    "kernel of longdouble": (
        (X, np.ones((3, 3), np.longdouble)),
        {},
        (TypeError,),
        ("weights", "longdouble|float128"),
    ),
    "kernel of strings": ((X, np.full((3, 3), "a")), {}, (TypeError, ValueError), ("weights",)),
    "input of objects": ((NOT_NUMBERS, W), {}, (TypeError, RuntimeError), ("input", "object")),
    "input of longdouble": (
        (X.astype(np.longdouble), W),
        {},
        (TypeError, RuntimeError),
        ("input", "float128|longdouble"),
    ),
    "input of clongdouble": ((X.astype(np.clongdouble), W), {}, (TypeError, RuntimeError), ("input",)),
    "input of dates": ((X.astype("M8[s]"), W), {}, (TypeError, RuntimeError), ("input", "datetime64")),
    "input of strings": ((X.astype(str), W), {}, (TypeError, RuntimeError), ("input",)),
    "input of records": ((np.zeros((4, 5), [("a", "f4")]), W), {}, (TypeError, RuntimeError), ("input",)),
    "unknown mode": (
        (X, W),
        {"mode": "symmetric"},
        (RuntimeError, ValueError),
        ("mode", "symmetric", "reflect", "abcd"),
    ),
    "mode in capitals": ((X, W), {"mode": "REFLECT"}, (RuntimeError, ValueError), ("mode", "REFLECT")),
    "mode of a wrong type": ((X, W), {"mode": 3.5}, (ValueError,), ("mode", "3.5")),
    "no mode": ((X, W), {"mode": None}, (ValueError,), ("mode", "None")),
    "modes of a wrong number": ((X, W), {"mode": ["wrap"] * 3}, (RuntimeError, ValueError), ("mode",)),
    "unknown mode in a sequence": (
        (X, W),
        {"mode": ["wrap", "odd"]},
        (RuntimeError, ValueError),
        ("mode", "odd"),
    ),
    "unknown method": ((X, W), {"method": "fast"}, (ValueError,), ("method", "fast", "separable", "fft")),
    "method of a wrong type": ((X, W), {"method": 1}, (ValueError,), ("method", "1")),
    "axis out of range": ((X, W), {"axes": (0, 2)}, (ValueError,), ("ax", "2")),
    "axis below range": ((X, W), {"axes": (-3, 0)}, (ValueError,), ("ax", "-3")),
    "axis twice": ((X, W), {"axes": (0, 0)}, (ValueError,), ("axes must be unique",)),
    "axis twice, once negative": ((X, W), {"axes": (1, -1)}, (ValueError,), ("axes must be unique",)),
    "axis that is no integer": ((X, W), {"axes": (0, 1.5)}, (TypeError,), ("axes", "1.5")),
    "axes that are text": ((X, W), {"axes": "xy"}, (TypeError, ValueError), ("axes",)),
    "more axes than dimensions": ((X, np.ones((1, 1, 1))), {"axes": (0, 1, 2)}, (ValueError,), ("axes",)),
    "origin too large": ((X, W), {"origin": 2}, (ValueError,), ("rigin", "2", "3")),
    "origin too small": ((X, W), {"origin": (0, -2)}, (ValueError,), ("rigin", "-2")),
    "origin huge": ((X, W), {"origin": 2**70}, (ValueError,), ("rigin",)),
    "origins of a wrong number": ((X, W), {"origin": (0, 0, 0)}, (RuntimeError, ValueError), ("origin",)),
    "origin that is no integer": ((X, W), {"origin": 0.5}, (TypeError, ValueError), ("origin", "0.5")),
    "output of a wrong shape": (
        (X, W),
        {"output": np.zeros((5, 4))},
        (RuntimeError, ValueError),
        ("output", "shape"),
    ),
    "output of objects": (
        (X, W),
        {"output": np.zeros((4, 5), object)},
        (TypeError, RuntimeError),
        ("output",),
    ),
    "output type object": ((X, W), {"output": object}, (TypeError, RuntimeError), ("output",)),
    "output name of no number": ((X, W), {"output": "U8"}, (RuntimeError,), ("output",)),
    "output name of nothing": ((X, W), {"output": "flaot32"}, (TypeError,), ("flaot32",)),
    "output longdouble": ((X, W), {"output": np.longdouble}, (TypeError, RuntimeError), ("output",)),
    "output that cannot be written": (
        (X, W),
        {"output": "READ-ONLY"},
        (ValueError,),
        ("output", "read-only|writ"),
    ),
    "negative rtol": ((X, W), {"rtol": -1e-3}, (ValueError,), ("rtol", "-0.001")),
    "rtol of one": ((X, W), {"rtol": 1.0}, (ValueError,), ("rtol",)),
    "rtol NaN": ((X, W), {"rtol": np.nan}, (ValueError,), ("rtol", "nan")),
    "rtol text": ((X, W), {"rtol": "small"}, (TypeError,), ("rtol", "small")),
    "no workers": ((X, W), {"workers": 0}, (ValueError,), ("workers", "0")),
    "negative workers": ((X, W), {"workers": -2}, (ValueError,), ("workers", "-2")),
    "workers no integer": ((X, W), {"workers": 1.5}, (TypeError,), ("workers", "1.5")),
    "unknown cast": ((X, W), {"cast": "round"}, (ValueError,), ("cast", "round", "saturate")),
    "unknown device": ((X, W), {"device": "tpu"}, (ValueError,), ("device", "tpu", "cuda")),
    "unknown nan_policy": ((X, W), {"nan_policy": "ignore"}, (ValueError,), ("nan_policy", "ignore", "omit")),
    "cval that is text": ((X, W), {"mode": "constant", "cval": "a"}, (TypeError, ValueError), ("cval",)),
    "mask of another shape": ((X, W), {"mask": np.ones((5, 4), bool)}, (ValueError,), ("mask",)),
    "keyword that does not exist": ((X, W), {"boundary": "wrap"}, (TypeError,), ("boundary",)),
}
MESSAGE_IN_WORDS = {"abcd": "a b c d"}


@pytest.mark.parametrize("operation", ["convolve", "correlate"])
@pytest.mark.parametrize("case", TABLE)
def test_errors(case: str, operation: str) -> None:
    arguments, options, types, words = TABLE[case]
    options = dict(options)
    guard = np.full((4, 5), 7.0)
    if isinstance(options.get("output"), str) and options["output"] == "READ-ONLY":
        guard.flags.writeable = False
        options["output"] = guard
    options.setdefault("output", guard)
    given = options["output"].copy() if isinstance(options["output"], np.ndarray) else None
    with pytest.raises(types) as caught:
        getattr(nsp, operation)(*arguments, **options)
    for kind in types:
        assert isinstance(caught.value, kind) or len(types) == 2, f"{type(caught.value)} is no {kind}"
    message = str(caught.value)
    for word in words:
        choices = MESSAGE_IN_WORDS.get(word, word).split("|")
        assert any(choice in message for choice in choices), f"{word!r} is not in: {message}"
    assert "\n  File" not in message
    if given is not None:
        np.testing.assert_array_equal(options["output"], given, err_msg="output was written to")


SCIPY_TYPES = [
    ("kernel of too many dimensions", RuntimeError),
    ("kernel of too few dimensions", RuntimeError),
    ("kernel that does not fit the axes", RuntimeError),
    ("empty kernel", RuntimeError),
    ("input of objects", RuntimeError),
    ("input of longdouble", RuntimeError),
    ("unknown mode", RuntimeError),
    ("axis out of range", ValueError),
    ("axis twice", ValueError),
    ("axis that is no integer", TypeError),
    ("origin too large", ValueError),
    ("origins of a wrong number", RuntimeError),
    ("output of a wrong shape", RuntimeError),
    ("output name of no number", RuntimeError),
    ("output name of nothing", TypeError),
]


@pytest.mark.parametrize(("case", "kind"), SCIPY_TYPES)
def test_an_except_clause_written_for_scipy_still_catches(case: str, kind: type) -> None:
    arguments, options, _, _ = TABLE[case]
    with pytest.raises(kind):
        ndimage.convolve(*arguments, **options)
    with pytest.raises(kind):
        nsp.convolve(*arguments, **options)


def test_unknown_mode_shows_the_pictures() -> None:
    with pytest.raises(ValueError, match="mode") as caught:
        nsp.convolve(X, W, mode="symmetric")
    assert isinstance(caught.value, RuntimeError)
    message = str(caught.value)
    for name in ("reflect", "mirror", "nearest", "wrap", "constant", "grid-mirror", "valid", "full"):
        assert repr(name) in message
    assert "d c b a | a b c d | d c b a" in message


def test_output_survives_every_bad_argument_of_a_plan() -> None:
    plan = nsp.plan(W, X.shape)
    out = np.full(X.shape, 7.0)
    for wrong in (np.zeros((5, 4)), np.zeros(4), X.astype(object)):
        with pytest.raises((ValueError, TypeError, RuntimeError), match="input"):
            plan(wrong, out)
    np.testing.assert_array_equal(out, 7.0)
    with pytest.raises((ValueError, TypeError, RuntimeError), match="output"):
        plan(X, np.zeros((5, 4)))


PLAN_ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[type, ...], str]] = {
    "negative size": ((W, (4, -5)), {}, (ValueError,), "shape"),
    "size that is no integer": ((W, (4, 5.5)), {}, (TypeError, ValueError), "shape"),
    "shape of other dimensions": ((W, (4, 5, 6)), {}, (ValueError,), "weights"),
    "unknown operation": ((W, (4, 5)), {"operation": "blur"}, (ValueError,), "operation"),
    "unknown effort": ((W, (4, 5)), {"effort": "some"}, (ValueError,), "effort"),
    "unknown method": ((W, (4, 5)), {"method": "fast"}, (ValueError,), "method"),
    "dtype of objects": ((W, (4, 5), object), {}, (TypeError,), "dtype|input"),
    "negative rtol": ((W, (4, 5)), {"rtol": -1}, (ValueError,), "rtol"),
    "non-finite kernel": ((W * np.nan, (4, 5)), {}, (ValueError,), "weights"),
}


@pytest.mark.parametrize("case", PLAN_ARGUMENTS)
def test_plan_errors(case: str) -> None:
    arguments, options, types, word = PLAN_ARGUMENTS[case]
    with pytest.raises(types, match=word):
        nsp.plan(*arguments, **options)


FACTORIZE_ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[type, ...], str]] = {
    "empty": ((np.ones((0, 3)),), {}, (ValueError,), "kernel"),
    "NaN": ((np.array([[1, np.nan]]),), {}, (ValueError,), "kernel"),
    "infinity": ((np.array([[1, -np.inf]]),), {}, (ValueError,), "kernel"),
    "objects": ((NOT_NUMBERS,), {}, (TypeError,), "kernel"),
    "longdouble": ((np.ones((3, 3), np.longdouble),), {}, (TypeError,), "kernel"),
    "negative rtol": ((W,), {"rtol": -1.0}, (ValueError,), "rtol"),
    "NaN rtol": ((W,), {"rtol": np.nan}, (ValueError,), "rtol"),
    "no rank": ((W,), {"max_rank": 0}, (ValueError,), "max_rank"),
}


@pytest.mark.parametrize("case", FACTORIZE_ARGUMENTS)
def test_factorize_errors(case: str) -> None:
    arguments, options, types, word = FACTORIZE_ARGUMENTS[case]
    with pytest.raises(types, match=word):
        nsp.factorize(*arguments, **options)
    if "max_rank" not in options:
        with pytest.raises(types, match=word):
            nsp.is_separable(*arguments, **options)


def test_a_method_that_cannot_do_it_says_why() -> None:
    noise = np.random.default_rng(1).normal(size=(9, 9))
    out = np.full(X.shape, 7.0)
    for operation in (nsp.convolve, nsp.correlate):
        with pytest.raises(ValueError, match="separable"):
            operation(X, noise, method="separable", output=out)
    plan = nsp.plan(noise, X.shape)
    reason = next(c.reason for c in plan.candidates if c.method == "separable")
    assert reason
    np.testing.assert_array_equal(out, 7.0)


@pytest.mark.parametrize("output", [X.tolist(), pytest.param("xarray", marks=pytest.mark.peers)])
def test_outputs_that_are_no_ndarray_are_refused(output: Any) -> None:
    """The dtype of another array would be taken, and the array left unchanged."""
    if output == "xarray":
        output = pytest.importorskip("xarray").DataArray(X.copy())
    with pytest.raises(TypeError, match=r"output must be an (ndarray|array), a dtype or None"):
        nsp.uniform_filter(X, 3, output=output)


@pytest.mark.parametrize("name", ["filter_bank", "separable_convolve"])
def test_kernels_that_are_no_sequence(name: str) -> None:
    with pytest.raises(TypeError, match=r"kernels must be a sequence of .*got 3"):
        getattr(nsp, name)(X, 3)
