"""Arrays of more than 2**31 elements: positions are 64-bit numbers everywhere.  Opt-in, for the memory they need.

``NUMBASEP_TEST_GIGABYTES=8 python -m pytest tests/api/test_huge.py``
"""

import os

import numpy as np
import pytest

import numbasep as nsp

GIGABYTES = float(os.environ.get("NUMBASEP_TEST_GIGABYTES", "0"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(GIGABYTES < 8, reason="needs 8 GB of memory: set NUMBASEP_TEST_GIGABYTES=8"),
]

LONG = (1 << 31) + 4099
WIDE = (1 << 16, 33_000)
SHAPES = {"a line": (LONG,), "an image": WIDE, "a Fortran image": WIDE, "two rows": (2, (1 << 30) + 77)}


@pytest.mark.parametrize("kernel", ["short", "dense"])
@pytest.mark.parametrize("name", SHAPES)
def test_single_samples_show_the_kernel_wherever_they_stand(name: str, kernel: str) -> None:
    shape = SHAPES[name]
    x = np.zeros(shape, np.uint8, order="F" if "Fortran" in name else "C")
    assert x.size > 1 << 31
    weights = np.array([1, 2, 3]) if kernel == "short" else np.array([3, 0, 1, 5, 2, 7, 1, 4, 2])
    if x.ndim == 2:
        weights = np.outer(weights[:2], weights) if kernel == "short" else weights.reshape(3, 3)
    places = [np.unravel_index(i, shape) for i in (5, (1 << 31) - 1, 1 << 31, x.size - 9, x.size // 2)]
    for place in places:
        x[place] = 1
    out = nsp.convolve(x, weights, mode="constant")
    total = 0
    for place in places:
        near = tuple(slice(max(i - 8, 0), i + 9) for i in place)
        expected = nsp.convolve(x[near].copy(), weights, mode="constant")
        np.testing.assert_array_equal(out[near], expected)
        total += int(expected.sum())
    counted = int(np.count_nonzero(out.ravel(order="K").view(bool)))
    assert counted <= len(places) * weights.size, "nothing else was written"
    assert total
