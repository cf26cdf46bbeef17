"""Every benchmark body runs once, at small sizes; the comparison and its tables too."""

import functools
import importlib
import inspect
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llvmlite import binding

from benchmarks import bench_planner, calls, common, inner_loops, libraries, peers, plots, tables

FOLDER = Path(common.__file__).parent
PREFIXES = ("time_", "track_", "peakmem_")


def parameters(cls: type) -> list[tuple[Any, ...]]:
    """The combinations of a class, as asv forms them."""
    params = getattr(cls, "params", None)
    if params is None:
        return [()]
    columns = params if isinstance(params[0], list | tuple) else [params]
    return list(itertools.product(*columns))


def bodies() -> list[Any]:
    """Every body with its first and its last parameters."""
    found = []
    for path in sorted(FOLDER.glob("bench_*.py")):
        module = importlib.import_module(f"benchmarks.{path.stem}")
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if cls.__module__ != module.__name__:
                continue
            methods = [method for method in dir(cls) if method.startswith(PREFIXES)]
            combinations = parameters(cls)
            chosen = list(dict.fromkeys((combinations[0], combinations[-1])))
            for method, values in itertools.product(methods, chosen):
                label = "-".join([path.stem.removeprefix("bench_"), name, method, *map(str, values)])
                found.append(pytest.param(cls, method, values, id=label.replace(" ", "_")))
    return found


@functools.cache
def cached(cls: type) -> tuple[Any, ...]:
    """What asv hands to every body of a class before the parameters."""
    return (cls().setup_cache(),) if hasattr(cls, "setup_cache") else ()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "SIDE", 96)
    monkeypatch.setattr(common, "CUBE", 24)
    monkeypatch.setattr(bench_planner.Zoo, "KERNELS", 3)


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "method", "values"), bodies())
def test_body_runs(cls: type, method: str, values: tuple[Any, ...]) -> None:
    if hasattr(cls, "params"):
        names = cls.param_names  # type: ignore[attr-defined]
        assert len(names) == len(values), "every parameter has a name"
    benchmark = cls()
    try:
        arguments = (*cached(cls), *values)
        if hasattr(benchmark, "setup"):
            benchmark.setup(*arguments)
        value = getattr(benchmark, method)(*arguments)
    except NotImplementedError:
        pytest.skip("a combination that asv skips too")
    finally:
        if hasattr(benchmark, "teardown"):
            benchmark.teardown()
    if method.startswith("track_"):
        assert np.isfinite(value)
        assert value > 0
        assert getattr(cls, method).unit


def test_there_is_a_benchmark_for_every_subject() -> None:
    subjects = {path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py")}
    expected = "separable dense terms volumes layouts shapes small nn planner start memory filters"
    assert set(expected.split()) <= subjects


# ------------------------------------------------------------------------------------------ comparison
@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return peers.run(side=200, cube=24, repeat=1, groups=["float32", "uint8"])


def test_all_libraries_compute_the_same(measured: dict[str, Any]) -> None:
    for record in measured["records"]:
        assert record["milliseconds"] > 0
        levels = 1.01 if record["call"].startswith("numbasep") else 3  # some round after each pass
        allowed = levels / 255 if "uint8" in record["group"] else 2e-6
        assert record["difference"] <= allowed, record
    calls = {record["call"].partition(" ")[0] for record in measured["records"]}
    assert {"numbasep", "scipy.ndimage,"} <= calls


def test_results_are_complete_and_written(measured: dict[str, Any], tmp_path: Path) -> None:
    peers.write(tmp_path, measured)
    stored = json.loads((tmp_path / "peers.json").read_text(encoding="utf-8"))
    assert stored == measured
    assert stored["machine"]["cpu"]
    assert stored["versions"]["numpy"] == np.__version__
    report = (tmp_path / "peers.md").read_text(encoding="utf-8")
    for group in ("separable float32", "dense float32", "volume float32", "separable uint8"):
        assert group in report
    for name in ("peers.png", "speedup.png", "roofline.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_every_group_has_the_copy_as_its_floor(measured: dict[str, Any]) -> None:
    floors = {(r["group"], r["threads"]) for r in measured["records"] if r["call"] == tables.COPY}
    assert floors == set(tables.groups(measured))


def test_runs_of_some_groups_are_merged(measured: dict[str, Any]) -> None:
    again = [
        {**r, "milliseconds": -1.0}
        for r in measured["records"]
        if r["group"] == "dense float32" and r["taps"] < 9
    ]
    both = peers.merged(measured, {**measured, "records": again})
    assert len(both["records"]) == len(measured["records"])
    assert [r for r in both["records"] if r["milliseconds"] == -1.0] == again
    with pytest.raises(ValueError, match="another side"):
        peers.merged(measured, {**measured, "side": 7})


def test_the_regret_is_drawn(tmp_path: Path) -> None:
    records = [{"shape": [64, 64], "regret": 1.0}, {"shape": [64, 64], "regret": 1.3}]
    plots.write_regret({"machine": "this", "records": records}, tmp_path)
    assert (tmp_path / "regret.png").read_bytes().startswith(b"\x89PNG")


def test_the_summary_compares_with_each_library() -> None:
    figures = [(3, "numbasep (fft)", 2.0), (3, "cv2.sepFilter2D", 4.0), (5, "numbasep (separable)", 1.0),
               (5, "cv2.sepFilter2D", 8.0), (5, "scipy.ndimage, 1-D passes", 30.0), (5, "copy", 0.1)]  # fmt: skip
    records = [
        {"group": "separable float32", "threads": 2, "taps": taps, "call": call, "milliseconds": milliseconds}
        for taps, call, milliseconds in figures
    ]
    lines = tables.summary_table({"records": records}).splitlines()
    assert lines[0] == "| times faster than | OpenCV | SciPy |"
    assert lines[2] == "| separable float32, 3 to 5 taps | 4 (least 2) | 30 (least 30) |"


def test_one_wrong_result_would_be_seen() -> None:
    array = common.image(64, 64)
    task = libraries.Task("separable float32", array, common.gaussian(5), common.gaussian_taps(5))
    (result,) = (call() for call in libraries.numbasep_calls(task, None).values())
    assert peers.difference(result, task) < 1e-6
    result[20, 30] += 0.01
    assert peers.difference(result, task) > 5e-3


def test_the_least_advantage_is_against_the_fastest_other() -> None:
    rows = [("numbasep (separable)", 2.0), ("cv2.sepFilter2D", 5.0), ("scipy.ndimage, 1-D passes", 100.0)]
    records = [{"call": call, "milliseconds": time} for call, time in rows]
    assert tables.advantage(records) == 2.5
    assert tables.advantage(records[1:]) is None


def test_sections_are_replaced_between_their_markers() -> None:
    text = "before\n<!-- peers:begin -->\nold\n<!-- peers:end -->\nafter\n"
    replaced = tables.replace_section(text, "peers", "new \\1")
    assert replaced == "before\n<!-- peers:begin -->\nnew \\1\n<!-- peers:end -->\nafter\n"
    with pytest.raises(ValueError, match="found 0"):
        tables.replace_section(text, "plan", "new")


def test_the_readme_has_the_sections(measured: dict[str, Any], tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text(tables.README.read_text(encoding="utf-8"), encoding="utf-8")
    tables.update_readme(measured, copy)
    text = copy.read_text(encoding="utf-8")
    assert measured["machine"]["cpu"] in text
    assert "| taps |" in text


def test_the_readme_shows_what_is_stored() -> None:
    text = tables.README.read_text(encoding="utf-8")
    kept = peers.stored(peers.RESULTS)
    shown = tables.replace_section(
        text, "summary", tables.summary_section(kept, peers.stored_for_targets(peers.RESULTS))
    )
    shown = tables.replace_section(shown, "peers", tables.peers_section(kept))
    assert shown == text, "python -m benchmarks.peers --readme"


@pytest.mark.parametrize("section", ["memory layouts", "single", "along one axis", "what a call costs"])
def test_sections_of_calls(section: str, tmp_path: Path) -> None:
    written = tmp_path / "calls.md"
    calls.main(["--side", "64", "--cube", "16", "--repeat", "1", "--only", section, "--write", str(written)])
    text = written.read_text(encoding="utf-8")
    assert "python -m benchmarks.calls" in text
    assert ("| --- |" in text) == (section != "single"), "no section is called that"


@pytest.mark.slow
@pytest.mark.skipif(
    not binding.get_default_triple().startswith("x86_64"), reason="compiles for x86-64 processors"
)
@pytest.mark.parametrize("name", ["haswell", "apple-a12"])
def test_the_loops_over_taps_are_found(name: str) -> None:
    """One turn of each pass: as many multiply-adds as sums of a block, or a multiple where LLVM unrolls."""
    (processor,) = (one for one in inner_loops.PROCESSORS if one.name == name)
    for which in inner_loops.PASSES:
        sums = 16 if processor.arm else {"vertical": 12, "horizontal": 8}[which]
        blocks = inner_loops.loops(inner_loops.assembly(processor, which))
        count = max(map(inner_loops.multiply_adds, blocks))
        assert count >= sums
        assert count % sums == 0
