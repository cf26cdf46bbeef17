"""Overlap-save correlation on a GPU by the Fourier transforms of the array's library.

The algorithm is that of `cpu.fft`, with the blocks of `overlap_cuda`.  The library enqueues all work on its current
stream.  The code uses only operations that NumPy, CuPy and PyTorch have in common.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments.boundary import Boundary
from ..arguments.problem import Problem, Window
from ..cpu.fft.spectra import reduced
from ..planning.overlap_cuda import TransformBlocks, blocks
from ..system.types import Array
from .arrays import Library
from .tables import continued

AxisSamples = tuple[slice | Any, int, int]
"""Samples under a block along an axis: (slice, or positions on the device; samples before the array; after it)."""


@dataclass(slots=True, eq=False)
class Transforms:
    """Blocks and spectrum of a plan, on one stream of one device."""

    library: Library
    """Library of the arrays."""
    problem: Problem
    """The filter's shapes, types, windows and boundaries."""
    cut: TransformBlocks
    """Lengths and positions of the blocks."""
    spectrum: Any
    """Conjugate spectrum of the kernel, of length 1 along the axes that are not filtered."""
    ranges: dict[tuple[int, int], AxisSamples]
    """Cache: (axis, first output element of the block) -> samples under the block."""

    def __call__(self, x: Any, target: Any, *, integers: bool) -> None:
        """Filter `x` into `target`; if `integers`, results are rounded, since the exact ones are integers."""
        problem, cut = self.problem, self.cut
        axes = tuple(window.axis for window in cut.windows)
        transforms = self.library.transforms()
        for starts in cut.starts():
            samples = self._samples(x, starts)
            if problem.compute_dtype.kind == "c":
                product = transforms.fftn(samples, cut.lengths, axes) * self.spectrum
                values = transforms.ifftn(product, cut.lengths, axes)
            else:
                product = transforms.rfftn(samples, cut.lengths, axes) * self.spectrum
                values = transforms.irfftn(product, cut.lengths, axes)
            stops = [
                min(a + step, n) for a, step, n in zip(starts, cut.steps, problem.out_shape, strict=True)
            ]
            values = values[tuple(slice(0, b - a) for a, b in zip(starts, stops, strict=True))]
            target[tuple(map(slice, starts, stops))] = values.round() if integers else values

    def _samples(self, x: Any, starts: tuple[int, ...]) -> Any:
        """Return the extended samples under a block, in the type of the sums."""
        ranges = [self._range(x, axis, start) for axis, start in enumerate(starts)]
        everything = slice(None)
        samples = x[tuple(p if isinstance(p, slice) else everything for p, _, _ in ranges)]
        for axis, (positions, _, _) in enumerate(ranges):
            if not isinstance(positions, slice):
                samples = samples[(everything,) * axis + (positions,)]
        samples = self.library.as_type(samples, self.problem.compute_dtype)
        for axis, (_, before, after) in enumerate(ranges):
            if before:
                samples[(everything,) * axis + (slice(before),)] = self.problem.cval.real
            if after:
                samples[(everything,) * axis + (slice(-after, None),)] = self.problem.cval.real
        return samples

    def _range(self, x: Any, axis: int, start: int) -> AxisSamples:
        if (axis, start) not in self.ranges:
            window = next((w for w in self.cut.windows if w.axis == axis), None)
            stop = min(start + self.cut.steps[axis], self.problem.out_shape[axis])
            found: AxisSamples = slice(start, stop), 0, 0
            if window is not None:
                first, count = start + window.first, stop - start + window.taps - 1
                found = self._under(x, window, first, count)
            self.ranges[axis, start] = found
        return self.ranges[axis, start]

    def _under(self, x: Any, window: Window, first: int, count: int) -> AxisSamples:
        """Return the place of `count` samples from position `first` on, which may extend beyond the array."""
        if first >= 0 and first + count <= window.size:
            return slice(first, first + count), 0, 0
        positions = continued(first, count, window.size, window.boundary)
        before = after = 0
        if window.boundary == Boundary.CONSTANT:
            before, after = min(max(-first, 0), count), min(max(first + count - window.size, 0), count)
            positions = np.clip(positions, 0, window.size - 1)
        return self.library.from_host(positions, x), before, after


def prepared_transforms(library: Library, x: Any, weights: Array, problem: Problem) -> Transforms:
    """Prepare the transforms of a plan; the weights are transformed in double precision on the device of `x`."""
    cut = blocks(problem)
    transforms = library.transforms()
    kernel = reduced(weights, problem.windows, cut.windows)
    axes = tuple(range(kernel.ndim))
    given = library.from_host(np.asarray(kernel, np.float64), x)
    if problem.compute_dtype.kind == "c":
        spectrum = transforms.fftn(given, cut.lengths, axes)
    else:
        spectrum = transforms.rfftn(given, cut.lengths, axes)
    points = iter(spectrum.shape)
    filtered = {window.axis for window in cut.windows}
    shape = tuple(next(points) if axis in filtered else 1 for axis in range(len(problem.shape)))
    kind = np.dtype(f"c{2 * problem.real_dtype.itemsize}")
    conjugate = library.as_type(spectrum.conj(), kind).reshape(shape)
    return Transforms(library, problem, cut, conjugate, {})
