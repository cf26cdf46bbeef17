"""Every Python block of the README runs, and its two commands are the ones promised."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbasep

ROOT = Path(__file__).parents[2]
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


# ------------------------------------------------------------------------- "Coming from": both sides are run
ROWS = re.findall(
    r"^\| (MATLAB )?`(.+)` \| `(numbasep\..+)` \|$", README.read_text(encoding="utf-8"), re.MULTILINE
)


@pytest.mark.parametrize(("matlab", "theirs", "ours"), ROWS, ids=[row[1] for row in ROWS])
def test_equivalents_give_the_same(matlab: str, theirs: str, ours: str) -> None:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {"np": np, "numbasep": numbasep, "s": 2.0}
    values["x"] = rng.random((40, 50), dtype=np.float32)
    values["k"] = rng.random((5, 3)).astype(np.float32)
    values |= {"kx": np.float32([1, 2, 4]), "ky": np.float32([1, 2, 3, 4, 5])}
    result = eval(ours, values)
    assert result.shape == ((44, 52) if "full" in ours else (36, 48) if "valid" in ours else (40, 50))
    if matlab:
        return  # no MATLAB to ask
    for module in re.findall(r"[a-z]\w*(?:\.[a-z]\w*)*(?=\.\w+\()", theirs):
        values[module.partition(".")[0]] = pytest.importorskip(module.partition(".")[0])
        pytest.importorskip(module)
    np.testing.assert_allclose(result, eval(theirs, values), rtol=2e-5, atol=2e-5)


def test_every_library_has_its_rows() -> None:
    modules = {theirs.partition(".")[0] for matlab, theirs, _ in ROWS if not matlab}
    assert modules == {"scipy", "cv2", "skimage", "astropy"}
    assert sum(1 for matlab, *_ in ROWS if matlab) >= 3


def test_links_into_the_repository_exist() -> None:
    text = README.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [target for target in targets if not (ROOT / target).exists()] == []
