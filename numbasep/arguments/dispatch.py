"""Dispatch by the type of the first argument: NumPy, dask, xarray, or an array on a GPU.

Every public filter is decorated with `dispatched`.  NumPy arrays, and objects that are converted to NumPy arrays,
are passed to the function itself.  Other arrays are passed, with all arguments by name, to a handler:

==========================================  ==================================================================
first argument                              handler
==========================================  ==================================================================
`dask.array.Array`                          ``numbasep.adapters.dask_array.call(name, arguments)``
`xarray.DataArray`                          ``numbasep.adapters.data_array.call(name, arguments)``
on a GPU (`arrays.on_gpu`)                  ``numbasep.cuda.run.call(name, arguments)``
NumPy array and ``device="cuda"``           the same; the result is a NumPy array
==========================================  ==================================================================

`name` is the public name within `numbasep` ("gaussian_filter", "nn.conv2d"); `arguments` maps every parameter of the
function to its value, defaults included (further keywords under "kwargs").  A handler is imported on first use.
The result has the type of the first argument.
"""

import functools
import importlib
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import numpy as np

from .arrays import on_gpu, warn_of_mask

Function = TypeVar("Function", bound=Callable[..., Any])
Caller = Callable[[tuple[Any, ...], dict[str, Any]], Any]

HANDLERS = {
    "dask": "numbasep.adapters.dask_array",
    "xarray": "numbasep.adapters.data_array",
    "cuda": "numbasep.cuda.run",
}
"""Module whose ``call(name, arguments)`` handles a kind of array."""


def dispatched(function: Function, call: Caller | None = None) -> Function:
    """Return a wrapper of a public function that passes arrays of other types to their `HANDLERS`.

    `inspect.signature` and `help` show the function itself.  `call`, if given, replaces it for NumPy arrays.
    """
    ndarray, to_handler = np.ndarray, elsewhere  # in the closure, as the wrapper has other globals
    to_function = call or functools.partial(_call, function)

    def dispatch(*args: Any, **kwargs: Any) -> Any:
        if args and type(args[0]) is ndarray and kwargs.get("device") != "cuda":
            return to_function(args, kwargs)
        return to_handler(function, args, kwargs)

    # The wrapper has the globals of the function's module: doctest ignores functions with other globals.
    own = inspect.unwrap(function).__globals__
    wrapper = types.FunctionType(dispatch.__code__, own, function.__name__, None, dispatch.__closure__)
    return cast(Function, functools.wraps(function)(wrapper))


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)


def elsewhere(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call `function`, or the handler for the type of its first argument."""
    first = args[0] if args else kwargs.get(next(iter(inspect.signature(function).parameters)))
    kind = kind_of(first)
    if kwargs.get("mask") is None:
        warn_of_mask(first, remedy=_MASKED[kind == "dask", ".nn." in function.__module__], stacklevel=4)
    if kind == "numpy" and kwargs.get("device") == "cuda":
        kind = "cuda"
    elif kind == "cuda" and kwargs.get("device") == "cpu":
        raise ValueError(
            f"device='cpu' with a {type(first).__name__} on the GPU: copy it to the host first, or leave device out"
        )
    if kind == "numpy":
        return function(*args, **kwargs)
    bound = _signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return handler(kind, first)(public_name(function), dict(bound.arguments))


_MASKED = {
    (False, False): "mask=x.mask (True where a sample is left out; not mask=~x.mask)",
    (True, False): "mask=dask.array.ma.getmaskarray(x) (True where a sample is left out)",
    (False, True): "x.filled(0), or another number in their place: convolutions over channels take no mask",
    (
        True,
        True,
    ): "dask.array.ma.filled(x, 0), or another number in their place: these functions take no mask",
}
"""Replacement of a masked array in the warning; keys: whether it is lazy, and whether the function is in `nn`."""

_signature = functools.lru_cache(maxsize=256)(inspect.signature)


def public_name(function: Callable[..., Any]) -> str:
    """Return the name of a function within `numbasep`, as a caller writes it."""
    return "nn." * (".nn." in function.__module__) + function.__name__


def kind_of(array: Any) -> str:
    """Return the kind of an array: "numpy" or a key of `HANDLERS`; only packages already imported are considered.

    Examples
    --------
    >>> kind_of([[1, 2], [3, 4]])
    'numpy'
    """
    if isinstance(array, (np.ndarray, list, tuple, int, float)):
        return "numpy"
    dask, xarray = sys.modules.get("dask.array"), sys.modules.get("xarray")
    if dask is not None and isinstance(array, dask.Array):
        return "dask"
    if xarray is not None and isinstance(array, xarray.DataArray):
        return "xarray"
    if xarray is not None and isinstance(array, xarray.Dataset):
        raise TypeError(
            "input must be an array, got a Dataset: apply the function to its variables, Dataset.map"
        )
    return "cuda" if on_gpu(array) else "numpy"


def handler(kind: str, array: Any) -> Callable[[str, dict[str, Any]], Any]:
    """Return the function that handles a kind of array.

    Raises
    ------
    ModuleNotFoundError
        If the CUDA backend is not installed; the message says how to install it.
    """
    try:
        module = importlib.import_module(HANDLERS[kind])
    except ModuleNotFoundError as error:
        if kind != "cuda":
            raise
        host = isinstance(array, np.ndarray | list | tuple)
        what = "device='cuda'" if host else f"a {type(array).__name__} on the GPU"
        raise ModuleNotFoundError(
            f'{what} needs the CUDA backend, which is not installed: python -m pip install "numbasep[cuda]"',
            name=error.name,
        ) from error
    return cast(Callable[[str, dict[str, Any]], Any], module.call)
