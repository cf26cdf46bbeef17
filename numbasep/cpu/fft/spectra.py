"""Spectra of kernels, kept from call to call."""

from __future__ import annotations

import contextlib
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ...arguments.boundary import Boundary
from ...arguments.problem import Window
from ...planning.overlap import Tiling
from ...system import forks

Array = NDArray[Any]

SPECTRA_BYTES = 64 << 20  # kernel spectra that are kept


@dataclass(frozen=True, slots=True)
class Shape:
    """How a kernel is laid out before it is transformed."""

    axes: tuple[int, ...]
    """Axes of the weights that are transformed, in the order of the arrays' memory."""
    lengths: tuple[int, ...]
    """Points along them."""
    shifts: tuple[int, ...]
    """Where the first weight goes; the others follow, from the end to the beginning."""
    compute: str
    """Code of the type that data are transformed in: complex data take complex transforms."""


def reduced(weights: Array, windows: Sequence[Window], transformed: Sequence[Window]) -> Array:
    """Weights along the axes that are transformed: what meets a single sample along the others becomes one number."""
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
    """Transforms of kernels, the most recently used first to stay."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, tuple[Any, tuple[Array, ...]]] = OrderedDict()
        self._bytes = 0
        self._lock = forks.lasting_lock()
        forks.in_children(self._clear)

    def get(
        self, weights: Array, windows: tuple[Window, ...], tiles: Tiling, shape: Shape
    ) -> tuple[Array, ...]:
        """Spectra by which transforms are multiplied to correlate with `weights`, which nobody changes.

        One for complex transforms and for real weights; two, of the real and the imaginary weights, for complex weights
        on real data.  They are kept as long as the array of weights lives, or until there is no more room.
        """
        key = (id(weights), windows, shape)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0]() is weights:
                self._kept.move_to_end(key)
                return kept[1]
        spectra = transform(reduced(weights, windows, tiles.windows), shape)
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
        """Start without spectra, for measurements and tests."""
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
    """Conjugate transforms, taken in double precision so that they are right to a rounding."""
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
    """Weights from position `shift` on, on a circle of `length` positions: those that meet are added."""
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
