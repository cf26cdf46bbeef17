"""Run the passes of a plan on two arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.problem import Problem
from ..planning.operators import Operator, split_terms
from . import threads
from .bind import Normal, bind
from .buffers import INPUT, OUTPUT, Buffer
from .launch import BoundCall
from .plane_pass import PlanePass, flat_memory
from .short_rows import ShortRows

Array = npt.NDArray[Any]


# --------------------------------------------------------------------------- entry points


def correlate(
    operator: Operator, problem: Problem, form: int | None, x: Array, y: Array, normal: Normal | None = None
) -> None:
    """Filter `x` into `y`, which must not overlap, with `operator.forms[form]` or, for None, the dense weights.

    `y` is real or complex like the result; shapes and types are those of the problem.  With `normal`, for real
    data and weights, NaN samples have weight zero (`cpu.kernels.nan_aware`).
    """
    if normal is not None:
        kernel, divisor = operator.undivided if form is None else operator.form_terms(form)
        normal = (normal[0] * divisor, *normal[1:])
        _launch(operator, problem, (form, "real"), kernel, divisor, x, y, normal)
        return
    if form is None:
        weights, divisor = operator.undivided
        halves = (weights.real, weights.imag) if weights.dtype.kind == "c" else (weights, None)
        _correlate_halves(operator, problem, None, halves, divisor, x, y)
        return
    terms, divisor = operator.form_terms(form)
    split = split_terms(terms) if any(f.taps.dtype.kind == "c" for t in terms for f in t) else (terms, None)
    _correlate_halves(operator, problem, form, split, divisor, x, y)


def _correlate_halves(
    operator: Operator,
    problem: Problem,
    form: int | None,
    halves: tuple[Any, Any],
    divisor: float,
    x: Array,
    y: Array,
) -> None:
    """Filter with the real part of a kernel and, if there is one, the imaginary part."""
    real, imaginary = halves
    if x.dtype.kind != "c" and y.dtype.kind == "c":
        _launch(operator, problem, (form, "real"), real, divisor, x, y.real)
        if imaginary is None:
            y.imag = 0
        else:
            _launch(operator, problem, (form, "imag"), imaginary, divisor, x, y.imag)
        return
    if imaginary is None:
        launch = _launch(operator, problem, (form, "real"), real, divisor, x, y)
        plain = x.flags.c_contiguous and y.flags.c_contiguous
        if plain and y.dtype == problem.output_dtype:  # bytes may be swapped
            first = launch.steps[0].run
            if len(launch.steps) == 1 and isinstance(first, PlanePass | ShortRows) and first.small:
                operator.again[form] = first.run_small
            else:
                operator.again[form] = _repeated(launch, problem)
        return
    # the four real sums are taken in the compute type before two of them are subtracted
    turned = np.empty_like(y, dtype=problem.compute_dtype)
    total = y if y.dtype == turned.dtype else np.empty_like(turned)
    _launch(operator, problem, (form, "real"), real, divisor, x, total)
    _launch(operator, problem, (form, "imag"), imaginary, divisor, x, turned)
    np.subtract(total.real, turned.imag, out=y.real, casting="same_kind")
    np.add(total.imag, turned.real, out=y.imag, casting="same_kind")


def _repeated(launch: BoundCall, problem: Problem) -> Callable[[Array, Array], bool]:
    """Return a function that runs a launch on other contiguous arrays, unless a call now has other threads."""
    count = threads.thread_count(problem.workers)

    def again(x: Array, y: Array) -> bool:
        with threads.occupied():
            if threads.thread_count(problem.workers) != count:
                return False
            launch(x.reshape(-1).view(np.uint8), y.reshape(-1).view(np.uint8))
        return True

    return again


def _launch(
    operator: Operator,
    problem: Problem,
    part: tuple[int | None, str],
    kernel: Any,
    divisor: float,
    x: Array,
    y: Array,
    normal: Normal | None = None,
) -> BoundCall:
    thread_count = threads.thread_count(problem.workers)
    key = (part, x.strides, y.strides, y.dtype, thread_count, normal)  # the operator belongs to one problem
    flat_x, origin_x = flat_memory(x)
    flat_y, origin_y = flat_memory(y)
    launch = operator.launches.get(key)
    if launch is None:
        source = Buffer(INPUT, x.shape, _strides(x), x.dtype, origin_x)
        if normal is not None:
            source = replace(source, gains=(1.0, 1.0), presence=(False, True), seen=True)
        target = Buffer(OUTPUT, y.shape, _strides(y), y.dtype, origin_y)
        launch = bind(problem, kernel, divisor, source, target, thread_count, normal)
        if len(operator.launches) >= 16:
            operator.launches.clear()
        operator.launches[key] = launch
    launch(flat_x, flat_y)
    return launch


def _strides(array: Array) -> tuple[int, ...]:
    return tuple(stride // array.itemsize for stride in array.strides)
