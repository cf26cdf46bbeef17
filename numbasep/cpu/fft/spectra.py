"""Cache of the spectra of kernels."""

from __future__ import annotations

import contextlib
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ...arguments.boundary import Boundary
from ...arguments.problem import Window
from ...system import forks

Array = NDArray[Any]

SPECTRA_BYTES = 64 << 20  # maximum size of the cache


@dataclass(frozen=True, slots=True)
class Shape:
    """Layout of a kernel before it is transformed."""

    axes: tuple[int, ...]
    """Axes of the weights that are transformed, in the memory order of the arrays."""
    lengths: tuple[int, ...]
    """Lengths of the transforms."""
    shifts: tuple[int, ...]
    """Position of the first weight along each axis; positions are circular."""
    compute: str
    """Type character of the samples; complex samples need complex transforms."""


def reduced(weights: Array, windows: Sequence[Window], transformed: Sequence[Window]) -> Array:
    """Reduce weights to the transformed axes; along the others, add the weights that multiply their single sample."""
    for axis in reversed(range(weights.ndim)):
        window = windows[axis]
        if window in transformed:
            continue
        if window.taps == 1 or window.boundary is Boundary.CONSTANT:
            weights = weights.take(-window.first, axis=axis)
        else:
            weights = weights.sum(axis=axis)
    return weights


class Spectra:
    """A least-recently-used cache of the transforms of kernels."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, tuple[Any, tuple[Array, ...]]] = OrderedDict()
        self._bytes = 0
        self._lock = forks.fork_safe_lock()
        forks.in_children(self._clear)

    def get(self, weights: Array, form: Hashable, make: Callable[[], tuple[Array, ...]]) -> tuple[Array, ...]:
        """Return the spectra by which transforms are multiplied to correlate with `weights`, which must not change.

        There is one spectrum, or two, of the real and imaginary parts, for complex weights on real samples.  They are
        cached for each `form`, as long as the array of weights exists and there is room; `make` computes them.
        """
        key = (id(weights), form)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0]() is weights:
                self._kept.move_to_end(key)
                return kept[1]
        spectra = make()
        size = _size(spectra)
        with self._lock:
            for gone in [k for k, (owner, _) in self._kept.items() if owner() is None or k == key]:
                self._bytes -= _size(self._kept.pop(gone)[1])
            if size <= SPECTRA_BYTES:
                self._kept[key] = weakref.ref(weights), spectra
                self._bytes += size
            while self._bytes > SPECTRA_BYTES:
                self._bytes -= _size(self._kept.popitem(last=False)[1][1])
        return spectra

    def _clear(self) -> None:
        self._kept, self._bytes = OrderedDict(), 0

    @contextlib.contextmanager
    def emptied(self) -> Iterator[None]:
        """Empty the cache within the context, for measurements and tests."""
        with self._lock:
            kept, size = self._kept, self._bytes
            self._kept, self._bytes = OrderedDict(), 0
        try:
            yield
        finally:
            with self._lock:
                self._kept, self._bytes = kept, size


def _size(spectra: tuple[Array, ...]) -> int:
    return sum(spectrum.nbytes for spectrum in spectra)


def transform(weights: Array, shape: Shape) -> tuple[Array, ...]:
    """Compute the conjugate transforms in double precision, so that they are accurate to one rounding."""
    compute = np.dtype(shape.compute)
    ordered = weights.transpose(shape.axes)
    halves = [ordered]
    if compute.kind != "c" and weights.dtype.kind == "c":
        halves = [ordered.real, ordered.imag]
    spectra = []
    for half in halves:
        wide = half.astype(np.complex128 if compute.kind == "c" else np.float64)
        for axis in reversed(range(wide.ndim)):
            wide = _padded(wide, axis, shape.lengths[axis], shape.shifts[axis])
            if compute.kind == "c":
                wide = scipy.fft.ifft(wide, axis=axis, norm="forward", overwrite_x=True)
            elif axis == wide.ndim - 1:
                wide = scipy.fft.rfft(wide, axis=axis)
            else:
                wide = scipy.fft.fft(wide, axis=axis, overwrite_x=True)
        if compute.kind != "c":
            np.conj(wide, out=wide)
        spectra.append(wide.astype(np.result_type(compute, np.complex64), copy=False))
    return tuple(spectra)


def _padded(weights: Array, axis: int, length: int, shift: int) -> Array:
    """Place weights on a circle of `length` positions, from `shift` on; weights at the same position are added."""
    shape = list(weights.shape)
    shape[axis] = length
    circle = np.zeros(shape, weights.dtype)
    source, target = np.moveaxis(weights, axis, 0), np.moveaxis(circle, axis, 0)
    at, done = shift % length, 0
    while done < len(source):
        count = min(length - at, len(source) - done)
        target[at : at + count] += source[done : done + count]
        at, done = 0, done + count
    return circle


spectra = Spectra()
