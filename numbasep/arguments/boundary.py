"""Boundary modes: how an array is extended beyond its edges.

A boundary mode maps any integer position to a position inside the array, or to "outside".  The scalar map
`source_index` is compiled into the CPU's packing kernels and builds the index tables of all other backends; tests
compare it with SciPy.
"""

from enum import IntEnum

OUTSIDE = -1  # returned by `source_index` where the value is `cval`


class Boundary(IntEnum):
    """Boundary mode, with the name that it has in `scipy.ndimage`."""

    REFLECT = 0
    MIRROR = 1
    NEAREST = 2
    WRAP = 3
    CONSTANT = 4


PICTURES = {
    Boundary.REFLECT: "(d c b a | a b c d | d c b a)",
    Boundary.MIRROR: "(d c b | a b c d | c b a)",
    Boundary.NEAREST: "(a a a a | a b c d | d d d d)",
    Boundary.WRAP: "(a b c d | a b c d | a b c d)",
    Boundary.CONSTANT: "(k k k k | a b c d | k k k k), k = cval",
}
NAMES = {
    "reflect": Boundary.REFLECT,
    "grid-mirror": Boundary.REFLECT,
    "mirror": Boundary.MIRROR,
    "nearest": Boundary.NEAREST,
    "wrap": Boundary.WRAP,
    "grid-wrap": Boundary.WRAP,
    "constant": Boundary.CONSTANT,
    "grid-constant": Boundary.CONSTANT,
}
SIZES = {
    "valid": "only where the kernel lies inside the array; the output is smaller",
    "full": "wherever the kernel touches the array, continued with cval; the output is larger",
}
_FOREIGN = {
    "symmetric": "reflect",
    "reflect101": "mirror",
    "edge": "nearest",
    "replicate": "nearest",
    "extend": "nearest",
    "circular": "wrap",
    "periodic": "wrap",
    "fill": "constant",
    "zeros": "constant",
    "same": "constant",
}


class BoundaryModeError(ValueError, RuntimeError):
    """An unknown boundary mode: a ValueError, and a RuntimeError as SciPy raises."""


def parse(mode: object, argument: str = "mode") -> Boundary:
    """Return the boundary mode for a SciPy mode name.

    Parameters
    ----------
    mode : str
        One of `NAMES`.
    argument : str
        Name of the caller's argument, for the message.

    Raises
    ------
    BoundaryModeError
        For any other value; the message lists the names with their pictures.

    Examples
    --------
    >>> parse("grid-mirror").name
    'REFLECT'
    """
    if isinstance(mode, Boundary):
        return mode
    if isinstance(mode, str) and mode in NAMES:
        return NAMES[mode]
    known = "\n".join(
        f"  {', '.join(repr(n) for n, b in NAMES.items() if b is boundary):28s} {picture}"
        for boundary, picture in PICTURES.items()
    )
    sizes = "\n".join(f"  {name!r:28s} {text}" for name, text in SIZES.items())
    hint = f" Did you mean {_FOREIGN[mode]!r}?" if isinstance(mode, str) and mode in _FOREIGN else ""
    raise BoundaryModeError(
        f"boundary mode not supported: {argument}={mode!r}.{hint} Allowed:\n{known}\n{sizes}"
    )


def source_index(i: int, n: int, boundary: int) -> int:
    """Return the position in [0, n) whose value the extended array has at `i`, or `OUTSIDE`.

    Only integers are used, so that the function compiles for the CPU and the GPU.  `n` must be at least 1.

    Examples
    --------
    >>> [source_index(i, 4, Boundary.REFLECT) for i in range(-3, 7)]
    [2, 1, 0, 0, 1, 2, 3, 3, 2, 1]
    """
    if 0 <= i < n:
        return i
    if boundary == 4:
        return -1
    if boundary == 2:
        return 0 if i < 0 else n - 1
    if boundary == 3:
        return i % n
    if boundary == 0:
        i = i % (2 * n)
        return i if i < n else 2 * n - 1 - i
    if n == 1:
        return 0
    i = i % (2 * n - 2)
    return i if i < n else 2 * n - 2 - i


def index_map(first: int, count: int, size: int, boundary: Boundary) -> list[int]:
    """Return `source_index` of the `count` positions from `first` on."""
    return [source_index(i, size, boundary) for i in range(first, first + count)]
