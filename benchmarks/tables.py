"""Tables of the comparison as Markdown, and the README sections that are generated from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

README = Path(__file__).parent.parent / "README.md"
Record = dict[str, Any]


def full_report(measured: dict[str, Any]) -> str:
    """Return every group as a table, with the machine and the versions."""
    parts = ["# Comparison with other libraries", description(measured)]
    parts.extend(group_table(measured, group, threads) for group, threads in groups(measured))
    return "\n\n".join(parts) + "\n"


def description(measured: dict[str, Any]) -> str:
    """Return where and how the figures came about."""
    machine, copy = measured["machine"], measured["copy_milliseconds"]
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    side, cube = measured["side"], measured["cube"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}; "
        f"{versions}.\nImages {side}x{side}, volumes {cube}x{cube}x{cube}, random data, outputs "
        "preallocated, all libraries in turns in one process, median in milliseconds. numbasep is given the "
        "dense kernel; the others are given the 1-D taps where the kernel has them. "
        f"Copying the float32 image takes {copy:.2f} ms."
    )


def groups(measured: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the groups that were measured, each with its number of threads."""
    return list(dict.fromkeys((record["group"], record["threads"]) for record in measured["records"]))


def group_table(measured: dict[str, Any], group: str, threads: int) -> str:
    """Return a table: a row for each kernel size, a column for each library, and the smallest advantage."""
    records = [r for r in measured["records"] if (r["group"], r["threads"]) == (group, threads)]
    columns = list(dict.fromkeys(column(record) for record in records))
    lines = [
        f"**{group}, {threads} thread{'s' if threads > 1 else ''}**",
        "",
        f"| taps | {' | '.join(columns)} | fastest other / numbasep |",
        "|---|" + "---|" * (len(columns) + 1),
    ]
    ratios = []
    for taps in sorted({record["taps"] for record in records}):
        row = {column(record): record for record in records if record["taps"] == taps}
        cells = [f"{row[name]['milliseconds']:.3g}" if name in row else "" for name in columns]
        ratio = advantage(list(row.values()))
        ratios += [] if ratio is None else [ratio]
        lines.append(f"| {taps} | {' | '.join(cells)} | {'' if ratio is None else f'{ratio:.1f}'} |")
    if ratios:
        mean = np.exp(np.mean(np.log(ratios)))
        lines += ["", f"Geometric mean of the last column {mean:.1f}, least {min(ratios):.1f}."]
    worst = max((r["difference"] for r in records if column(r) == "numbasep"), default=None)
    if worst is not None and "float" in group:
        lines[-1] += (
            f" Largest difference of numbasep to a float64 sum: {worst:.0e} of the largest possible value."
        )
    return "\n".join(lines)


def column(record: Record) -> str:
    """Return the heading for a call; the routes of numbasep share one."""
    return "numbasep" if record["call"].startswith("numbasep") else str(record["call"])


def advantage(row: list[Record]) -> float | None:
    """Return the time of the fastest other library over that of numbasep."""
    ours = [record["milliseconds"] for record in row if column(record) == "numbasep"]
    others = [record["milliseconds"] for record in row if column(record) != "numbasep"]
    return float(min(others) / min(ours)) if ours and others else None


# ------------------------------------------------------------------------------------------- README
def update_readme(measured: dict[str, Any], readme: Path = README) -> None:
    """Write the generated sections of the README: the comparison, and the printed plan."""
    text = readme.read_text(encoding="utf-8")
    text = replace_section(text, "peers", peers_section(measured))
    text = replace_section(text, "plan", plan_section())
    readme.write_text(text, encoding="utf-8")


def peers_section(measured: dict[str, Any]) -> str:
    """Return the two tables that decide, under the machine they were measured on."""
    shown = [g for g in groups(measured) if g[0] in ("separable float32", "dense float32") and g[1] > 1]
    parts = [description(measured), *(group_table(measured, group, threads) for group, threads in shown)]
    parts.append("All groups, types and volumes: [benchmarks/results/peers.md](benchmarks/results/peers.md).")
    return "\n\n".join(parts)


def plan_section() -> str:
    """Return the plan of the README's first example, as printed on this machine."""
    import numbasep

    from . import common

    plan = numbasep.plan(common.gaussian(31), (4096, 4096), np.float32)
    return f"```text\n{plan}\n```"


def replace_section(text: str, name: str, body: str) -> str:
    """Return the text with what stands between the markers of a section replaced.

    Raises
    ------
    ValueError
        If the markers ``<!-- name:begin -->`` and ``<!-- name:end -->`` are not there exactly once.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    replaced, count = pattern.subn(lambda match: f"{match[1]}{body}\n{match[2]}", text)
    if count != 1:
        raise ValueError(f"README: expected one section between {begin} and {end}, found {count}")
    return replaced
