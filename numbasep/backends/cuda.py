"""The CUDA backend: plans run on the GPU, on arrays that are there already or are taken there and back.

CuPy, PyTorch and Numba arrays stay on their device and on their stream and give results of their own type.  Their
public function runs on a stand-in, a NumPy array of the same shape and type without memory, so that arguments are
checked and plans are made by the same code as ever; where a plan would run on the stand-in, it runs on the array.
"""

from __future__ import annotations

import contextvars
import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import make_output
from ..kernels.cuda_words import SIMULATED
from ..planner import Plan
from . import cuda_driver
from .cuda_arrays import DeviceArray, Library, describe, library_of
from .cuda_launches import INPUT, OUTPUT, Program
from .cuda_program import build_program
from .cuda_simulator import SimulatedDevice

Array = npt.NDArray[Any]
Addresses = dict[int, tuple[int, int]]

UNSUPPORTED = {
    "filter_bank", "gaussian_gradient_magnitude", "generic_gradient_magnitude", "generic_laplace",
}  # fmt: skip
"""Functions that combine several results on the host."""
CHANNELS = {"nn.depthwise_conv2d", "nn.separable_conv2d"}
"""Functions of `numbasep.nn` that run on the GPU, too."""

_simulated = SimulatedDevice()


@dataclass(frozen=True, slots=True)
class _Bound:
    """The arrays of a call whose function sees stand-ins."""

    stand_in: Array
    """What the function sees as its input."""
    array: Any
    """The input."""
    view: DeviceArray
    """Where it is."""
    output: Any
    """The array to write to, or None."""


_bound: contextvars.ContextVar[_Bound | None] = contextvars.ContextVar("numbasep_cuda_call", default=None)


# --------------------------------------------------------------------------- the two ways in


def call(name: str, arguments: dict[str, Any]) -> Any:
    """Run a public function on the GPU; `arguments` maps all its parameters to values.

    Raises
    ------
    CudaUnavailableError
        There is no GPU, or a library is missing; the message says which, and what to install.
    ValueError
        The function, or one of its arguments, works on the CPU only.
    """
    if name in UNSUPPORTED or ("." in name and name not in CHANNELS):
        raise ValueError(f"{name} runs on the CPU only: pass it a NumPy array, without device='cuda'")
    _require()
    module, _, short = f"numbasep.{name}".rpartition(".")
    function = getattr(importlib.import_module(module), short)
    function = getattr(function, "__wrapped__", function)
    if name in CHANNELS:
        from . import cuda_nn

        return cuda_nn.call(function, arguments)
    first = next(iter(arguments))
    array = arguments[first]
    on_device = hasattr(array, "__cuda_array_interface__")
    given = {key: _on_host(value) if key != first else value for key, value in arguments.items()}
    keywords = {**given.pop("kwargs", {}), **given, "device": "cuda"}
    if not on_device:
        return function(**keywords)
    if arguments.get("nan_policy", "propagate") != "propagate" or arguments.get("mask") is not None:
        raise ValueError("nan_policy and mask work on NumPy arrays only, got an array on the GPU")
    view = describe(array, first)
    stand_in = np.broadcast_to(np.zeros((), view.dtype), view.shape)
    output = arguments.get("output")
    target = output if hasattr(output, "__cuda_array_interface__") else None
    keywords[first] = stand_in
    if "output" in keywords:
        keywords["output"] = output if target is None else describe(target, "output").dtype
    token = _bound.set(_Bound(stand_in, array, view, target))
    try:
        return function(**keywords)
    finally:
        _bound.reset(token)


def _on_host(value: Any) -> Any:
    """Weights and the like that are on the GPU, as NumPy arrays; the output stays where it is."""
    if hasattr(value, "__cuda_array_interface__"):
        return library_of(value).to_host(value)
    return value


def run_plan(plan: Plan, array: Any, output: Any) -> Any:
    """Run a plan on an array of the device.

    Raises
    ------
    ValueError
        The plan was made for the CPU, or for another shape or dtype.
    """
    _require()
    problem, view = plan.problem, describe(array, "input")
    if problem.device != "cuda":
        raise ValueError(
            f"the plan is one for the CPU, and input a {type(array).__name__}: plan with device='cuda'"
        )
    if view.shape != problem.shape or view.dtype != problem.input_dtype:
        raise ValueError(
            f"input must have shape {problem.shape} and dtype {problem.input_dtype} as planned, "
            f"got {view.shape} and {view.dtype}"
        )
    if output is not None and not hasattr(output, "__cuda_array_interface__"):
        raise TypeError(f"output must be an array of the device, got {type(output).__name__}")
    return _on_device(plan, array, view, output)


def filter_array(plan: Plan, x: Array, output: Any) -> Any:
    """Run a plan on the GPU: on the array that `x` stands for, or on `x` itself, there and back."""
    _require()
    bound = _bound.get()
    if bound is not None and x is bound.stand_in:
        return _on_device(plan, bound.array, bound.view, bound.output)
    return _there_and_back(plan, x, output)


def _require() -> None:
    if not SIMULATED:
        cuda_driver.require()


# --------------------------------------------------------------------------- arrays of the host


def _there_and_back(plan: Plan, x: Array, output: Any) -> Array:
    problem = plan.problem
    out = make_output(output, problem.output_dtype, problem.out_shape, x)
    if not problem.pixels:
        return out
    source = np.ascontiguousarray(x, x.dtype.newbyteorder("="))
    target = np.empty(problem.out_shape, problem.output_dtype)
    device = _simulated if SIMULATED else cuda_driver.device(0)
    _transfer_and_run(device, prepared_program(plan, device), {INPUT: source}, OUTPUT, target)
    out[...] = target
    return out


def run_program(program: Program, code: str, given: dict[int, Array], slot: int, result: Array) -> None:
    """Run launches on host arrays; `code`: the type of sums, `slot`: the argument that is `result` afterwards."""
    _require()
    device = _simulated if SIMULATED else cuda_driver.device(0)
    _transfer_and_run(device, device.prepare(program, code), given, slot, result)


def _transfer_and_run(device: Any, program: Any, given: dict[int, Array], slot: int, result: Array) -> None:
    sizes = {**{s: a.nbytes for s, a in given.items()}, slot: result.nbytes, **program.scratch}
    if SIMULATED:
        scratch = {s: np.empty(n, np.uint8) for s, n in program.scratch.items()}
        arrays = {**given, slot: result, **scratch}
        program({s: (a.ctypes.data, a.nbytes) for s, a in arrays.items()})
        return
    addresses: Addresses = {}
    stream = 0
    with device.current():
        try:
            for s, nbytes in sizes.items():
                addresses[s] = (device.allocate(nbytes, stream), nbytes)
            for s, array in given.items():
                device.upload(addresses[s][0], array, stream)
            program(addresses, stream)
            device.download(result, addresses[slot][0], stream)
        finally:
            for address, _ in addresses.values():
                device.free(address, stream)


# --------------------------------------------------------------------------- arrays of the device


def _on_device(plan: Plan, array: Any, view: DeviceArray, output: Any) -> Any:
    library = library_of(array)
    target, written = _target(plan, array, view, output, library)
    if plan.problem.pixels:
        source, read = array, view
        if not view.contiguous:
            source = library.contiguous(array)
            read = describe(source, "input")
        addresses = {INPUT: (read.address, read.nbytes), OUTPUT: (written.address, written.nbytes)}
        program = prepared_program(plan, device_of(read.address))
        scratch = {
            slot: library.empty((n,), np.dtype(np.uint8), array) for slot, n in program.scratch.items()
        }
        for slot, buffer in scratch.items():
            place = describe(buffer, "workspace")
            addresses[slot] = place.address, place.nbytes
        program(addresses, library.stream(array))
    if output is None:
        return target
    if target is not output and plan.problem.pixels:
        library.copy(target, output)
    return output


def _target(
    plan: Plan, array: Any, read: DeviceArray, output: Any, library: Library
) -> tuple[Any, DeviceArray]:
    """Where kernels write: `output` if they can, otherwise a new array."""
    problem = plan.problem
    if output is not None:
        view = describe(output, "output")
        if view.shape != problem.out_shape:
            raise ValueError(f"output shape not correct: expected {problem.out_shape}, got {view.shape}")
        if view.dtype != problem.output_dtype:
            raise ValueError(f"output must have dtype {problem.output_dtype} as planned, got {view.dtype}")
        if not view.writeable:
            raise ValueError("output must be writeable, got a read-only array")
        if view.contiguous and not _overlap(view, read):
            return output, view
    made = library.empty(problem.out_shape, problem.output_dtype, array)
    return made, describe(made, "output")


def device_of(address: int) -> Any:
    """The device whose memory an address belongs to, or the simulator."""
    return _simulated if SIMULATED else cuda_driver.device_of(address)


def _overlap(a: DeviceArray, b: DeviceArray) -> bool:
    if not a.contiguous or not b.contiguous:
        return True  # their extents are not known: better a copy than a race
    return a.address < b.address + b.nbytes and b.address < a.address + a.nbytes


# --------------------------------------------------------------------------- programs


def prepared_program(plan: Plan, device: Any) -> Any:
    """The launches of a plan, prepared for a device; kept with the kernel."""
    launches = plan.kernel.launches
    chosen = plan.choice.chosen
    key = ("cuda", device.ordinal, chosen.form, chosen.needs_finite)
    prepared = launches.get(key)
    if prepared is None:
        problem, operator = plan.problem, plan.kernel
        kernel: Any
        if chosen.form is None:
            kernel, divisor = operator.undivided
        else:
            kernel, divisor = operator.form_terms(chosen.form)
        repair = operator.weights if chosen.needs_finite and not problem.integer_data else None
        program = build_program(
            problem,
            kernel,
            float(divisor),
            repair,
            multiprocessors=device.multiprocessors,
            warps=device.warps,
        )
        prepared = device.prepare(program, problem.real_dtype.str[1:])
        launches[key] = prepared
    return prepared
