"""The command line, ``python -m numbasep COMMAND``: argparse, one function a command, no computation.

Exit status: 0 done; 1 the request failed, and one line on standard error says why; 2 wrong usage; 130
interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["main"]

# The commands convert the errors of bad input and of files into one line; anything else is a bug and shows
# its traceback.
EXPECTED_ERRORS = (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError)
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after ``python -m numbasep``; those of the process by default.

    Returns
    -------
    int
        The exit status: 0 done, 1 failed, 130 interrupted. Wrong usage leaves by ``SystemExit(2)``.
    """
    arguments = build_parser().parse_args(argv)
    try:
        run: Callable[[argparse.Namespace], None] = arguments.run
        run(arguments)
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


# ------------------------------------------------------------------------------------------- arguments
def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m numbasep",
        description="Convolve any kernel with any array by the cheapest exact way, and say why.",
    )
    parser.add_argument("--version", action="version", version=f"numbasep {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_explain(commands)
    _add_filter(commands)
    _add_info(commands)
    _add_calibrate(commands)
    _add_warmup(commands)
    return parser


def _add_demo(commands: Any) -> None:
    command = commands.add_parser(
        "demo", help="filter a photograph with six kernels; print plans, write a figure"
    )
    command.add_argument(
        "image", nargs="?", type=Path, help="a photograph (default: one that ships with scikit-image)"
    )
    command.add_argument(
        "--output", type=Path, default=Path("numbasep-demo.png"), metavar="PNG", help="the figure"
    )
    command.add_argument(
        "--size",
        type=_positive_int,
        default=2048,
        help="least rows and columns: smaller photographs are mirrored",
    )
    command.add_argument(
        "--repeat", type=_positive_int, default=5, help="timed calls, of which the median counts"
    )
    command.add_argument(
        "--no-peers", action="store_true", help="skip the slow comparison with SciPy and OpenCV"
    )
    command.set_defaults(run=_demo)


def _add_explain(commands: Any) -> None:
    command = commands.add_parser("explain", help="print the factors of a kernel and the plan for a shape")
    command.add_argument("kernel", type=Path, help="the kernel: .npy, or numbers as text (.csv, .txt)")
    command.add_argument(
        "--shape", type=_shape, required=True, metavar="ROWSxCOLUMNS", help="such as 4096x4096"
    )
    command.add_argument(
        "--dtype", type=_dtype, default=np.dtype(np.float32), help="of the array (default float32)"
    )
    command.add_argument("--operation", choices=("convolve", "correlate"), default="convolve")
    command.add_argument("--axes", type=_integers, help="axes to filter, such as 0,1 (default: all)")
    command.add_argument(
        "--origin", type=_integers, default=(0,), help="shift of the window, one or one an axis"
    )
    command.add_argument("--effort", choices=("estimate", "measure"), default="estimate")
    _add_common(command)
    command.set_defaults(run=_explain)


def _add_filter(commands: Any) -> None:
    command = commands.add_parser(
        "filter", help="filter a file: .npy arrays, or images where Pillow is installed"
    )
    command.add_argument("input", type=Path, help=f".npy, or one of {' '.join(IMAGE_SUFFIXES)}")
    command.add_argument("output", type=Path, help="the same kinds; written whole or not at all")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--kernel", type=Path, metavar="FILE", help="convolve with this kernel (.npy, .csv, .txt)"
    )
    which.add_argument("--gaussian", type=_floats, metavar="SIGMA", help="one, or one an axis: 2.5 or 1,2,2")
    which.add_argument(
        "--uniform", type=_integers, metavar="SIZE", help="moving average, one size or one an axis"
    )
    which.add_argument("--sobel", type=int, metavar="AXIS", help="derivative along an axis")
    which.add_argument("--log", type=_floats, metavar="SIGMA", help="Laplacian of Gaussian")
    command.add_argument(
        "--axes", type=_integers, help="axes to filter (default: all; of an image, rows and columns)"
    )
    command.add_argument("--dtype", type=_dtype, help="of the output (default: of the input)")
    command.add_argument(
        "--cast",
        choices=("truncate", "saturate"),
        help="integer results as SciPy's C cast, or rounded and clipped (default: saturate for images)",
    )
    _add_common(command)
    command.set_defaults(run=_filter)


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mode", default="reflect", help="boundary: reflect mirror nearest wrap constant (...)"
    )
    command.add_argument("--cval", type=float, default=0.0, help="value outside, for --mode constant")
    command.add_argument("--method", default="auto", help="auto direct separable structured fft")
    command.add_argument("--rtol", type=float, help="allow this relative error (default: rounding only)")
    command.add_argument("--workers", type=_positive_int, help="threads (default: all)")


def _add_info(commands: Any) -> None:
    command = commands.add_parser(
        "info", help="print what a bug report needs: versions, machine, threads, caches"
    )
    command.set_defaults(run=_info)


def _add_calibrate(commands: Any) -> None:
    command = commands.add_parser(
        "calibrate", help="measure this machine, about a second, and store the constants"
    )
    command.set_defaults(run=_calibrate)


def _add_warmup(commands: Any) -> None:
    command = commands.add_parser("warmup", help="compile and cache the kernels, for images and first calls")
    command.set_defaults(run=_warmup)


def _list_of(kind: Callable[[str], Any], what: str) -> Callable[[str], tuple[Any, ...]]:
    def parse(text: str) -> tuple[Any, ...]:
        try:
            return tuple(kind(part) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None

    return parse


_integers = _list_of(int, "an integer or a comma-separated list of integers")
_floats = _list_of(float, "a number or a comma-separated list of numbers")


def _positive_int(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return value


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.lower().replace(",", "x").split("x"))
    except ValueError:
        shape = (-1,)
    if min(shape) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 4096x4096")
    return shape


def _dtype(text: str) -> np.dtype[Any]:
    try:
        return np.dtype(text)
    except TypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a NumPy dtype such as uint8 or float32") from None


def _scalar_or_tuple(values: tuple[Any, ...]) -> Any:
    """One value stands for all axes, as in the functions themselves."""
    return values[0] if len(values) == 1 else values


def _version() -> str:
    import numbasep

    return str(numbasep.__version__)


# -------------------------------------------------------------------------------------------- commands
def _demo(arguments: argparse.Namespace) -> None:
    from numbasep.demo import run

    run(
        arguments.image,
        arguments.output,
        size=arguments.size,
        repeat=arguments.repeat,
        peers=not arguments.no_peers,
    )


def _explain(arguments: argparse.Namespace) -> None:
    import numbasep

    kernel = read_kernel(arguments.kernel)
    plan = numbasep.plan(
        kernel,
        arguments.shape,
        arguments.dtype,
        operation=arguments.operation,
        axes=arguments.axes,
        origin=_scalar_or_tuple(arguments.origin),
        effort=arguments.effort,
        **_common(arguments),
    )
    print(numbasep.factorize(kernel, rtol=arguments.rtol))
    print()
    print(plan)


def _filter(arguments: argparse.Namespace) -> None:
    image = arguments.output.suffix.lower() in IMAGE_SUFFIXES
    array = read_array(arguments.input)
    axes = arguments.axes
    if axes is None and array.ndim == 3 and arguments.input.suffix.lower() in IMAGE_SUFFIXES:
        axes = (0, 1)  # rows and columns; the last axis holds the channels
    options = _common(arguments)
    options |= {"axes": axes, "cast": arguments.cast or ("saturate" if image else "truncate")}
    options |= {"output": arguments.dtype or array.dtype}
    write_array(arguments.output, _apply_filter(array, arguments, options))


def _apply_filter(array: np.ndarray, arguments: argparse.Namespace, options: dict[str, Any]) -> np.ndarray:
    import numbasep

    result: np.ndarray
    if arguments.kernel is not None:
        result = numbasep.convolve(array, read_kernel(arguments.kernel), **options)
    elif arguments.gaussian is not None:
        result = numbasep.gaussian_filter(array, _scalar_or_tuple(arguments.gaussian), **options)
    elif arguments.uniform is not None:
        result = numbasep.uniform_filter(array, _scalar_or_tuple(arguments.uniform), **options)
    elif arguments.log is not None:
        result = numbasep.gaussian_laplace(array, _scalar_or_tuple(arguments.log), **options)
    else:
        if options.pop("axes") is not None and arguments.axes is not None:
            raise ValueError("--axes does not apply to --sobel, which names its own axis")
        result = numbasep.sobel(array, arguments.sobel, **options)
    return result


def _common(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "mode": arguments.mode,
        "cval": arguments.cval,
        "method": arguments.method,
        "rtol": arguments.rtol,
        "workers": arguments.workers,
    }


def _info(_: argparse.Namespace) -> None:
    import numbasep

    numbasep.show_config()


def _calibrate(_: argparse.Namespace) -> None:
    import numbasep

    print(numbasep.calibrate())


def _warmup(_: argparse.Namespace) -> None:
    import time

    import numbasep

    start = time.perf_counter()
    numbasep.warmup()
    print(f"kernels compiled and cached in {time.perf_counter() - start:.1f} s")


# ----------------------------------------------------------------------------------------------- files
def read_kernel(path: Path) -> np.ndarray:
    """Return the kernel in a file: ``.npy``, or rows of numbers as text (comma- or blank-separated)."""
    if path.suffix.lower() == ".npy":
        kernel: np.ndarray = np.load(path, allow_pickle=False)
        return kernel
    text = path.read_text(encoding="utf-8").replace(",", " ")
    try:
        rows = [[float(word) for word in line.split()] for line in text.splitlines() if line.strip()]
        return np.array(rows, dtype=np.float64)
    except ValueError:
        raise ValueError(f"{path}: a kernel is a .npy file, or rows of as many numbers each") from None


def read_array(path: Path) -> np.ndarray:
    """Return the array in a ``.npy`` file (mapped, not read) or an image file (read by Pillow)."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    if suffix in IMAGE_SUFFIXES:
        with _pillow().open(path) as image:
            if image.mode in ("P", "PA", "CMYK", "YCbCr", "1"):
                image = image.convert("RGB" if image.mode != "1" else "L")
            return np.asarray(image)
    raise _unknown_suffix(path)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array to a ``.npy`` or image file; the file appears whole or not at all."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        with _replacing(path) as temporary:
            np.save(temporary, array, allow_pickle=False)
    elif suffix in IMAGE_SUFFIXES:
        if array.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
            raise ValueError(
                f"{path}: an image holds uint8 or uint16, not {array.dtype}: give --dtype, or a .npy file"
            )
        with _replacing(path) as temporary:
            _pillow().fromarray(array).save(temporary)
    else:
        raise _unknown_suffix(path)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside ``path`` that takes its place once the block has succeeded."""
    if not path.parent.is_dir():
        raise FileNotFoundError(2, "no such folder", str(path.parent))
    handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=f".{path.stem}-", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise ModuleNotFoundError('images need Pillow: python -m pip install "numbasep[demo]"') from None
    return Image


def _unknown_suffix(path: Path) -> ValueError:
    return ValueError(f"{path}: unknown kind of file; allowed are .npy {' '.join(IMAGE_SUFFIXES)}")
