"""Writes kernels as sums of separable terms.

`factorize` and `is_separable` are for people, `forms` is for the planner.  NumPy is all this package needs.
"""

from __future__ import annotations

from .form import Form
from .menu import forms
from .separable import SeparableKernel, factorize, is_separable

__all__ = ["Form", "SeparableKernel", "factorize", "forms", "is_separable"]
