"""The table of modules in CONTRIBUTING.md; ``python -m tests.meta.test_contributing`` writes it."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from tests.meta.test_imports import LAYERS, MODULES, PACKAGE, component

ROOT = Path(__file__).parents[2]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- modules:begin -->\n", "<!-- modules:end -->\n"


def rank(path: Path) -> tuple[int, bool, str]:
    """From the calls down to the kernels; packages after the modules of their layer."""
    found = next((i for i, names in enumerate(LAYERS) if component(path) in names), len(LAYERS))
    return -found, path.parent != PACKAGE, str(path.with_suffix("")).replace("__init__", "")


def module_table() -> str:
    """One line for each module."""
    lines = ["| module | job |", "|---|---|"]
    for path in sorted(MODULES, key=rank):
        summary = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
        shown = re.sub("`+", "`", summary).replace("|", "\\|")
        lines.append(f"| `{path.relative_to(PACKAGE)}` | {shown} |")
    return "\n".join(lines) + "\n"


def split(text: str) -> tuple[str, str, str]:
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    return before, table, after


def test_every_module_has_its_line() -> None:
    _, table, _ = split(CONTRIBUTING.read_text(encoding="utf-8"))
    assert table == module_table(), "python -m tests.meta.test_contributing writes the table anew"


def test_every_module_says_what_it_is_for() -> None:
    assert [line for line in module_table().splitlines() if line.endswith("|  |")] == []


def test_what_is_named_exists() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|benchmarks|numbasep|kernels|backends)/[\w./]+)`", text)
    assert len(named) > 10
    places = ROOT, PACKAGE
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


if __name__ == "__main__":
    before, _, after = split(CONTRIBUTING.read_text(encoding="utf-8"))
    CONTRIBUTING.write_text(before + BEGIN + module_table() + END + after, encoding="utf-8")
    sys.stdout.write(f"{CONTRIBUTING.name}: {len(MODULES)} modules\n")
