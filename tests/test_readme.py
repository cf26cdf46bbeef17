"""Every Python block of the README runs, and its two commands are the ones promised."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
FENCE = re.compile(
    r"(?:<!-- needs: (?P<needs>[\w, ]+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
BLOCKS = list(FENCE.finditer(README.read_text(encoding="utf-8")))
PYTHON = [block for block in BLOCKS if block["language"] == "python"]


def first_line(block: re.Match[str]) -> str:
    line = README.read_text(encoding="utf-8").count("\n", 0, block.start("code")) + 1
    return f"line-{line}"


def test_the_first_two_commands() -> None:
    commands = [block["code"].strip() for block in BLOCKS if block["language"] == "bash"]
    assert commands[:2] == [
        'python -m pip install ".[demo]" && python -m numbasep demo',
        'python -m pip install ".[test]" && python -m pytest',
    ]


def test_there_is_something_to_run() -> None:
    assert len(PYTHON) >= 5


@pytest.mark.parametrize("block", PYTHON, ids=first_line)
def test_block_runs(block: re.Match[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (block["needs"] or "").replace(",", " ").split():
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}")
    monkeypatch.chdir(tmp_path)
    line = README.read_text(encoding="utf-8").count("\n", 0, block.start("code"))
    code = compile("\n" * line + block["code"], str(README), "exec")
    exec(code, {"__name__": "__main__"})


def test_links_into_the_repository_exist() -> None:
    text = README.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [target for target in targets if not (ROOT / target).exists()] == []
