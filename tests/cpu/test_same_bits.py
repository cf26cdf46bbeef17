"""The same call gives the same bits, for any number of threads, any other callers, and any tiles."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import numbasep as nsp
from numbasep import nn
from numbasep.cpu import threads
from tests.support import kernel_zoo
from tests.support.processes import assert_succeeds


@pytest.mark.slow
def test_bits_do_not_depend_on_threads_and_tiles() -> None:
    out = assert_succeeds(
        Path(__file__).parents[1] / "support" / "same_bits.py",
        NUMBA_NUM_THREADS="8",
        OMP_WAIT_POLICY="PASSIVE",
    )
    assert int(out) > 1000


@pytest.mark.parametrize("shape", [(64, 64), (300, 400)])
def test_the_route_does_not_depend_on_the_number_of_threads(shape: tuple[int, int]) -> None:
    for name, kernel in kernel_zoo.kernels().items():
        if kernel.ndim != 2:
            continue
        chosen = {
            (plan.choice.chosen.method, plan.choice.chosen.form, plan.choice.chosen.runner)
            for plan in (nsp.plan(kernel, shape, np.float32, workers=n) for n in (None, 1, 2, 3))
        }
        assert len(chosen) == 1, (name, chosen)


def test_the_route_does_not_depend_on_who_else_is_filtering(monkeypatch: pytest.MonkeyPatch) -> None:
    filters = np.einsum("i,j,cm,cmk->ijck", *map(np.ones, (3, 3, (16, 1), (16, 1, 64)))).astype(np.float32)

    def routes(name: str) -> set[tuple[str, str]]:
        found = set()
        for count in (1, 8):
            with monkeypatch.context() as patch:
                patch.setattr(threads, name, lambda *_, count=count: count)
                plan = nn.plan_conv2d((1, 5, 5, 16), filters, 1, "SAME")
            found.add((plan.method, plan.route.producer))
        return found

    assert len(routes("thread_count")) == 1  # threads for this call
    assert len(routes("most")) == 2  # of the machine: here they do matter


def test_readme_promises_it() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert re.search(r"same call gives the same bits\*\*, for any number of threads", text)
