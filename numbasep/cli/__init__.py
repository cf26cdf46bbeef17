"""The command line, ``python -m numbasep COMMAND``.

`arguments` parses the values of options, `commands` and `filter_file` run the commands, `files` opens and writes
files.

Exit status: 0 success; 1 failure, with a line on standard error that says why; 2 wrong usage; 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments.problem import METHODS
from ..files import formats
from . import arguments, commands, filter_file

__all__ = ["main"]

# Errors of input and of files are printed as one line; any other error is a bug and shows its traceback.
EXPECTED_ERRORS = (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError)

FILTER_DESCRIPTION = """\
Filter a file and write the result to another. Files larger than memory are filtered block by block, with the same
result. The output is written to OUTPUT.partial, which is renamed when it is complete and removed on errors and
interrupts. If a killed run leaves it behind, remove it; it is never continued. Metadata are kept if the output format
can store them: axes, spacing (times the stride), colours, attributes. A plain zarr array cannot store the spacing;
--pyramid 0 writes an OME-Zarr image, which can. Channels and times of images are not filtered unless --axes names
them."""
FILTER_EXAMPLES = """\
examples:
  python -m numbasep filter photo.png smooth.png --gaussian 2.5
  python -m numbasep filter stack.zarr smooth.zarr --gaussian 2 --spacing 3,1,1 --memory 2GB
  python -m numbasep filter stack.ome.tif image.ome.zarr --gaussian 0.5 --spacing file --pyramid 4
  python -m numbasep filter movie.npy edges.npy --sobel 2 --axes 1,2 --dtype int16
  python -m numbasep filter slide.tif blurred.tif --kernel psf.npy --mode nearest

.npy needs nothing else; .png .jpg .bmp need Pillow, .tif tifffile, .zarr zarr, and files larger than --memory dask:
  python -m pip install "numbasep[io]\""""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after ``python -m numbasep``; those of the process by default.

    Returns
    -------
    int
        The exit status: 0 success, 1 failure, 130 interrupted. Wrong usage raises ``SystemExit(2)``.
    """
    parsed = build_parser().parse_args(argv)
    try:
        run: Callable[[argparse.Namespace], None] = parsed.run
        run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:  # `python -m numbasep explain ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except EXPECTED_ERRORS as error:
        print(f"numbasep: error: {_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("numbasep: interrupted", file=sys.stderr)
        return 130
    return 0


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m numbasep",
        description="Convolve any array with any kernel by the fastest exact method, and explain the choice.",
    )
    parser.add_argument("--version", action="version", version=f"numbasep {_version()}")
    parsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(parsers)
    _add_explain(parsers)
    _add_filter(parsers)
    _add_info(parsers)
    _add_calibrate(parsers)
    _add_warmup(parsers)
    return parser


def _add_demo(parsers: Any) -> None:
    command = parsers.add_parser(
        "demo", help="filter a photograph with six kernels; print the plans and write a figure"
    )
    command.add_argument(
        "image", nargs="?", type=Path, help="a photograph (default: a sample image of scikit-image)"
    )
    command.add_argument(
        "--output", type=Path, default=Path("numbasep-demo.png"), metavar="PNG", help="output figure"
    )
    command.add_argument(
        "--size",
        type=arguments.positive_int,
        default=2048,
        help="minimum number of rows and columns; smaller photographs are extended by mirroring",
    )
    command.add_argument(
        "--repeat",
        type=arguments.positive_int,
        default=5,
        help="number of timed calls; the median is reported",
    )
    command.add_argument(
        "--no-peers", action="store_true", help="skip the slow comparison with SciPy and OpenCV"
    )
    command.set_defaults(run=commands.demo)


def _add_explain(parsers: Any) -> None:
    command = parsers.add_parser("explain", help="print the factors of a kernel and the plan for a shape")
    command.add_argument("kernel", type=Path, help="kernel as .npy, .csv or .txt")
    command.add_argument(
        "--shape", type=arguments.shape, required=True, metavar="ROWSxCOLUMNS", help="such as 4096x4096"
    )
    command.add_argument(
        "--dtype",
        type=arguments.dtype,
        default=np.dtype(np.float32),
        help="dtype of the array (default float32)",
    )
    command.add_argument("--operation", choices=("convolve", "correlate"), default="convolve")
    command.add_argument("--axes", type=arguments.integers, help="axes to filter, such as 0,1 (default: all)")
    command.add_argument(
        "--origin", type=arguments.integers, default=(0,), help="shift of the window; one, or one per axis"
    )
    command.add_argument("--effort", choices=("estimate", "measure"), default="estimate")
    command.add_argument("--order", choices=("C", "F"), default="C", help="memory order (default C)")
    command.add_argument(
        "--analyze", action="store_true", help="run the plan on random data and measure each pass"
    )
    _add_common(command)
    command.set_defaults(run=commands.explain)


def _add_filter(parsers: Any) -> None:
    command = parsers.add_parser(
        "filter",
        help="filter a file of any size",
        description=FILTER_DESCRIPTION,
        epilog=FILTER_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "input", type=Path, help=f"one of {' '.join(formats.SUFFIXES)}; in.zarr/name for one of a group"
    )
    command.add_argument("output", type=Path, help="same formats; created only if complete")
    which = command.add_argument_group("filters (exactly one is required)").add_mutually_exclusive_group(
        required=True
    )
    which.add_argument(
        "--kernel", type=Path, metavar="FILE", help="convolve with this kernel (.npy, .csv, .txt)"
    )
    which.add_argument(
        "--gaussian", type=arguments.floats, metavar="SIGMA", help="one, or one per axis: 2.5 or 1,2,2"
    )
    which.add_argument(
        "--uniform", type=arguments.integers, metavar="SIZE", help="moving average; one size, or one per axis"
    )
    which.add_argument("--sobel", type=int, metavar="AXIS", help="derivative along an axis")
    which.add_argument("--log", type=arguments.floats, metavar="SIGMA", help="Laplacian of Gaussian")
    command.add_argument(
        "--spacing", type=arguments.spacing, metavar="STEP",
        help="distance between samples; one, or one per axis, such as 3,1,1, or the word file for that of the input. "
        "SIGMA is then in its unit. Numbers are stored only if the input has no spacing",
    )  # fmt: skip
    command.add_argument(
        "--stride", type=arguments.strides, metavar="N",
        help="keep every Nth result, beginning with the first; one, or one per filtered axis, such as 1,2,2",
    )  # fmt: skip
    command.add_argument(
        "--pyramid", type=arguments.levels, metavar="N",
        help="write an OME-Zarr image with N further levels, each the previous one smoothed by "
        "[1 4 6 4 1]/16 and strided by 2 along the filtered axes in space",
    )  # fmt: skip
    command.add_argument(
        "--axes", type=arguments.integers, help="axes to filter (default: all; for images, those in space)"
    )
    command.add_argument(
        "--dtype", type=arguments.dtype, help="dtype of the output (default: that of the input)"
    )
    command.add_argument(
        "--cast",
        choices=("truncate", "saturate"),
        help="conversion to integers: C cast as in SciPy, or round and clip (default: saturate for images)",
    )
    command.add_argument(
        "--memory", type=arguments.memory, metavar="SIZE",
        help="memory for blocks, such as 500MB or 2GiB (default: a quarter of this machine's); "
        "the program itself needs about 300 MB more",
    )  # fmt: skip
    command.add_argument("--overwrite", action="store_true", help="replace an existing .zarr")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    _add_common(command)
    command.set_defaults(run=filter_file.run)


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mode", default="reflect", help="boundary mode: reflect, mirror, nearest, wrap or constant"
    )
    command.add_argument("--cval", type=float, default=0.0, help="value beyond the edges for --mode constant")
    command.add_argument("--method", default="auto", help=" ".join(METHODS))
    command.add_argument("--rtol", type=float, help="allow this relative error (default: rounding only)")
    command.add_argument("--workers", type=arguments.positive_int, help="threads (default: all)")


def _add_info(parsers: Any) -> None:
    command = parsers.add_parser(
        "info", help="print details for a bug report: versions, machine, threads, caches"
    )
    command.set_defaults(run=commands.info)


def _add_calibrate(parsers: Any) -> None:
    command = parsers.add_parser(
        "calibrate",
        help="measure this machine and store the constants; takes up to two minutes the first time",
        description="Measure this machine and store the constants that predict times. This takes a few seconds; "
        "up to two minutes the first time, when kernels are compiled. Cached kernels are not compiled again.",
    )
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run=commands.calibrate)


def _add_warmup(parsers: Any) -> None:
    command = parsers.add_parser(
        "warmup",
        help="compile and cache the kernels for images; takes some minutes, once",
        description="Compile the kernels for images of common dtypes and cache their machine code. This takes some "
        "minutes on all cores. Cached kernels are not compiled again.",
    )
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run=commands.warmup)


def _version() -> str:
    import numbasep

    return str(numbasep.__version__)
