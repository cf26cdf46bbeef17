"""The plot of the comparison: time against taps, with the copy as the floor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .tables import column

COLOURS = {
    "numbasep": "#d1495b",
    "cv2": "#3d5a73",
    "scipy": "#9fb4c7",
    "diplib": "#5f9e6e",
    "torch": "#c98b3b",
    "SimpleITK": "#8d6bab",
    "ndfilters": "#b3a369",
}
PANELS = ("separable float32", "separable uint8", "dense float32", "volume float32")


def write_figure(measured: dict[str, Any], path: Path) -> None:
    """Write a row of panels, one a group; both axes logarithmic.

    Parameters
    ----------
    measured : dict
        What ``benchmarks.peers.run`` returned.
    path : path
        The PNG file.
    """
    from matplotlib.figure import Figure  # here, since asv imports every module in an environment without it

    most = max((record["threads"] for record in measured["records"]), default=1)
    records = [record for record in measured["records"] if record["threads"] == most]
    shown = [group for group in PANELS if any(record["group"] == group for record in records)]
    if not shown:
        return
    figure = Figure(figsize=(4.2 * len(shown), 4), layout="constrained")
    for axes, group in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        panel(axes, [record for record in records if record["group"] == group])
        axes.set_title(group, fontsize=11, fontweight="bold")
        if group.endswith("float32") and not group.startswith("volume"):
            floor = measured["copy_milliseconds"]
            axes.axhline(floor, color="#8b98a5", linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate("copy", (1, floor), (-4, 3), xycoords=("axes fraction", "data"), ha="right",
                          textcoords="offset points", fontsize=8, color="#8b98a5")  # fmt: skip
    machine = measured["machine"]
    figure.suptitle(f"{machine['cpu']}, {most} threads: milliseconds against taps an axis", fontsize=10)
    figure.savefig(path, dpi=120, facecolor="white")


def panel(axes: Any, records: list[dict[str, Any]]) -> None:
    """Draw one line for each library's call."""
    for name in dict.fromkeys(column(record) for record in records):
        line = sorted((r["taps"], r["milliseconds"]) for r in records if column(r) == name)
        library = re.split("[. ]", name)[0]
        taps, times = zip(*line, strict=True)
        style = {"linewidth": 2.2 if library == "numbasep" else 1.4, "color": COLOURS.get(library, "#777777")}
        axes.plot(taps, times, "o-", markersize=4, label=name, **style)
    ticks = sorted({record["taps"] for record in records})
    axes.set(xscale="log", yscale="log", xlabel="taps")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e3e8ed", linewidth=0.8)
    axes.legend(frameon=False, fontsize=8)
