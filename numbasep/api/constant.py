"""What SciPy's filters see beyond a constant boundary, axis after axis.

scipy.ndimage filters one axis after the other and continues each intermediate with `cval` itself; a fused pass
continues the input.  The two differ where taps do not sum to one (derivatives) and `cval` is not zero, near the
edges, by a sum of products of 1-D sequences that is known beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..boundary import Boundary, parse
from .build import Taps

Array = npt.NDArray[Any]


def differs(terms: Sequence[Mapping[int, Taps]], modes: Mapping[int, Any]) -> bool:
    """Whether intermediates that are continued with `cval` make a difference."""
    return any(
        len(term) > 1
        and any(modes[a] in _CONSTANT for a in term)
        and any(abs(taps.weights.sum() - 1) > 1e-12 for taps in term.values())
        for term in terms
    )


_CONSTANT = ("constant", "grid-constant")


def excess(terms: Sequence[Mapping[int, Taps]], modes: Mapping[int, Any], shape: Sequence[int]) -> Array:
    """What a boundary value of 1 adds to the filtered array that is continued with 0; broadcasts to `shape`.

    The axes of a term are filtered in its order.  A pass turns the excess e so far into ``e (S - s) + s``: S is the sum
    of its taps, s(i) that of those that fall outside for output i.
    """
    total: Array = np.zeros((1,) * len(shape))
    for term in terms:
        part: Array = np.zeros((1,) * len(shape))
        for axis, taps in term.items():
            outside = np.zeros(shape[axis], taps.weights.dtype)
            if parse(modes[axis]) == Boundary.CONSTANT:
                reached = np.arange(shape[axis])[:, None] + taps.first + np.arange(taps.weights.size)
                outside = ((reached < 0) | (reached >= shape[axis])) @ taps.weights
            outside = outside.reshape([-1 if a == axis else 1 for a in range(len(shape))])
            part = part * (taps.weights.sum() - outside) + outside
        total = total + part
    return total
