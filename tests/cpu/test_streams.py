"""Large results are written past the caches: the same bits, and nothing else touched.

Sums without structure at any alignment; those of separable kernels where rows are a whole number of vectors apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import numbasep
from numbasep.api import build
from numbasep.api.repeated_calls import shortcuts
from numbasep.cpu import pass_request, prepare, separable
from numbasep.cpu.intrinsics.vectors import VECTOR_BYTES
from numbasep.cpu.kernels import table_entries as g

UNTOUCHED = -7.0
MARGIN = 48  # numbers around the result
SHAPES = ((29, 61), (16, 16), (40, 15), (9, 17), (21, 33), (15, 8), (65, 161), (3, 500), (25, 64))


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[bool]]:
    """A function that sets from how many bytes on results are streamed; it lists which passes then do."""
    made = prepare.prepare_pass
    seen: list[bool] = []

    def noted(*arguments: object, **keywords: object) -> object:
        prepared = made(*arguments, **keywords)
        seen.append(bool(prepared.geometry[g.STREAM] or prepared.geometry[g.FINISHED]))
        return prepared

    def from_bytes(least: int) -> list[bool]:
        build.plans.clear()
        shortcuts.clear()
        seen.clear()
        monkeypatch.setattr(pass_request, "STREAM_BYTES", least)
        monkeypatch.setattr("numbasep.cpu.bind.prepare_pass", noted)
        return seen

    yield from_bytes
    build.plans.clear()
    shortcuts.clear()


def kernels() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        **{f"separable {n}": np.outer(rng.random(n), rng.random(n)) for n in (3, 9, 20, 40)},
        "two terms": np.add(*(np.outer(rng.random(7), rng.random(7)) for _ in range(2))),
        "along rows": rng.random((1, 5)),
        "dense": rng.random((5, 5)),
    }


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", kernels())
@pytest.mark.parametrize("gathered", [True, False])
def test_bits_are_those_of_plain_writing(
    name: str,
    dtype: str,
    gathered: bool,
    streamed: Callable[[int], list[bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(separable, "LEAST_GATHERED", 1 if gathered else 1 << 60)
    weights = kernels()[name]
    rng = np.random.default_rng(1)
    for shape in SHAPES:
        x = rng.random(shape).astype(dtype)
        method = "direct" if name == "dense" else "separable"
        aligned = name == "dense" or shape[1] * x.itemsize % VECTOR_BYTES == 0 or gathered
        plans = numbasep.plan(weights, shape, x.dtype, operation="correlate", method=method)
        short = [one.kernel for one in plans.passes] == ["short rows"]  # stores rows of its own
        for offset in (0, 1, 5):
            results = []
            for least in (1 << 60, 1):
                seen = streamed(least)
                memory = np.full(x.size + 2 * MARGIN, UNTOUCHED, dtype)
                start = MARGIN + offset
                target = memory[start : start + x.size].reshape(shape)
                numbasep.correlate(x, weights, method=method, output=target)
                assert set(seen) == (set() if short else {least == 1 and aligned})
                results.append(target.copy())
                assert (memory[:start] == UNTOUCHED).all()
                assert (memory[start + x.size :] == UNTOUCHED).all()
            np.testing.assert_array_equal(*results)


@pytest.mark.jitoff
def test_a_part_of_wider_rows(streamed: Callable[[int], list[bool]]) -> None:
    """Rows of any pitch; threads and tiles that end anywhere."""
    x = np.random.default_rng(2).random((70, 90), np.float32)
    expected = numbasep.gaussian_filter(x, 1.0)
    for first in (0, 3, 16):
        for pitch in (107, 112, 131):
            streamed(1)
            memory = np.full((72, pitch), UNTOUCHED, np.float32)
            numbasep.gaussian_filter(x, 1.0, output=memory[1:71, first : first + 90], workers=2)
            np.testing.assert_array_equal(memory[1:71, first : first + 90], expected)
            memory[1:71, first : first + 90] = UNTOUCHED
            assert (memory == UNTOUCHED).all()
