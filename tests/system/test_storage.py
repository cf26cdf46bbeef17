"""Where things are kept on machines as they are found: new, locked, full, shared, without a home.

Each state is tried in a process of its own, which counts what it compiles.
"""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from numbasep.calibration import calibrate
from numbasep.planning import machine as machines
from numbasep.plans import measure
from numbasep.system import storage
from tests.support.processes import ROOT, run_program

compiles = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="no machine code without the compiler"
)
needs_users = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX users")

# Two kernels and what is measured, as a call uses them: in this order, the number compiled and every warning.
PROGRAM = """
import warnings
import numpy as np
import numba.core.event as event

compiled = []

class Listener(event.Listener):
    def on_start(self, happened):
        compiled.append(happened.data["dispatcher"].py_func.__qualname__)

    def on_end(self, happened):
        pass

event.register("numba:compile", Listener())
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from numbasep.cpu import jit
    from numbasep.planning import accelerator, machine
    from numbasep.plans import measure

    @jit.serial
    def first(x):
        for i in range(x.size):
            x[i] += 1

    @jit.serial
    def second(x):
        for i in range(x.size):
            x[i] *= 3

    x = np.ones(2)
    first(x)
    second(x)
    assert x.tolist() == [6, 6], x
    machine.current(), accelerator.current(), measure._remember({"a": {"direct": 1.0}}), measure._remembered()
print(len(compiled))
for warning in caught:
    print(" ".join(str(warning.message).split()))
"""


def environment(**changes: str | None) -> dict[str, str]:
    """That of this process without what says where things are kept, but with `changes`."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBASEP_", "XDG_")) and k != "HOME"}
    return {**ours, "PYTHONPATH": str(ROOT), **{k: v for k, v in changes.items() if v is not None}}


def run(prelude: str = "", before: tuple[str, ...] = (), **changes: str | None) -> tuple[int, list[str]]:
    """A process of two kernels: how many it compiled, and its warnings."""
    done = subprocess.run(
        [*before, sys.executable, "-P", "-c", prelude + PROGRAM],
        env=environment(**changes), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    count, *messages = done.stdout.splitlines()
    return int(count), messages


def assert_kept(place: Path, prelude: str = "", **changes: str | None) -> None:
    assert run(prelude, **changes) == (2, [])
    assert run(prelude, **changes) == (0, [])
    assert len(list((place / "kernels").glob("*/*.nbc"))) == 2
    assert len(list(place.glob("wisdom-*.json"))) == 1
    assert not list(place.rglob("*.tmp"))
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def assert_not_kept(prelude: str = "", **changes: str | None) -> str:
    """Calls work, and one warning names the remedy."""
    for _ in range(2):
        count, messages = run(prelude, **changes)
        assert count == 2
        assert len(messages) == 1, messages
        assert "NUMBASEP_CACHE_DIR" in messages[0]
        assert "NUMBASEP_CACHE=0" in messages[0]
    return messages[0]


def after_import(code: str) -> str:
    """Statements for the start of a program: what they fake must not disturb the imports of other packages."""
    return f"import os, sys, pathlib, numpy, numba, scipy, numbasep.system.storage as storage\n{code}\n"


NO_USER = "import pwd\ndef nobody(uid): raise KeyError(uid)\npwd.getpwuid = nobody\n"
SYSTEM = "from types import SimpleNamespace\nstorage.sys = SimpleNamespace(platform={!r})\n"


# --------------------------------------------------------------------------- something can be kept


@compiles
@pytest.mark.parametrize("state", ["empty", "missing"])
def test_a_new_home(tmp_path: Path, state: str) -> None:
    """Also one that is yet to be created, with all that is missing on the way to the cache."""
    home = tmp_path if state == "empty" else tmp_path / "new" / "home"
    assert_kept(home / ".cache" / "numbasep", HOME=str(home))
    assert stat.S_IMODE((home / ".cache").stat().st_mode) == 0o700  # says the XDG specification


@compiles
def test_no_home_variable(tmp_path: Path) -> None:
    """Then the list of users says where home is."""
    found = f"import pwd\npwd.getpwuid = lambda uid: SimpleNamespace(pw_dir={str(tmp_path)!r})\n"
    prelude = after_import("from types import SimpleNamespace\n" + found)
    assert_kept(tmp_path / ".cache" / "numbasep", prelude, HOME=None)


@compiles
@pytest.mark.parametrize("given", ["absolute", "relative", "empty"])
def test_the_cache_folder_of_the_desktop(tmp_path: Path, given: str) -> None:
    """A relative one is to be ignored, says its specification."""
    folder = {"absolute": str(tmp_path / "xdg"), "relative": "xdg", "empty": ""}[given]
    parent = tmp_path / "xdg" if given == "absolute" else tmp_path / "home" / ".cache"
    inside = f"import os\nos.chdir({str(tmp_path)!r})\n"
    assert_kept(parent / "numbasep", inside, HOME=str(tmp_path / "home"), XDG_CACHE_HOME=folder)
    assert given == "absolute" or not (tmp_path / "xdg").exists()


@compiles
def test_home_does_not_matter_where_a_folder_is_named(tmp_path: Path) -> None:
    assert_kept(
        tmp_path / "mine", after_import(NO_USER), HOME=None, NUMBASEP_CACHE_DIR=str(tmp_path / "mine")
    )


@compiles
def test_a_named_folder_stays_where_it_is(tmp_path: Path) -> None:
    """Named relative to where the process is at its first call, which then goes elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    starts, leaves = f"import os\nos.chdir({str(tmp_path)!r})\n", "os.chdir('elsewhere')\n"
    program = starts + PROGRAM.replace("    second(x)", f"    {leaves}    second(x)")
    done = run_program(program, NUMBASEP_CACHE_DIR="cache")
    assert done.stdout == "2\n", done.stderr + done.stdout
    assert len(list((tmp_path / "cache" / "kernels").glob("*/*.nbc"))) == 2


@compiles
@pytest.mark.parametrize("variable", ["LOCALAPPDATA", None])
def test_the_place_on_windows(tmp_path: Path, variable: str | None) -> None:
    local = tmp_path / "AppData" / "Local"
    changes = {variable: str(local)} if variable else {}
    prelude = after_import(
        SYSTEM.format("win32") + "storage.Path.home = lambda: pathlib.Path(os.environ['USERPROFILE'])"
    )
    assert_kept(
        local / "numbasep", prelude, USERPROFILE=str(tmp_path), XDG_CACHE_HOME="/proc/none", **changes
    )


@compiles
def test_the_place_on_macos(tmp_path: Path) -> None:
    prelude = after_import(SYSTEM.format("darwin"))
    place = tmp_path / "Library" / "Caches" / "numbasep"
    assert_kept(place, prelude, HOME=str(tmp_path), XDG_CACHE_HOME="/proc/none")


@compiles
def test_processes_that_create_it_at_once(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    running = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM], env=environment(HOME=str(home)), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    for process in running:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert len(output.splitlines()) == 1, output  # no warning
    assert run(HOME=str(home)) == (0, [])
    assert not list(home.rglob("*.tmp"))


def test_creating_takes_turns_with_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the moment at which the other one was quicker."""
    monkeypatch.setenv(storage.DIRECTORY_VARIABLE, str(tmp_path / "a" / "b" / "c"))
    mkdir = Path.mkdir

    def after_another(self: Path, *arguments: Any, **keywords: Any) -> None:
        if self.parent.exists():
            os.makedirs(self, exist_ok=True)
        mkdir(self, *arguments, **keywords)

    monkeypatch.setattr(storage.Path, "mkdir", after_another)
    assert storage.folder("kernels").is_dir()


# --------------------------------------------------------------------------- nothing can be kept


@compiles
@pytest.mark.parametrize("home", [None, "", "relative"])
def test_no_home_at_all(home: str | None) -> None:
    """A user in no list, as containers have; a home that is no absolute path is none."""
    message = assert_not_kept(after_import(NO_USER + REFUSED_ROOT), HOME=home)
    assert "home directory" in message or "'/.cache" in message


REFUSED_ROOT = """
mkdir = os.mkdir
def refused(path, *arguments, **keywords):
    if str(path).startswith("/.cache"):
        raise PermissionError(13, "Permission denied", str(path))
    return mkdir(path, *arguments, **keywords)
os.mkdir = refused
"""


@compiles
@pytest.mark.parametrize("home", ["/proc/none", "/dev/null", "/proc/self/mem"])
def test_a_home_in_which_nothing_can_be_created(home: str) -> None:
    if not Path("/proc/self/mem").exists():
        pytest.skip("needs /proc")
    message = assert_not_kept(HOME=home)
    assert home in message


READ_ONLY = """
import errno
def read_only(*arguments, **keywords):
    raise OSError({number}, os.strerror({number}), str(arguments[:1]))
{name} = read_only
"""


@compiles
@pytest.mark.parametrize("number", ["errno.EROFS", "errno.EACCES", "errno.EDQUOT"])
def test_a_read_only_home(tmp_path: Path, number: str) -> None:
    """By a fake of os.mkdir, as root may write everywhere."""
    prelude = after_import(READ_ONLY.format(number=number, name="os.mkdir"))
    assert_not_kept(prelude, HOME=str(tmp_path))
    assert not list(tmp_path.iterdir())


@compiles
def test_what_is_kept_on_a_read_only_disk_is_used(tmp_path: Path) -> None:
    assert_kept(tmp_path / ".cache" / "numbasep", HOME=str(tmp_path))
    prelude = after_import(READ_ONLY.format(number="errno.EROFS", name="storage.tempfile.mkstemp"))
    assert run(prelude, HOME=str(tmp_path)) == (0, [])
    next((tmp_path / ".cache" / "numbasep").rglob("*.nbc")).unlink()
    count, messages = run(prelude, HOME=str(tmp_path))
    assert (count, len(messages)) == (1, 1)


def run_without_privileges(home: Path) -> tuple[int, list[str]]:
    """As `run`, in a process to which permissions apply, as they do not to root."""
    if os.geteuid() != 0:
        return run(HOME=str(home))
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may do everything, and there is no setpriv to forbid it")
    before = (setpriv, "--bounding-set=-all", "--inh-caps=-all")
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("setpriv may not give up what root may do")
    return run(before=before, HOME=str(home))


@compiles
@needs_users
@pytest.mark.parametrize("mode", [0o500, 0o000], ids=["read-only", "unreadable"])
def test_homes_with_real_permissions(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    try:
        count, messages = run_without_privileges(home)
    finally:
        home.chmod(0o700)
    assert (count, len(messages)) == (2, 1)
    assert f"Permission denied: '{home}/.cache" in messages[0]
    assert run_without_privileges(home) == (2, [])
    assert run_without_privileges(home) == (0, [])


@compiles
@needs_users
def test_a_home_of_another_user(tmp_path: Path) -> None:
    """Everybody may write there, and it is somebody else's all the same."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    place = tmp_path / "home" / ".cache" / "numbasep"
    place.mkdir(parents=True)
    for path in (place, place.parent, place.parent.parent):
        path.chmod(0o777)
        os.chown(path, 12345, -1)
    count, messages = run_without_privileges(tmp_path / "home")
    assert (count, len(messages)) == (2, 1)
    assert "belongs to user 12345" in messages[0]
    assert not list(place.iterdir())


@compiles
@needs_users
@pytest.mark.parametrize("which", ["numbasep", "numbasep/kernels"])
def test_a_folder_of_another_user(tmp_path: Path, which: str) -> None:
    """By a fake of os.geteuid, so that it is tried whoever runs the tests."""
    assert_kept(tmp_path / ".cache" / "numbasep", HOME=str(tmp_path))
    folder = tmp_path / ".cache" / which
    prelude = after_import(
        "plain = pathlib.Path.stat\n"
        "def stat(self, **keywords):\n"
        "    found = plain(self, **keywords)\n"
        f"    foreign = str(self) == {str(folder)!r}\n"
        "    return os.stat_result((*found[:4], 54321, *found[5:])) if foreign else found\n"
        "pathlib.Path.stat = stat"
    )
    message = assert_not_kept(prelude, HOME=str(tmp_path))
    assert f"{folder} belongs to user 54321" in message


FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
"""


@compiles
@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_a_full_disk(tmp_path: Path) -> None:
    """Folders can be created, files be opened, but nothing be written: by a limit on the size of files."""
    message = assert_not_kept(FULL, HOME=str(tmp_path))
    assert "File too large" in message
    assert str(tmp_path) in message
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert_kept(tmp_path / ".cache" / "numbasep", HOME=str(tmp_path))


@compiles
def test_the_warning_as_an_error_comes_once() -> None:
    """Under ``-W error`` the first call fails and says why; those after it work."""
    program = (
        "import numpy as np\nfrom numbasep.cpu import jit\nx = np.zeros(5)\n"
        "@jit.serial\ndef fill(x):\n    x[0] = 1\n"
        "for attempt in range(3):\n"
        "    try:\n        fill(x)\n"
        "    except RuntimeWarning as warning:\n        print(attempt, warning)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", program], env=environment(HOME="/proc/none"),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, done.stdout
    assert done.stdout.startswith("0 ")


# --------------------------------------------------------------------------- calibration, files


def test_errors_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv(storage.DIRECTORY_VARIABLE, str(tmp_path))
    monkeypatch.setattr(storage.os, "replace", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        machines.save(machines.REFERENCE)
    assert Path(caught.value.filename).parent == tmp_path
    assert not list(tmp_path.iterdir())  # no draft is left behind


def test_without_a_home_calibrations_cannot_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for variable in (storage.DIRECTORY_VARIABLE, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(storage.Path, "home", homeless)
    monkeypatch.setattr(measure, "_known", None)
    monkeypatch.setattr(calibrate, "_measure", lambda _: pytest.fail("measured for nothing"))
    for save in (calibrate.calibrate, lambda: machines.save(machines.REFERENCE)):
        with pytest.raises(FileNotFoundError, match="no home directory"):
            save()
    assert machines.load(2) is None
    assert measure._remembered() == {}
    measure.forget_wisdom()


@pytest.mark.parametrize("attempts", [1, 3])
def test_windows_replaces_what_others_have_open_a_little_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    replace, calls = os.replace, []

    def busy(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) <= attempts:
            raise PermissionError(13, "The process cannot access the file")
        replace(*arguments)

    monkeypatch.setattr(storage.os, "replace", busy)
    monkeypatch.setattr(storage, "PAUSES", (0.0,) * 4)
    monkeypatch.setattr(storage, "sys", SimpleNamespace(platform="win32"))
    storage.write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert len(calls) == attempts + 1
    assert len(list(tmp_path.iterdir())) == 1


@compiles
def test_machine_code_that_another_process_has_open_is_as_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numbasep.cpu import jit

    def busy(*_: Any) -> None:
        raise PermissionError(13, "The process cannot access the file")

    monkeypatch.setattr(jit, "cache_directory", lambda: tmp_path)
    files = jit._Files()
    files.save("key", np.arange(3))
    monkeypatch.setattr(storage.os, "replace", busy)
    files.save("key", np.arange(3))
    with pytest.raises(PermissionError):
        files.save("another", 1)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"damaged")
    with pytest.raises(PermissionError):
        files.save("key", np.arange(3))


# --------------------------------------------------------------------------- whose calibration


ARM = "processor\t: {}\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: {}\n\n"


def test_processors_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or one would use the calibration of another."""
    assert machines.model_in("processor : 0\nmodel name : A\n\nprocessor : 1\nmodel name : A\n") == "A"
    neoverse, mixed = ARM.format(0, "0xd0c"), ARM.format(0, "0xd05") + ARM.format(1, "0xd0a")
    names = {machines.model_in(text) for text in (neoverse, mixed, ARM.format(0, "0xd40"), "cpu : POWER9")}
    assert len(names) == 4
    assert machines.model_in(neoverse + neoverse) == machines.model_in(neoverse)
    assert machines.model_in("") == ""

    asked: list[Any] = []

    def sysctl(command: list[str], **_: Any) -> Any:
        asked.append(command)
        return SimpleNamespace(stdout="Apple M3 Pro\n")

    monkeypatch.setattr(machines, "model_in", lambda _: "")
    monkeypatch.setattr(machines.subprocess, "run", sysctl)
    monkeypatch.setattr(machines, "sys", SimpleNamespace(platform="darwin"))
    assert machines.cpu_name.__wrapped__() == "Apple M3 Pro"
    assert asked == [["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]]
    monkeypatch.undo()
    assert machines.cpu_name.__wrapped__()
