"""Elementwise arithmetic on the GPU arrays of placeholders: the counterpart of `execution.elementwise`."""

import functools
import math
from typing import Any

import numpy as np

from ..arguments.arrays import result_dtype
from ..arguments.axes import normalize_axes, per_axis
from ..arguments.placeholders import Held, held, hold
from ..system.types import Array
from . import driver, gradients
from .intrinsics.vocabulary import LANES, SIMULATED
from .kernels.elementwise import PER_THREAD, WARPS, ElementwiseVariant
from .launches import INPUT, OUTPUT, Launch, Program, Slot
from .libraries import describe, library_of
from .simulator import simulated
from .tables import storage_of

OTHER, SECOND = 2, 3
"""Slots of the other operand and of the second result, after those of input and output."""


@functools.lru_cache(maxsize=256)
def _prepared(device: Any, variant: ElementwiseVariant, count: int, a: float, b: float) -> Any:
    warps = 1 if SIMULATED else WARPS
    blocks = -(-count // (LANES * PER_THREAD * warps))
    arguments = (Slot(INPUT), Slot(OUTPUT), Slot(OTHER), Slot(SECOND), count, a, b)
    program = Program([Launch(variant, blocks, warps, arguments)])
    return device.prepare(program, variant.compute)


def device_of(address: int) -> Any:
    """Return the device that owns the memory at an address, or the simulator."""
    return simulated if SIMULATED else driver.device_of(address)


def launch(
    operation: str, options: tuple[str, ...], number: np.dtype[Any], library: Any, x: Any, y: Any, *,
    other: Any = None, second: Any = None, a: float = 0.0, b: float = 0.0, saturate: bool = False,
) -> None:  # fmt: skip
    """Run an operation of `cuda.kernels.elementwise` on arrays of a library, with arithmetic in `number`."""
    arrays = {
        INPUT: x,
        OUTPUT: y,
        OTHER: x if other is None else other,
        SECOND: y if second is None else second,
    }
    views = {}
    for slot, array in arrays.items():
        view = describe(array, "input")
        if not view.contiguous:  # only arrays of the caller: new ones are contiguous
            arrays[slot] = library.contiguous(array)
            view = describe(arrays[slot], "input")
        views[slot] = view
    count = math.prod(views[INPUT].shape)
    if not count:
        return
    variant = ElementwiseVariant(
        operation, storage_of(views[INPUT].dtype), storage_of(views[OTHER].dtype),
        storage_of(views[OUTPUT].dtype, saturate=saturate), number.str[1:], options,
    )  # fmt: skip
    if operation != "find_nan":
        gradients.record(None, x, y)
    program = _prepared(device_of(views[INPUT].address), variant, count, a, b)
    program(
        {slot: (view.address, view.nbytes) for slot, view in views.items()}, library.stream(x, views[INPUT])
    )


def _real(*dtypes: np.dtype[Any]) -> None:
    if any(dtype.kind == "c" for dtype in dtypes):
        raise ValueError(
            "gradient magnitudes, nan_policy and mask of complex arrays are computed on the CPU only"
        )


# --------------------------------------------------------------------------- counterparts of `elementwise`


def add(handle: Held, total: Array, piece: Array) -> Array:
    """See `elementwise.add`; integers are added in double precision."""
    _real(total.dtype)
    if total.dtype.kind in "iu" and total.dtype.itemsize == 8:
        raise ValueError(f"sums of several filters of {total.dtype} samples are taken on the CPU only")
    single = total.dtype.kind == "f" and total.dtype.itemsize < 8
    number = np.dtype(np.float32 if single else np.float64)
    launch("add", ("add",), number, handle.library, _held(piece).array, handle.array, other=handle.array)
    return total


def add_square(total: Array | None, piece: Array, handle: Held, *, whole: bool, root: bool) -> Array:
    """See `elementwise.add_square`."""
    _real(piece.dtype)
    target = piece if total is None else total
    sum_so_far = None if total is None else held(total)
    options = ("square", *("whole",) * whole, *("add",) * (sum_so_far is not None), *("root",) * root)
    array = handle.array if sum_so_far is None else sum_so_far.array
    launch(
        "add", options, piece.dtype, handle.library, handle.array, array,
        other=None if sum_so_far is None else array,
    )  # fmt: skip
    return target


def split_missing(
    handle: Held, x: Array, mask: Array | None, number: np.dtype[Any], *, omit: bool
) -> tuple[Array, Array, int]:
    """See `elementwise.split_missing`; missing samples are not counted, so the count is -1."""
    _real(x.dtype)
    filled, present = (handle.empty(x.shape, number) for _ in range(2))
    held_mask = None if mask is None else held(mask)
    options = (*("omit",) * omit, *("masked",) * (held_mask is not None))
    launch(
        "split", options, number, handle.library, handle.array, _held(filled).array,
        other=None if held_mask is None else held_mask.array, second=_held(present).array,
    )  # fmt: skip
    return filled, present, -1


def normalise(handle: Held, total: Array, share: Array, weight: float, least: float) -> Array:
    """See `elementwise.normalise`."""
    _real(total.dtype, share.dtype)
    launch(
        "normalise", (), total.dtype, handle.library, handle.array, handle.array, other=_held(share).array,
        a=weight, b=least,
    )  # fmt: skip
    return total


def has_nan(handle: Held, x: Array) -> bool:
    """Return whether any sample is NaN; waits for the device."""
    _real(x.dtype)
    number = np.dtype(np.float64 if x.dtype.itemsize == 8 else np.float32)
    flag = handle.library.from_host(np.zeros(1, np.uint8), handle.array)
    launch("find_nan", (), number, handle.library, handle.array, flag)
    return bool(handle.library.to_host(flag)[0])


def stored(handle: Held, values: Array, output: Any, dtype: np.dtype[Any], cast: str) -> Array:
    """Convert values to the type of the result; write to `output` if that is an array, otherwise to a new one."""
    target = output if held(output) is not None else handle.empty(values.shape, dtype)
    _check_shape(target, values.shape)
    whole = values.dtype.kind in "biu"
    if whole and values.dtype.itemsize == 8 and values.dtype != target.dtype:
        raise ValueError(f"{values.dtype} samples are not converted to {target.dtype} on the GPU")
    if values.dtype == target.dtype:
        handle.library.copy(handle.array, _held(target).array)
        return target
    _real(values.dtype, target.dtype)
    number = np.dtype(np.float64 if whole or values.dtype.itemsize == 8 else np.float32)
    written = _held(target).array
    direct = describe(written, "output").contiguous
    place = written if direct else handle.library.empty(values.shape, target.dtype, handle.array)
    launch("convert", (), number, handle.library, handle.array, place, saturate=cast == "saturate")
    if not direct:
        handle.library.copy(place, written)
    return target


def _check_shape(target: Array, shape: tuple[int, ...]) -> None:
    if target.shape != shape:
        raise ValueError(f"output shape not correct: expected {shape}, got {target.shape}")


def _held(stand_in: Array) -> Held:
    found = held(stand_in)
    assert found is not None
    return found


# --------------------------------------------------------------------------- derivatives passed by the caller


def generic(name: str, x: Array, arguments: dict[str, Any], keywords: dict[str, Any]) -> Array:
    """Compute `generic_gradient_magnitude` or `generic_laplace`; `keywords` are passed on to the derivative.

    Raises
    ------
    ValueError
        The result is not of a real floating type, in which the sums are taken.
    """
    handle = _held(x)
    derivative = arguments.get("derivative", arguments.get("derivative2"))
    if not callable(derivative):
        raise TypeError(f"derivative, or derivative2, must be callable, got {derivative!r}")
    dtype = result_dtype(arguments["output"], x.dtype, complex_result=x.dtype.kind == "c")
    if dtype.kind != "f":
        raise ValueError(f"{name} on the GPU needs a floating output, for instance np.float32, got {dtype}")
    named = normalize_axes(arguments["axes"], x.ndim)
    square = ("square",) * (name == "generic_gradient_magnitude")
    number = np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)
    if not named:
        return stored(handle, x, arguments["output"], dtype, "truncate")
    total = handle.empty(x.shape, dtype)
    sums = _held(total).array
    for j, (axis, mode) in enumerate(
        zip(named, per_axis("mode", arguments["mode"], len(named)), strict=True)
    ):
        piece = derivative(
            handle.array, axis, dtype, mode, arguments["cval"], *arguments["extra_arguments"],
            **{**keywords, **(arguments["extra_keywords"] or {})},
        )  # fmt: skip
        view = describe(piece, "the result of derivative")
        if view.shape != x.shape or view.dtype != dtype or library_of(piece) is not handle.library:
            raise ValueError(
                f"derivative must return a {type(handle.array).__name__} of shape {x.shape} and dtype {dtype}, "
                f"got a {type(piece).__name__} of shape {view.shape} and dtype {view.dtype}"
            )
        root = ("root",) * (bool(square) and j == len(named) - 1)
        options = (*square, *("add",) * (j > 0), *root)
        launch("add", options, number, handle.library, piece, sums, other=sums if j else None)
    if held(arguments["output"]) is None:
        return total
    return stored(_held(total), total, arguments["output"], dtype, "truncate")


def on_gpu_like(values: Array, handle: Held) -> Array:
    """Copy a host array to the device of the held array; return a placeholder of the copy."""
    array = handle.library.from_host(values, handle.array)
    return hold(array, values.shape, values.dtype, handle.library)
