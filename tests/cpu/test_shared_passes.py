"""Terms that share taps along an axis share its pass; what a plan says it needs is no more than the best known."""

from __future__ import annotations

import numpy as np
import pytest

import numbasep
from numbasep.cpu.tap_tables import PlaneTerm, build_program
from numbasep.factor import forms
from numbasep.planning.operators import support_factor
from tests.support import kernel_unseen, kernel_zoo, oracle

ZOO = kernel_zoo.kernels()
SUBNORMAL = {
    "gauss aniso 2x5 rot30": "the survey left 390 weights below 1e-13 of the largest out of the direct sum",
    "gabor 30 g=.5": "the survey left two weights below 1e-13 of the largest out of the direct sum",
}


def train(sizes=(5, 7, 9), ranks=(2, 2), seed=0):
    """A tensor train with positive entries: ``sum_ij a_i x B_ij x v_j``."""
    rng = np.random.default_rng(seed)
    a, b, v = (
        rng.uniform(0.5, 1.0, shape)
        for shape in ((sizes[0], ranks[0]), (ranks[0], sizes[1], ranks[1]), (ranks[1], sizes[2]))
    )
    return np.einsum("xi,iyj,jz->xyz", a, b, v)


def test_terms_of_equal_columns_are_one_term_of_the_program():
    taps = [support_factor(np.array(t, float)) for t in ([1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 1, 0])]
    parts = [
        [PlaneTerm(0, taps[0], taps[1]), PlaneTerm(1, taps[2], taps[1])],
        [PlaneTerm(1, taps[0], taps[2])],
    ]
    program = build_program(parts, 18, 1, np.dtype(np.float64))
    assert len(program.terms) == 2
    assert program.runs.shape[0] == 3
    assert program.line_weights.tolist() == [4, 5, 6, 0, 7, 8, 9, 0]  # each list ends with a 0


@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_sums_that_share_a_pass_are_right(dtype, mode):
    rng = np.random.default_rng(1)
    for kernel in (ZOO["3D LoG s=2"][2:-2, 2:-2, 2:-2], train(), train((3, 4, 18), (2, 3))):
        kernel = kernel / np.abs(kernel).sum()
        x = (100 * rng.random((11, 21, 24))).astype(dtype)
        plan = numbasep.plan(
            kernel, x.shape, dtype, method="separable", mode=mode, cval=2.0, output=np.float64
        )
        expected = oracle.convolve(x.astype(float), kernel, mode=mode, cval=2.0)
        bound = plan.error_bound + 2e-16
        assert np.abs(plan(x) - expected).max() <= bound * max(np.abs(x.astype(float)).max(), 2.0)


@pytest.mark.parametrize("name", ZOO)
def test_plans_need_no_more_operations_than_the_best_known_form(name):
    kernel = ZOO[name]
    plan = numbasep.plan(kernel, (512, 512) if kernel.ndim == 2 else (64, 64, 64), np.float64)
    least = min(c.operations for c in plan.candidates if c.feasible and c.method != "fft")
    assert (least <= kernel_zoo.BEST[name]) == (name not in SUBNORMAL)
    for candidate in plan.candidates:
        if candidate.feasible:
            assert candidate.operations <= candidate.executed


def test_oblique_waves_are_tensor_trains():
    kernel = kernel_unseen.kernels()["3D oblique gabor"]
    plan = numbasep.plan(kernel, (40, 50, 260), np.float32, method="separable")
    (form,) = (f for f in forms(kernel) if f.name == "train")
    assert form.error <= 16 * np.finfo(float).eps
    assert plan.choice.chosen.name == "train"
    n1, n2, n3 = kernel.shape
    assert plan.choice.chosen.executed <= 2 * n1 + 4 * n2 + 2 * n3 < 12 * min(kernel.shape)
