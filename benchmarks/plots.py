"""Plots of stored results: ``python -m benchmarks.plots`` draws them again.

peers.png: time against taps, with the copy as the floor.  speedup.png: how many times faster than each library.
roofline.png: attained arithmetic and its limits.  regret.png: how much slower the automatic choice is than the fastest.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .tables import COPY, column

RESULTS = Path(__file__).parent / "results"
COLOURS = {
    "numbasep": "#d1495b",
    "cv2": "#3d5a73",
    "cv2.GaussianBlur": "#7c9ab3",
    "scipy": "#9fb4c7",
    "scipy.signal": "#c9a0b6",
    "skimage": "#8fb98b",
    "diplib": "#3f7d58",
    "torch": "#c98b3b",
    "SimpleITK": "#8d6bab",
    "ndfilters": "#b3a369",
}
GREY = "#8b98a5"
PANELS = ("separable float32", "separable uint8", "dense float32", "volume float32")
Record = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> None:
    """Draw plots of the stored results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plots", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to read and to write to")
    folder = parser.parse_args(argv).results
    write_peers(json.loads((folder / "peers.json").read_text(encoding="utf-8")), folder)
    if (folder / "regret.json").is_file():
        write_regret(json.loads((folder / "regret.json").read_text(encoding="utf-8")), folder)


def write_peers(measured: dict[str, Any], folder: Path) -> None:
    """Write peers.png, speedup.png and roofline.png.

    Parameters
    ----------
    measured : dict
        Result of ``benchmarks.peers.run``.
    folder : path
        Folder to write to.
    """
    most = max((record["threads"] for record in measured["records"]), default=1)
    records = [record for record in measured["records"] if record["threads"] == most]
    where = f"{measured['machine']['cpu']}, {most} threads"
    image, volume = f"{measured['side']}x{measured['side']}", "x".join(3 * [str(measured["cube"])])
    sizes = f"images {image}, volume {volume}"
    save(folder / "peers.png", records, times, f"{where}: milliseconds against taps along an axis; {sizes}")
    save(folder / "speedup.png", records, speedups, f"{where}: time of others / time of numbasep; {sizes}")
    write_roofline(measured, [r for r in records if "operations" in r], where, folder / "roofline.png")


def save(path: Path, records: list[Record], draw: Callable[[Any, list[Record]], None], title: str) -> None:
    """Write a figure with a panel for each group of `PANELS` that was measured."""
    from matplotlib.figure import Figure  # here, since asv imports every module in an environment without it

    shown = [group for group in PANELS if any(record["group"] == group for record in records)]
    if not shown:
        return
    figure = Figure(figsize=(3.1 * len(shown), 5), layout="constrained")
    for axes, group in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        draw(axes, [record for record in records if record["group"] == group])
        plain(axes, group)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=130, facecolor="white")


def times(axes: Any, records: list[Record]) -> None:
    """Draw one line for each library's call, and a dashed one for the copy of the array."""
    for name, line in by_call(records).items():
        if name == COPY:
            axes.axhline(min(line.values()), label=name, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        else:
            ours = name == "numbasep"
            axes.plot(line.keys(), line.values(), "o-", markersize=4, label=name, color=colour(name),
                      linewidth=2.4 if ours else 1.3, zorder=3 if ours else 2)  # fmt: skip
    ticks = sorted({record["taps"] for record in records})
    axes.set(xscale="log", yscale="log", xlabel="taps")
    axes.set_ylim(top=axes.get_ylim()[1] * 25)  # room for the legend
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def speedups(axes: Any, records: list[Record]) -> None:
    """Draw a bar for each other library and number of taps, and a line at 1, for equal speed."""
    lines = by_call(records)
    ours = lines["numbasep"]
    others = {name: line for name, line in lines.items() if name not in ("numbasep", COPY)}
    width = 0.85 / max(1, len(others))
    for index, (name, line) in enumerate(others.items()):
        places = [list(ours).index(taps) + (index + 0.5) * width - 0.425 for taps in line]
        ratios = [milliseconds / ours[taps] for taps, milliseconds in line.items()]
        bars = axes.bar(places, ratios, width, label=name, color=colour(name))
        axes.bar_label(bars, [f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}" for ratio in ratios],
                       fontsize=6, padding=1, rotation=90)  # fmt: skip
    axes.axhline(1, color=GREY, linewidth=1)
    axes.set(yscale="log", xlabel="taps")
    axes.set_ylim(top=axes.get_ylim()[1] * 30)
    axes.set_xticks(range(len(ours)), [str(taps) for taps in ours])
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def write_roofline(measured: dict[str, Any], records: list[Record], where: str, path: Path) -> None:
    """Write attained arithmetic against operations per byte that must be transferred, with both limits.

    The bytes are those of the input read once and of the output written once.  The slope is the copy of the float32
    image, and the ceiling is the float32 matrix product, both measured in the same run (Williams, Waterman and
    Patterson, "Roofline", CACM 52, 2009).
    """
    from matplotlib.figure import Figure

    slope = copy_bandwidth(measured, records)
    if slope is None:
        return
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    groups = list(dict.fromkeys(record["group"] for record in records))
    palette = [COLOURS["numbasep"], *(COLOURS[name] for name in COLOURS if name != "numbasep")]
    points = [(2 * r["operations"] / r["bytes"], 2 * r["operations"] * r["elements"] / r["milliseconds"] / 1e6)
              for r in records]  # fmt: skip
    for group, shade in zip(groups, palette, strict=False):
        mine = [point for point, record in zip(points, records, strict=True) if record["group"] == group]
        axes.plot(*zip(*mine, strict=True), "o", markersize=5, label=group, color=shade)
    peak = measured["gigaflops"]
    low, high = min(x for x, _ in points) / 1.5, max(*(x for x, _ in points), peak / slope) * 1.5
    corners = [low, peak / slope, high]
    axes.plot(corners, [min(peak, slope * x) for x in corners], color=GREY, linewidth=1.5)
    axes.annotate(f"copy: {slope:.0f} GB/s", (low, slope * low), (4, 12), textcoords="offset points", color=GREY,
                  fontsize=8)  # fmt: skip
    axes.annotate(f"float32 matrix product: {peak:.0f} GFLOP/s", (high, peak), (0, 4), ha="right",
                  textcoords="offset points", color=GREY, fontsize=8)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="operations for each byte that must be read or written",
             ylabel="GFLOP/s")  # fmt: skip
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    plain(axes, "")
    figure.suptitle(where, fontsize=10)
    figure.savefig(path, dpi=130, facecolor="white")


def copy_bandwidth(measured: dict[str, Any], records: list[Record]) -> float | None:
    """Return the rate of the fastest copy of a float32 image, in 1e9 bytes read and written per second."""
    sizes = {(r["group"], r["threads"]): r["bytes"] * r["elements"] for r in records if "32" in r["group"]}
    rates = [
        sizes[key] / record["milliseconds"] / 1e6
        for record in measured["records"]
        if record["call"] == COPY and (key := (record["group"], record["threads"])) in sizes
    ]
    return max(rates, default=None)


def write_regret(measured: dict[str, Any], folder: Path) -> None:
    """Write regret.png: the cumulative distribution of the regret, by size of the image."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    sizes: dict[int, list[float]] = {}
    for record in measured["records"]:
        sizes.setdefault(round(math.log10(math.prod(record["shape"]))), []).append(record["regret"])
    shades = list(COLOURS.values())
    for index, (size, regrets) in enumerate(sorted(sizes.items())):
        line = sorted(regrets)
        shares = [100 * (i + 1) / len(line) for i in range(len(line))]
        axes.step(line, shares, where="post", color=shades[index % len(shades)],
                  label=f"about $10^{size}$ elements: {len(line)} problems")  # fmt: skip
    everything = [record["regret"] for record in measured["records"]]
    axes.set(xlabel="regret: time of the choice / time of the fastest route", ylabel="percent of the problems",
             xlim=(0.99, max(1.25, max(everything) * 1.02)), ylim=(0, 101))  # fmt: skip
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    plain(axes, "")
    mean = math.exp(sum(map(math.log, everything)) / len(everything))
    title = f"{measured['machine']}: geometric mean {mean:.3f}, worst {max(everything):.2f}"
    figure.suptitle(title, fontsize=10)
    figure.savefig(folder / "regret.png", dpi=100, facecolor="white")


def by_call(records: list[Record]) -> dict[str, dict[int, float]]:
    """Return milliseconds by taps for every call, in the order of the records, the copy last."""
    lines: dict[str, dict[int, float]] = {}
    for record in sorted(records, key=lambda record: (record["call"] == COPY, record["taps"])):
        lines.setdefault(column(record), {})[record["taps"]] = record["milliseconds"]
    return lines


def colour(name: str) -> str:
    """Return the colour of a library."""
    fitting = [prefix for prefix in COLOURS if name.startswith(prefix)]
    return COLOURS[max(fitting, key=len)] if fitting else GREY


def plain(axes: Any, title: str) -> None:
    """Set the title, and remove unnecessary spines."""
    axes.set_title(title, fontsize=11, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e3e8ed", linewidth=0.8)
    axes.set_axisbelow(True)


if __name__ == "__main__":
    main()
