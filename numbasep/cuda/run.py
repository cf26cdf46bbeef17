"""The CUDA backend: run plans on the GPU, on arrays on the device or on host arrays copied there and back.

Arrays of CuPy, PyTorch, Numba and other libraries stay on their device and stream, and results have their type.  The
public function runs on a placeholder, so that the code for NumPy arrays checks the arguments and makes the plan; where
the plan would run on the placeholder, it runs on the array.
"""

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arguments import placeholders
from ..arguments.arrays import make_output, on_gpu
from ..arguments.axes import is_strided
from ..planning.planner import PlannedFilter
from ..planning.routes import Candidate
from ..planning.routes_cuda import NO_STRIDES
from ..system.types import Array
from . import complex, driver, gradients, separable_channels
from .arrays import DeviceArray, Library
from .elementwise import device_of, generic
from .host_arrays import require, transfer_and_run
from .intrinsics.vocabulary import SIMULATED
from .launches import INPUT, OUTPUT
from .libraries import describe, library_of, with_transforms
from .passes import build_program
from .simulator import simulated
from .transforms import prepared_transforms

CHANNELS = {"nn.depthwise_conv2d", "nn.separable_conv2d"}
"""Functions of `numbasep.nn` that run on the GPU."""
GENERIC = {"generic_gradient_magnitude", "generic_laplace"}
"""Functions that pass the array itself to a function of the caller."""
FORWARDED = {"method": "auto", "rtol": None, "workers": None, "cast": "truncate"}
"""Keywords that are passed on to the caller's function unless they have these defaults."""


# --------------------------------------------------------------------------- entry points


def call(name: str, arguments: dict[str, Any]) -> Any:
    """Run a public function on the GPU; `arguments` maps all its parameters to values.

    Raises
    ------
    CudaUnavailableError
        There is no GPU, or a library is missing; the message says what to install.
    ValueError
        The function or one of its arguments works on the CPU only.
    """
    if "." in name and name not in CHANNELS:
        raise ValueError(f"{name} runs on the CPU only: pass it a NumPy array, without device='cuda'")
    if is_strided(arguments.get("stride", 1)):
        raise ValueError(f"stride={arguments['stride']!r} with arrays on the GPU: {NO_STRIDES}")
    require()
    if name in CHANNELS:
        return separable_channels.call(_undispatched(name), arguments)
    first = next(iter(arguments))
    stay = (first, "mask", "output")
    given = {key: value if key in stay else _on_host(value) for key, value in arguments.items()}
    keywords = {**given.pop("kwargs", {}), **given, "device": "cuda"}
    if complex.is_split(name, keywords):
        return complex.call(name, functools.partial(_whole, name), keywords)
    return _whole(name, **keywords)


def _whole(name: str, **keywords: Any) -> Any:
    """Call a function with real weights."""
    function, first = _undispatched(name), next(iter(keywords))
    array = keywords[first]
    if not on_gpu(array):
        return function(**{key: _on_host(value) for key, value in keywords.items()})
    library = library_of(array)
    keywords[first], wanted = gradients.detached(array)
    with placeholders.session(), gradients.recording() as ran:
        result = _with_stand_ins(name, function, keywords, first, library)
    if wanted:
        return gradients.attach(array, ran, result, _run_on_device, name)
    return library.finished(result, array)


@functools.cache
def _undispatched(name: str) -> Any:
    """Return a public function without the dispatch on array types."""
    module, _, short = f"numbasep.{name}".rpartition(".")
    function = getattr(importlib.import_module(module), short)
    return getattr(function, "__wrapped__", function)


def _with_stand_ins(name: str, function: Any, keywords: dict[str, Any], first: str, library: Library) -> Any:
    """Call a function with placeholders for the arrays on the GPU; return the result as an array of the library."""
    array, output = keywords[first], keywords.get("output")
    view = describe(array, first)
    if on_gpu(output):
        target = describe(output, "output")
        if not target.writeable:
            raise ValueError("output must be writeable, got a read-only array")
        if name == "filter_bank" and _overlap(target, view):
            copied = library.empty(view.shape, view.dtype, array)
            library.copy(array, copied)
            array = copied
        keywords["output"] = placeholders.hold(output, target.shape, target.dtype, library_of(output))
    keywords[first] = placeholders.hold(array, view.shape, view.dtype, library)
    if keywords.get("mask") is not None and keywords["mask"] is not np.ma.nomask:
        keywords["mask"] = _mask(keywords["mask"], view, array, library)
    result = _generic(name, keywords, first) if name in GENERIC else function(**keywords)
    handle = placeholders.held(result)
    if handle is None:
        raise ValueError(f"{name} with these arguments works on NumPy arrays only, got an array on the GPU")
    return handle.array


def _generic(name: str, keywords: dict[str, Any], first: str) -> Any:
    if keywords["mask"] is not None or keywords["nan_policy"] != "propagate":
        raise ValueError(f"nan_policy and mask of {name} work on NumPy arrays only, got an array on the GPU")
    shared = {key: keywords[key] for key, default in FORWARDED.items() if keywords[key] != default}
    return generic(name, keywords[first], keywords, shared)


def _mask(mask: Any, view: DeviceArray, array: Any, library: Library) -> Any:
    """Copy a mask to the GPU unless it is there; return a placeholder of it."""
    if not on_gpu(mask):
        mask = np.asarray(mask)
        if mask.dtype.kind not in "biu" or mask.shape != view.shape:
            return mask  # `api.missing_data.check_missing` raises the error
        mask = library.from_host(np.ascontiguousarray(mask != 0), array)
    described = describe(mask, "mask")
    if described.dtype.kind not in "biu":
        raise TypeError(f"mask must be boolean, True where a sample is left out, got dtype {described.dtype}")
    return placeholders.hold(mask, described.shape, np.dtype(bool), library)


def _on_host(value: Any) -> Any:
    """Copy arrays on the GPU to NumPy arrays, in lists and dictionaries, too; return other values unchanged."""
    if on_gpu(value):
        if gradients.detached(value)[1]:
            raise TypeError("weights require a gradient, which flows to input only: pass weights.detach()")
        return library_of(value).to_host(value)
    if isinstance(value, (list, tuple)) and any(map(on_gpu, value)):
        return [_on_host(item) for item in value]
    if isinstance(value, dict):
        return {key: _on_host(item) for key, item in value.items()}
    return value


def on_stand_ins(function: Callable[[list[Array]], Array], arrays: Sequence[Any]) -> Any:
    """Call a function with placeholders for arrays on the GPU; return the result as an array of their library."""
    library = library_of(arrays[0])
    with placeholders.session():
        views = [describe(array, "input") for array in arrays]
        held = [
            placeholders.hold(array, view.shape, view.dtype, library)
            for array, view in zip(arrays, views, strict=True)
        ]
        result = placeholders.held(function(held))
    assert result is not None
    return library.finished(result.array, arrays[0])


def run_plan(plan: PlannedFilter, array: Any, output: Any) -> Any:
    """Run a plan on an array on the device.

    Raises
    ------
    ValueError
        The plan was made for the CPU, or for another shape or dtype.
    """
    given, (array, wanted) = array, gradients.detached(array)
    problem, view = plan.problem, describe(array, "input")
    if problem.device != "cuda":
        raise ValueError(
            f"the plan is for the CPU, but input is a {type(array).__name__}: plan with device='cuda'"
        )
    if view.shape != problem.shape or view.dtype != problem.input_dtype:
        raise ValueError(
            f"input must have shape {problem.shape} and dtype {problem.input_dtype} as planned, "
            f"got {view.shape} and {view.dtype}"
        )
    if output is not None and not on_gpu(output):
        raise TypeError(f"output must be an array of the device, got {type(output).__name__}")
    library = library_of(array)
    if wanted:
        if output is not None:
            raise TypeError("input requires a gradient, which does not flow to output: leave output out")
        return gradients.filtered(plan, given, _run_on_device)
    return library.finished(_on_device(plan, array, view, output, library), array)


def _run_on_device(plan: PlannedFilter, array: Any) -> Any:
    """Run a plan and return the result as a new array."""
    library = library_of(array)
    return _on_device(plan, array, library.describe(array, "gradient"), None, library)


def filter_array(plan: PlannedFilter, x: Array, output: Any) -> Any:
    """Run a plan on the GPU, on the array that `x` is a placeholder of, or on a copy of the host array `x`."""
    require()
    handle = placeholders.held(x)
    if handle is None:
        return _there_and_back(plan, x, output)
    view, target = describe(handle.array, "input"), placeholders.held(output)
    if target is not None:
        _on_device(plan, handle.array, view, target.array, handle.library)
        return output
    made = _on_device(plan, handle.array, view, None, handle.library)
    gradients.record(plan, handle.array, made)
    return placeholders.hold(made, plan.problem.out_shape, plan.problem.output_dtype, handle.library)


# --------------------------------------------------------------------------- arrays on the host


def _there_and_back(plan: PlannedFilter, x: Array, output: Any) -> Array:
    problem = plan.problem
    out = make_output(output, problem.output_dtype, problem.out_shape, x)
    if not problem.pixels:
        return out
    candidate = plan.choice.chosen
    if candidate.runner == "transforms":
        library = with_transforms()
        if library is not None:
            there = library.put(np.ascontiguousarray(x, x.dtype.newbyteorder("=")))
            done = _on_device(plan, there, library.describe(there, "input"), None, library)
            out[...] = library.to_host(done)
            return out
        candidate = _without_transforms(plan, "a NumPy array")
    source = np.ascontiguousarray(x, x.dtype.newbyteorder("="))
    target = np.empty(problem.out_shape, problem.output_dtype)
    device = simulated if SIMULATED else driver.device(0)
    program = prepared_program(plan, device, candidate)
    transfer_and_run(device, program, {INPUT: source}, OUTPUT, target)
    out[...] = target
    return out


# --------------------------------------------------------------------------- arrays on the device


def _on_device(plan: PlannedFilter, array: Any, view: DeviceArray, output: Any, library: Library) -> Any:
    target, written = _target(plan, array, view, output, library)
    if plan.problem.pixels:
        source, read = array, view
        if not view.contiguous:
            source = library.contiguous(array)
            read = describe(source, "input")
        candidate = plan.choice.chosen
        if candidate.runner == "transforms":
            candidate = _applicable(plan, source, library)
        if candidate.runner == "transforms":
            _transform(plan, source, read, target, library)
        else:
            _launch(plan, candidate, source, read, written, library)
    if output is None:
        return target
    if target is not output and plan.problem.pixels:
        library.copy(target, output)
    return output


def _launch(
    plan: PlannedFilter,
    candidate: Candidate,
    array: Any,
    read: DeviceArray,
    written: DeviceArray,
    library: Library,
) -> None:
    addresses = {INPUT: (read.address, read.nbytes), OUTPUT: (written.address, written.nbytes)}
    program = prepared_program(plan, device_of(read.address), candidate)
    scratch = []  # kept alive until all launches are enqueued
    for slot, nbytes in program.scratch.items():
        scratch.append(library.empty((nbytes,), np.dtype(np.uint8), array))
        place = describe(scratch[-1], "workspace")
        addresses[slot] = place.address, place.nbytes
    program(addresses, library.stream(array, read))


def _applicable(plan: PlannedFilter, array: Any, library: Library) -> Candidate:
    """Return the plan's choice if the library has transforms and the data are small enough, otherwise its fallback."""
    choice = plan.choice
    if library.transforms() is None:
        return _without_transforms(plan, f"a {type(array).__name__}")
    if plan.problem.integer_data or library.largest(array) <= choice.chosen.largest_sample:
        return choice.chosen
    assert choice.fallback is not None
    return choice.fallback


def _without_transforms(plan: PlannedFilter, given: str) -> Candidate:
    if plan.problem.method == "fft":
        raise ValueError(
            f"method='fft' on the GPU needs the transforms of CuPy or PyTorch: pass an array of one of them or, "
            f"for host arrays, install one of them with CUDA support; got {given}"
        )
    assert plan.choice.fallback is not None
    return plan.choice.fallback


def _transform(plan: PlannedFilter, array: Any, view: DeviceArray, target: Any, library: Library) -> None:
    """Filter by Fourier transforms; spectra are cached per stream, in whose order the library reuses memory."""
    stream, problem, launches = library.stream(array, view), plan.problem, plan.kernel.launches
    key = ("cuda transforms", library, str(array.device), stream)
    if key not in launches:
        launches[key] = prepared_transforms(library, array, plan.kernel.weights, problem)
    launches[key](array, target, integers=plan.choice.chosen.exact and problem.integer_data)


def _target(
    plan: PlannedFilter, array: Any, read: DeviceArray, output: Any, library: Library
) -> tuple[Any, DeviceArray]:
    """Return the array that kernels write, with its description: `output` if it is suitable, otherwise a new one."""
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


def _overlap(a: DeviceArray, b: DeviceArray) -> bool:
    if not a.contiguous or not b.contiguous:
        return True  # their extents are unknown: a copy is safe
    return a.address < b.address + b.nbytes and b.address < a.address + a.nbytes


# --------------------------------------------------------------------------- programs


def prepared_program(plan: PlannedFilter, device: Any, candidate: Candidate | None = None) -> Any:
    """Return the program of a plan, or of another of its candidates, for a device; cached with the kernel."""
    launches = plan.kernel.launches
    chosen = candidate or plan.choice.chosen
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
