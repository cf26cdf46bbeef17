"""Separable convolutions over channels on the GPU: a depthwise filter, then a matrix product.

PyTorch and CuPy compute the product of their own arrays.  Other arrays and host arrays use the kernel of this package.
"""

import contextvars
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arguments.arrays import on_gpu
from ..system.types import Array
from .elementwise import device_of
from .host_arrays import run_program
from .intrinsics.vocabulary import LANES, SIMULATED, ElementType
from .kernels import depthwise as kernels
from .launches import INPUT, OUTPUT, Launch, Program, Slot
from .libraries import describe, library_of
from .tables import storage_of

FILTERS, POINTWISE, BETWEEN = 2, 3, 4
"""Slots of the filters and of the intermediate between the two launches."""


FILTER_NAMES = ("depthwise_filter", "pointwise_filter", "filter")
"""Parameters other than the input that are arrays."""

_stand_ins: contextvars.ContextVar[dict[int, Any] | None] = contextvars.ContextVar(
    "numbasep_nn", default=None
)


def depthwise_launch(problem: Any, target: int, result: ElementType) -> Launch:
    """Return the launch of the depthwise half of a `nn.problem.Convolution`; it writes `result` to slot `target`."""
    rows, columns = problem.rows, problem.columns
    if not (0 <= rows.before < 1 << 20 and 0 <= columns.before < 1 << 20):
        raise ValueError(
            f"padding must be from 0 to 2**20 - 1 on the GPU, got {rows.before}, {columns.before}"
        )
    variant = kernels.DepthwiseVariant(
        storage_of(problem.dtype), result, problem.compute.str[1:], problem.channels_last
    )
    span = 1 if problem.channels_last else LANES
    groups = -(-columns.out_size // (kernels.OUTPUTS * span))
    tasks = problem.batch * problem.channels * problem.multiplier * rows.out_size * groups * span
    warps = 1 if SIMULATED else kernels.WARPS
    arguments = (
        Slot(INPUT), Slot(target), Slot(FILTERS), problem.batch, problem.channels, problem.multiplier, rows.size,
        columns.size, rows.out_size, columns.out_size, rows.taps, columns.taps, rows.stride, columns.stride,
        rows.dilation, columns.dilation, (rows.before << 20) + columns.before,
    )  # fmt: skip
    return Launch(variant, -(-tasks // (LANES * warps)), warps, arguments)


def product_launch(problem: Any) -> Launch:
    """Return the launch of the pointwise half, a product with the pointwise filter at every pixel."""
    between = ElementType(problem.compute.str[1:])
    depth, columns = problem.channels * problem.multiplier, problem.out_channels
    pixels = problem.rows.out_size * problem.columns.out_size
    if problem.channels_last:
        matrices, rows = 1, problem.batch * pixels
        strides = (0, depth, 1, 0, columns, 1)
    else:
        matrices, rows = problem.batch, pixels
        strides = (depth * pixels, 1, pixels, columns * pixels, 1, pixels)
    storage = storage_of(problem.dtype)
    variant = kernels.ProductVariant(between, storage, storage, problem.compute.str[1:])
    blocks = matrices * -(-rows // kernels.TILE) * -(-columns // kernels.TILE)
    arguments = (Slot(BETWEEN), Slot(OUTPUT), Slot(POINTWISE), matrices, rows, depth, columns, *strides)
    return Launch(variant, blocks, kernels.TILE_ROWS, arguments)


def program_of(problem: Any, *, pointwise: bool) -> Program:
    """Return the program of the depthwise half or, if `pointwise`, of both halves."""
    program = Program()
    if not pointwise:
        program.launches.append(depthwise_launch(problem, OUTPUT, storage_of(problem.dtype)))
        return program
    compute = ElementType(problem.compute.str[1:])
    between = problem.pixels * problem.channels * problem.multiplier
    program.launches += [depthwise_launch(problem, BETWEEN, compute), product_launch(problem)]
    program.scratch[BETWEEN] = between * compute.itemsize
    return program


# --------------------------------------------------------------------------- running


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Run one of the two functions on arrays on the device, or on host arrays that are copied there and back.

    Raises
    ------
    ValueError
        The input is on the device but the filters are on the host, `output` is given, or `method` is not "auto".
    """
    keywords = {**arguments, "device": "cuda"}
    if arguments.get("method", "auto") != "auto":
        raise ValueError(f"method must be 'auto' on the GPU, got {arguments['method']!r}")
    first = next(iter(arguments))
    if not on_gpu(arguments[first]):
        return function(**keywords)
    stand_ins = {}
    for name in (first, *FILTER_NAMES):
        if name not in arguments:
            continue
        if not on_gpu(arguments[name]):
            raise ValueError(f"{name} must be on the GPU, as input is, got {type(arguments[name]).__name__}")
        view = describe(arguments[name], name)
        keywords[name] = np.broadcast_to(np.zeros((), view.dtype), view.shape)
        stand_ins[id(keywords[name])] = arguments[name]
    if arguments.get("output") is not None:
        raise ValueError("output must be None for arrays on the GPU")
    token = _stand_ins.set(stand_ins)
    try:
        result = function(**keywords)
    finally:
        _stand_ins.reset(token)
    return library_of(arguments[first]).finished(result, arguments[first])


def run(problem: Any, x: Array, depthwise: Array, pointwise: Array | None, output: Array | None) -> Any:
    """Compute a `nn.problem.Convolution` on the GPU, from host arrays or placeholders of arrays on the device."""
    known = _stand_ins.get() or {}
    if id(x) in known:
        right = None if pointwise is None else known[id(pointwise)]
        return _on_device(problem, known[id(x)], known[id(depthwise)], right)
    result = np.empty(problem.out_shape, problem.dtype)
    if result.size:
        program = program_of(problem, pointwise=pointwise is not None)
        arrays = {INPUT: x, FILTERS: depthwise}
        if pointwise is not None:
            arrays[POINTWISE] = pointwise
        given = {slot: np.ascontiguousarray(a, problem.dtype) for slot, a in arrays.items()}
        run_program(program, problem.compute.str[1:], given, OUTPUT, result)
    if output is None:
        return result
    output[...] = result
    return output


@functools.lru_cache(maxsize=128)
def _prepared(problem: Any, device: Any, *, pointwise: bool, target: int) -> Any:
    program = program_of(problem, pointwise=pointwise)
    if target == BETWEEN:
        program.launches = [depthwise_launch(problem, BETWEEN, ElementType(problem.compute.str[1:]))]
    return device.prepare(program, problem.compute.str[1:])


def _on_device(problem: Any, x: Any, depthwise: Any, pointwise: Any) -> Any:
    library = library_of(x)
    x, depthwise = (a if describe(a, "input").contiguous else library.contiguous(a) for a in (x, depthwise))
    arrays = {INPUT: x, FILTERS: depthwise}
    uses_library_product = pointwise is not None and library.has_product
    if uses_library_product:
        depth = problem.channels * problem.multiplier
        arrays[BETWEEN] = library.empty(_between_shape(problem, depth), problem.compute, x)
    else:
        arrays[OUTPUT] = library.empty(problem.out_shape, problem.dtype, x)
    if pointwise is not None and not uses_library_product:
        contiguous = describe(pointwise, "pointwise_filter").contiguous
        arrays[POINTWISE] = pointwise if contiguous else library.contiguous(pointwise)
        count = problem.pixels * problem.channels * problem.multiplier
        arrays[BETWEEN] = library.empty((count,), problem.compute, x)
    if problem.pixels:
        views = {slot: describe(a, "input") for slot, a in arrays.items()}
        device = device_of(views[INPUT].address)
        target = BETWEEN if uses_library_product else OUTPUT
        program = _prepared(
            problem, device, pointwise=pointwise is not None and not uses_library_product, target=target
        )
        program({slot: (v.address, v.nbytes) for slot, v in views.items()}, library.stream(x, views[INPUT]))
    if not uses_library_product:
        return arrays[OUTPUT]
    weights = library.as_type(pointwise, problem.compute).reshape(-1, problem.out_channels)
    product = arrays[BETWEEN] @ weights if problem.channels_last else weights.T @ arrays[BETWEEN]
    return library.as_type(product, problem.dtype).reshape(problem.out_shape)


def _between_shape(problem: Any, depth: int) -> tuple[int, ...]:
    pixels = problem.rows.out_size * problem.columns.out_size
    return (problem.pixels, depth) if problem.channels_last else (problem.batch, depth, pixels)
