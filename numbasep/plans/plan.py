"""`Plan`: a filter whose route is chosen, which can be printed and run."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from ..execution.execute import run_plan
from ..planning.cost import PlannedPass
from ..planning.memory_order import Order, copied_order, copy_seconds, reordered
from ..planning.planner import Choice, PlannedFilter
from ..planning.routes import Candidate
from . import report
from .analysis import Analysis, analyze
from .certificate import effective_error

ORDERS = ("C", "F")


@dataclass(frozen=True, slots=True)
class Plan(PlannedFilter):
    """A filter with a chosen route, ready to run on any number of arrays of one shape and dtype.

    Made by `numbasep.plan`.  ``print(plan)`` shows every route with its predicted time, operations and bytes per
    output element, and error bound, or the reason why it is infeasible; then the passes of the chosen route.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> taps = np.array([1.0, 4.0, 6.0, 4.0, 1.0])
    >>> plan = numbasep.plan(np.outer(taps, taps), (480, 640), np.uint16)
    >>> [candidate.method for candidate in plan.candidates]
    ['direct', 'separable', 'structured', 'fft']
    >>> plan.exact, plan.error_bound
    (True, 0.0)
    >>> [(one.kernel, one.axes) for one in plan.passes]
    [('separable', (0, 1))]
    >>> plan(np.full((480, 640), 2, np.uint16))[0, 0]
    np.uint16(512)
    """

    order: str = "C"
    """Memory order of the arrays for which times are predicted."""

    def __call__(self, input: Any, output: Any = None) -> npt.NDArray[Any]:
        """Run the plan.

        Parameters
        ----------
        input : array_like
            An array of the plan's shape and dtype.  For an array in another memory order, the filter is planned once
            more.
        output : ndarray or dtype, optional
            Array for the result, or its dtype.

        Returns
        -------
        ndarray
            `output` if it is an array, else a new array.

        Raises
        ------
        ValueError
            If `input` has another shape or dtype than planned, or `output` cannot hold the result.
        """
        return run_plan(self, input, output)

    def analyze(self, input: Any = None, repeats: int = 3) -> Analysis:
        """Run the plan and measure each of its passes.

        Parameters
        ----------
        input : array_like, optional
            An array of the plan's shape and dtype.  Default: random numbers.
        repeats : int, optional
            Number of measured calls, after a first one that compiles; the shortest time of each pass counts.

        Returns
        -------
        Analysis
            Its `passes` have the fields ``kernel``, ``axes``, ``predicted``, ``measured`` (in seconds), ``bytes`` and
            ``operations``.  ``print`` shows the table of the plan with a line for each pass.

        Raises
        ------
        TypeError, ValueError
            If `input` is not an array of the plan's shape and dtype, `repeats` is not a positive integer, or the plan
            is for a GPU.

        Examples
        --------
        >>> import numpy as np, numbasep
        >>> plan = numbasep.plan(np.ones((5, 5)), (480, 640), np.float32)
        >>> analysis = plan.analyze(np.random.default_rng(0).random((480, 640), np.float32))
        >>> [(one.kernel, one.axes) for one in analysis.passes]
        [('separable', (0, 1))]
        >>> analysis.passes[0].measured > 0
        True
        """
        return analyze(self, input, repeats)

    def verify(self) -> float | None:
        """Check the weights that the plan really applies, by its response to a single sample.

        Returns
        -------
        float or None
            ``||K_effective - K||_1 / ||K||_1``; None for large kernels, whose check would take long.

        Raises
        ------
        ArithmeticError
            If a weight is off by more than `error_bound` allows.

        Examples
        --------
        >>> import numpy as np, numbasep
        >>> numbasep.plan(np.ones((3, 3)), (480, 640)).verify()
        0.0
        """
        return effective_error(self)

    @property
    def decided(self) -> PlannedFilter:
        """The plan that runs on arrays in `order`."""
        order = self.axis_order
        return self if order == tuple(range(len(order))) else reordered(self, order)

    @property
    def copied(self) -> bool:
        """Whether arrays in `order` are copied to another memory order, which is faster."""
        return copied_order(self._nested) is not None

    @property
    def axis_order(self) -> Order:
        """Axes of the arrays that are filtered, from the outermost in memory to the innermost."""
        own = tuple(range(len(self.problem.shape)))
        own = own if self.order == "C" else own[::-1]
        copied = copied_order(self._nested)
        return own if copied is None else tuple(own[axis] for axis in copied)

    @property
    def _nested(self) -> PlannedFilter:
        """The plan for arrays in `order`, without copies."""
        return self if self.order == "C" else reordered(self, tuple(reversed(range(len(self.problem.shape)))))

    @property
    def decision(self) -> Choice:
        """The choice for arrays in `order`."""
        return self.decided.choice

    @property
    def method(self) -> str:
        """The chosen route: "direct", "separable", "structured" or "fft"."""
        return self.decision.chosen.method

    @property
    def rank(self) -> int | None:
        """Number of separable terms computed; None for routes without terms."""
        return self.decision.chosen.rank

    @property
    def exact(self) -> bool:
        """Whether every result, before conversion to the output dtype, is the exact sum."""
        return self.decision.chosen.exact

    @property
    def error_bound(self) -> float:
        """Largest error before conversion to the output dtype, relative to ``||K||_1 max|x|``."""
        return self.decision.chosen.error_bound

    @property
    def seconds(self) -> float:
        """Predicted time of a call."""
        return self.decision.chosen.seconds + self.copied * copy_seconds(self.problem)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The best candidate of every route, with its predicted time or the reason why it is infeasible."""
        return self.decision.candidates

    @property
    def passes(self) -> tuple[PlannedPass, ...]:
        """The passes, in order, each with `kernel`, `axes`, `seconds`, `bytes` and `operations`.

        The time of a call is the sum over its passes plus a fixed part of a few microseconds.
        """
        order = self.axis_order
        found = self.decision.chosen.passes
        return tuple(replace(one, axes=tuple(sorted(order[axis] for axis in one.axes))) for one in found)

    @property
    def workspace(self) -> int:
        """Bytes of temporary memory that a call allocates."""
        problem = self.problem
        elements = math.prod(problem.shape) * problem.input_dtype.itemsize
        copies = elements + problem.pixels * problem.output_dtype.itemsize
        return self.decision.chosen.workspace + self.copied * copies

    def __str__(self) -> str:
        """Return the table of all routes, and the passes of the chosen one."""
        return report.plan_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return report.plan_html(self)
