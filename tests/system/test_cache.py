"""The cache of machine code on disks that are full, read-only, shared, damaged: at worst one warning."""

import ast
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numbasep.cpu import jit
from numbasep.cuda import compiler
from numbasep.system import storage
from tests.support.processes import ROOT, run_program

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="no machine code without the compiler"
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty cache directory, in use."""
    monkeypatch.setenv("NUMBASEP_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("NUMBASEP_CACHE", raising=False)
    monkeypatch.setattr(storage, "_warned", False)
    jit.cache_directory.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    jit.cache_directory.cache_clear()


def kernels() -> list[Any]:
    """The same two functions every time, as two processes would compile them."""

    def first(x):
        for i in range(x.size):
            x[i] += 1

    def second(x):
        for i in range(x.size):
            x[i] *= 3

    return [jit.serial(first), jit.serial(second)]


def use() -> tuple[list[str], list[int]]:
    """Compile or load the kernels and run them: the warnings, and how often each was loaded."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = kernels()
        for kernel, result in zip(made, ([2.0, 2.0], [3.0, 3.0]), strict=True):
            x = np.ones(2)
            kernel(x)
            assert x.tolist() == result
    return [str(w.message) for w in caught], [sum(k._cache_hits.values()) for k in made]


def files(root: Path) -> list[Path]:
    return sorted((root / "kernels").glob("*/*"))


def test_kernels_are_loaded_by_the_next_process(root: Path) -> None:
    assert use() == ([], [0, 0])
    assert len(files(root)) == 2
    assert use() == ([], [1, 1])
    assert (files(root)[0].parent.stat().st_mode & 0o077) == 0


def test_decoration_touches_no_disk(root: Path) -> None:
    kernels()
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit", "other content", "not readable"])
def test_damaged_files_are_compiled_anew_and_replaced(root: Path, damage: str) -> None:
    use()
    for path in files(root):
        content = path.read_bytes()
        if damage == "not readable":
            path.unlink()
            path.mkdir()
            continue
        middle = len(content) // 2
        path.write_bytes(
            {
                "truncated": content[:middle],
                "empty": b"",
                "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
                "other content": b"import os; os.abort()",
            }[damage]
        )
    messages, loaded = use()
    assert loaded == [0, 0]
    if damage == "not readable":
        assert len(messages) == 1
        return
    assert messages == []
    assert use() == ([], [1, 1])


def test_deleted_while_running(root: Path) -> None:
    use()
    shutil.rmtree(root)
    assert use() == ([], [0, 0])
    assert use() == ([], [1, 1])


def test_full_disk_is_one_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "replace", full)
    messages, _ = use()
    assert len(messages) == 1
    assert "cannot keep its machine code" in messages[0]
    assert files(root) == []  # no draft is left behind
    assert use() == ([], [0, 0])


def test_pickling_that_fails_is_no_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no compiled object yet")

    monkeypatch.setattr(jit._Files, "save", broken)
    messages, _ = use()
    assert len(messages) == 1


def test_read_only_directory_is_still_read(root: Path) -> None:
    use()
    directory = files(root)[0].parent
    files(root)[1].unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            storage.tempfile,
            "mkstemp",
            lambda **_: (_ for _ in ()).throw(OSError(30, "Read-only file system")),
        )
        messages, loaded = use()
    assert sum(loaded) == 1
    assert len(messages) == 1
    assert directory.exists()


def test_unusable_directory_is_one_warning(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("NUMBASEP_CACHE_DIR", str(tmp_path / "file"))
    messages, loaded = use()
    assert len(messages) == 1
    assert "NUMBASEP_CACHE_DIR" in messages[0]
    assert loaded == [0, 0]
    assert use() == ([], [0, 0])


def test_no_home_is_one_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NUMBASEP_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(storage.Path, "home", homeless)
    monkeypatch.setattr(storage.sys, "platform", "linux")
    messages, _ = use()
    assert len(messages) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
@pytest.mark.parametrize("which", ["world-writable", "of another user"])
def test_directories_that_others_control_are_refused(
    root: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machine code is run: it must not come from somebody else."""
    use()
    directory = files(root)[0].parent
    jit.cache_directory.cache_clear()
    if which == "world-writable":
        directory.chmod(0o777)
    else:
        owner = os.geteuid()
        monkeypatch.setattr(storage.os, "geteuid", lambda: owner + 1 if owner else 12345)
        directory.chmod(0o700)
        if owner == 0:  # root's files are trusted by everybody
            os.chown(directory, 54321, -1)
    messages, loaded = use()
    assert len(messages) == 1, messages
    assert loaded == [0, 0]


def test_switched_off(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBASEP_CACHE", "0")
    assert use() == ([], [0, 0])
    assert list(root.iterdir()) == []


# --------------------------------------------------------------------------- whole processes

FIRST_USE = """
import numpy as np, sys
from numbasep.cpu.kernels import magnitude, missing_samples
for number in (np.float32, np.float64):
    x = np.full(5, 9, number)
    magnitude.add_square_serial(x, np.full(5, 4, number), True, False, True)
    assert (x == 5).all(), x
    missing_samples.normalise_serial(x, np.full(5, 2, number), number(1), number(0))
    assert (x == 2.5).all(), x
"""


def test_four_processes_at_first_use(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBASEP_CACHE_DIR": str(tmp_path)}
    environment.pop("NUMBASEP_CACHE", None)
    for _ in range(2):  # compiled by all at once, then loaded by all at once
        running = [
            subprocess.Popen(
                [sys.executable, "-W", "error", "-c", FIRST_USE], env=environment, stderr=subprocess.PIPE
            )
            for _ in range(4)
        ]
        for process in running:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors.decode()
    assert not list(tmp_path.rglob("*.tmp"))
    assert len(files(tmp_path)) == 4


def test_edited_source_is_compiled_anew(tmp_path: Path) -> None:
    """Also when the edit is in a module that the kernel only imports."""
    package = tmp_path / "numbasep"
    shutil.copytree(ROOT / "numbasep", package, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        "PYTHONPATH": str(tmp_path),
        "NUMBASEP_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",  # else that of an edit within the same second is used
    }
    helper = package / "cpu" / "kernels" / "helper.py"
    (package / "cpu" / "kernels" / "user.py").write_text(
        "from ..jit import serial\nfrom .helper import twice\n\n\n@serial\ndef run(x):\n    x[0] = twice(x[0])\n"
    )
    program = (
        "import numpy as np\nfrom numbasep.cpu.kernels.user import run\nx = np.ones(1)\nrun(x)\nprint(x[0])"
    )
    for factor in (2, 2, 3):
        helper.write_text(
            f"from ..jit import inlined\n\n\n@inlined\ndef twice(x):\n    return {factor} * x\n"
        )
        done = run_program(program, **environment)
        assert done.stdout.strip() == str(float(factor)), done.stderr
    assert len(list((tmp_path / "cache" / "kernels").iterdir())) == 2


def imported_modules(path: Path) -> set[Path]:
    """Files of the package that a module imports, wherever in it."""
    package, found = ROOT / "numbasep", set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            stem = (*parents, *(node.module or "").split(".")) if node.module else parents
            names = [stem, *((*stem, alias.name) for alias in node.names)]
        else:
            continue
        for name in names:
            if name[:1] == (package.name,):
                found |= {f for f in (ROOT.joinpath(*name).with_suffix(".py"),) if f.is_file()}
    return found


def imported_by(folders: Sequence[str]) -> set[Path]:
    """The modules in folders of the package, all that they import, and all that these import."""
    needed: set[Path] = set()
    left = {path for folder in folders for path in (ROOT / "numbasep" / folder).glob("*.py")}
    while left:
        path = left.pop()
        needed.add(path)
        left |= imported_modules(path) - needed
    return needed


KEYS = {
    "cpu": (("cpu/kernels", "cpu/intrinsics", "nn/kernels"), jit, "cpu/jit.py", jit.source_key),
    "cuda": (("cuda/kernels", "cuda/intrinsics"), compiler, "cuda/compiler.py", compiler._depends_on),
}
"""Folders of kernels, and the module and function that make the key of their machine code."""


@pytest.mark.parametrize("kind", KEYS)
def test_everything_that_kernels_import_is_part_of_the_key(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each module that a kernel imports, and that such a module imports, changes the key when it is edited."""
    folders, module, name, key_of = KEYS[kind]
    copy = tmp_path / "numbasep"
    shutil.copytree(ROOT / "numbasep", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "__file__", str(copy / name))
    monkeypatch.setattr(compiler, "_nvvm_version", lambda: (1, 0))  # also where it is not installed
    keys = {key_of.__wrapped__()}
    for path in sorted(imported_by(folders)):
        edited = copy / path.relative_to(ROOT / "numbasep")
        edited.write_text(edited.read_text() + "\n# edited\n")
        key = key_of.__wrapped__()
        assert key is not None
        assert key not in keys, f"an edit of {path.name} goes unnoticed"
        keys.add(key)


def test_sources_that_cannot_be_read_mean_no_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "__file__", str(root / "archive.zip" / "numbasep" / "cpu" / "jit.py"))
    jit.source_key.cache_clear()
    try:
        assert jit.source_key() is None
    finally:
        monkeypatch.undo()
        jit.source_key.cache_clear()
    monkeypatch.setattr(jit, "SOURCE_KEY", None)
    assert jit.cache_directory() is None
