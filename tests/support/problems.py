"""Problems, facts and machines for the tests of the planner."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from numbasep.arguments.problem import Options, Problem, make_problem, make_windows
from numbasep.planning.facts import FormFacts, KernelFacts
from numbasep.planning.machine import REFERENCE

MACHINE = dataclasses.replace(REFERENCE, threads=2)


def problem(
    shape: Sequence[int] = (512, 512),
    taps: Sequence[int] = (9, 9),
    dtype: object = np.float32,
    output: object = None,
    *,
    mode: object = "reflect",
    cval: complex = 0.0,
    axes: Sequence[int] | None = None,
    footprint: str = "support",
    complex_kernel: bool = False,
    integer_l1: float | None = None,
    stride: int = 1,
    **options: object,
) -> Problem:
    """Return a problem in canonical form."""
    windows = make_windows(shape, axes or range(len(taps)), taps, mode, 0, flip=False, stride=stride)
    return make_problem(
        shape,
        np.dtype(dtype),
        np.dtype(output or dtype),
        windows,
        cval=cval,
        footprint=footprint,
        options=Options(**options),
        operation="correlate",
        complex_kernel=complex_kernel,
        integer_l1=integer_l1,
    )


def form(factors: Sequence[Sequence[int]] = ((9, 9),), **fields: object) -> FormFacts:
    """Return facts of a sum of separable terms whose factors have no zeros."""
    counts = tuple(tuple(term) for term in factors)
    defaults: dict[str, object] = {
        "name": f"rank{len(counts)}",
        "factors": counts,
        "runs": tuple((1,) * len(term) for term in counts),
        "groups": tuple((t,) * len(term) for t, term in enumerate(counts)),
        "boxes": tuple((False,) * len(term) for term in counts),
        "divisor": 1.0,
        "error": 0.0,
        "amplification": 1.0,
        "operations": sum(map(sum, counts)),
        "exact": False,
        "same_support": True,
        "coherent": True,
        "given": False,
    }
    return FormFacts(**(defaults | fields))


def facts(shape: Sequence[int] = (9, 9), forms: Sequence[FormFacts] = (), **fields: object) -> KernelFacts:
    """Return facts of a kernel without zeros and with ``||K||_1 = 1``."""
    size = int(np.prod(shape))
    defaults: dict[str, object] = {
        "shape": tuple(shape),
        "nonzeros": size,
        "runs": size // shape[-2] if len(shape) > 1 else 1,
        "planes": int(np.prod(shape[:-2])),
        "columns": shape[-1] if shape else 1,
        "full_support": True,
        "integer": False,
        "complex": False,
        "l1": 1.0,
        "forms": tuple(forms),
    }
    return KernelFacts(**(defaults | fields))
