"""The docstring of every public name passes numpydoc's validation, and explains each argument."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import numbasep
from numbasep import nn

IGNORED = {
    "ES01",  # a summary that says all needs no second paragraph
    "SA01",  # so do functions without relatives
    "SS05",  # takes the plural "Gradients" and the name "Sobel's" for verbs
}
IGNORED_OF_CLASSES = {"PR01"}  # made by functions, not by hand; each field has its docstring in the source
IGNORED_OF_MEMBERS = {"EX01"}  # the example of the class shows them


def public() -> Iterator[tuple[str, Any]]:
    """Every name that a user may look up, with what it is."""
    for module, names in ((numbasep, numbasep.__all__), (nn, nn.__all__)):
        for name in names:
            thing = getattr(module, name)
            if inspect.ismodule(thing):
                continue
            yield f"{module.__name__}.{name}", thing
            if inspect.isclass(thing):
                for member, value in inspect.getmembers(thing):
                    if not member.startswith("_") and not inspect.ismemberdescriptor(value):
                        yield f"{module.__name__}.{name}.{member}", value


NAMES = dict(public())


@pytest.mark.parametrize("name", NAMES)
def test_numpydoc_finds_nothing(name: str) -> None:
    validate = pytest.importorskip("numpydoc.validate", reason="needs numpydoc")
    ignored = IGNORED.copy()
    if inspect.isclass(NAMES[name]):
        ignored |= IGNORED_OF_CLASSES
    elif ".".join(name.split(".")[:-1]) in NAMES:
        ignored |= IGNORED_OF_MEMBERS
    found = [error for error in validate.validate(name)["errors"] if error[0] not in ignored]
    assert found == []


def test_the_validation_sees_what_is_missing() -> None:
    validate = pytest.importorskip("numpydoc.validate", reason="needs numpydoc")
    codes = {code for code, _ in validate.validate("inspect.getsource")["errors"]}
    assert {"PR01", "RT01", "EX01"} <= codes


@pytest.mark.parametrize("name", ["convolve", "correlate", "separable_convolve", "gaussian_filter"])
def test_help_alone_is_enough(name: str) -> None:
    text = inspect.getdoc(getattr(numbasep, name)) or ""
    for parameter in inspect.signature(getattr(numbasep, name)).parameters:
        assert f"{parameter} : " in text, parameter
    for words in ("Returns", "Raises", "Examples", ">>> "):
        assert words in text
    for mode in ("reflect", "mirror", "nearest", "wrap", "constant", "valid", "full"):
        assert mode in text
