"""Bound the rounding error of a route.

A sum of n products in any order differs from the exact sum by at most ``gamma_n sum |a_i| |b_i|`` with
``gamma_n = n u / (1 - n u)`` and u half the epsilon (Higham, "Accuracy and Stability of Numerical
Algorithms", 2002, section 3.1).  For successive stages, n is the sum of the stages' n.
"""

import numpy as np

from .kernels.matrix_product import DEPTH
from .routes import ChannelRoute


def error_bound(route: ChannelRoute, taps: int) -> float:
    """Return the bound relative to max_k sum |W_k| max |x|, of the factorization and of rounding in both stages."""
    problem = route.problem
    unit = float(np.finfo(problem.compute).eps) / 2
    steps = 0 if route.producer == "unfold" else taps
    if route.matrix is not None:
        products = route.matrix.shape[0] // problem.multiplier
        # sums of DEPTH products each start from zero and are then added
        steps += min(products, DEPTH) + -(-products // DEPTH) * problem.multiplier
    gamma = steps * unit / (1 - steps * unit)
    stored = 0.0 if problem.dtype == problem.compute else float(np.finfo(problem.dtype).eps) / 2
    return route.error + gamma * route.amplification * (1 + stored) + stored
