"""The printed report of the demo."""

import numpy as np

from ..system.types import Array
from .measure import Result

RULE = "-" * 100


def heading(name: str, photograph: Array, array: Array) -> str:
    """Return the first lines, which describe the photograph."""
    lines = [f"photograph: {name}, {_shape(photograph)}"]
    if array.shape != photograph.shape:
        lines.append(f"continued by mirroring to {_shape(array)} {array.dtype}")
    return "\n".join(lines)


def section(result: Result) -> str:
    """Return the plan and the measurements of one kernel."""
    subject = result.subject
    lines = [
        "",
        RULE,
        f"{subject.name} ({subject.remark}), {_shape(subject.kernel)}",
        RULE,
        str(result.plan),
        "",
        f"measured: {milliseconds(result.seconds)} (predicted {milliseconds(result.plan.seconds)})",
    ]
    others = [
        f"{route.method} {milliseconds(route.measured)}"
        for route in result.routes
        if route.measured is not None
    ]
    lines.append(f"forced:   {', '.join(others)}")
    lines.extend(
        f"{name}: {milliseconds(seconds)}, {seconds / result.seconds:.1f} times as long"
        for name, seconds in result.peers
    )
    if result.difference is not None:
        lines.append(
            f"largest difference to a float64 sum: {result.difference:.1e} of ||K||_1 max|x|, "
            f"guaranteed below {result.plan.error_bound:.1e}"
        )
    return "\n".join(lines)


def summary(results: list[Result]) -> str:
    """Return the final table, with a line per kernel."""
    rows = [
        ("kernel", "size", "chosen", "predicted", "measured", "/ fastest", "SciPy", "OpenCV", "difference")
    ]
    for result in results:
        peers = {name.partition(".")[0]: f"{seconds / result.seconds:.1f}x" for name, seconds in result.peers}
        rows.append(
            (
                result.subject.name,
                _shape(result.subject.kernel),
                result.plan.method,
                milliseconds(result.plan.seconds),
                milliseconds(result.seconds),
                f"{result.regret:.2f}",
                peers.get("scipy", "-"),
                peers.get("cv2", "-"),
                "-" if result.difference is None else f"{result.difference:.1e}",
            )
        )
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "",
        RULE,
        "SciPy, OpenCV: how many times as long they take; / fastest: time over that of the best route",
    ]
    for row in rows:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *rest]))
    factors = [
        max(seconds for _, seconds in result.peers) / result.seconds for result in results if result.peers
    ]
    if factors:
        lines.append(f"slowest peer over numbasep, geometric mean: {np.exp(np.mean(np.log(factors))):.0f}x")
    return "\n".join(lines)


def milliseconds(seconds: float) -> str:
    """Return a duration with three significant digits.

    Examples
    --------
    >>> milliseconds(0.0123456), milliseconds(4.2e-6), milliseconds(2.5)
    ('12.3 ms', '0.0042 ms', '2500 ms')
    """
    value = 1e3 * seconds
    return f"{value:.0f} ms" if value >= 999.5 else f"{value:.3g} ms"


def _shape(array: Array) -> str:
    return "x".join(str(length) for length in array.shape)
