"""Parsers of command-line values: each converts a string, or raises an error that says what is wrong."""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

FROM_FILE = "file"
"""Value of `--spacing` for the numbers in the input file."""

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def list_of(kind: Callable[[str], Any], what: str) -> Callable[[str], tuple[Any, ...]]:
    """Return a parser of comma-separated lists."""

    def parse(text: str) -> tuple[Any, ...]:
        try:
            return tuple(kind(part) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None

    return parse


integers = list_of(int, "an integer or a comma-separated list of integers")
floats = list_of(float, "a number or a comma-separated list of numbers")


def spacing(text: str) -> tuple[float, ...] | str:
    """Parse distances of samples, or `FROM_FILE`."""
    if text == FROM_FILE:
        return FROM_FILE
    try:
        return floats(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {FROM_FILE!r}") from None


def strides(text: str) -> tuple[int, ...]:
    """Parse a stride or a comma-separated list of strides, each at least 1."""
    return tuple(map(positive_int, text.split(",")))


def levels(text: str) -> int:
    """Parse the number of additional levels of a pyramid, at least 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of levels, 0 or more")
    return int(text)


def positive_int(text: str) -> int:
    """Parse an integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return value


def shape(text: str) -> tuple[int, ...]:
    """Parse a shape such as 4096x4096."""
    try:
        sizes = tuple(int(part) for part in text.lower().replace(",", "x").split("x"))
    except ValueError:
        sizes = (-1,)
    if min(sizes) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 4096x4096")
    return sizes


def dtype(text: str) -> np.dtype[Any]:
    """Parse the name of a NumPy dtype."""
    try:
        return np.dtype(text)
    except TypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a NumPy dtype such as uint8 or float32") from None


def memory(text: str) -> int:
    """Parse an amount of memory such as 500MB or 2GiB; return bytes.

    Examples
    --------
    >>> memory("1.5GiB"), memory("800 MB")
    (1610612736, 800000000)
    """
    number = text.rstrip("BKMGIbkmgi ")
    unit = text[len(number) :].strip().lower()
    unit = unit + "b" if unit in ("k", "m", "g") else unit
    try:
        amount = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        amount = 0.0
    if not 1 <= amount < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of memory such as 500MB or 2GiB")
    return int(amount)


def scalar_or_tuple(values: tuple[Any, ...]) -> Any:
    """Return a single value as a scalar, which the functions apply to all axes."""
    return values[0] if len(values) == 1 else values
