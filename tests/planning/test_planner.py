"""The choice between routes, and what a plan says about it."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numbasep
from numbasep.factor import forms
from numbasep.planning import machine
from numbasep.planning.facts import kernel_facts
from numbasep.planning.operators import Operator
from numbasep.planning.planner import GAIN, Choice, choose
from numbasep.planning.routes import ROUTES
from numbasep.plans.plan import Plan
from tests.support.kernel_zoo import kernels
from tests.support.problems import MACHINE, facts, form, problem

GAUSS = facts((31, 31), forms=[form([(31, 31)])])
FULL = facts((31, 31))  # nothing but its weights


def decide(p, f, machine=MACHINE) -> Choice:
    choice = choose(p, f, machine)
    assert [c.method for c in choice.candidates] == list(ROUTES)
    assert choice.chosen in choice.candidates
    assert choice.chosen.feasible
    for candidate in choice.candidates:
        assert candidate.feasible == (not candidate.reason)
    if choice.fallback is not None:
        assert choice.fallback.feasible
        assert not choice.fallback.needs_finite
    assert (choice.fallback is None) == (not choice.chosen.needs_finite)
    return choice


def plan(p, f, machine=MACHINE) -> Plan:
    return Plan(p, decide(p, f, machine), Operator((), None, None), machine.name)


# ------------------------------------------------------------------------------------------ choice


@pytest.mark.parametrize(
    ("p", "f", "method"),
    [
        (problem((4096, 4096), (31, 31)), GAUSS, "separable"),
        (problem((4096, 4096), (101, 101)), facts((101, 101)), "fft"),
        (problem((4096, 4096), (3, 3)), facts((3, 3)), "direct"),
        (problem((4096, 4096), (101, 101), np.uint8), facts((101, 101)), "direct"),
        (problem((4096, 4096), (3, 3)), facts((3, 3), forms=[form([(3, 3), (3, 3), (3, 3)])]), "direct"),
        (
            problem((2000, 2000), (31, 31)),
            facts((31, 31), forms=[form([(31, 31)] * 9), form([(31, 1)])]),
            "structured",
        ),
        (problem((), ()), facts(()), "direct"),
        (problem((0, 5), (3, 3)), facts((3, 3), forms=[form([(3, 3)])]), "separable"),  # a tie
    ],
)
def test_the_obvious_choices(p, f, method):
    assert decide(p, f).chosen.method == method


@given(
    st.integers(1, 5000),
    st.integers(1, 60),
    st.sampled_from([np.uint8, np.int32, np.float32, np.float64, np.complex64]),
    st.integers(0, 5),
    st.one_of(st.none(), st.floats(0, 0.5)),
)
def test_the_chosen_route_is_the_fastest_that_keeps_the_contract(n, taps, dtype, terms, rtol):
    f = facts((taps, taps), forms=[form([(taps, taps)] * terms, amplification=1.5)] if terms else [])
    choice = decide(problem((n, n), (taps, taps), dtype, rtol=rtol), f)
    fastest = min(c.seconds for c in choice.candidates if c.feasible)
    assert choice.chosen.seconds * GAIN <= fastest
    direct = choice.candidates[0]
    assert direct.feasible
    if rtol is not None:
        assert choice.chosen.error_bound <= max(rtol, direct.error_bound)
    assert not direct.exact or choice.chosen.exact or rtol is not None


def test_choices_are_deterministic():
    p = problem((512, 512), (31, 31))
    assert choose(p, GAUSS, MACHINE) == choose(p, GAUSS, MACHINE)
    assert hash(choose(p, GAUSS, MACHINE)) == hash(choose(p, GAUSS, MACHINE))


def test_a_near_tie_goes_to_the_simpler_route():
    p = problem((256, 256), (9, 9))
    same = facts((9, 9), nonzeros=9, runs=1, forms=[form([(9, 1)] * 2, same_support=False)])
    packing = dataclasses.replace(MACHINE, registers=16, lanes=(4.0, 2.0))  # one driver for all routes
    assert decide(p, same, packing).chosen.method == "direct"


def test_the_machine_decides():
    p = problem((1024, 1024), (9, 9))
    f = facts((9, 9))
    assert decide(p, f).chosen.method == "direct"
    tables = tuple(((1e3, 1e-12), (1e7, 1e-12)) for _ in range(2))
    slow = tuple(units._replace(dense_taps=1e-8) for units in MACHINE.steps)
    odd = dataclasses.replace(MACHINE, fft_seconds=tables, fft_pixel_seconds=1e-12, steps=slow)
    assert (
        choose(
            dataclasses.replace(p, options=dataclasses.replace(p.options, rtol=1e-3)), f, odd
        ).chosen.method
        == "fft"
    )


# ---------------------------------------------------------------------------------------- contract


def test_without_a_tolerance_fft_is_held_to_the_bound_of_direct_summation():
    few = facts((101, 101), nonzeros=60, runs=60)
    choice = decide(problem((4096, 4096), (101, 101)), few)
    assert choice.chosen.method == "direct"
    assert "error bound" in next(c.reason for c in choice.candidates if c.method == "fft")
    allowed = decide(problem((4096, 4096), (101, 101), rtol=1e-4), few)
    assert allowed.candidates[-1].feasible


def test_what_direct_summation_gets_exactly_stays_exact():
    integers = facts((9, 9), integer=True, l1=81.0, forms=[form(error=1e-17)])
    p = problem((2048, 2048), dtype=np.uint8, integer_l1=81.0)
    choice = decide(p, integers)
    assert choice.chosen.exact
    assert "exact" in choice.candidates[1].reason
    exact = dataclasses.replace(integers, forms=(form(exact=True),))
    assert decide(p, exact).chosen.method == "separable"
    assert (
        decide(problem((2048, 2048), dtype=np.uint8, integer_l1=81.0, rtol=1e-3), integers).chosen.method
        == "separable"
    )


@pytest.mark.parametrize(
    ("rtol", "method"), [(None, "separable"), (1e-2, "separable"), (1e-4, "direct"), (0.0, "direct")]
)
def test_rtol_holds_the_certified_bound(rtol, method):
    f = facts((9, 9), forms=[form(error=1e-3 if rtol is not None else 0.0)])
    assert decide(problem((2048, 2048), rtol=rtol), f).chosen.method == method


def test_rtol_below_rounding_means_no_worse_than_direct():
    assert decide(problem((2048, 2048), (31, 31), rtol=1e-30), GAUSS).chosen.method == "separable"


def test_data_with_nan_fall_back_to_a_route_that_keeps_the_footprint():
    fft = decide(problem((4096, 4096), (101, 101)), facts((101, 101)))
    assert fft.chosen.method == "fft"
    assert fft.fallback.method == "direct"
    wider = facts(
        (31, 31),
        nonzeros=900,
        full_support=False,
        forms=[form([(31, 31)], same_support=False), form([(31, 31)] * 3)],
    )
    choice = decide(problem((2048, 2048), (31, 31)), wider)
    assert choice.chosen.method == "separable"
    assert choice.fallback.method == "structured"
    assert choice.fallback.form == 1


def test_integers_need_no_fallback():
    wider = facts((31, 31), nonzeros=900, forms=[form([(31, 31)], same_support=False)])
    choice = decide(problem((2048, 2048), (31, 31), np.uint8, np.float32), wider)
    assert choice.fallback is None


def test_the_structured_row_shows_its_best_form():
    f = facts(
        (31, 31), forms=[form([(31, 31)] * 12), form([(31, 31)] * 6), form([(31, 31)] * 4, name="rows")]
    )
    choice = decide(problem((2048, 2048), (31, 31)), f)
    assert (choice.chosen.name, choice.chosen.form, choice.chosen.rank) == ("rows", 2, 4)


# ------------------------------------------------------------------------------------ forced routes


@pytest.mark.parametrize("method", list(ROUTES))
def test_a_forced_route_is_taken(method):
    f = facts((9, 9), forms=[form(), form([(9, 1), (1, 9)])])
    choice = decide(problem(method=method), f)
    assert choice.chosen.method == method


@pytest.mark.parametrize(
    ("p", "method", "reason"),
    [
        (problem(method="separable"), "separable", "separable terms"),
        (problem(method="structured"), "structured", "structure"),
        (problem(dtype=np.uint8, method="fft"), "fft", "integer"),
        (problem(mode="constant", cval=math.inf, method="fft"), "fft", "cval"),
    ],
)
def test_a_forced_route_that_is_impossible_is_an_error_with_the_reason(p, method, reason):
    with pytest.raises(ValueError, match=rf"method='{method}' .*{reason}"):
        choose(p, facts(), MACHINE)


def test_a_forced_route_is_not_weighed_against_the_others():
    choice = decide(problem((16, 16), (3, 3), method="fft"), facts((3, 3)))
    assert choice.chosen.method == "fft"
    assert choice.fallback.method == "direct"


# ------------------------------------------------------------------------------------- real kernels


@pytest.mark.parametrize("name", sorted(kernels()))
def test_every_kernel_of_the_zoo_is_planned_within_its_bound(name):
    weights = kernels()[name]
    f = kernel_facts(weights, forms(weights))
    shape = (512,) * weights.ndim
    for dtype in (np.uint8, np.float32, np.float64):
        output = np.float32 if dtype is np.uint8 else dtype
        p = problem(shape, weights.shape, dtype, output)
        choice = decide(p, f)
        assert choice.chosen.seconds <= choice.candidates[0].seconds / GAIN
        assert choice.chosen.error_bound <= (1e-11 if dtype is np.float64 else 1e-3)


@pytest.mark.parametrize("name", ["gauss s=3", "LoG s=3", "unsharp s=2 a=1.5"])
def test_smooth_kernels_are_separated(name):
    weights = kernels()[name]
    f = kernel_facts(weights, forms(weights))
    assert decide(problem((4096, 4096), weights.shape), f).chosen.method in ("separable", "structured")


# -------------------------------------------------------------------------------------------- plans


def test_a_plan_says_what_was_chosen_and_why_the_rest_was_not():
    text = str(plan(problem((4096, 4096), (31, 31)), GAUSS))
    first, *rows = text.splitlines()
    assert first == "2-D correlate 4096x4096 float32  kernel 31x31 (rank 1)  boundary reflect"
    assert [row for row in rows if row.startswith(">")] == [next(row for row in rows if "separable" in row)]
    for name in ROUTES:
        assert sum(row.startswith((f"  {name}", f"> {name}")) for row in rows) == 1
    assert "no: the kernel has no structure" in text
    assert MACHINE.name in text


def test_the_headline_names_what_is_unusual():
    p = problem((64, 64, 3), (5, 3), np.uint8, np.float64, mode=("constant", "valid"), cval=2.5, axes=(0, 1))
    first = str(plan(p, facts((5, 3)))).splitlines()[0]
    assert "64x64x3 uint8 -> float64, sums in float64" in first
    assert "kernel 5x3 on axes 0,1" in first
    assert "boundary constant 2.5, valid" in first


def test_plans_mention_the_fallback_and_exactness():
    text = str(plan(problem((4096, 4096), (101, 101)), facts((101, 101))))
    assert "the outputs that they reach are set afterwards; values near overflow: direct" in text
    text = str(plan(problem((4096, 4096), (101, 101), np.complex64), facts((101, 101))))
    assert "NaN or infinities: direct" in text
    exact = plan(problem(dtype=np.uint8, integer_l1=81.0), facts(integer=True, l1=81.0))
    assert exact.exact
    assert "exact" in str(exact)


def test_the_notebook_table_is_escaped_and_holds_every_route():
    page = plan(problem(), facts(forms=[form(name="<b>")]))._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert page.count("<tr") == len(ROUTES) + 1


def test_plan_properties_are_those_of_the_chosen_candidate():
    p = plan(problem((4096, 4096), (31, 31)), GAUSS)
    chosen = p.choice.chosen
    assert (p.method, p.rank, p.exact) == ("separable", 1, False)
    assert (p.error_bound, p.seconds, p.workspace) == (chosen.error_bound, chosen.seconds, chosen.workspace)
    assert p.candidates == p.choice.candidates


def test_plans_are_frozen_and_travel():
    p = plan(problem(), GAUSS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.machine = "another"
    assert pickle.loads(pickle.dumps(p)) == p


@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (5,), (2, 3, 4)])
def test_a_kernel_of_zeros_is_planned(shape):
    weights = np.zeros(shape)
    f = kernel_facts(weights, forms(weights))
    for dtype in (np.float32, np.uint8):
        choice = decide(problem((40,) * len(shape), shape, dtype), f)
        assert choice.chosen.error_bound < 1e-5


def test_integer_results_are_rounded_once_where_a_form_allows_it():
    ninths = facts((3, 3), forms=[form([(3, 3)], exact=True, divisor=9.0, error=1e-17)])
    p = problem((64, 64), (3, 3), np.uint8)
    choice = decide(p, ninths)
    assert choice.chosen.method == "separable"
    assert "rounds only once" in choice.candidates[0].reason
    assert decide(problem((64, 64), (3, 3), np.uint8, np.float32), ninths).candidates[0].feasible
    assert decide(problem((64, 64), (3, 3), np.uint8, method="direct"), ninths).chosen.method == "direct"


def test_uniform_areas_stay_uniform():
    import numbasep

    for n in (3, 5, 7, 9):
        for value in (1, 100, 255):
            image = np.full((40, 50), value, np.uint8)
            assert (numbasep.convolve(image, np.ones((n, n)) / n**2) == value).all()


@given(st.data())
def test_any_problem_can_be_planned(data):
    draw = data.draw
    ndim = draw(st.integers(0, 6))
    shape = tuple(draw(st.lists(st.integers(0, 40), min_size=ndim, max_size=ndim)))
    axes = draw(st.lists(st.sampled_from(range(ndim)), unique=True)) if ndim else []
    taps = tuple(draw(st.integers(1, 50)) for _ in axes)
    mode = draw(st.sampled_from(["reflect", "mirror", "nearest", "wrap", "constant", "valid", "full"]))
    dtype = draw(st.sampled_from("?bBhHiIlLefdFD"))
    cval = draw(st.sampled_from([0.0, 1.5, np.inf, np.nan]))
    terms = draw(st.integers(0, 3))
    f = facts(
        taps,
        nonzeros=draw(st.integers(0, int(np.prod(taps)))),
        forms=[form([taps] * t) for t in range(1, terms)],
    )
    p = problem(
        shape, taps, dtype, mode=mode, cval=cval, axes=axes or (), rtol=draw(st.sampled_from([None, 1e-3]))
    )
    choice = choose(p, f, MACHINE)
    assert choice.chosen.feasible
    assert math.isfinite(choice.chosen.seconds)
    assert str(Plan(p, choice, Operator((), None, None), "m")).count("\n") >= len(ROUTES)
    assert "<table>" in Plan(p, choice, Operator((), None, None), "m")._repr_html_()


def test_passes_are_priced_for_the_threads_that_were_asked_for():
    kernel = np.outer(np.hanning(9), np.hanning(9))
    one, every = (numbasep.plan(kernel, (2000, 1500), np.float32, workers=n) for n in (1, None))
    constants = machine.current()
    if constants.threads == 1:
        pytest.skip("one processor")
    for plan in (one, every):
        passes = sum(one.seconds for one in plan.choice.chosen.passes)
        assert plan.choice.chosen.seconds == pytest.approx(constants.call_seconds + passes)
    assert one.choice.chosen.seconds > every.choice.chosen.seconds
