"""`plan` and `show_config`."""

import os
import pathlib
import platform
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.axes import integer
from ..arguments.problem import check_dtype
from ..planning.memory_order import reordered
from ..plans.plan import ORDERS, Plan
from .convolve import dense_call

EFFORTS = ("estimate", "measure")
SETTINGS = ("NUMBASEP_", "NUMBA_", "OMP_", "MKL_", "CUDA_")  # environment variables that have an effect


def plan(
    weights: npt.ArrayLike,
    shape: Any,
    dtype: Any = float,
    *,
    operation: str = "convolve",
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    axes: Any = None,
    output: Any = None,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    cast: str = "truncate",
    effort: str = "estimate",
    stride: Any = 1,
    order: str = "C",
) -> Plan:
    """Plan how to filter arrays of one shape and dtype with a kernel.

    Parameters
    ----------
    weights : array_like
        Kernel, with one axis for each filtered axis.
    shape : tuple of int
        Shape of the arrays.
    dtype : dtype, optional
        Dtype of the arrays.
    operation : {"convolve", "correlate"}, optional
        Operation to compute.
    mode, cval, origin, axes : optional
        Boundary, shift and filtered axes, as in `convolve`.
    output : dtype, optional
        Dtype of the results.  Default: `dtype`.
    method, rtol, workers, device, cast : optional
        Route, allowed error, threads, device and conversion to integers, as in `convolve`.
    effort : {"estimate", "measure"}, optional
        "estimate" chooses by predicted time, always with the same result; "measure" times the most promising
        routes on random data of this shape and takes the fastest.
    stride : int or sequence of int, optional
        Distance between the computed results, as in `convolve`.
    order : {"C", "F"}, optional
        Memory order of the input and output for which the filter is planned.  A plan can also be called with arrays
        in another order, for which it is planned once more.

    Returns
    -------
    Plan
        Plan that can be called with arrays.  ``print(plan)`` shows every route with its predicted time, operations
        and bytes per output element and error bound, or the reason why it is infeasible.

    Raises
    ------
    ValueError, TypeError
        As `convolve`.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> binomial = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])
    >>> blur = numbasep.plan(binomial, (512, 512), np.uint16)
    >>> blur.rank, blur.exact
    (1, True)
    >>> image = np.full((512, 512), 7, np.uint16)
    >>> blur(image)[0, 0]
    np.uint16(1792)
    """
    if operation not in ("convolve", "correlate"):
        raise ValueError(f"operation must be 'convolve' or 'correlate', got {operation!r}")
    if order not in ORDERS:
        raise ValueError(f"order must be 'C' or 'F', got {order!r}")
    if effort not in EFFORTS:
        raise ValueError(f"effort must be 'estimate' or 'measure', got {effort!r}")
    extents = (shape,) if not np.iterable(shape) else tuple(shape)
    sizes = tuple(integer("shape", n) for n in extents)
    if any(n < 0 for n in sizes):
        raise ValueError(f"shape must not be negative, got {shape!r}")
    input_dtype = check_dtype(np.dtype(dtype), "dtype")
    given = {
        "weights": weights, "mode": mode, "cval": cval, "origin": origin, "axes": axes, "output": output,
        "method": method, "rtol": rtol, "workers": workers, "device": device, "cast": cast, "stride": stride,
        "nan_policy": "propagate",
    }  # fmt: skip
    call = dense_call(operation, given, sizes, input_dtype)
    made = call.planner()(input_dtype, call.dtype, call.cval)
    if effort == "measure":
        from ..plans.measure import fastest

        if order == "C":
            return fastest(made)
        own = replace(
            made, kernel=replace(made.kernel)
        )  # a copy, as plans by predicted time must not use the measured plan
        axes = tuple(reversed(range(len(sizes))))
        own.kernel.reordered[axes] = fastest(reordered(own, axes))
        return replace(own, order=order)
    return made if order == made.order else replace(made, order=order)


def configuration() -> dict[str, Any]:
    """Return the entries of `show_config` as a dictionary.

    Examples
    --------
    >>> sorted(configuration())[:3]
    ['arrays', 'cache', 'calibration']
    """
    import importlib.metadata

    import llvmlite
    import numba
    import scipy

    from .._version import __version__
    from ..cpu import jit, threads
    from ..cpu.intrinsics import vectors
    from ..cuda import driver
    from ..planning import machine

    def version(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    settings = {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)}
    return {
        "numbasep": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "numba-cuda": version("numba-cuda"),
        "cuda": driver.state(),
        "arrays": ", ".join(f"{name} {version(name)}" for name in ("dask", "xarray", "torch", "cupy")),
        "platform": platform.platform(),
        "cpu": machine.cpu_name(),
        "vector": f"{vectors.VECTOR_BYTES * 8} bits",
        "cores": f"{os.cpu_count()}, of which {machine.available_processors()} for this process",
        "threads": f"{threads.thread_count(None)}, layer {_threading_layer()}",
        "calibration": machine.current().name,
        "cache": str(jit.cache_directory() or "off"),
        "package": str(pathlib.Path(__file__).parents[1]),
        "environment": " ".join(f"{name}={value}" for name, value in sorted(settings.items()))
        or "nothing set",
    }


def _threading_layer() -> str:
    """Return Numba's threading layer, or the setting for it if its threads have not started yet."""
    import numba

    try:
        return str(numba.threading_layer())
    except ValueError:
        return f"not started ({numba.config.THREADING_LAYER})"


def show_config() -> None:
    """Print versions, processor, GPU, threads, calibration and caches, for bug reports.

    Examples
    --------
    >>> import numbasep
    >>> numbasep.show_config()  # doctest: +ELLIPSIS
    numbasep     ...
    """
    import sys

    for name, value in configuration().items():
        sys.stdout.write(f"{name:12s} {value}\n")
