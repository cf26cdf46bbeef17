"""Routes to compute a filter on a GPU.

Error bounds are those of the CPU, as the arithmetic is the same.  A form that would spread NaN further than direct
summation needs no check of the data: its kernel recomputes results that are not finite by direct summation, for
which it must run in one pass.  Transforms are those of the array's library; if it has none, the plan's fallback runs.
"""

import math
from collections.abc import Callable, Sequence

from ..arguments.problem import Problem, Window
from . import machine, overlap_cuda, rounding
from .accelerator import Accelerator
from .cost import PlannedPass, bytes_per_pixel, number_parts
from .cuda_limits import MOST_STEP, MOST_TERMS, tap_class
from .facts import FormFacts, KernelFacts
from .routes import ROUTES, Candidate, keeps_footprint

Estimate = Callable[[Problem, KernelFacts, Accelerator], tuple[Candidate, ...]]

TRANSFORM_PASSES = (7, 4)
"""Number of times that all points are read or written: to pad, multiply and store; and per transformed axis."""
NO_STRIDES = "strides have not been written for the GPU: leave out stride, and slice the result, [::stride]"
SPREADS = "NaN and infinities would spread further, and it takes more than one pass"


def unsupported(problem: Problem, facts: KernelFacts) -> str | None:
    """Return the reason why no GPU route can compute a problem, or None."""
    if problem.is_strided:
        return NO_STRIDES
    if facts.complex:
        return "plans for the GPU have real weights: plan those of weights.real and of weights.imag"
    if problem.output_dtype.kind == "c" and problem.input_dtype.kind != "c":
        return "complex results of real data are made on the CPU only"
    constant = any(window.boundary.name == "CONSTANT" for window in problem.windows)
    if problem.cval.imag or (constant and problem.cval and problem.input_dtype.kind == "c"):
        return "complex data beyond a constant boundary must be 0"
    return None


def price(problem: Problem, facts: KernelFacts, accelerator: Accelerator) -> dict[str, tuple[Candidate, ...]]:
    """Return the candidates of every route, for `planner.choose`."""
    reason = unsupported(problem, facts)
    found = {}
    for name, route in ROUTES.items():
        refused = reason or (
            route.infeasible(problem, facts, machine.REFERENCE)
            if name != "fft"
            else _no_transforms(problem, facts)
        )
        found[name] = (
            (Candidate(name, False, refused),) if refused else _ESTIMATES[name](problem, facts, accelerator)
        )
    return found


def transfer_seconds(problem: Problem, accelerator: Accelerator) -> float:
    """Return the predicted time to copy an array from the host to the device and the result back."""
    return bytes_per_pixel(problem) * problem.pixels / accelerator.transfer_rate


# --------------------------------------------------------------------------- predicted times


def _seconds(
    problem: Problem,
    facts: KernelFacts,
    accelerator: Accelerator,
    rates: tuple[float, float],
    operations: float,
    extra_bytes: float,
    launches: int,
) -> float:
    """Return the predicted time: memory transfer and arithmetic overlap, so the slower of the two counts."""
    rate = rates[problem.real_dtype.itemsize == 8]
    moved = bytes_per_pixel(problem) + extra_bytes
    work = max(operations * number_parts(problem, facts) / rate, moved / accelerator.copy_rate)
    return accelerator.launch_seconds * launches + problem.pixels * work


def _direct(problem: Problem, facts: KernelFacts, accelerator: Accelerator) -> tuple[Candidate, ...]:
    given = next((i for i, form in enumerate(facts.forms) if form.given), None)
    spreads = (
        given is not None
        and not problem.integer_data
        and facts.forms[given].rank > 1
        and not (facts.forms[given].same_support and facts.forms[given].coherent)
    )
    taps = facts.size if problem.footprint == "window" else facts.nonzeros
    short = len(problem.windows) == 1 and is_one_pass(problem.windows, 1, _inner(problem))
    rates = accelerator.plane_rate if short else accelerator.columns_rate
    seconds, operations = (
        _seconds(problem, facts, accelerator, rates, taps, 0, 1), taps * number_parts(problem, facts)
    )  # fmt: skip
    return (
        Candidate(
            "direct",
            not spreads,
            "its terms, as given, spread NaN and infinities differently" if spreads else "",
            seconds=seconds,
            passes=_launch(
                "plane" if short else "taps", problem, seconds, bytes_per_pixel(problem), operations
            ),
            operations=operations,
            executed=operations,
            bytes=bytes_per_pixel(problem),
            error_bound=rounding.direct_bound(problem, facts),
            exact=rounding.direct_is_exact(problem, facts),
        ),
    )


def _launch(
    kernel: str, problem: Problem, seconds: float, moved: float, operations: float
) -> tuple[PlannedPass, ...]:
    """Return the single pass of a candidate; `moved` and `operations` are per output element."""
    axes, pixels = tuple(window.axis for window in problem.windows), problem.pixels
    return (PlannedPass(kernel, axes, seconds, moved * pixels, operations * pixels),)


def is_one_pass(windows: Sequence[Window], terms: int, inner: int) -> bool:
    """Return whether `cuda.kernels.plane` can sum `terms` in one pass; `inner` is the number of reals per sample."""
    if any(tap_class(window.taps) is None for window in windows):
        return False
    return len(windows) == 1 or (len(windows) == 2 and terms <= MOST_TERMS and inner <= MOST_STEP)


def _inner(problem: Problem) -> int:
    parts = 2 if problem.input_dtype.kind == "c" else 1
    return math.prod(problem.shape[problem.windows[-1].axis + 1 :]) * parts if problem.windows else parts


def _operations(form: FormFacts) -> int:
    """Return the multiply-adds of a form per output element; a single tap is merged into another axis."""
    return sum(max(sum(taps for taps in term if taps > 1), 1) for term in form.factors)


def _form(
    method: str, index: int, problem: Problem, facts: KernelFacts, accelerator: Accelerator
) -> Candidate:
    form = facts.forms[index]
    one_pass = is_one_pass(problem.windows, form.rank, _inner(problem))
    keeps = keeps_footprint(problem, facts, index)
    operations = _operations(form)
    intermediates = 0 if one_pass else form.rank * max(1, len(problem.windows) - 2)
    item = problem.compute_dtype.itemsize
    rates = accelerator.plane_rate if one_pass else accelerator.columns_rate
    seconds = _seconds(
        problem, facts, accelerator, rates, operations, 2 * item * intermediates, 1 + intermediates
    )
    executed, moved = (
        operations * number_parts(problem, facts), bytes_per_pixel(problem) + 2 * item * intermediates
    )  # fmt: skip
    return Candidate(
        method,
        one_pass or keeps,
        "" if one_pass or keeps else SPREADS,
        seconds=seconds,
        passes=_launch("plane", problem, seconds, moved, executed) if one_pass else (),
        operations=min(form.operations, operations) * number_parts(problem, facts),
        executed=executed,
        bytes=moved,
        error_bound=rounding.form_bound(problem, facts, form),
        rank=form.rank,
        form=index,
        name=form.name,
        exact=rounding.form_is_exact(problem, facts, form),
        needs_finite=not keeps,
        workspace=item * problem.pixels * intermediates,
    )


def _plain_form(problem: Problem, facts: KernelFacts, accelerator: Accelerator) -> tuple[Candidate, ...]:
    return (_form("separable", 0, problem, facts, accelerator),)


def _structured_forms(
    problem: Problem, facts: KernelFacts, accelerator: Accelerator
) -> tuple[Candidate, ...]:
    indices = range(1, len(facts.forms))
    if not indices:  # only the recursive filters of the CPU make the route feasible
        return (Candidate("structured", False, "recursive filters run on the CPU only"),)
    return tuple(_form("structured", index, problem, facts, accelerator) for index in indices)


def _no_transforms(problem: Problem, facts: KernelFacts) -> str | None:
    """Return the reason why transforms cannot compute a problem, or None."""
    if not problem.windows or not problem.pixels or 0 in problem.shape:
        return "there is nothing to transform"
    if not math.isfinite(abs(problem.cval)):
        return "cval is not finite"
    if problem.output_dtype.kind in "biu":
        return "integer results of transforms are made on the CPU only"
    if rounding.direct_is_exact(problem, facts) and not rounding.fft_is_exact(
        problem, facts, overlap_cuda.blocks(problem).points
    ):
        return "integer data and weights, and rounding to the right integer is not proved"
    return None


def _transforms(problem: Problem, facts: KernelFacts, accelerator: Accelerator) -> tuple[Candidate, ...]:
    """Return the candidate for overlap-save in large blocks, each step of which reads and writes memory."""
    cut = overlap_cuda.blocks(problem)
    exact = rounding.fft_is_exact(problem, facts, cut.points)
    touched = TRANSFORM_PASSES[0] + TRANSFORM_PASSES[1] * len(cut.windows)
    numbers = cut.number * cut.points * cut.batch
    moved = numbers * problem.compute_dtype.itemsize * touched / problem.pixels
    operations = number_parts(problem, facts) * numbers * (5 * math.log2(cut.points) + 3) / 2 / problem.pixels
    check = 0 if problem.integer_data else math.prod(problem.shape) * problem.input_dtype.itemsize
    seconds = (moved * problem.pixels + check) / accelerator.copy_rate
    seconds += accelerator.launch_seconds * touched * cut.number
    return (
        Candidate(
            "fft",
            True,
            seconds=seconds,
            passes=_launch("transform", problem, seconds, moved, operations),
            operations=operations,
            executed=operations,
            bytes=moved,
            error_bound=0.0 if exact else rounding.fft_bound(problem, facts, cut.points),
            exact=exact,
            needs_finite=True,  # also for integers: the fallback runs if the array's library has no transforms
            largest_sample=rounding.fft_largest_sample(problem, facts, cut.points),
            workspace=4 * cut.points * cut.batch * problem.compute_dtype.itemsize,
            runner="transforms",
        ),
    )


_ESTIMATES: dict[str, Estimate] = {
    "direct": _direct,
    "separable": _plain_form,
    "structured": _structured_forms,
    "fft": _transforms,
}
