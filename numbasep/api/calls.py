"""`FilterCall`: one checked call of a filter, for NumPy, dask, xarray and files.

Every public filter has a function that makes a `FilterCall` from its arguments, a shape and a dtype (listed in
`by_name.MAKERS`).  All arguments are checked there, before any sample is read.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..arguments.arrays import as_input, result_dtype
from ..arguments.axes import axis_strides, per_axis
from ..arguments.problem import DEFAULT_OPTIONS, NAN_POLICIES, Options, Window, check_dtype, make_window
from ..execution import execute
from ..plans.plan import Plan
from ..system.types import Array
from .axiswise import Term, by_axis, copy_input, every_sample
from .build import dense_plan, enclosing_windows, plans, term_plan
from .missing_data import PlanMaker, check_missing, filter_missing
from .repeated_calls import Runner, shortcuts

Given = Mapping[str, Any]
"""All arguments of a function by name, including defaults; further keywords are in "kwargs"."""
Maker = Callable[[str, Given, tuple[int, ...], np.dtype[Any]], "FilterCall"]
"""Function of (name, arguments, shape, dtype) that returns the `FilterCall`."""

ONE_AXIS = ("convolve1d", "correlate1d", "uniform_filter1d", "gaussian_filter1d")
"""Functions that filter one axis, with parameters `axis` and a single `mode`."""


@dataclass(frozen=True, slots=True)
class FilterCall:
    """A checked call of a filter, without its arrays: its arguments, and the kernel and windows that they define."""

    name: str
    """Public name of the function."""
    arguments: Given
    """All arguments except the array and the mask; axes are non-negative, and `output` is the dtype of the result."""
    named: tuple[int, ...]
    """Axes, in the order of arguments with one value per axis."""
    shape: tuple[int, ...]
    """Shape of the array."""
    input_dtype: np.dtype[Any]
    """Dtype of the array."""
    dtype: np.dtype[Any]
    """Dtype of the result."""
    cval: complex
    """Value beyond the edges, for the mode "constant"."""
    options: Options
    """Keyword arguments that all filters share."""
    operation: str
    """Name of the operation, shown in plans."""
    windows: tuple[Window, ...] = ()
    """Windows of filtered and of thinned axes, in ascending order."""
    kernel: Array | None = None
    """Dense kernel, as a correlation; None for kernels given as terms."""
    terms: tuple[Term, ...] = ()
    """Separable terms whose sum is the kernel; without a kernel, terms and parts, the result is a copy."""
    divisor: float = 1.0
    """Divisor of the sums."""
    derivative: bool = False
    """Whether the sum of the weights counts as 0, which is not exact for truncated derivatives of a Gaussian."""
    thinned: Mapping[int, int] = field(default_factory=dict)
    """Strides above 1, by axis, along axes that are not filtered."""
    parts: tuple[FilterCall, ...] = ()
    """Calls whose results `join` combines, for filters that are not a single kernel."""
    join: Callable[[FilterCall, Iterable[Array], Array, Any], Array] | None = None
    """Function of (call, results of the parts, input, output) that returns the result."""

    @property
    def one_mode(self) -> bool:
        """Whether modes that differ between axes change the definition of the filter."""
        return self.name in ("gaussian_laplace", "gaussian_gradient_magnitude")

    @property
    def modes(self) -> dict[int, Any]:
        """Mode of each axis."""
        return by_axis(self.named, per_axis("mode", self.arguments["mode"], len(self.named)))

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        sizes = {window.axis: window.out_size for window in self.windows}
        return tuple(sizes.get(axis, size) for axis, size in enumerate(self.shape))

    def with_terms(
        self, terms: Sequence[Term], *, divisor: float = 1.0, derivative: bool = False
    ) -> FilterCall:
        """Return the call with a sum of separable terms; every axis keeps its mode and its stride."""
        modes = self.modes
        strides = by_axis(self.named, axis_strides(self.arguments.get("stride", 1), len(self.named)))
        filtered = {axis for term in terms for axis in term}
        thinned = {axis: n for axis, n in strides.items() if n > 1 and axis not in filtered}
        alone = [
            make_window(axis, self.shape[axis], 1, 0, modes[axis], flip=False, stride=n)
            for axis, n in thinned.items()
        ]
        windows = [*enclosing_windows(terms, self.shape, modes, strides), *alone]
        return replace(
            self, terms=tuple(terms), windows=tuple(sorted(windows, key=lambda window: window.axis)),
            divisor=divisor, derivative=derivative, thinned=thinned,
        )  # fmt: skip

    def on_part(self, within: Mapping[int, bool]) -> dict[str, Any]:
        """Return the arguments for a call on a part of the array.

        Parameters
        ----------
        within : mapping of int to bool
            For filtered axes, whether the part contains all samples that its results need, so that the mode is "valid".
        """
        arguments = dict(self.arguments)
        modes = self.modes
        origins = by_axis(self.named, per_axis("origin", arguments.get("origin", 0), len(self.named)))
        for axis in self.named:
            if within.get(axis, False):
                modes[axis], origins[axis] = "valid", 0
        single = self.name in ONE_AXIS
        arguments["mode"] = modes[self.named[0]] if single else tuple(modes.values())
        if "origin" in arguments:
            arguments["origin"] = origins[self.named[0]] if single else tuple(origins.values())
        return arguments

    # ------------------------------------------------------------------------- plans

    def planner(self, *, missing: bool = False) -> PlanMaker:
        """Return a function of (input dtype, output dtype, cval) that plans the call; equal calls share a plan.

        `missing` says that `nan_policy` or a mask may leave out samples.
        """
        shape = tuple(-(-n // self.thinned.get(axis, 1)) for axis, n in enumerate(self.shape))
        windows = tuple(window for window in self.windows if window.axis not in self.thinned)
        make: Callable[..., Plan]
        if self.kernel is not None:
            kernel, single = self.kernel, self.arguments["weights"].dtype.char in "fF"
            content: Any = kernel.tobytes(), kernel.shape, kernel.dtype, single
            make = functools.partial(dense_plan, kernel, windows, shape, single=single)
        else:
            content = tuple(
                tuple((axis, t.first, t.weights.dtype, t.weights.tobytes()) for axis, t in term.items())
                for term in self.terms
            )
            make = functools.partial(term_plan, self.terms, windows, shape, divisor=self.divisor)
        options, operation = self.options, self.operation
        key = content, windows, shape, operation, self.divisor, options, missing

        def planned(input_dtype: np.dtype[Any], output_dtype: np.dtype[Any], cval: complex) -> Plan:
            return plans.get(
                (input_dtype, output_dtype, cval, key),
                lambda: make(
                    input_dtype,
                    output_dtype,
                    cval=cval,
                    options=options,
                    operation=operation,
                    missing=missing,
                ),
            )

        return planned

    def runner(self, *, complete: bool) -> Plan | Runner:
        """Return what runs the call: a plan, or a function of (input, output, mask).

        `complete` says that neither `nan_policy` nor a mask leaves out samples.
        """
        if not complete or self.thinned or self.is_copy:
            return self.filter
        if self.join is None:
            return self.planner()(self.input_dtype, self.dtype, self.cval)
        made = [part.planner()(part.input_dtype, part.dtype, part.cval) for part in self.parts]
        return functools.partial(self._join_plans, made)

    def _join_plans(self, made: Sequence[Plan], x: Array, output: Any, _mask: None) -> Array:
        assert self.join is not None
        return self.join(self, (execute.filter_array(plan, x, None) for plan in made), x, output)

    # ------------------------------------------------------------------------- arrays

    @property
    def is_copy(self) -> bool:
        """Whether no axis is filtered."""
        return self.kernel is None and not self.terms and not self.parts

    def filter(self, x: Array, output: Any, mask: Any) -> Array:
        """Filter an array of the call's shape and dtype."""
        nan_policy = self.arguments["nan_policy"]
        mask = check_missing(nan_policy, mask, self.shape)
        if self.thinned:
            x, mask = every_sample(x, mask, nan_policy, self.thinned)
        if self.is_copy:
            return copy_input(x, output, self.options.cast, nan_policy, mask)
        if self.join is not None:
            return self.join(self, (part.filter(x, None, mask) for part in self.parts), x, output)
        make_plan = self.planner(missing=nan_policy == "omit" or mask is not None)
        if nan_policy == "propagate" and mask is None:
            return execute.filter_array(make_plan(x.dtype, self.dtype, self.cval), x, output)
        weight, l1 = self._sums()
        return filter_missing(
            x, output, self.dtype, cval=self.cval, nan_policy=nan_policy, mask=mask, weight=weight, l1=l1,
            make_plan=make_plan, cast=self.options.cast,
        )  # fmt: skip

    def _sums(self) -> tuple[complex, float]:
        """Return the sum of the weights, and of their magnitudes."""
        if self.kernel is not None:
            return complex(self.kernel.sum()), float(np.abs(self.kernel).sum())
        sums = [math.prod((t.weights.sum() for t in term.values()), start=1 + 0j) for term in self.terms]
        sizes = [math.prod(float(np.abs(t.weights).sum()) for t in term.values()) for term in self.terms]
        return 0j if self.derivative else sum(sums) / self.divisor, sum(sizes) / self.divisor


def run(make: Maker, name: str, given: Given) -> Array:
    """Run a public filter; this is the whole body of each."""
    x, output, mask = as_input(given["input"]), given["output"], given["mask"]
    call = make(name, given, x.shape, x.dtype)
    runner = call.runner(complete=given["nan_policy"] == "propagate" and mask is None)
    keep(runner, output, call.dtype)
    return execute.filter_array(runner, x, output) if isinstance(runner, Plan) else runner(x, output, mask)


def keep(runner: Plan | Runner, output: Any, dtype: np.dtype[Any]) -> None:
    """Remember the runner of the current call, unless `output` was promoted to complex: each such call must warn."""
    if output is None or isinstance(output, np.ndarray) or np.dtype(output).kind == dtype.kind:
        shortcuts.keep(runner)


# ------------------------------------------------------------------------------------- checks


def begin(
    name: str, given: Given, shape: tuple[int, ...], dtype: np.dtype[Any], named: tuple[int, ...],
    *, complex_kernel: bool = False,
) -> FilterCall:  # fmt: skip
    """Return a `FilterCall` with all shared arguments checked, still without a kernel."""
    complex_data = check_dtype(dtype, "input").kind == "c"
    options = make_options(*(given[key] for key in ("method", "rtol", "workers", "device", "cast")))
    cval = check_cval(given["cval"], complex_data=complex_data)
    if given["nan_policy"] not in NAN_POLICIES:
        allowed = ", ".join(map(repr, NAN_POLICIES))
        raise ValueError(f"nan_policy must be one of {allowed}, got {given['nan_policy']!r}")
    result = result_dtype(given["output"], dtype, complex_result=complex_kernel or complex_data)
    fixed = {key: value for key, value in given.items() if key not in ("input", "mask", "kwargs")}
    fixed |= given.get("kwargs", {})
    fixed["output"] = result
    if name in ONE_AXIS:
        (fixed["axis"],) = named
    elif "axes" in fixed and not isinstance(fixed.get("kernels"), Mapping):
        fixed["axes"] = named
    return FilterCall(name, fixed, named, shape, dtype, result, cval, options, name)


def make_options(
    method: str, rtol: float | None, workers: int | None, device: str | None, cast: str
) -> Options:
    """Return the checked shared keywords; defaults return a shared object."""
    if method == "auto" and rtol is None and workers is None and device is None and cast == "truncate":
        return DEFAULT_OPTIONS
    return Options(method, rtol, workers, device, cast)


def check_cval(cval: Any, *, complex_data: bool) -> complex:
    """Return `cval` as a number; raise if it is complex and the data are real."""
    if isinstance(cval, (int, float)):
        return cval
    if np.iscomplexobj(cval) and not complex_data:
        raise ValueError(f"Cannot provide a complex-valued cval when the input is real, got cval={cval!r}")
    try:
        return complex(cval)
    except (TypeError, ValueError):
        raise TypeError(f"cval must be a number, got {cval!r}") from None
