"""CONTRIBUTING.md names files that exist, its table has every folder, and every module says what it is."""

import ast
import re
from pathlib import Path

import pytest

from tests.meta.test_imports import MODULES, PACKAGE, named

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LONGEST = 400
"""Lines of a module."""


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_are_short_and_say_what_they_are(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert (ast.get_docstring(ast.parse(source)) or "").split("\n")[0].endswith((".", ":"))
    assert source.count("\n") <= LONGEST


def test_every_folder_is_described() -> None:
    folders = {str(path.parent.relative_to(PACKAGE)) for path in MODULES} - {"."}
    rows = re.findall(r"^\|(.*?)\|", TEXT, re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`([\w/]+)/`", row)}
    assert folders <= described


def test_what_is_named_exists() -> None:
    tops = "|".join(["tests", "benchmarks", "numbasep", *(p.name for p in PACKAGE.iterdir() if p.is_dir())])
    mentioned = re.findall(rf"`((?:{tops})/[\w./]+)`", TEXT)
    assert len(mentioned) > 10
    assert [name for name in mentioned if not any((place / name).exists() for place in (ROOT, PACKAGE))] == []
