"""Machine instructions of the plane kernel, without a GPU: a budget for one row of a warp, and what is counted."""

import re

import pytest

from benchmarks import sass
from benchmarks.gpu_instructions import CASES, Case, figures
from numbasep.cuda import compiler
from numbasep.cuda.intrinsics.vocabulary import SIMULATED

MISSING = "the simulator compiles nothing" if SIMULATED else compiler.missing()
if MISSING is None and compiler.find_tool("nvdisasm") is None:
    MISSING = "nvdisasm is not installed: pip install nvidia-cuda-nvdisasm"
compiled = [pytest.mark.cuda_compile, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

CAPABILITIES = ((8, 0), (9, 0))
# Instructions of a row of a warp, which is as many columns as the variant says.
BUDGET = {
    "float32, 3 taps": 60, "float32, 5 taps": 78, "float32, 9 taps": 110, "float32, 13 taps": 144,
    "float32, 17 taps": 180, "float32, 33 taps": 330, "float32, 9 taps, ragged": 135,
    "uint8, 9 taps": 410, "uint8, 9 taps, ragged": 470, "uint16, 9 taps": 235, "uint16, 9 taps, ragged": 300,
    "float64, 9 taps": 72, "float64, 9 taps, ragged": 92,
    "volume, 9 taps: two axes": 110, "volume, 9 taps: third axis": 72,
}  # fmt: skip
_found: dict[tuple[str, tuple[int, int]], dict[str, float]] = {}


def found(case: Case, capability: tuple[int, int]) -> dict[str, float]:
    """Figures, from one compilation for the whole module."""
    key = (case.name, capability)
    if key not in _found:
        _found[key] = figures(case, capability)
    return _found[key]


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: "sm_{}{}".format(*c))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestBudget:
    pytestmark = compiled

    def test_instructions_of_a_row(self, case: Case, capability: tuple[int, int]) -> None:
        counted = found(case, capability)
        assert counted["products"] < counted["instructions"] <= BUDGET[case.name]
        assert counted["spills"] == 0


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: "sm_{}{}".format(*c))
class TestRatios:
    pytestmark = compiled

    @pytest.mark.parametrize(
        "name", ["float32, 9 taps", "uint8, 9 taps", "uint16, 9 taps", "float64, 9 taps"]
    )
    def test_ragged_rows_cost_little_more(self, name: str, capability: tuple[int, int]) -> None:
        aligned, ragged = (found(named(n), capability)["instructions"] for n in (name, f"{name}, ragged"))
        assert ragged <= 1.3 * aligned

    @pytest.mark.parametrize("name", ["uint8, 9 taps", "uint16, 9 taps"])
    def test_samples_of_small_types_cost_as_much_as_floats(
        self, name: str, capability: tuple[int, int]
    ) -> None:
        """A byte of uint8 is a sample, with all its multiply-adds: equal bytes cannot cost the same."""
        small, single = found(named(name), capability), found(named("float32, 9 taps"), capability)
        per_column = small["instructions"] / small["columns"]
        assert per_column <= 1.15 * single["instructions"] / single["columns"]


def test_every_case_has_a_budget() -> None:
    assert set(BUDGET) == {case.name for case in CASES}


# ------------------------------------------------------------------------------ the count itself

LOOP = """
.text.kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   ISETP.GE.AND P0, PT, R0, R2, PT ;
        /*0020*/               @P0 BRA `(.L_x_1) ;
        /*0030*/                   LDGSTS.E.BYPASS.128 [R1], desc[UR4][R2.64] ;
        /*0040*/                   BRA `(.L_x_2) ;
.L_x_1:
        /*0050*/                   LDG.E R4, desc[UR4][R2.64] ;
.L_x_2:
        /*0060*/                   FMUL R4, R4, R5 ;
        /*0070*/                   FFMA R4, R4, R5, R4 ;
        /*0080*/              @!P1 STG.E.128 desc[UR4][R2.64], R4 ;
        /*0090*/              @!P2 BRA `(.L_x_0) ;
        /*00a0*/                   EXIT ;
"""
ROW = sass.Row(2, (r"LDGSTS\S*\.128", 1), (r"STG", 1))


def test_the_round_takes_the_branch_that_copies() -> None:
    counted = sass.count(LOOP, ROW)
    assert (counted.instructions, counted.rows) == (8, 1)
    assert not any(i.startswith(("LDG.E", "MOV")) for i in counted.listing)
    copied = LOOP.replace("LDG.E R4", "IADD3 R4, R4, R4, RZ ;\n        /*0051*/ LDGSTS.E.BYPASS.128 R4")
    assert sass.count(copied, ROW).instructions == 8


def test_rounds_of_several_rows_are_shared_out() -> None:
    twice = re.sub(r"(?s)(        /\*0060\*/.*?R4, R5, R4 ;\n)", r"\1\1", LOOP)
    twice = twice.replace("STG", "STG.E.128 desc[UR4][R2.64], R4 ;\n        /*0081*/ STG")
    twice = twice.replace(
        "LDGSTS.E.BYPASS.128", "LDGSTS.E.BYPASS.128 ;\n        /*0031*/ LDGSTS.E.BYPASS.128", 1
    )
    counted = sass.count(twice, ROW)
    assert (counted.instructions, counted.rows) == (6, 2)


def test_a_loop_without_copies_is_no_row() -> None:
    with pytest.raises(ValueError, match="no loop"):
        sass.count(LOOP.replace("LDGSTS", "LDS"), ROW)
