"""Lowering of a filter to passes: which kernel runs on which axes, and in which order.

`chains` decides; columns that are not adjacent in memory are gathered first, slab by slab.
"""

from __future__ import annotations

from dataclasses import replace

from ..arguments.problem import Problem
from .chains import ANY, Lowering
from .layout import Layout, nested_strides
from .spec import PassSpec
from .target import Target
from .task import Task, Terms, Weights


def contiguous(problem: Problem) -> Layout:
    """Return the layout of C-contiguous arrays."""
    return Layout(nested_strides(problem.shape), nested_strides(problem.out_shape))


def lower(
    kernel: Weights | Terms,
    problem: Problem,
    target: Target,
    layout: Layout | None = None,
    *,
    masked: bool = False,
) -> tuple[PassSpec, ...]:
    """Return the passes that compute a real kernel on a pair of arrays.

    Parameters
    ----------
    kernel : Weights or Terms
        Counts of dense weights or of separable terms.
    problem : Problem
        Windows and dtypes.
    target : Target
        The processor.
    layout : Layout, optional
        Strides of the arrays.  Default: C-contiguous.
    masked : bool, optional
        Whether NaN samples have weight zero.

    Returns
    -------
    tuple of PassSpec
        The passes in the order in which a slab takes them, empty if there is nothing to filter.  Use `spec.in_order`
        to also list the passes in `PassSpec.chains`.
    """
    if not problem.windows or not problem.pixels or 0 in problem.shape:
        return ()
    layout = layout or contiguous(problem)
    found = Lowering(problem, target, masked)
    gathered, scattered = found.apart(layout) if not masked else (False, False)
    if gathered:
        layout = replace(layout, input=nested_strides(problem.shape, layout.input))
    if scattered:
        layout = replace(layout, output=nested_strides(problem.out_shape, layout.output))
    passes = found.dense(kernel, layout) if isinstance(kernel, Weights) else found.terms(kernel, layout)
    return (*found.copies("gather", gathered), *passes, *found.copies("scatter", scattered))


def one_pass(problem: Problem, sources: int) -> Task:
    """Return a filter of C-contiguous arrays as one pass that reads `sources` input planes per output plane."""
    layout = contiguous(problem)
    found = Lowering(problem, ANY, masked=False)
    planes = found.planes(problem.windows, problem.shape, problem.out_shape, layout.input, layout.output)
    return found.task(planes, sources, first=True, last=True)
