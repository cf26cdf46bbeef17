"""Filters with complex weights on a GPU, as the sum of a call for the real and one for the imaginary parts."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arguments.arrays import make_output, on_gpu, result_dtype
from .libraries import describe, library_of

SINGLE = {"convolve": 1j, "correlate": -1j, "convolve1d": 1j, "correlate1d": -1j}
"""Function -> factor of the result for the imaginary weights; correlation conjugates the weights."""


def is_split(name: str, arguments: Mapping[str, Any]) -> bool:
    """Return whether a call has complex weights and must be split into two calls."""
    return name in SINGLE and np.iscomplexobj(arguments["weights"])


def call(name: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a public function with complex weights as two calls of `function` with real weights.

    Raises
    ------
    ValueError
        `nan_policy` or `mask` is given, or the array's library has no arithmetic.
    """
    x, output, weights = arguments["input"], arguments["output"], np.asarray(arguments["weights"])
    if arguments["mask"] is not None or arguments["nan_policy"] != "propagate":
        raise ValueError("nan_policy and mask with complex weights work on the CPU only")
    kept = output if on_gpu(output) or isinstance(output, np.ndarray) else None
    library = library_of(x) if on_gpu(x) else None
    kind = library.describe(x, "input").dtype if library is not None else np.asarray(x).dtype
    wanted = describe(kept, "output").dtype if on_gpu(kept) else output
    dtype = result_dtype(wanted, kind, complex_result=True)
    half = dtype if kind.kind == "c" else np.dtype(f"f{dtype.itemsize // 2}")
    if library is not None and not library.has_product:
        raise ValueError(
            f"complex weights on the GPU take arrays of CuPy or PyTorch, or host arrays, got a {type(x).__name__}"
        )
    parts = [
        function(**{**arguments, "weights": part, "output": half}) for part in (weights.real, weights.imag)
    ]
    result = parts[0] + SINGLE[name] * parts[1]
    if library is None:
        out = make_output(output, dtype, result.shape, np.asarray(x))
        out[...] = result
        return out
    if kept is None:
        return library.as_type(result, dtype)
    library.copy(result, kept)
    return kept
