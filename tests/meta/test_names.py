"""Names of classes."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "numbasep"


def test_no_two_classes_share_a_name() -> None:
    """A reader who finds the name of a class, in a signature or a message, finds one definition of it."""
    modules: dict[str, list[str]] = defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(str(path.relative_to(PACKAGE)))
    assert len(modules) > 100
    assert {name: found for name, found in modules.items() if len(found) > 1} == {}
