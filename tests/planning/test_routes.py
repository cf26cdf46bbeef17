"""What each route allows, certifies and costs: plain numbers in, plain numbers out."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest

from numbasep.arguments.problem import METHODS
from numbasep.factor import forms
from numbasep.lowering.access import buffer_columns
from numbasep.lowering.lower import lower
from numbasep.planning import machine as machines
from numbasep.planning import overlap, rounding
from numbasep.planning.facts import kernel_facts
from numbasep.planning.routes import ROUTES
from numbasep.system import storage
from tests.support.problems import MACHINE, facts, form, problem

U32, U64 = 2.0**-24, 2.0**-53


def only(name, p, f, machine=MACHINE):
    assert ROUTES[name].infeasible(p, f, machine) is None
    (candidate,) = ROUTES[name].estimates(p, f, machine)
    return candidate


# ------------------------------------------------------------------------------------------- facts


def test_kernel_facts_count_what_the_kernels_do():
    weights = np.array([[1.0, 0, 2], [1, 0, 0], [0, 0, 3]])
    found = kernel_facts(weights)
    assert (found.shape, found.size, found.nonzeros, found.runs) == ((3, 3), 9, 4, 3)
    assert found.integer
    assert not found.full_support
    assert not found.complex
    assert found.l1 == 7.0


@pytest.mark.parametrize(
    ("weights", "runs"), [([0, 1, 1, 0, 2.5], 2), ([0.0, 0.0], 0), ([1.0], 1), ([[1, 1], [1, 1]], 2)]
)
def test_runs_go_down_the_last_axis_but_one(weights, runs):
    assert kernel_facts(np.array(weights)).runs == runs


def test_facts_of_forms_name_boxes_and_runs():
    disk = (np.add.outer(np.arange(-3, 4) ** 2, np.arange(-3, 4) ** 2) <= 9).astype(float)
    box = kernel_facts(np.ones((3, 5)), forms(np.ones((3, 5))))
    assert box.forms[0].factors == ((3, 5),)
    assert box.forms[0].boxes == ((True, True),)
    found = kernel_facts(disk, forms(disk))
    for facts_of_form, actual in zip(found.forms, forms(disk), strict=True):
        assert facts_of_form.rank == len(actual.terms)
        for term, counts in zip(actual.terms, facts_of_form.factors, strict=True):
            assert counts == tuple(np.count_nonzero(taps) for taps in term)


def test_facts_are_hashable_and_complex_kernels_are_not_integers():
    found = kernel_facts(np.array([1, 2j]), forms(np.array([1, 2j])))
    assert hash(found) == hash(dataclasses.replace(found))
    assert found.complex
    assert not found.integer
    assert found.l1 == 3.0


# ------------------------------------------------------------------------------------ error bounds


def test_direct_bound_is_gamma_of_the_nonzero_weights():
    p, f = problem(), facts(nonzeros=40)
    assert rounding.direct_bound(p, f) == pytest.approx(41 * U32, rel=1e-4)
    assert rounding.direct_bound(problem(dtype=np.float64), f) == pytest.approx(41 * U64, rel=1e-12)


def test_form_bound_adds_truncation_and_amplified_rounding():
    f = form([(9, 9), (9, 9)], error=1e-4, amplification=3.0)
    assert rounding.form_bound(problem(), facts(forms=[f]), f) == pytest.approx(1e-4 + 3 * 21 * U32, rel=1e-4)
    divided = dataclasses.replace(f, divisor=9.0)
    assert rounding.form_bound(problem(), facts(forms=[divided]), divided) > rounding.form_bound(
        problem(), facts(forms=[f]), f
    )


def test_bounds_are_infinite_where_rounding_says_nothing():
    assert rounding.gamma(2**25, U32) == math.inf


def test_64_bit_integers_round_on_the_way_in():
    f = facts(integer=True)
    assert rounding.direct_bound(problem(dtype=np.int64, integer_l1=1.0), f) == pytest.approx(
        83 * U64, rel=1e-9
    )


def test_complex_kernels_have_longer_chains():
    real, both = facts(), facts(complex=True)
    p = problem(dtype=np.complex64)
    assert rounding.direct_bound(p, both) == pytest.approx(
        2 * math.sqrt(2) * rounding.direct_bound(p, real), rel=1e-3
    )


@pytest.mark.parametrize(
    ("dtype", "l1", "exact"),
    [
        (np.uint8, 65793.0, True),  # 65793 * 255 <= 2**24 < 65794 * 255
        (np.uint8, 65794.0, True),  # then the sums are taken in float64
        (np.uint16, 256.0, True),
        (np.int64, 1.0, False),
        (np.float32, 1.0, False),
    ],
)
def test_integers_are_exact_while_the_sums_fit(dtype, l1, exact):
    p = problem(dtype=dtype, integer_l1=l1)
    assert rounding.direct_is_exact(p, facts(integer=True, l1=l1)) is exact


def test_the_edge_of_exactness_in_float32():
    p = problem(dtype=np.uint8, output=np.float32)
    assert p.real_dtype == np.float32
    assert rounding.direct_is_exact(p, facts(integer=True, l1=65793.0))
    assert not rounding.direct_is_exact(p, facts(integer=True, l1=65794.0))


def test_scaled_integers_are_exact_over_a_power_of_two_only():
    f = form(exact=True, divisor=256.0)
    p = problem(dtype=np.uint8)
    assert rounding.form_is_exact(p, facts(forms=[f]), f)
    assert rounding.direct_is_exact(p, facts(forms=[f]))
    ninth = form(exact=True, divisor=9.0)
    assert not rounding.form_is_exact(p, facts(forms=[ninth]), ninth)
    assert rounding.form_bound(p, facts(forms=[ninth]), ninth) == U32  # the division, and nothing else


@pytest.mark.parametrize(("cval", "exact"), [(7.0, True), (0.5, False), (math.nan, False), (1e9, False)])
def test_the_constant_beyond_the_edges_counts_as_a_sample(cval, exact):
    p = problem(dtype=np.uint8, mode="constant", cval=cval)
    assert rounding.direct_is_exact(p, facts(integer=True, l1=16.0)) is exact
    assert rounding.direct_is_exact(problem(dtype=np.uint8, cval=cval), facts(integer=True, l1=16.0))


# ------------------------------------------------------------------------------------- feasibility


def test_what_a_call_may_name_and_what_is_registered_are_the_same():
    assert ("auto", *ROUTES) == METHODS


def test_direct_is_always_there():
    for p in (
        problem(),
        problem((), (), np.int8),
        problem((0, 4), (3, 3)),
        problem((4,), (9,), mode="valid"),
    ):
        assert ROUTES["direct"].infeasible(p, facts(p.taps or (1,)), MACHINE) is None


def test_terms_are_needed():
    assert "separable terms" in ROUTES["separable"].infeasible(problem(), facts(), MACHINE)
    assert "structure" in ROUTES["structured"].infeasible(problem(), facts(forms=[form()]), MACHINE)


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({"dtype": np.float32}, True),
        ({"dtype": np.uint8, "output": np.float32}, False),
        ({"dtype": np.float32, "footprint": "window"}, False),
    ],
)
def test_terms_that_touch_more_than_the_kernel_need_finite_data(fields, needs):
    f = facts(nonzeros=40, full_support=False, forms=[form(same_support=False)])
    assert only("separable", problem(**fields), f).needs_finite is needs


def test_terms_of_opposite_signs_need_finite_data():
    f = facts(forms=[form([(9, 9), (9, 9)], coherent=False)])
    assert only("separable", problem(), f).needs_finite
    assert not only("separable", problem(dtype=np.uint8, output=np.float32), f).needs_finite
    assert (
        only("separable", problem(), f).seconds
        > only("separable", problem(), facts(forms=[form([(9, 9)] * 2)])).seconds
    )


def test_terms_that_were_given_define_the_result():
    given = form([(9, 9), (9, 9)], coherent=False, given=True)
    assert not only("separable", problem(), facts(forms=[given])).needs_finite
    assert only("direct", problem(), facts(forms=[given])).needs_finite
    assert not only("direct", problem(footprint="window"), facts(forms=[form(given=True)])).needs_finite


@pytest.mark.parametrize(
    ("terms", "coherent"),
    [
        ([([1, 2], [3, 4])], True),
        ([([1, 2], [3, 4]), ([0, 1], [1, 1])], True),
        ([([1, 2], [3, 4]), ([0, -1], [1, 1])], False),
        ([([1, 2], [3, 4]), ([0, -1e-30], [1, 1])], False),
        ([([1, 0], [3, 4]), ([0, -1], [1, 1])], True),
        ([([1, 1j], [3, 4])], False),
    ],
)
def test_coherence_is_about_every_sample(terms, coherent):
    terms = tuple(tuple(np.array(taps) for taps in term) for term in terms)
    dense = sum(np.multiply.outer(*term) for term in terms)
    size = sum(np.abs(np.multiply.outer(*term)).sum() for term in terms)
    like = SimpleNamespace(
        name="terms", terms=terms, divisor=1.0, error=0.0, amplification=size / np.abs(dense).sum(),
        operations=8, exact=False, same_support=True,
    )  # fmt: skip
    (found,) = kernel_facts(dense, [like]).forms
    assert found.coherent is coherent


def test_structured_terms_do_not_replace_a_whole_window():
    p = problem(footprint="window")
    f = facts(forms=[form(), form([(9, 9), (1, 1)]), form([(9, 5), (3, 9)])])
    whole, sparse = ROUTES["structured"].estimates(p, f, MACHINE)
    assert not whole.needs_finite
    assert sparse.needs_finite


def test_a_nan_beyond_the_edges_is_never_spread():
    p = problem(mode="constant", cval=math.nan)
    f = facts(nonzeros=40, forms=[form(same_support=False)])
    assert "cval" in ROUTES["separable"].infeasible(p, f, MACHINE)
    assert "cval" in ROUTES["fft"].infeasible(p, f, MACHINE)
    assert ROUTES["separable"].infeasible(p, facts(forms=[form()]), MACHINE) is None


def test_fft_rounds_to_integers_only_if_that_is_proved():
    p = problem(dtype=np.uint8, integer_l1=50.0)
    assert "integer" in ROUTES["fft"].infeasible(p, facts(l1=1.0), MACHINE)  # not integer weights
    small = facts(integer=True, l1=50.0)
    candidate = only("fft", p, small)
    assert candidate.exact
    assert candidate.error_bound == 0.0
    assert not candidate.needs_finite
    assert "not proved" in ROUTES["fft"].infeasible(p, facts(integer=True, l1=6e4), MACHINE)


def test_fft_does_not_round_what_direct_summation_gets_exactly():
    p = problem(dtype=np.uint8, output=np.float32)
    assert "not proved" in ROUTES["fft"].infeasible(p, facts(integer=True, l1=6e4), MACHINE)
    assert ROUTES["fft"].infeasible(p, facts(l1=6e4), MACHINE) is None


@pytest.mark.parametrize(
    "p", [problem((), ()), problem((0, 4), (3, 3)), problem((4, 4), (9, 9), mode="valid")]
)
def test_fft_needs_something_to_transform(p):
    assert ROUTES["fft"].infeasible(p, facts(p.taps or (1,)), MACHINE)


# -------------------------------------------------------------------------------------------- cost


@pytest.mark.parametrize("name", list(ROUTES))
def test_estimates_are_positive_and_grow_with_the_image(name):
    f = facts(forms=[form(), form([(9, 1), (1, 9)])])
    small, large = (
        min(c.seconds for c in ROUTES[name].estimates(problem((n, n)), f, MACHINE)) for n in (256, 4096)
    )
    assert 0 < small < large < 1
    for candidate in ROUTES[name].estimates(problem((4096, 4096)), f, MACHINE):
        assert candidate.feasible
        assert candidate.operations > 0
        assert candidate.bytes >= 8
        assert candidate.workspace > 0
        assert 0 <= candidate.error_bound < 1e-3


@pytest.mark.parametrize("name", list(ROUTES))
def test_more_threads_and_single_precision_cost_no_more(name):
    f = facts((31, 31), forms=[form([(31, 31)]), form([(31, 1), (1, 31)])])

    def seconds(**fields):
        return min(
            c.seconds for c in ROUTES[name].estimates(problem((2048, 2048), (31, 31), **fields), f, MACHINE)
        )

    assert seconds() < seconds(workers=1)
    assert seconds() < seconds(dtype=np.float64) < seconds(dtype=np.complex128)


def test_a_small_image_pays_the_call_and_a_thin_kernel_the_memory():
    tiny = only("direct", problem((4, 4), (3, 3)), facts((3, 3)))
    assert tiny.seconds == pytest.approx(MACHINE.call_seconds, rel=0.2)
    thin = only("direct", problem((4096, 4096), (1, 1)), facts((1, 1)))
    units, rows = MACHINE.steps[0], MACHINE.target.block_rows
    segments = -(-4096 // buffer_columns(rows, 1, 4, 1, 1))
    blocks = 4096 // rows * segments * units.blocks / 2
    each = blocks / 2**23 + units.vertical + units.vertical_taps
    memory = 2**27 * MACHINE.memory_rate(2, fused=True)
    assert thin.seconds == pytest.approx(memory + MACHINE.work_seconds(each * 2**24, 2), rel=0.1)


def test_scattered_weights_cost_more_than_a_block():
    p = problem((2048, 2048), (15, 15))
    block = only("direct", p, facts((15, 15), nonzeros=45, runs=3))
    line = only("direct", p, facts((15, 15), nonzeros=45, runs=45))
    assert line.operations == block.operations
    assert line.seconds > block.seconds


def test_single_taps_fold_into_their_neighbours():
    (found,) = lower(form([(9, 9), (1, 9), (1, 1)]), problem((64, 256), (9, 9)), MACHINE.target)
    assert found.operations == (18 + 9 + 1) * 64 * 256


# ------------------------------------------------------------------------------------------- tiles


@pytest.mark.parametrize("n", [1, 2, 3, 31, 97, 121, 1000, 4097, 5_000_011])
@pytest.mark.parametrize("even", [False, True])
def test_smooth_lengths_are_the_smallest(n, even):
    def smooth(k):
        while k % 2 == 0:
            k //= 2
        while k % 3 == 0:
            k //= 3
        return k in (1, 5)

    found = overlap.smooth_length(n, even=even)
    assert found >= n
    assert smooth(found)
    assert not even or found % 2 == 0
    if n < 5000:
        assert not any(smooth(k) and not (even and k % 2) for k in range(n, found))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "taps", "mode"),
    [
        ((4096, 4096), (31, 31), "reflect"),
        ((4096, 4096), (3, 301), "reflect"),
        ((5, 7), (40, 2), "wrap"),
        ((64, 64, 64), (7, 9, 11), "mirror"),
        ((300, 3), (9, 2), "full"),
        ((100, 90), (9, 20), "valid"),
        ((1_000_000,), (501,), "nearest"),
    ],
)
def test_tiles_cover_the_output_and_leave_room_for_the_kernel(shape, taps, mode, dtype):
    p = problem(shape, taps, dtype, mode=mode)
    tiles = overlap.tiling(p)
    for window, length, whole in zip(tiles.windows, tiles.lengths, tiles.whole, strict=True):
        if whole:
            assert tiles.counts[window.axis] == 1
            assert length >= max(window.size, window.out_size)
        else:
            assert tiles.steps[window.axis] + window.taps - 1 <= length
    for n, step, count in zip(p.out_shape, tiles.steps, tiles.counts, strict=True):
        assert (count - 1) * step < n <= count * step
    assert tiles.points <= 2_000_000


def test_short_transforms_are_made_several_at_a_time():
    beside = overlap.tiling(problem((10_000, 512), (15,), axes=(1,)))
    assert beside.points <= 1024
    assert overlap.BATCH_POINTS / 2 < beside.batch <= overlap.BATCH_POINTS
    one_after_another = overlap.tiling(problem((1_000_000,), (15,)))
    assert one_after_another.points <= 1024
    assert overlap.BATCH_POINTS / 2 < one_after_another.batch <= overlap.BATCH_POINTS
    assert one_after_another.group * one_after_another.tasks >= one_after_another.tiles


def test_axes_where_nothing_is_summed_are_not_transformed():
    flat = overlap.tiling(problem((1024, 1024, 1), (200, 200, 1), mode="constant"))
    assert flat.lengths == overlap.tiling(problem((1024, 1024), (200, 200), mode="constant")).lengths
    for mode, cval, axes in (("reflect", 0.0, 1), ("constant", 0.0, 1), ("constant", 1.0, 2)):
        tiles = overlap.tiling(problem((1, 1024), (5, 200), mode=mode, cval=cval))
        assert len(tiles.windows) == axes
    assert len(overlap.tiling(problem((1, 1), (1, 1))).windows) == 1


def test_kernels_as_large_as_the_image_take_one_transform_without_needless_padding():
    tiles = overlap.tiling(problem((1024, 1024), (1024, 1024), mode="constant"))
    assert tiles.lengths == (1536, 1536)
    assert tiles.staged
    assert overlap.tiling(problem((1024, 1024), (1024, 1024), mode="wrap")).lengths == (1024, 1024)
    assert overlap.tiling(problem((1024, 1024), (1024, 1024), mode="reflect")).lengths == (2048, 2048)


def test_tiles_do_not_depend_on_the_calibration():
    fast = dataclasses.replace(MACHINE, fft_seconds=tuple(((1e3, 1e-12), (1e6, 1e-9)) for _ in range(2)))
    bounds = {only("fft", problem(), facts((9, 9)), m).error_bound for m in (MACHINE, fast)}
    assert len(bounds) == 1


# ----------------------------------------------------------------------------------------- machine


def test_interpolation_is_monotone_between_the_entries():
    table = ((10.0, 1.0), (1000.0, 3.0), (1e4, 2.0))
    values = [machines.interpolate(table, x) for x in (1, 10, 100, 1000, 1e4, 1e9)]
    assert values == pytest.approx([1, 1, 2, 3, 2, 2])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.DIRECTORY_VARIABLE, str(tmp_path))
    machines.current.cache_clear()
    yield tmp_path
    machines.current.cache_clear()


def test_calibrations_are_stored_for_their_number_of_threads(cache):
    assert machines.current(2).name == machines.REFERENCE.name
    measured = dataclasses.replace(machines.REFERENCE, name="mine", call_seconds=1e-3, threads=2)
    path = machines.save(measured)
    assert path.parent == cache
    assert [file.name for file in cache.iterdir()] == [path.name]  # and no draft is left
    assert machines.current(2) == measured
    assert machines.current(1).name == machines.REFERENCE.name


def _stored(path, change):
    import json

    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_bytes(b"\xff\xfe\x00"),
        lambda path: _stored(path, lambda c: c["content"].pop("lanes")),
        lambda path: _stored(path, lambda c: c["content"].update(lanes=[0.0, 1.0])),
        lambda path: _stored(path, lambda c: c["content"].update(lanes=[1e9])),
        lambda path: _stored(path, lambda c: c["content"].update(fft_seconds=[[]])),
        lambda path: _stored(path, lambda c: c["content"].update(call_seconds=float("nan"))),
        lambda path: _stored(path, lambda c: c["content"].update(call_seconds="fast")),
        lambda path: _stored(path, lambda c: c["content"].update(threads=-1)),
        lambda path: _stored(path, lambda c: c["content"].update(extra=1)),
        lambda path: _stored(path, lambda c: c["key"].update(cpu="another")),
    ],
)
def test_a_spoilt_calibration_is_ignored_with_a_warning(cache, spoil):
    path = machines.save(dataclasses.replace(machines.REFERENCE, name="mine", threads=2))
    spoil(path)
    with pytest.warns(RuntimeWarning, match="ignoring the file"):
        assert machines.current(2).name == machines.REFERENCE.name


def test_an_unwritable_directory_is_an_error_only_for_save(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv(storage.DIRECTORY_VARIABLE, str(blocked))
    machines.current.cache_clear()
    assert machines.current(2).name == machines.REFERENCE.name
    with pytest.raises(OSError, match="file"):
        machines.save(machines.REFERENCE)
    machines.current.cache_clear()
