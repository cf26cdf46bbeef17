"""Paragraphs that the docstrings of several filters share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

OUTPUT = """output : ndarray or dtype, optional
        Array of the result's shape to write to (it may be `input` itself), or the type of a new one.
        Default: the type of `input`.  Where arrays are large, one that exists already saves the time in which
        the system hands out new memory: two thirds of a call, for 64 MB and a 3x3 kernel."""
MODE = """mode : str, optional
        How the input continues beyond its edges:
        "reflect" ``(d c b a | a b c d | d c b a)``, "mirror" ``(d c b | a b c d | c b a)``,
        "nearest" ``(a a a a | a b c d | d d d d)``, "wrap" ``(a b c d | a b c d | a b c d)``,
        "constant" ``(k k k k | a b c d | k k k k)`` with k = `cval`; or "valid", the smaller output where the
        kernel lies inside the input, and "full", the larger one wherever it touches the input, continued with
        `cval`."""
MODES = MODE.replace("str, optional", "str or sequence of str, optional").replace(
    "beyond its edges:", "beyond its edges, once or for each filtered axis:"
)
CVAL = """cval : scalar, optional
        Value beyond the edges in modes "constant" and "full"."""
AXES = """axes : int or tuple of int, optional
        Filtered axes, in the order of all arguments that are given for each axis.  Default: all."""
DENSE_AXES = """axes : int or tuple of int, optional
        Filtered axes.  As in SciPy, the axes of the kernel belong to them in ascending order, whatever the order of
        `axes`, and the entries of `mode` and `origin` in the order given; but where all axes are filtered, entry
        j of `origin` is that of axis j.  Default: all."""
SPACING = """spacing : float or sequence of float, optional
        Distance of samples, once or for each filtered axis; `sigma` is then in the same unit (it is divided
        by `spacing`), and derivatives are taken with respect to that unit."""
RAISES = """Raises
    ------
    ValueError, TypeError
        For an argument out of range, an axis outside the array, an unknown mode or an unsupported type, and
        for a `method` that cannot compute this filter; the message names the argument and what is allowed."""
KEYWORDS = """method : {"auto", "direct", "separable", "structured", "fft"}, optional
        Route; "auto" takes the one predicted to be fastest among those that keep the promise below.
    rtol : float, optional
        Error allowed relative to ``||K||_1 max|x|``.  Default: rounding only.
    workers : int, optional
        Threads.  Default: all, see `numbasep.num_threads`.
    device : {"cpu", "cuda"}, optional
        Where to run.  Default: where the array is.
    nan_policy : {"propagate", "omit", "raise"}, optional
        "omit" leaves NaN out and rescales the weights of the valid samples; a result is NaN where less than
        1e-5 (1e-12 in double precision) of the kernel's sum falls on valid samples.  Weights that sum to zero, those
        of a derivative, cannot be rescaled: first fill the gaps by a normalised Gaussian,
        ``gaussian_filter(x, s, nan_policy="omit")``, then differentiate.
    mask : array_like of bool, optional
        True where a sample is left out in the same way.  The mask of a masked array is ignored, as in SciPy, with
        a warning: pass it as ``mask=x.mask``.
    cast : {"truncate", "saturate"}, optional
        How results become integers: C's cast, as SciPy, or round half to even and clip, as OpenCV."""
STRIDE = """stride : int or sequence of int, optional
        Distance of the results along the filtered axes, once or for each of them in the order of `axes`: what is
        returned is every `stride`-th result, ``[::stride]``, and only that is computed."""
STRIDE_1D = """stride : int, optional
        Distance of the results along the axis: what is returned is every `stride`-th result, ``[::stride]``, and only
        that is computed."""
SHARED = """output : ndarray or dtype, optional
        Array of the result's shape to write to (it may be `input` itself), or the type of a new one.
        Default: the type of `input`, complex if the input or the kernel is.  Where arrays are large, one that
        exists already saves the time in which the system hands out new memory: two thirds of a call, for 64 MB
        and a 3x3 kernel.
    mode : str or sequence of str, optional
        How the input continues beyond its edges, once or for each filtered axis:
        "reflect" ``(d c b a | a b c d | d c b a)``, "mirror" ``(d c b | a b c d | c b a)``,
        "nearest" ``(a a a a | a b c d | d d d d)``, "wrap" ``(a b c d | a b c d | a b c d)``,
        "constant" ``(k k k k | a b c d | k k k k)`` with k = `cval`; or "valid", the smaller output where the
        kernel lies inside the input, and "full", the larger one wherever it touches the input, continued with
        `cval`.
    cval : scalar, optional
        Value beyond the edges in modes "constant" and "full".
    origin : int or sequence of int, optional
        Shift of the kernel's centre, in `scipy.ndimage`'s sense, once or for each filtered axis."""
PARAGRAPHS = {
    "output": OUTPUT, "mode": MODE, "modes": MODES, "cval": CVAL, "axes": AXES, "dense_axes": DENSE_AXES,
    "spacing": SPACING, "stride": STRIDE, "stride_1d": STRIDE_1D,
    "keywords": KEYWORDS, "raises": RAISES, "shared": SHARED,
}  # fmt: skip


def documented(function: Function) -> Function:
    """Fill the paragraphs named in braces into a docstring."""
    text = function.__doc__ or ""
    for name, paragraph in PARAGRAPHS.items():
        text = text.replace("{" + name + "}", paragraph)
    function.__doc__ = text
    return function
