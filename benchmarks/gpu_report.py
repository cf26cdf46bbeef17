"""Reports of the measurements of `benchmarks.gpu`, compared with their targets."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numbasep


@dataclass(frozen=True)
class Row:
    """Measurement of one filter of one library."""

    case: str
    library: str
    shape: tuple[int, ...]
    taps: int
    terms: int
    dtype: str
    microseconds: float
    floor: float
    error: float | None
    """Largest difference to a float64 sum, relative to the kernel's norm; None if it was not compared."""
    allowed: float | None = None
    """Largest allowed error: the plan's bound plus the rounding of the result's dtype."""

    @property
    def wrong(self) -> bool:
        """Whether the error exceeds the allowed error."""
        return self.error is not None and self.allowed is not None and not self.error <= self.allowed


def targets(rows: Sequence[Row], host: dict[str, float]) -> list[tuple[str, str, bool]]:
    """Return (target, measured value, whether it is met) for every measured target."""
    ours = {
        (r.shape[0], r.taps, r.terms): r for r in rows if r.library == "numbasep" and r.case == "separable"
    }
    found = []
    wanted = [(16384, taps, 1, 1 / 0.85) for taps in (3, 5, 9, 13, 17)]
    wanted += [(16384, 9, 3, 1 / 0.75), (16384, 33, 1, 1.5)]
    for side, taps, terms, factor in wanted:
        if (row := ours.get((side, taps, terms))) is not None:
            times = row.microseconds / row.floor
            text = f"{side}x{side}, {taps} taps, r = {terms}: at most {factor:.2f} x the floor"
            found.append((text, f"{times:.2f}", times <= factor))
    for name, factor in (("CuPy gaussian_filter", 3), ("cuCIM gaussian", 3), ("torch conv2d, two passes", 2)):
        ratios = {
            (row.shape[0], row.taps): row.microseconds / ours[row.shape[0], row.taps, 1].microseconds
            for row in rows
            if row.library == name and row.shape[0] >= 512
        }
        if ratios:
            worst = min(ratios, key=lambda key: ratios[key])
            text = f"{factor} x {name} at every size from 512 up"
            found.append(
                (text, f"{ratios[worst]:.2f} at {worst[0]}, {worst[1]} taps", ratios[worst] >= factor)
            )
    for name, value in host.items():
        if name.startswith(("plan", "a prepared")):
            found.append((f"host time of {name}: under 10 us", f"{value:.2f} us", value < 10))
    return found


def report(header: dict[str, Any], rows: Sequence[Row], host: dict[str, float]) -> str:
    """Return the measurements in Markdown."""
    lines = [", ".join(f"{name} {value}" for name, value in header.items()) + ".", ""]
    lines += ["| target | measured | met |", "|---|---|---|"]
    lines += [f"| {a} | {b} | {'yes' if met else 'no'} |" for a, b, met in targets(rows, host)]
    compared = [row for row in rows if row.allowed is not None]
    wrong = [f"{row.case} {row.shape} {row.taps} taps {row.dtype}" for row in compared if row.wrong]
    lines += ["", f"Results within their bounds: {len(compared) - len(wrong)} of {len(compared)}."]
    lines += [f"**Wrong: {'; '.join(wrong)}.**"] if wrong else []
    lines += ["", "| host time | us |", "|---|---|"]
    lines += [f"| {name} | {value:.2f} |" for name, value in host.items()]
    lines += [
        "",
        "| case | shape | type | taps | terms | library | us | floor us | times the floor | error | allowed |",
    ]
    lines += ["|" + "---|" * 11]
    for row in rows:
        shape = "x".join(map(str, row.shape))
        error, allowed = ("" if value is None else f"{value:.1e}" for value in (row.error, row.allowed))
        lines.append(
            f"| {row.case} | {shape} | {row.dtype} | {row.taps} | {row.terms} | {row.library} | "
            f"{row.microseconds:.4g} | {row.floor:.4g} | {row.microseconds / row.floor:.2f} | {error} | {allowed} |"
        )
    return "\n".join(lines) + "\n"


def versions() -> dict[str, str]:
    """Return the versions of all libraries involved."""
    found = {"Python": platform.python_version(), "numbasep": numbasep.__version__}
    for name in (
        "numba",
        "numba-cuda",
        "cuda-bindings",
        "numpy",
        "torch",
        "cupy-cuda13x",
        "cupy-cuda12x",
        "cucim-cu13",
    ):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
