"""The figure of the demo: each kernel with its result, singular values and times."""

from pathlib import Path
from typing import Any

import numpy as np

import numbasep

from ..system.types import Array
from .measure import Result
from .report import milliseconds

INK = "#1c2733"
FAINT = "#8b98a5"
GRID = "#e3e8ed"
CHOSEN = "#d1495b"
ROUTE = "#9fb4c7"
PEER = "#3d5a73"
SHOWN = 512  # maximum rows and columns of the result to show
EPSILON = float(np.finfo(np.float32).eps)


def require_matplotlib() -> None:
    """Raise an error if Matplotlib is missing, before minutes of measuring."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'the figure needs Matplotlib: python -m pip install "numbasep[demo]"'
        ) from None


def write(path: Path, name: str, photograph: Array, results: list[Result]) -> None:
    """Draw the figure and write it as PNG.

    Parameters
    ----------
    path : path
        The file to write.
    name : str
        Name of the photograph.
    photograph : ndarray, shape (rows, columns)
        The photograph before filtering.
    results : list of Result
        Results of the kernels, one per column.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    style = {
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    style |= {"axes.edgecolor": FAINT, "axes.linewidth": 0.8, "font.family": "sans-serif"}
    with mpl.rc_context(style):
        layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.03, hspace=0.03)
        figure = Figure(figsize=(2.7 * (len(results) + 1), 11.4), layout=layout)
        grid = figure.add_gridspec(4, len(results) + 1, height_ratios=(0.8, 1.25, 0.85, 1.05))
        _left_column(figure, grid, name, photograph)
        for column, result in enumerate(results, start=1):
            _kernel(figure.add_subplot(grid[0, column]), result)
            _filtered(figure.add_subplot(grid[1, column]), result, photograph.shape)
            _singular_values(figure.add_subplot(grid[2, column]), result, first=column == 1)
            _times(figure.add_subplot(grid[3, column]), result, first=column == 1)
        rows, columns = results[0].filtered.shape
        figure.suptitle(
            f"numbasep {numbasep.__version__}: the cheapest exact way for each kernel, "
            f"{rows} x {columns} float32",
            fontsize=15,
            fontweight="bold",
            color=INK,
        )
        figure.savefig(path, dpi=110, facecolor="white")


def _left_column(figure: Any, grid: Any, name: str, photograph: Array) -> None:
    words = (
        ("the kernel,", "as handed over: dense weights"),
        None,
        (
            "its singular values",
            "above the line: one outer product\neach, two 1-D passes; below it,\nrounding of float32",
        ),
        (
            "time of every route",
            "bar: predicted   dot: measured\nred: chosen by numbasep\nother libraries: x its time",
        ),
    )
    for row, text in enumerate(words):
        axes = figure.add_subplot(grid[row, 0])
        axes.set_axis_off()
        if text is None:
            axes.imshow(_crop(photograph, photograph.shape), cmap="gray", vmin=0, vmax=1)
            axes.set_title("before", fontsize=13, fontweight="bold")
            axes.text(0.5, -0.03, name.replace(" (", "\n("), ha="center", va="top", transform=axes.transAxes)
            continue
        heading, body = text
        axes.text(
            1,
            0.56,
            heading,
            ha="right",
            va="bottom",
            fontsize=13,
            fontweight="bold",
            transform=axes.transAxes,
        )
        axes.text(1, 0.52, body, ha="right", va="top", color=FAINT, linespacing=1.5, transform=axes.transAxes)


def _kernel(axes: Any, result: Result) -> None:
    kernel = result.subject.kernel
    limit = np.abs(kernel).max()
    axes.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_title(f"{result.subject.name}\n", fontsize=13, fontweight="bold")
    shape = " x ".join(str(length) for length in kernel.shape)
    axes.text(
        0.5, 1.03, result.subject.remark, ha="center", va="bottom", color=FAINT, transform=axes.transAxes
    )
    axes.set_xlabel(shape)
    _no_ticks(axes)


def _filtered(axes: Any, result: Result, shape: tuple[int, ...]) -> None:
    image = _crop(result.filtered, shape)
    if result.subject.signed:
        response = image - np.median(image)
        limit = np.percentile(np.abs(response), 99)
        axes.imshow(response, cmap="gray", vmin=-limit, vmax=limit)
    else:
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
    if result.difference is not None:
        axes.set_xlabel(
            f"difference to float64: {result.difference:.0e}\nguaranteed below {result.plan.error_bound:.0e}"
        )
    _no_ticks(axes)


def _singular_values(axes: Any, result: Result, *, first: bool) -> None:
    values = np.linalg.svd(result.subject.kernel.astype(np.float64), compute_uv=False)
    relative = np.maximum(values / values[0], 1e-18)
    rank = result.factors.rank
    positions = np.arange(1, len(values) + 1)
    used = positions <= rank
    axes.vlines(positions, 1e-18, relative, color=np.where(used, CHOSEN, GRID), linewidth=1.6)
    axes.scatter(positions, relative, s=16, c=np.where(used, CHOSEN, ROUTE), zorder=3)
    axes.axhline(EPSILON, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(yscale="log", ylim=(1e-18, 8), xlim=(0.2, max(len(values), 4) + 0.8))
    axes.set_yticks([1, 1e-6, 1e-12, 1e-18], None if first else [""] * 4)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.minorticks_off()
    axes.set_title(f"rank {rank}" + (", exact" if result.factors.exact else ""), fontsize=10)
    _bare(axes)


def _times(axes: Any, result: Result, *, first: bool) -> None:
    labels: list[str] = []
    for route in result.routes:
        row = len(labels)
        chosen = route.method == result.plan.method
        colour = CHOSEN if chosen else ROUTE
        labels.append(route.method)
        if route.measured is None or route.predicted is None:
            axes.text(0.03, row, "ruled out", va="center", color=FAINT, fontsize=8, transform=_row(axes))
            continue
        measured = result.seconds if chosen else route.measured
        axes.barh(row, 1e3 * route.predicted, color=colour, alpha=0.45, height=0.62)
        axes.plot(1e3 * measured, row, "o", color=colour, markersize=6, zorder=3)
        _label(axes, max(measured, route.predicted), row, milliseconds(measured), bold=chosen)
    for name, seconds in result.peers:
        axes.plot(1e3 * seconds, len(labels), "o", color=PEER, markersize=6, zorder=3)
        _label(axes, seconds, len(labels), _times_as_long(seconds / result.seconds), bold=False)
        labels.append({"scipy": "SciPy", "cv2": "OpenCV"}[name.partition(".")[0]])
    times = [seconds for _, seconds in result.peers]
    times += [time for route in result.routes for time in (route.predicted, route.measured) if time]
    axes.set(xscale="log", xlim=(4e2 * min(times), 3e4 * max(times)), ylim=(len(labels) - 0.4, -0.6))
    axes.set_yticks(range(len(labels)), labels if first else [""] * len(labels))
    axes.set_xlabel("milliseconds")
    axes.minorticks_off()
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    _bare(axes)


def _label(axes: Any, seconds: float, row: int, text: str, *, bold: bool) -> None:
    weight = "bold" if bold else "normal"
    axes.annotate(
        text,
        (1e3 * seconds, row),
        (7, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        fontweight=weight,
    )


def _times_as_long(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 9.95 else f"{ratio:.1f}x"


def _row(axes: Any) -> Any:
    """Return the transform of coordinates that are fractions of the axes horizontally and rows vertically."""
    return axes.get_yaxis_transform()


def _crop(image: Array, shape: tuple[int, ...]) -> Array:
    """Return the middle square of the photograph, without its mirror images."""
    rows, columns = shape
    side = min(rows, columns, SHOWN)
    top, left = (rows - side) // 2, (columns - side) // 2
    return image[top : top + side, left : left + side]


def _no_ticks(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _bare(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, labelsize=8)
