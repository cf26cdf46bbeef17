"""Comparison of results that hold NaN and infinities."""

from __future__ import annotations

import numpy as np


def same(found: np.ndarray, expected: np.ndarray, bound: float) -> None:
    """Check values, and that NaN and infinities are in the same places."""
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    for sign in (np.inf, -np.inf):
        np.testing.assert_array_equal(found == sign, expected == sign)
    finite = np.isfinite(expected)
    assert np.abs(found[finite] - expected[finite]).max(initial=0) <= bound
