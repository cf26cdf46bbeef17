"""`factorize_conv2d`: express an ordinary convolution as a depthwise separable one.

Filters ``W[i, j, c, k]`` equal ``sum_r D[i, j, c, r] P[c * M + r, k]`` exactly if, for every input channel c,
the matrix ``W[:, :, c, :]`` of shape (kh * kw, K) has rank at most M; truncated singular value decompositions
give the best D and P otherwise (Eckart and Young 1936, channel by channel).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..system.types import Array
from .weights import LOSSLESS


@dataclass(frozen=True, slots=True, eq=False)
class DepthwiseSeparable:
    """Depthwise and pointwise filters that replace the filters of an ordinary convolution.

    Made by `factorize_conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from numbasep import nn
    >>> factors = nn.factorize_conv2d(np.ones((3, 3, 2, 4)))
    >>> factors.depthwise.shape, factors.pointwise.shape, factors.exact
    ((3, 3, 2, 1), (1, 1, 2, 4), True)
    """

    depthwise: Array
    """Depthwise filters (kh, kw, C, M), for `depthwise_conv2d` and `separable_conv2d`."""
    pointwise: Array
    """Pointwise filters (1, 1, C * M, K), for `separable_conv2d`."""
    error: float
    """max_k ||W_k - W'_k||_1 / max_k ||W_k||_1: bound on the error of the output over max_k ||W_k||_1 max |x|."""
    amplification: float
    """max_k || |D| |P|_k ||_1 / max_k ||W_k||_1: growth of the rounding error relative to direct summation."""
    singular_values: Array
    """Singular values (C, min(kh * kw, K)) of each input channel's matrix, in descending order."""
    multiplications: tuple[int, int]
    """Multiplications per output pixel of the ordinary convolution and of the depthwise separable one."""

    @property
    def channel_multiplier(self) -> int:
        """Number of depthwise filters per input channel, M."""
        return int(self.depthwise.shape[3])

    @property
    def exact(self) -> bool:
        """Whether the filters differ from the original ones by no more than rounding."""
        return self.error <= _lossless(self.depthwise.dtype)

    def todense(self) -> Array:
        """Return the filters of the equivalent ordinary convolution.

        Returns
        -------
        ndarray, shape (kh, kw, C, K)
            The filters that the two stages compute together.
        """
        return _compose(self.depthwise, self.pointwise).astype(self.depthwise.dtype)

    def __str__(self) -> str:
        kh, kw, channels, multiplier = self.depthwise.shape
        outputs = self.pointwise.shape[3]
        before, after = self.multiplications
        kind = " (rounding)" if self.exact else ""
        return (
            f"{kh}x{kw} convolution, {channels} -> {outputs} channels, as depthwise separable\n"
            f"channel multiplier {multiplier}, relative error {self.error:.1e}{kind}\n"
            f"multiplications per output pixel: {before:,} ordinary, {after:,} depthwise separable "
            f"({before / after:.1f} times fewer)"
        )

    __repr__ = __str__


def factorize_conv2d(
    filters: npt.ArrayLike, *, rtol: Any = None, channel_multiplier: Any = None
) -> DepthwiseSeparable:
    """Factor an ordinary convolution into depthwise and pointwise filters.

    Parameters
    ----------
    filters : array_like of float16, float32 or float64
        Shape (height, width, input channels, output channels), as taken by `conv2d`.
    rtol : float, optional
        Largest allowed `error`; None: 16 epsilons of the dtype, which is within rounding.
    channel_multiplier : int, optional
        Depthwise filters per input channel.  None: as few as `rtol` allows.

    Returns
    -------
    DepthwiseSeparable
        With `depthwise`, `pointwise`, the certified `error` and `multiplications` before and after.

    Raises
    ------
    ValueError
        If `filters` have another shape or dtype or are not finite, `rtol` is outside [0, 1),
        `channel_multiplier` is not between 1 and height * width, or it is given together with an `rtol` that it
        cannot meet.

    Notes
    -----
    Truncated singular value decompositions of the (height * width, output channels) matrix of every input
    channel (Eckart and Young, Psychometrika 1, 1936); the error is computed from the rounded factors that are
    returned.

    Examples
    --------
    >>> import numpy as np
    >>> from numbasep import nn
    >>> depthwise, pointwise = np.ones((3, 3, 8, 1)), np.ones((1, 1, 8, 16))
    >>> filters = np.einsum("ijcr,ck->ijck", depthwise, pointwise[0, 0])
    >>> found = nn.factorize_conv2d(filters)
    >>> found.channel_multiplier, found.exact, found.multiplications
    (1, True, (1152, 200))
    """
    given = check_filters(np.asarray(filters))
    tolerance = check_rtol(rtol, given.dtype)
    kh, kw, _, outputs = given.shape
    if channel_multiplier is not None and (
        isinstance(channel_multiplier, bool)
        or not isinstance(channel_multiplier, (int, np.integer))
        or not 1 <= channel_multiplier <= kh * kw
    ):
        raise ValueError(
            f"channel_multiplier must be an integer from 1 to {kh * kw}, got {channel_multiplier!r}"
        )
    bases = singular_bases(given)
    if channel_multiplier is not None:
        found = truncate(given, bases, int(channel_multiplier))
        if rtol is not None and found.error > tolerance:
            raise ValueError(
                f"rtol={rtol!r} cannot be met with channel_multiplier={channel_multiplier}: "
                f"the error is {found.error:.3g}"
            )
        return found
    limit = min(kh * kw, outputs)
    return smallest(given, bases, tolerance, limit) or _unfactored(given, bases[1])


def check_filters(filters: Array) -> Array:
    """Return the filters in native byte order; raise ValueError if dtype, shape or values are invalid."""
    if filters.dtype.newbyteorder("=").name not in ("float16", "float32", "float64"):
        raise ValueError(f"filters must be float16, float32 or float64, got dtype {filters.dtype}")
    if filters.ndim != 4 or filters.size == 0:
        raise ValueError(
            "filters must have shape (height, width, input channels, output channels), all at least 1, "
            f"got {filters.shape}"
        )
    if not np.isfinite(filters).all():
        raise ValueError("filters must be finite to be factorized, got NaN or infinity")
    return filters.astype(filters.dtype.newbyteorder("="), copy=False)


def check_rtol(rtol: Any, dtype: np.dtype[Any]) -> float:
    """Return the allowed relative error; raise ValueError unless `rtol` is None or a number in [0, 1)."""
    if rtol is None:
        return _lossless(dtype)
    if (
        isinstance(rtol, bool)
        or not isinstance(rtol, (int, float, np.floating, np.integer))
        or not 0 <= rtol < 1
    ):
        raise ValueError(f"rtol must be None or a number in [0, 1), got {rtol!r}")
    return max(float(rtol), _lossless(dtype))


def _lossless(dtype: np.dtype[Any]) -> float:
    return LOSSLESS * float(np.finfo(dtype).eps)


def singular_bases(filters: Array) -> tuple[Array, Array, Array]:
    """Compute the singular value decomposition of each input channel's (kh * kw, K) matrix in float64."""
    kh, kw, channels, outputs = filters.shape
    matrices = filters.astype(np.float64).transpose(2, 0, 1, 3).reshape(channels, kh * kw, outputs)
    _, s, vt = np.linalg.svd(matrices, full_matrices=False)
    # LAPACK's vectors can have errors of twenty epsilons; projecting the matrix on them gives accurate products.
    u, _ = np.linalg.qr(matrices @ vt.transpose(0, 2, 1))
    vt = u.transpose(0, 2, 1) @ matrices / np.where(s > 0, s, 1.0)[:, :, None]
    return u, s, vt


def truncate(filters: Array, bases: tuple[Array, Array, Array], multiplier: int) -> DepthwiseSeparable:
    """Return the best factors with `multiplier` depthwise filters per channel, zero beyond the rank."""
    u, s, vt = bases
    kh, kw, channels, outputs = filters.shape
    kept = min(multiplier, s.shape[1])
    root = np.sqrt(s[:, :kept])
    depthwise = np.zeros((kh, kw, channels, multiplier), filters.dtype)
    depthwise[..., :kept] = (
        (u[:, :, :kept] * root[:, None]).reshape(channels, kh, kw, kept).transpose(1, 2, 0, 3)
    )
    rows = np.zeros((channels, multiplier, outputs), filters.dtype)
    rows[:, :kept] = vt[:, :kept] * root[:, :, None]
    pointwise = rows.reshape(1, 1, channels * multiplier, outputs)
    return _measured(filters, depthwise, pointwise, s)


def _unfactored(filters: Array, singular_values: Array) -> DepthwiseSeparable:
    """Return exact factors, with a depthwise filter per tap, or per output channel if these are fewer."""
    kh, kw, channels, outputs = filters.shape
    taps = kh * kw
    if taps <= outputs:
        depthwise = np.zeros((taps, channels, taps), filters.dtype)
        depthwise[...] = np.eye(taps)[:, None]
        rows = filters.reshape(taps, channels, outputs).transpose(1, 0, 2)
    else:
        depthwise = filters.copy()
        rows = np.zeros((channels, outputs, outputs), filters.dtype)
        rows[...] = np.eye(outputs)
    multiplier = min(taps, outputs)
    return _measured(
        filters,
        depthwise.reshape(kh, kw, channels, multiplier),
        np.ascontiguousarray(rows).reshape(1, 1, channels * multiplier, outputs),
        singular_values,
    )


def _measured(filters: Array, depthwise: Array, pointwise: Array, s: Array) -> DepthwiseSeparable:
    """Return factors with their error, measured after rounding."""
    kh, kw, channels, outputs = filters.shape
    exact = filters.astype(np.float64)
    norm = float(np.abs(exact).sum(axis=(0, 1, 2)).max()) or 1.0
    difference = np.abs(exact - _compose(depthwise, pointwise)).sum(axis=(0, 1, 2)).max()
    amplification = _compose(np.abs(depthwise), np.abs(pointwise)).sum(axis=(0, 1, 2)).max()
    return DepthwiseSeparable(
        depthwise,
        pointwise,
        float(difference) / norm,
        float(amplification) / norm,
        s,
        (kh * kw * channels * outputs, pointwise.shape[2] * (kh * kw + outputs)),
    )


def smallest(
    filters: Array, bases: tuple[Array, Array, Array], tolerance: float, limit: int
) -> DepthwiseSeparable | None:
    """Return the truncation with the fewest filters, at most `limit`, whose error is within `tolerance`, or None."""
    s = bases[1]
    # the 2-norm of the dropped part of a channel, over sqrt(K), is a lower bound of its largest column sum
    norm = float(np.abs(filters.astype(np.float64)).sum(axis=(0, 1, 2)).max()) or 1.0
    for multiplier in range(1, limit + 1):
        dropped = float(s[:, multiplier:].max(initial=0.0))
        if dropped / np.sqrt(filters.shape[3]) > tolerance * norm:
            continue
        found = truncate(filters, bases, multiplier)
        if found.error <= tolerance:
            return found
    return None


def _compose(depthwise: Array, pointwise: Array) -> Array:
    kh, kw, channels, multiplier = depthwise.shape
    left = depthwise.astype(np.float64).transpose(2, 0, 1, 3).reshape(channels, kh * kw, multiplier)
    right = pointwise.astype(np.float64).reshape(channels, multiplier, -1)
    return (left @ right).reshape(channels, kh, kw, -1).transpose(1, 2, 0, 3)
