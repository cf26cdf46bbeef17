"""Dense kernels even or odd along the columns: columns are added to their mirror images, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

import numbasep
from numbasep.api import build
from numbasep.api.repeated_calls import shortcuts
from numbasep.cpu import prepare
from numbasep.cpu.kernels import table_entries as g
from numbasep.cpu.tap_tables import PlaneWeights, build_program, fold_columns
from numbasep.planning.facts import kernel_facts
from tests.support import oracle

MODES = ("reflect", "mirror", "nearest", "wrap", "constant", "valid", "full")
TAPS = ((3, 7), (5, 6), (1, 9), (15, 15), (16, 8), (29, 7))
SHAPES = ((40, 70), (33, 64), (17, 33))
SIGNS = {"even": 1, "odd": -1}


def dense(taps, sign, seed=0):
    weights = np.random.default_rng(seed).standard_normal(taps)
    return weights + sign * weights[..., ::-1]


def image(shape, dtype, seed=1):
    return (np.random.default_rng(seed).random(shape) * 200).astype(dtype)


def forget_plans():
    build.plans.clear()
    shortcuts.clear()


@pytest.fixture
def folds(monkeypatch):
    """The signs that passes since then were folded with."""
    seen = []

    def noted(program, span):
        seen.append(fold_columns(program, span))
        return seen[-1]

    monkeypatch.setattr(prepare, "fold_columns", noted)
    forget_plans()
    yield lambda: {program.fold for program in seen}
    forget_plans()


def program(weights, *, sparse=True, inner=1):
    parts = [PlaneWeights(k, part, sparse) for k, part in enumerate(np.atleast_3d(weights.T).T)]
    return build_program(parts, weights.shape[-2] + 15, inner, np.dtype(np.float64))


def unfolded(folded, span):
    """The weights of a folded program by row and element of the window."""
    weights = {}
    for run in folded.runs:
        for k in range(run[g.RUN_LENGTH]):
            tap = folded.weights[run[g.RUN_WEIGHTS] + k]
            row, here = int(run[g.RUN_ROW]) + k, int(run[g.RUN_SHIFT])
            for at, weight in ((here, tap), (here + int(run[g.RUN_MIRROR]), folded.fold * tap)):
                weights[row, at] = weights.get((row, at), 0.0) + weight
                assert 0 <= at <= span
    return {place: weight for place, weight in weights.items() if weight}


@pytest.mark.parametrize("inner", [1, 3])
@pytest.mark.parametrize("sign", SIGNS.values())
@pytest.mark.parametrize("taps", [(3, 7), (4, 6), (7, 7), (2, 3, 9)])
def test_a_folded_program_stands_for_the_same_weights(taps, sign, inner):
    weights = dense(taps, sign)
    weights[..., 1, :] = 0  # two runs in each column
    whole, span = program(weights, inner=inner), (taps[-1] - 1) * inner
    folded = fold_columns(whole, span)
    assert folded.fold == sign
    assert len(whole.runs) // 2 <= len(folded.runs) < len(whole.runs)
    facts = kernel_facts(weights)
    assert facts.folded == (folded.runs[:, g.RUN_LENGTH].sum(), len(folded.runs))
    rows = {
        (k * (taps[-2] + 15) + r): part[r]
        for k, part in enumerate(np.atleast_3d(weights.T).T)
        for r in range(taps[-2])
    }
    expected = {(row, c * inner): w for row, line in rows.items() for c, w in enumerate(line) if w}
    assert unfolded(folded, span) == expected


def test_what_is_not_folded():
    for weights in (
        np.random.default_rng(0).standard_normal((5, 7)),
        dense((5, 5), 1),  # too few columns
        np.ones((9, 1)) * np.arange(1.0, 10)[:, None],
        np.stack([dense((5, 7), 1), dense((5, 7), -1)]),  # each of another kind
        np.stack([dense((5, 7), 1), np.random.default_rng(1).standard_normal((5, 7))]),
    ):
        whole = program(weights)
        assert fold_columns(whole, weights.shape[-1] - 1) is whole
        assert kernel_facts(weights).folded is None


@pytest.mark.jitoff
@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
def test_small_images_word_by_word(sign, folds):
    x, weights = image((19, 37), np.float32), dense((3, 6), sign)
    got = numbasep.correlate(x, weights, mode="constant", cval=2.0, method="direct")
    expected = oracle.correlate(x.astype(np.float64), weights, mode="constant", cval=2.0)
    np.testing.assert_allclose(got, expected, atol=1e-3)
    assert folds() == {sign}


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
def test_the_same_as_the_definition(mode, sign, dtype, folds):
    for taps in TAPS:
        for shape in SHAPES:
            if mode == "valid" and any(t > n for t, n in zip(taps, shape, strict=True)):
                continue
            x, weights = image(shape, dtype), dense(taps, sign)
            got = numbasep.correlate(
                x, weights, np.float64 if dtype == "u1" else None, mode, 3.0, method="direct"
            )
            expected = oracle.correlate(x.astype(np.float64), weights, mode=mode, cval=3.0)
            slack = (1e-5 if dtype == "f4" else 1e-13) * np.abs(weights).sum() * 200
            np.testing.assert_allclose(got, expected, atol=slack, err_msg=str((taps, shape)))
    assert folds() == {sign}


@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
def test_integers_are_exact(sign, folds):
    weights = np.rint(4 * dense((7, 7), sign))
    x = image((50, 61), np.uint8)
    got = numbasep.correlate(x, weights, np.int64, method="direct")
    np.testing.assert_array_equal(got, oracle.correlate(x.astype(np.int64), weights.astype(np.int64)))
    assert folds() == {sign}


@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
def test_colour_volumes_and_complex_numbers(sign, folds):
    colour, weights = image((35, 44, 3), np.float32), dense((5, 7), sign)
    for x, kernel in (
        (colour, weights[:, :, None]),
        (colour[..., :2].copy().view(np.complex64), weights[:, :, None]),
        (image((9, 30, 33), np.float32), dense((3, 5, 7), sign)),
        (np.asfortranarray(image((30, 33), np.float64)), weights),
        (image((30, 66), np.float64)[:, ::2], weights),
    ):
        got = numbasep.correlate(x, kernel, method="direct")
        expected = oracle.correlate(x.astype(np.result_type(x, np.float64)), kernel)
        np.testing.assert_allclose(got, expected, atol=2e-2)
    assert sign in folds()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
def test_what_is_not_finite_reaches_only_where_weights_are(sign, value, folds):
    x, weights = image((44, 60), np.float32), dense((5, 7), sign)
    weights[1:4, [2, 4]] = 0
    for places in (((0, 0),), ((20, 30), (20, 34)), ((43, 59),)):
        holed = x.copy()
        for place in places:
            holed[place] = value
        got = numbasep.correlate(holed, weights, mode="constant", method="direct")
        with np.errstate(invalid="ignore"):
            expected = oracle.correlate(holed.astype(np.float64), weights, mode="constant")
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(got), finite)
        np.testing.assert_array_equal(got[~finite], expected[~finite].astype(np.float32))
        np.testing.assert_allclose(got[finite], expected[finite], atol=1e-2)
    assert folds() == {sign}
