"""Tables of the comparison as Markdown, and the README sections that are generated from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

README = Path(__file__).parent.parent / "README.md"
COPY = "copy"  # the call that only copies the array
NAMES = {"cv2": "OpenCV", "torch": "PyTorch", "diplib": "DIPlib", "scipy": "SciPy", "skimage": "scikit-image"}
PICTURES = {
    "speedup.png": "How many times faster, by library and number of taps:",
    "roofline.png": "Arithmetic attained, against the operations for each byte that must move:",
    "regret.png": "How much slower the automatic choice is than the fastest way, over the kernels found in practice:",
}
Record = dict[str, Any]


def full_report(measured: dict[str, Any]) -> str:
    """Return every group as a table, with the machine and the versions."""
    parts = ["# Comparison with other libraries", description(measured)]
    parts.extend(group_table(measured, group, threads) for group, threads in groups(measured))
    return "\n\n".join(parts) + "\n"


def description(measured: dict[str, Any]) -> str:
    """Return a description of the machine, the versions and the method."""
    machine = measured["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    side, cube = measured["side"], measured["cube"]
    compiled = machine.get("target", "numbasep compiled for this processor")
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}; {compiled}; "
        f"{versions}.\n\nImages {side}x{side}, volumes {cube}x{cube}x{cube}, random data, outputs "
        "preallocated, all libraries in turns in one process, median in milliseconds. numbasep is given the "
        "dense kernel; the others are given the 1-D taps where the kernel has them."
    )


def groups(measured: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the groups that were measured, each with its number of threads."""
    return list(dict.fromkeys((record["group"], record["threads"]) for record in measured["records"]))


def group_table(measured: dict[str, Any], group: str, threads: int) -> str:
    """Return a table with a row for each kernel size, a column for each library, and the smallest advantage."""
    records = [r for r in measured["records"] if (r["group"], r["threads"]) == (group, threads)]
    columns = list(dict.fromkeys(column(record) for record in records if record["call"] != COPY))
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
    copies = [record["milliseconds"] for record in records if record["call"] == COPY]
    if copies:
        lines[-1] += f" Copying the array takes {min(copies):.3g}."
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
    others = [record["milliseconds"] for record in row if column(record) not in ("numbasep", COPY)]
    return float(min(others) / min(ours)) if ours and others else None


def summary_table(measured: dict[str, Any]) -> str:
    """Return a table of the advantage over each library, with a row for each group, on all threads."""
    most = max(record["threads"] for record in measured["records"])
    rows: dict[str, dict[str, list[float]]] = {}
    taps: dict[str, set[int]] = {}
    for group in dict(groups(measured)):
        records = [r for r in measured["records"] if (r["group"], r["threads"]) == (group, most)]
        taps[group] = {record["taps"] for record in records}
        for size in sorted(taps[group]):
            row = [record for record in records if record["taps"] == size]
            for library in dict.fromkeys(map(library_of, row)):
                ratio = advantage([r for r in row if library_of(r) in (library, "numbasep")])
                if ratio is not None:
                    rows.setdefault(group, {}).setdefault(library, []).append(ratio)
    libraries = list(dict.fromkeys(library for row in rows.values() for library in row))
    lines = [f"| times faster than | {' | '.join(libraries)} |", "|---|" + "---|" * len(libraries)]
    for group, found in rows.items():
        cells = [ratios_in_short(found[library]) if library in found else "" for library in libraries]
        lines.append(f"| {group}, {min(taps[group])} to {max(taps[group])} taps | {' | '.join(cells)} |")
    return "\n".join(lines)


def library_of(record: Record) -> str:
    """Return the usual name of the library of a record."""
    name = re.split("[. ]", column(record))[0]
    return NAMES.get(name, name)


def ratios_in_short(ratios: list[float]) -> str:
    """Return the geometric mean of ratios, and the least one."""
    mean = float(np.exp(np.mean(np.log(ratios))))
    return f"{mean:.2g} (least {min(ratios):.2g})"


# ------------------------------------------------------------------------------------------- README
def update_readme(
    measured: dict[str, Any], readme: Path = README, *, targets: dict[str, dict[str, Any]] | None = None
) -> None:
    """Write the generated sections of the README: the summary, the comparison, and the printed plan."""
    text = readme.read_text(encoding="utf-8")
    text = replace_section(text, "summary", summary_section(measured, targets))
    text = replace_section(text, "peers", peers_section(measured))
    text = replace_section(text, "plan", plan_section())
    readme.write_text(text, encoding="utf-8")


def summary_section(measured: dict[str, Any], targets: dict[str, dict[str, Any]] | None = None) -> str:
    """Return the plot and the advantage over each library, for this processor and for others."""
    machine, most = measured["machine"], max(record["threads"] for record in measured["records"])
    side, cube = measured["side"], measured["cube"]
    note = (
        f"Geometric mean over the taps, in brackets the least advantage. Images {side}x{side}, volumes "
        f"{cube}x{cube}x{cube}, {most} threads, {machine['cpu']}; all libraries in turns in one process, outputs "
        "preallocated, the others given the 1-D taps where the kernel has them ([every figure](#speed))."
    )
    parts = ["![Time against taps](benchmarks/results/peers.png)", summary_table(measured), note]
    for name, found in (targets or {}).items():
        parts += [
            f"The same on {found['machine']['cpu']}, with numbasep compiled for {name.capitalize()} (AVX2) and the "
            f"others for all that it has (`python -m benchmarks.peers --target {name}`, "
            f"[every figure](benchmarks/results/peers_{name}.md)):",
            summary_table(found),
        ]
    return "\n\n".join(parts)


def peers_section(measured: dict[str, Any]) -> str:
    """Return the two main tables, after a description of the machine, and the stored plots."""
    shown = [g for g in groups(measured) if g[0] in ("separable float32", "dense float32") and g[1] > 1]
    parts = [description(measured), *(group_table(measured, group, threads) for group, threads in shown)]
    parts.append(
        "All groups, types and volumes: [peers.md](benchmarks/results/peers.md); the filter family beside SciPy's: "
        "[filters.md](benchmarks/results/filters.md); layers beside PyTorch and TensorFlow: "
        "[nn.md](benchmarks/results/nn.md); the automatic choice: [regret.md](benchmarks/results/regret.md)."
    )
    parts += [
        f"{text}\n\n![{text}](benchmarks/results/{name})"
        for name, text in PICTURES.items()
        if (README.parent / "benchmarks" / "results" / name).is_file()
    ]
    return "\n\n".join(parts)


def plan_section() -> str:
    """Return the plan of the README's first example, as printed on this machine."""
    import numbasep

    from . import common

    plan = numbasep.plan(common.gaussian(31), (4096, 4096), np.float32)
    return f"```text\n{plan}\n```"


def replace_section(text: str, name: str, body: str) -> str:
    """Return the text with the part between the markers of a section replaced.

    Raises
    ------
    ValueError
        If the markers ``<!-- name:begin -->`` and ``<!-- name:end -->`` do not occur exactly once.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    replaced, count = pattern.subn(lambda match: f"{match[1]}{body}\n{match[2]}", text)
    if count != 1:
        raise ValueError(f"README: expected one section between {begin} and {end}, found {count}")
    return replaced
