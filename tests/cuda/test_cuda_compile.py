"""Every kernel class as machine code, without a GPU: registers within their budget, nothing in local memory.

Needs numba-cuda and NVIDIA's compiler libraries (``pip install "numbasep[cuda]"``), no device and no driver.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from numbasep.cuda import compiler
from numbasep.cuda.intrinsics.vocabulary import SIMULATED, ElementType
from numbasep.cuda.kernels.columns import ColumnsVariant
from numbasep.cuda.kernels.depthwise import DepthwiseVariant, ProductVariant
from numbasep.cuda.kernels.elementwise import ElementwiseVariant
from numbasep.cuda.kernels.plane import PlaneVariant
from numbasep.cuda.kernels.rows import LinesVariant
from numbasep.planning.cuda_limits import TAP_CLASSES

MISSING = "the simulator compiles nothing" if SIMULATED else compiler.missing()
pytestmark = [pytest.mark.cuda_compile, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

CAPABILITIES = ((8, 0), (9, 0))
FORBIDDEN = (*compiler.REPORT, "-Werror")  # a spill, or local memory, is an error


def plane(taps: int, terms: int = 1, code: str = "f4", compute: str = "f4", **fields: Any) -> PlaneVariant:
    storage = ElementType(code)
    settings: dict[str, Any] = {"along": True, "down": True, "step": 1, "ring": storage, "result": storage}
    settings |= fields
    return PlaneVariant(taps=taps, terms=terms, storage=storage, compute=compute, **settings)


# Registers of a thread, by the number of taps: (one term, three terms with repair). What a class may use decides how
# many warps a multiprocessor holds: 65536 registers.
BUDGET = {
    3: (72, 96), 5: (80, 128), 7: (96, 128), 9: (96, 128), 11: (128, 168), 13: (128, 168), 15: (168, 168),
    17: (168, 168), 19: (168, 255), 21: (168, 255), 23: (184, 255), 25: (184, 255), 27: (216, 255), 29: (216, 255),
    31: (216, 255), 33: (216, 255),
}  # fmt: skip
OTHERS = {
    "masked, 9 taps": (plane(9, masked=True), 128),
    "masked, 33 taps, 3 terms": (plane(33, 3, masked=True, repaired=True), 255),
    "uint8, 9 taps": (plane(9, code="u1"), 232),
    "uint8 saturating, 17 taps": (plane(17, code="u1", result=ElementType("u1", saturate=True)), 216),
    "uint16, 9 taps": (plane(9, code="u2"), 152),
    "float16, 9 taps": (plane(9, code="f2"), 152),
    "uint8 to float32, cval 0.5": (
        plane(9, code="u1", ring=ElementType("f4"), result=ElementType("f4")),
        128,
    ),
    "float64, 9 taps": (plane(9, code="f8", compute="f8"), 168),
    "float64, 33 taps, 3 terms": (plane(33, 3, "f8", "f8", repaired=True), 255),
    "int32, 5 taps": (plane(5, code="i4", compute="f8"), 128),
    "along rows, 17 taps": (plane(17, down=False), 128),
    "down columns, 17 taps": (plane(17, along=False), 168),
    "RGB, 9 taps": (plane(9, step=3), 128),
    "RGBA, uint8, 33 taps": (plane(33, step=4, code="u1"), 168),
    "columns": (ColumnsVariant(ElementType("f4"), ElementType("f4"), "f4", False, False), 128),
    "columns, constant boundary": (
        ColumnsVariant(ElementType("f4"), ElementType("f4"), "f4", True, True),
        255,
    ),
    "columns, uint8, shifted": (ColumnsVariant(ElementType("u1"), ElementType("u1"), "f4", True, False), 128),
    "columns, float64": (ColumnsVariant(ElementType("f8"), ElementType("f8"), "f8", True, True), 255),
    "lines": (LinesVariant(ElementType("f4"), ElementType("f4"), "f4"), 128),
    "lines, uint16": (LinesVariant(ElementType("u2"), ElementType("u2"), "f4"), 128),
    "depthwise, channels last": (DepthwiseVariant(ElementType("f4"), ElementType("f4"), "f4", True), 64),
    "depthwise, channels first, float16": (
        DepthwiseVariant(ElementType("f2"), ElementType("f4"), "f4", False),
        64,
    ),
    "depthwise, float64": (DepthwiseVariant(ElementType("f8"), ElementType("f8"), "f8", True), 64),
    "product": (ProductVariant(ElementType("f4"), ElementType("f4"), ElementType("f4"), "f4"), 128),
    "product, float64": (ProductVariant(ElementType("f8"), ElementType("f8"), ElementType("f8"), "f8"), 128),
    "magnitude": (ElementwiseVariant("add", *(ElementType("f4"),) * 3, "f4", ("square", "add", "root")), 64),
    "missing samples, float64": (
        ElementwiseVariant(
            "split", ElementType("f8"), ElementType("b1"), ElementType("f8"), "f8", ("omit", "masked")
        ),
        64,
    ),
    "normalise": (ElementwiseVariant("normalise", *(ElementType("f4"),) * 3, "f4"), 64),
    "convert to float16": (
        ElementwiseVariant("convert", ElementType("f4"), ElementType("f4"), ElementType("f2"), "f4"),
        64,
    ),
    "lines, float64": (LinesVariant(ElementType("f8"), ElementType("f8"), "f8"), 160),
}


def cases() -> list[Any]:
    found = []
    for taps, (one, three) in BUDGET.items():
        marks = () if taps in (3, 5, 9, 17, 25, 33) else (pytest.mark.slow,)
        found.append(pytest.param(plane(taps), one, id=f"{taps} taps", marks=marks))
        found.append(
            pytest.param(plane(taps, 3, repaired=True), three, id=f"{taps} taps, 3 terms", marks=marks)
        )
    for name, (variant, budget) in OTHERS.items():
        found.append(pytest.param(variant, budget, id=name))
    return found


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: "sm_{}{}".format(*c))
@pytest.mark.parametrize(("variant", "budget"), cases())
def test_registers_and_local_memory(variant: Any, budget: int, capability: tuple[int, int]) -> None:
    ptx = compiler.to_ptx(variant, capability)
    _, log = compiler.assemble(ptx, capability, FORBIDDEN)
    used = compiler.resources(log)
    assert (used.stack, used.spills) == (0, 0), log
    assert 0 < used.registers <= budget, log
    assert sum(map(int, re.findall(r"\.shared .*\[(\d+)\]", ptx))) <= 48 << 10
    threads, blocks = variant.launch_bounds
    assert used.registers * threads * blocks <= 65536


LATER = [(10, 0), (12, 0)]
FAMILIES = [
    "uint8, 9 taps",
    "masked, 33 taps, 3 terms",
    "columns, float64",
    "lines",
    "depthwise, float64",
    "product",
    "magnitude",
]


@pytest.mark.parametrize("capability", LATER, ids=lambda c: "sm_{}{}".format(*c))
@pytest.mark.parametrize("name", FAMILIES)
def test_later_devices(name: str, capability: tuple[int, int]) -> None:
    """One of each family for Blackwell, whose compiler is another one: the same budgets, no local memory."""
    if capability not in compiler.architectures():
        pytest.skip("the compiler does not know it")
    variant, budget = OTHERS[name]
    _, log = compiler.assemble(compiler.to_ptx(variant, capability), capability, FORBIDDEN)
    used = compiler.resources(log)
    assert (used.stack, used.spills) == (0, 0), log
    assert 0 < used.registers <= budget, log


@pytest.mark.parametrize("capability", [*CAPABILITIES, LATER[0]], ids=lambda c: "sm_{}{}".format(*c))
@pytest.mark.parametrize("name", FAMILIES)
def test_ptx_is_of_the_version_that_it_says(name: str, capability: tuple[int, int]) -> None:
    """Drivers for CUDA 12 compile it: ptxas refuses what is newer than the version in the first line."""
    program = compiler.find_tool("ptxas")
    if program is None or capability not in compiler.architectures():
        pytest.skip("ptxas is not installed, or does not know the device")
    ptx = compiler.portable_ptx(compiler.to_ptx(OTHERS[name][0], capability), capability)
    assert f".version {'8.6' if capability > (9, 0) else '8.0'}\n" in ptx
    image, log = compiler._by_ptxas(program, ptx, "sm_{}{}".format(*capability), ())
    assert image is not None, log


def test_devices_that_the_compiler_does_not_know() -> None:
    latest = compiler.architectures()[-1]
    assert compiler.target_of((9, 0)) == (9, 0)
    assert compiler.target_of((latest[0], latest[1] + 1)) == latest
    assert compiler.target_of((latest[0] + 7, 0)) == latest


def test_kernels_take_arrays_as_well_as_pointers() -> None:
    """A user of Numba launches them with arrays, which `cuda.jit` types as such."""
    from numba import cuda

    from numbasep.cuda.kernels import plane as cuda_plane

    variant = plane(5)
    signature = [
        cuda.types.Array(t.dtype, 1, "C") if isinstance(t, cuda.types.CPointer) else t
        for t in cuda_plane.plane_signature(variant)
    ]
    kernel = cuda_plane.plane_kernel(variant)
    ptx, _ = cuda.compile(
        kernel.py_func, tuple(signature), cc=(9, 0), device=False, abi="numba", output="ptx"
    )
    assert "cp.async.cg.shared.global" in ptx


def test_every_class_has_a_budget() -> None:
    assert tuple(BUDGET) == TAP_CLASSES


def test_nvjitlink_is_another_assembler(monkeypatch: pytest.MonkeyPatch) -> None:
    """What numba-cuda brings is enough: no program of the toolkit is needed."""
    monkeypatch.setattr(compiler, "find_tool", lambda _name: None)
    variant = plane(9)
    image, log = compiler.assemble(compiler.to_ptx(variant, (9, 0)), (9, 0), FORBIDDEN)
    assert image.startswith(b"\x7fELF")
    assert 0 < compiler.resources(log).registers <= BUDGET[9][0]


@pytest.fixture(scope="module")
def disassembled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    program = compiler.find_tool("nvdisasm")
    if program is None:
        pytest.skip("nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")

    def disassemble(variant: Any) -> str:
        image, _ = compiler.assemble(compiler.to_ptx(variant, (9, 0)), (9, 0))
        path = tmp_path_factory.mktemp("sass") / "kernel.cubin"
        path.write_bytes(image)
        done = subprocess.run([program, "-c", str(path)], capture_output=True, text=True, check=True)
        return done.stdout

    return disassemble


@pytest.mark.parametrize(("taps", "terms"), [(9, 1), (9, 3), (17, 1)])
def test_machine_code_of_a_plane(disassembled: Any, taps: int, terms: int) -> None:
    """Copies, loads and stores of sixteen bytes; and not one multiply-add more than the filter has."""
    variant = plane(taps, terms)
    code = disassembled(variant)
    assert "LDGSTS.E.BYPASS.128" in code
    assert "LDS.128" in code
    assert "STG.E.128" in code
    assert not re.search(r"\b(LDL|STL)\b", code)
    products = len(re.findall(r"\b(?:FFMA|FMUL)\b", code))
    loops = 3  # over rows inside that are aligned, that are not, and all others
    assert products == loops * 2 * taps * terms * variant.width


def test_machine_code_is_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBASEP_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("NUMBASEP_CACHE", raising=False)
    variant = plane(3)
    made = compiler.compiled(variant, (9, 0))
    (kept,) = (tmp_path / "cuda").iterdir()
    monkeypatch.setattr(compiler, "to_ptx", lambda *_: pytest.fail("compiled again"))
    assert compiler.compiled(variant, (9, 0)) == made
    assert compiler.cached_path(plane(5), (9, 0)) != kept
    assert compiler.cached_path(variant, (8, 0)) != kept
    kept.write_bytes(b"cut short")
    monkeypatch.undo()
    monkeypatch.setenv("NUMBASEP_CACHE_DIR", str(tmp_path))
    assert compiler.compiled(variant, (9, 0)).image.startswith(b"\x7fELF")
