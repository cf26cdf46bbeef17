"""Plans from checked arguments: kernels, problems, facts and machine constants are combined here.

Plans are cached by everything they depend on, so that a second call with an equal kernel only takes a look-up.
"""

import contextlib
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ..arguments.axes import KernelShapeError
from ..arguments.boundary import Boundary
from ..arguments.problem import Options, Problem, UnsupportedDtypeError, Window, make_problem, make_window
from ..factor import forms as find_forms
from ..factor import recursion, runs
from ..factor.arguments import as_kernel
from ..factor.form import Form
from ..factor.operations import form_operations
from ..planning import accelerator, machine
from ..planning.facts import KernelFacts, RecursionFacts, kernel_facts, term_facts
from ..planning.operators import Factor, Operator, Term, dense_slices, identity_factor, touched_taps
from ..planning.planner import choose
from ..plans.plan import Plan
from ..system.forks import fork_safe_lock
from ..system.types import Array

T = TypeVar("T")

KEPT_PLANS = 512
KEPT_KERNELS = 128


class _Cache(Generic[T]):
    """A thread-safe cache of the most recently used values."""

    def __init__(self, limit: int) -> None:
        self._kept: OrderedDict[Any, T] = OrderedDict()
        self._limit = limit
        self._lock = fork_safe_lock()

    def get(self, key: Any, make: Callable[[], T]) -> T:
        """Return the value of `key`; call `make` for it if there is none."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return made

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._kept.clear()


plans: _Cache[Plan] = _Cache(KEPT_PLANS)
kernels: _Cache[tuple[tuple[Form, ...], KernelFacts, runs.Flat | None]] = _Cache(KEPT_KERNELS)
machine.when_changed(plans.clear)


@dataclass(frozen=True, slots=True)
class Taps:
    """One-dimensional weights of a term along one axis, as a correlation."""

    weights: Array
    """Taps; tap k is multiplied by ``x[i + first + k]``."""
    first: int
    """Position of tap 0, relative to the output."""


# --------------------------------------------------------------------------- dense kernels


def as_weights(weights: npt.ArrayLike, *, conjugate: bool, name: str = "weights") -> Array:
    """Return a checked kernel as float64 or complex128, finite and not empty."""
    array = np.asarray(weights)
    if array.dtype.kind not in "biufc" or array.dtype.char in "gG":
        raise UnsupportedDtypeError(
            f"{name} must be bool, integer, float16 to float64, complex64 or complex128, got dtype {array.dtype}"
        )
    array = np.array(array, np.complex128 if array.dtype.kind == "c" else np.float64, order="C")
    if not array.size:
        raise KernelShapeError(
            f"filter weights array has incorrect shape: {name} must not be empty, got {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    if conjugate and array.dtype.kind == "c":
        array = array.conj()
    return array


def dense_plan(
    kernel: Array,
    windows: tuple[Window, ...],
    shape: Sequence[int],
    input_dtype: np.dtype[Any],
    output_dtype: np.dtype[Any],
    *,
    cval: complex,
    options: Options,
    operation: str,
    single: bool,
    missing: bool = False,
) -> Plan:
    """Return a plan for a dense kernel, given as a correlation with one axis for each window.

    `single` says that the weights were given in single precision, `missing` that samples may be left out.
    """
    if options.method != "structured":  # an axis less may leave no structure
        with contextlib.suppress(OverflowError):  # of a sum of weights
            windows, kernel = _without_single_samples(
                windows, kernel, SingleSample(input_dtype, cval, missing)
            )
    windows, kernel = _without_single_taps(windows, kernel)
    kernel = np.ascontiguousarray(kernel)
    kernel.flags.writeable = False
    integral = kernel.dtype.kind != "c" and bool((kernel == np.rint(kernel)).all())
    problem = make_problem(
        shape, input_dtype, output_dtype, windows, cval=cval, footprint="support", options=options,
        operation=operation, complex_kernel=kernel.dtype.kind == "c",
        integer_l1=float(np.abs(kernel).sum()) if integral else None,
    )  # fmt: skip
    eps = float(np.finfo(problem.real_dtype).eps)
    wanted = options.method in ("separable", "structured")

    def factored() -> tuple[tuple[Form, ...], KernelFacts, runs.Flat | None]:
        typed = kernel.astype(np.complex64 if kernel.dtype.kind == "c" else np.float32) if single else kernel
        found = find_forms(typed, options.rtol, compute_eps=eps, thorough=wanted) if kernel.ndim else ()
        if (
            wanted and kernel.ndim > 1
        ):  # one term for each line of the kernel is no better than direct summation
            most, nonzeros = min(kernel.shape), np.count_nonzero(kernel)
            found = tuple(f for f in found if len(f.terms) < max(most, 2) or f.operations < nonzeros)
        product = any(len(form.terms) == 1 for form in found)
        flat = None if product or kernel.ndim < 2 else runs.find(as_kernel(typed))
        return found, kernel_facts(kernel, found, flat), flat

    key = (kernel.tobytes(), kernel.shape, kernel.dtype, single, options.rtol, eps, wanted)
    found, facts, flat = kernels.get(key, factored)
    return finish(problem, Operator(found, None, kernel, flat=flat), facts)


@dataclass(frozen=True, slots=True)
class SingleSample:
    """Rule that replaces the filter along an axis of one sample by a product, if that is equivalent."""

    input_dtype: np.dtype[Any]
    """Dtype of the samples."""
    cval: complex
    """Value of samples beyond a constant boundary."""
    missing: bool
    """Whether missing samples are left out; those beyond a constant boundary are not, so their weights count."""

    @property
    def integers(self) -> bool:
        """Whether samples are integers, and so finite."""
        return self.input_dtype.kind in "biu"

    def taps(self, window: Window, lines: Array, first: int) -> slice | None:
        """Return the taps whose sum is the weight of the sample, in every row of `lines`; None if no sum is.

        Boundaries other than "constant" repeat the sample, so that its weight is the sum of all taps.  For floats, this
        is not equivalent if signs differ: the products of an infinity with the taps would add up to NaN.
        """
        if not window.size == window.out_size == 1 < window.taps:
            return None
        if window.boundary is Boundary.CONSTANT:
            zero = not (self.cval or self.missing)
            return slice(-first, 1 - first) if zero and 0 <= -first < lines.shape[1] else None
        if lines.dtype.kind == "c" or not (
            self.integers or ((lines >= 0).all(1) | (lines <= 0).all(1)).all()
        ):
            return None
        return slice(None)


def _without_single_samples(
    windows: tuple[Window, ...], kernel: Array, rule: SingleSample
) -> tuple[tuple[Window, ...], Array]:
    """Replace the weights along axes of one sample by the weight of the sample, which is rounded once.

    Nothing is replaced if samples are integers and sums are rounded to integers, as these are taken to be exact.
    """
    kept, summed, unchanged = list(windows), list[int](), kernel
    for axis, window in enumerate(windows):
        repeats = window.boundary is not Boundary.CONSTANT
        taps = rule.taps(window, _lines(kernel, [*summed, axis] if repeats else [axis]), window.first)
        if taps is None:
            continue
        kept[axis] = replace(window, taps=1, first=0, step=1)
        if repeats:
            summed.append(axis)
        else:
            kernel = kernel[(slice(None),) * axis + (taps,)]
    if summed:
        shape = [1 if axis in summed else n for axis, n in enumerate(kernel.shape)]
        lines = _lines(kernel, summed)
        sums = np.array([math.fsum(line) for line in lines])
        integral = rule.integers and (sums == np.rint(sums)).all()
        if integral and any(map(math.fsum, np.column_stack([lines, -sums]))):
            return windows, unchanged
        kernel = sums.reshape(shape)
    return tuple(kept), kernel


def _lines(kernel: Array, axes: Sequence[int]) -> Array:
    """Return the weights along some axes as rows."""
    count = math.prod(kernel.shape[axis] for axis in axes)
    return np.moveaxis(kernel, axes, range(-len(axes), 0)).reshape(-1, count)


def _without_single_taps(windows: tuple[Window, ...], kernel: Array) -> tuple[tuple[Window, ...], Array]:
    """Drop axes whose single tap is at the position of the output, and so only scales, from windows and kernel."""

    def plain(window: Window) -> bool:
        return (window.taps, window.first, window.step, window.out_size) == (1, 0, 1, window.size)

    kept = tuple(window for window in windows if not plain(window)) or windows[-1:]
    return kept, kernel.reshape([window.taps for window in kept])


def finish(problem: Problem, operator: Operator, facts: KernelFacts) -> Plan:
    """Choose the route and return the plan."""
    constants = accelerator.current() if problem.device == "cuda" else machine.current()
    terms = operator.forms[0].terms if operator.forms else ()
    recursive = None
    if problem.rtol is not None and problem.compute_dtype.kind != "c":
        recursive = recursion.fit_all(terms, problem.real_dtype)
    if recursive is not None:
        recursions, error = recursive
        margins = tuple(one.margin for one in recursions)
        found = RecursionFacts(error, margins, recursion.OPERATIONS)
        operator = replace(operator, recursions=recursions, recursion=found)
        facts = replace(facts, recursion=found)
    return Plan(problem, choose(problem, facts, constants), operator, constants.name)


# --------------------------------------------------------------------------- kernels given as terms


def term_plan(
    terms: Sequence[Mapping[int, Taps]],
    windows: tuple[Window, ...],
    shape: Sequence[int],
    input_dtype: np.dtype[Any],
    output_dtype: np.dtype[Any],
    *,
    cval: complex,
    options: Options,
    operation: str,
    divisor: float = 1.0,
    missing: bool = False,
) -> Plan:
    """Return a plan for a sum of separable terms, each a mapping from axes to taps; `windows` enclose all taps.

    The result is divided by `divisor` at the end.  `missing` says that samples may be left out.
    """
    real = all(taps.weights.dtype.kind != "c" for term in terms for taps in term.values())
    if options.method != "structured" and real:
        rule = SingleSample(input_dtype, cval, missing)
        with contextlib.suppress(OverflowError):
            terms, windows = _without_axes_of_one_sample(terms, windows, rule)
    factors = [tuple(_place(term.get(w.axis), w) for w in windows) for term in terms]
    single = len(factors) == 1
    is_complex = any(f.taps.dtype.kind == "c" for term in factors for f in term)
    form = _given_form(factors, divisor)
    bound = form.amplification * _l1(form.terms) if form.exact else None
    problem = make_problem(
        shape, input_dtype, output_dtype, windows, cval=cval, footprint="window" if single else "support",
        options=options, operation=operation, complex_kernel=is_complex, integer_l1=bound,
    )  # fmt: skip
    operator = Operator((form,), tuple(factors), None)
    facts = term_facts(form.terms, dense_slices(form.terms), divisor, operator.forms, touched_taps(factors))
    return finish(problem, operator, facts)


def _without_axes_of_one_sample(
    terms: Sequence[Mapping[int, Taps]], windows: tuple[Window, ...], rule: SingleSample
) -> tuple[Sequence[Mapping[int, Taps]], tuple[Window, ...]]:
    """Drop axes of one sample; in each term, the weight of the sample scales the taps along another axis."""
    one = Taps(np.ones(1), 0)
    kept, scales, unchanged = windows, [Fraction(1)] * len(terms), (terms, windows)
    for window in windows:
        factors = [term.get(window.axis, one) for term in terms]
        found = [rule.taps(window, factor.weights[None], factor.first) for factor in factors]
        # an axis with zero taps is kept unless samples are integers: 0 * infinity is NaN
        usable = all(f.weights.all() or rule.integers for f in factors)
        if len(kept) > 1 and usable and None not in found:
            kept = tuple(w for w in kept if w is not window)
            sums = (sum(map(Fraction, f.weights[taps])) for f, taps in zip(factors, found, strict=True))
            scales = [scale * total for scale, total in zip(scales, sums, strict=True)]
    if len(kept) < len(windows):
        axis = kept[0].axis
        scaled = [term.get(axis, one) for term in terms]
        exact = [[Fraction(w) * n for w in taps.weights] for taps, n in zip(scaled, scales, strict=True)]
        rounded = [list(map(float, weights)) for weights in exact]
        integral = rule.integers and all(weight.is_integer() for weights in rounded for weight in weights)
        if integral and rounded != exact:
            return unchanged  # integer weights are taken to be exact
        terms = [
            {**term, axis: replace(taps, weights=np.array(weights))}
            for term, taps, weights in zip(terms, scaled, rounded, strict=True)
        ]
    return terms, kept


def enclosing_windows(
    terms: Sequence[Mapping[int, Taps]],
    shape: Sequence[int],
    modes: Mapping[int, object],
    strides: Mapping[int, int] | None = None,
) -> tuple[Window, ...]:
    """Return, for each axis that a term filters, the smallest window that contains the taps of all terms."""
    strides = strides or {}
    windows = []
    for axis in sorted({axis for term in terms for axis in term}):
        taps = [term[axis] for term in terms if axis in term]
        partial = len(taps) < len(terms)
        first = min([t.first for t in taps] + [0] * partial)
        last = max([t.first + t.weights.size for t in taps] + [1] * partial)
        mode = modes[axis]
        window = make_window(
            axis, shape[axis], last - first, 0, mode, flip=False, stride=strides.get(axis, 1)
        )
        if mode not in ("valid", "full"):
            window = replace(window, first=first)
        windows.append(window)
    return tuple(windows)


def _place(taps: Taps | None, window: Window) -> Factor:
    """Return taps as a factor of an enclosing window; positions without a tap are not multiplied."""
    if taps is None:
        return identity_factor(window.taps, window.first)
    if taps.weights.size == window.taps:
        return Factor(taps.weights, 0, window.taps, sparse=False)
    start = taps.first - window.first
    placed = np.zeros(window.taps, taps.weights.dtype)
    placed[start : start + taps.weights.size] = taps.weights
    return Factor(placed, start, start + taps.weights.size, sparse=False)


def _l1(terms: Sequence[Sequence[Array]]) -> float:
    if len(terms) == 1:
        return math.prod(float(np.abs(taps).sum()) for taps in terms[0])
    return sum(float(np.abs(part).sum()) for part in dense_slices(terms))


def _given_form(factors: Sequence[Term], divisor: float) -> Form:
    """Return the given terms as a `Form`."""
    taps = tuple(tuple(f.taps for f in term) for term in factors)
    sizes = sum(float(np.prod([np.abs(t).sum() for t in term])) for term in taps)
    whole = all(t.dtype.kind != "c" and bool((t == np.rint(t)).all()) for term in taps for t in term)
    l1 = _l1(taps)
    stacked = [np.array([term[a] for term in taps]) for a in range(len(taps[0]))]
    return Form(
        name="given", terms=taps, divisor=divisor, error=0.0, amplification=sizes / l1 if l1 else 1.0,
        operations=form_operations(stacked), exact=whole, same_support=True,
    )  # fmt: skip
