"""Layers: what each module may import, by its source; and what ``import numbasep`` loads, by doing it."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import numbasep

PACKAGE = Path(numbasep.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# Lowest first. A module imports from lower layers and its own. A name is a folder or module of numbasep; the longest
# that fits a module counts.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("system", "arguments", "_version"),
    ("lowering.target",),
    ("cpu.intrinsics", "cuda.intrinsics"),
    ("cpu.compiler", "cpu.jit"),
    ("cpu.kernels", "cuda.kernels"),
    ("nn.kernels",),
    ("lowering",),
    ("factor",),
    ("planning",),
    ("cpu", "cuda"),
    ("execution",),
    ("calibration", "plans"),
    ("nn",),
    ("api",),
    ("adapters", "files"),
    ("cli", "demo", "__main__"),
)

NAMES = {name for names in LAYERS for name in names}
KERNELS = {name for layer in LAYERS[2:6] for name in layer}

# The pure part: what is planned, and how, is testable without a compiler, an array library or a device.
# `lowering.target` asks LLVM about the processor, where there is LLVM.
PURE = {"arguments", "lowering", "factor", "planning"}
NOT_IN_PURE = {"numba", "llvmlite", "scipy", "dask", "xarray", "skimage", "matplotlib", "cupy", "cv2"}
OPTIONAL = {
    "dask",
    "xarray",
    "skimage",
    "matplotlib",
    "cupy",
    "cv2",
    "PIL",
    "torch",
    "distributed",
    "zarr",
    "tifffile",
}


def component(path: Path) -> str:
    """The module or package of numbasep that a file belongs to; "" is ``numbasep/__init__.py``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else layered(parts)


def layered(parts: Sequence[str]) -> str:
    """The name in LAYERS of a module of numbasep, given as the parts of its dotted name."""
    prefixes = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((prefix for prefix in prefixes if prefix in NAMES), parts[0])


def absolute(node: ast.ImportFrom, path: Path) -> list[str]:
    """Dotted names that an ``import from`` may bring in."""
    if node.level == 0:
        return [f"{node.module}.{alias.name}" for alias in node.names] if node.module else []
    package = ("numbasep", *path.relative_to(PACKAGE).parent.parts)
    base = package[: len(package) - node.level + 1]
    stem = ".".join((*base, node.module) if node.module else base)
    return [f"{stem}.{alias.name}" for alias in node.names]


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield (dotted name, whether inside a function) for every import, those for types included."""

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield from ((name, inside) for name in absolute(child, path))
            else:
                yield from visit(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    return visit(ast.parse(path.read_text(encoding="utf-8")), False)


def layer_of(name: str) -> int | None:
    return next((rank for rank, names in enumerate(LAYERS) if name in names), None)


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


@pytest.mark.parametrize("path", [m for m in MODULES if component(m)], ids=named)
def test_every_module_belongs_to_a_layer(path: Path) -> None:
    assert layer_of(component(path)) is not None, f"{named(path)} belongs to no layer: add it to LAYERS"


@pytest.mark.parametrize("path", [m for m in MODULES if component(m)], ids=named)
def test_no_module_imports_from_a_higher_layer(path: Path) -> None:
    own = component(path)
    rank = layer_of(own)
    assert rank is not None
    for name, _ in imports(path):
        parts = name.split(".")
        if parts[0] != "numbasep" or len(parts) < 2:
            continue
        other = layer_of(layered(parts[1:]))
        if (
            other is None
        ):  # a public name, as in `import numbasep; numbasep.convolve`: only the top layer does that
            assert rank == len(LAYERS) - 1 or parts[1].startswith("__"), f"{named(path)} imports {name}"
        else:
            assert other <= rank, f"{named(path)} imports {name} of a higher layer"


@pytest.mark.parametrize("path", [m for m in MODULES if component(m) in PURE], ids=named)
def test_the_planning_part_is_pure(path: Path) -> None:
    foreign = {name.split(".")[0] for name, _ in imports(path)} & NOT_IN_PURE
    assert not foreign, f"{named(path)} imports {foreign}"


@pytest.mark.parametrize("path", [m for m in MODULES if component(m) in KERNELS], ids=named)
def test_kernels_know_nothing_above_them(path: Path) -> None:
    used = {layered(name.split(".")[1:]) for name, _ in imports(path) if name.startswith("numbasep.")}
    assert used <= {"system", "arguments", "lowering.target", *KERNELS}


def test_folders_import_one_way() -> None:
    """The folders of the package, each as one: none imports another that imports it, directly or by way of others."""
    used: dict[str, set[str]] = {}
    for path in MODULES:
        folder = path.relative_to(PACKAGE).parts[0]
        names = [name.split(".") for name, _ in imports(path) if name.startswith("numbasep.")]
        used.setdefault(folder, set()).update(parts[1] for parts in names if parts[1] != folder)
    folders = {folder for folder in used if not folder.endswith(".py")}
    while folders:
        free = {folder for folder in folders if not used[folder] & folders}
        assert free, f"folders in a circle: {sorted(folders)}"
        folders -= free


def test_the_package_root_holds_entry_points_only() -> None:
    assert {path.stem for path in MODULES if path.parent == PACKAGE} == {"__init__", "__main__", "_version"}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_optional_packages_are_imported_where_they_are_used(path: Path) -> None:
    if component(path) == "demo" or path.parent.name == "adapters":
        pytest.skip("optional as a whole: imported when it is first needed")
    outside = {name.split(".")[0] for name, inside in imports(path) if not inside} & OPTIONAL
    assert not outside, f"{named(path)} imports {outside} at import"


def test_no_modules_import_each_other() -> None:
    """Take away modules that import none of those that are left, as long as there are such: none may stay."""
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in MODULES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}

    def module(name: str) -> str:
        while name not in names and name:
            name = name.rpartition(".")[0]
        return name

    left = {}
    for own, path in names.items():
        used = {module(name) for name, _ in imports(path)}
        left[own] = {other for other in used if other and other != own and not own.startswith(other + ".")}
    while left:
        free = {own for own, used in left.items() if not used & set(left)}
        assert free, f"imports in a circle: {sorted(left)}"
        left = {own: used for own, used in left.items() if own not in free}


def in_new_process(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_no_optional_package_and_no_device() -> None:
    unwanted = sorted(OPTIONAL | {"numba.cuda", "numba_cuda"})
    script = f"import sys, numbasep; print([name for name in {unwanted} if name in sys.modules])"
    assert in_new_process(script) == "[]"


def test_first_use_of_a_function_loads_no_optional_package() -> None:
    unwanted = sorted(OPTIONAL)
    script = f"import sys, numbasep; numbasep.convolve; print([n for n in {unwanted} if n in sys.modules])"
    assert in_new_process(script) == "[]"


def test_planning_works_with_the_compiler_blocked() -> None:
    script = (
        "import sys\n"
        "for name in ('numba', 'llvmlite', 'scipy'): sys.modules[name] = None\n"
        "import numbasep.planning.planner, numbasep.planning.routes, numbasep.factor, numbasep.planning.machine\n"
        "print('planned')"
    )
    assert in_new_process(script) == "planned"


def test_import_compiles_nothing(tmp_path: Path) -> None:
    script = (
        f"import os; os.environ['NUMBASEP_CACHE_DIR'] = {str(tmp_path)!r}\n"
        "import numba, numba.core.compiler as compiler\n"
        "compiled = []\n"
        "before = compiler.compile_extra\n"
        "compiler.compile_extra = lambda *a, **k: (compiled.append(a), before(*a, **k))[1]\n"
        "import numbasep\n"
        "numbasep.convolve, numbasep.plan\n"
        "print(len(compiled))\n"
        "numba.njit(lambda x: x)(1)\n"
        "print(len(compiled))"  # the counter counts
    )
    assert in_new_process(script).split() == ["0", "1"]


def test_the_public_names_are_there() -> None:
    for name in numbasep.__all__:
        assert getattr(numbasep, name) is not None, name
    assert set(numbasep.__all__) <= set(dir(numbasep))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = numbasep.no_such_name
