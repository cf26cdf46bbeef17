"""``python -m numbasep demo``: filter a photograph with six kernels; print a report and draw a figure."""

from pathlib import Path

from .subjects import kernels, load_photograph, mirror_tile

__all__ = ["kernels", "load_photograph", "mirror_tile", "run"]


def run(
    image: Path | None = None,
    output: Path = Path("numbasep-demo.png"),
    *,
    size: int = 2048,
    repeat: int = 5,
    peers: bool = True,
) -> None:
    """Filter a photograph with six kernels, print plans and times, and write a figure.

    Parameters
    ----------
    image : path, optional
        An image file; by default a photograph that ships with scikit-image.
    output : path, default "numbasep-demo.png"
        The PNG file of the figure.
    size : int, default 2048
        Minimum rows and columns to filter; a smaller photograph is extended by mirroring.
    repeat : int, default 5
        Rounds of timing, in each of which every contestant runs once; medians are reported.
    peers : bool, default True
        Also run SciPy, which is slow and serves to compute the differences, and OpenCV if it is installed.

    Raises
    ------
    ModuleNotFoundError
        If Matplotlib, or the package that contains the photograph, is not installed.
    OSError
        If `image` cannot be read or `output` cannot be written.
    """
    from . import figure, measure, report

    figure.require_matplotlib()
    photograph, name = load_photograph(image)
    array = mirror_tile(photograph, size)
    print(report.heading(name, photograph, array))
    results = []
    for subject in kernels():
        result = measure.measure(subject, array, repeat=repeat, peers=peers)
        print(report.section(result))
        results.append(result)
    print(report.summary(results))
    figure.write(output, name, photograph, results)
    print(f"figure: {output}")
