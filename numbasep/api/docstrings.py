"""Paragraphs that the docstrings of several filters share."""

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

INPUT = """input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout."""
OUTPUT = """output : ndarray or dtype, optional
        Array of the result's shape to write to (it may be `input` itself), or the dtype of a new one.
        Default: the dtype of `input`.
        For large arrays, an existing array avoids the allocation of new memory, which takes two thirds of a call for
        64 MB and a 3x3 kernel."""
MODE = """mode : str, optional
        How the input is extended beyond its edges:
        "reflect" ``(d c b a | a b c d | d c b a)``, "mirror" ``(d c b | a b c d | c b a)``,
        "nearest" ``(a a a a | a b c d | d d d d)``, "wrap" ``(a b c d | a b c d | a b c d)``,
        "constant" ``(k k k k | a b c d | k k k k)`` with k = `cval`.  "valid" returns only results whose window
        is inside the input; "full" returns all results whose window overlaps the input, which is extended with
        `cval`."""
MODES = MODE.replace("str, optional", "str or sequence of str, optional").replace(
    "beyond its edges:", "beyond its edges, once or for each filtered axis:"
)
CVAL = """cval : scalar, optional
        Value beyond the edges in modes "constant" and "full"."""
AXES = """axes : int or tuple of int, optional
        Filtered axes, in the order of arguments with one value per axis.  Default: all."""
DENSE_AXES = """axes : int or tuple of int, optional
        Filtered axes.  As in SciPy, the axes of the kernel are the filtered axes in ascending order, whatever the
        order of `axes`.  Entry j of `mode` and `origin` is for ``axes[j]``, but if all axes are filtered, entry j of
        `origin` is for axis j.  Default: all."""
SPACING = """spacing : float or sequence of float, optional
        Distance between samples, once or for each filtered axis; `sigma` is then in the same unit (it is divided
        by `spacing`), and derivatives are with respect to that unit."""
RETURNS = """Returns
    -------
    ndarray
        The result; `output` if that is an array."""
RAISES = """Raises
    ------
    ValueError, TypeError
        For an argument out of range, an axis outside the array, an unknown mode, an unsupported dtype, or a `method`
        that cannot compute this filter; the message names the argument and the allowed values."""
KEYWORDS = """method : {"auto", "direct", "separable", "structured", "fft"}, optional
        Route; "auto" takes the one predicted to be fastest among those that are accurate enough (see `rtol`).
    rtol : float, optional
        Allowed error relative to ``||K||_1 max|x|``.  Default: only rounding errors.
    workers : int, optional
        Number of threads.  Default: all, see `numbasep.num_threads`.
    device : {"cpu", "cuda"}, optional
        Device to run on.  Default: the one where the array is.
    nan_policy : {"propagate", "omit", "raise"}, optional
        "omit" leaves out NaN samples and rescales the weights of the valid samples; a result is NaN where less than
        1e-5 (1e-12 in double precision) of the kernel's sum is on valid samples.  Weights that sum to zero, as those
        of a derivative, cannot be rescaled: first fill the gaps by a normalised Gaussian,
        ``gaussian_filter(x, s, nan_policy="omit")``, then differentiate.
    mask : array_like of bool, optional
        True where a sample is left out in the same way.  The mask of a masked array is ignored, as in SciPy, with
        a warning: pass it as ``mask=x.mask``.
    cast : {"truncate", "saturate"}, optional
        Conversion to an integer output: C's cast, as in SciPy, or round half to even and clip, as in OpenCV."""
STRIDE = """stride : int or sequence of int, optional
        Distance between results along the filtered axes, once or for each of them in the order of `axes`.  Only every
        `stride`-th result, ``[::stride]``, is computed and returned."""
STRIDE_1D = """stride : int, optional
        Distance between results along the axis.  Only every `stride`-th result, ``[::stride]``, is computed and
        returned."""
ORIGIN = """origin : int or sequence of int, optional
        Shift of the kernel's centre, in `scipy.ndimage`'s sense, once or for each filtered axis."""
SHARED = "\n    ".join(
    (OUTPUT.replace("of `input`.", "of `input`, complex if the input or the kernel is."), MODES, CVAL, ORIGIN)
)
PARAGRAPHS = {
    "input": INPUT, "output": OUTPUT, "mode": MODE, "modes": MODES, "cval": CVAL, "axes": AXES,
    "dense_axes": DENSE_AXES, "spacing": SPACING, "stride": STRIDE, "stride_1d": STRIDE_1D, "keywords": KEYWORDS,
    "returns": RETURNS, "raises": RAISES, "shared": SHARED,
}  # fmt: skip


def documented(function: Function) -> Function:
    """Replace names in braces in a docstring by `PARAGRAPHS`."""
    text = function.__doc__ or ""
    for name, paragraph in PARAGRAPHS.items():
        text = text.replace("{" + name + "}", paragraph)
    function.__doc__ = text
    return function
