"""All commands except `filter`, each in a function of its name."""

import argparse
import sys
from typing import Any

from ..files.formats import read_kernel
from .arguments import scalar_or_tuple


def demo(arguments: argparse.Namespace) -> None:
    """Filter a photograph with six kernels."""
    from ..demo import run

    run(
        arguments.image,
        arguments.output,
        size=arguments.size,
        repeat=arguments.repeat,
        peers=not arguments.no_peers,
    )


def explain(arguments: argparse.Namespace) -> None:
    """Print the factors of a kernel and its plan."""
    import numbasep

    kernel = read_kernel(arguments.kernel)
    plan = numbasep.plan(
        kernel,
        arguments.shape,
        arguments.dtype,
        operation=arguments.operation,
        axes=arguments.axes,
        origin=scalar_or_tuple(arguments.origin),
        effort=arguments.effort,
        order=arguments.order,
        **shared_options(arguments),
    )
    print(numbasep.factorize(kernel, rtol=arguments.rtol))
    print()
    print(plan.analyze() if arguments.analyze else plan)


def shared_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options shared by all filters as keyword arguments."""
    return {
        "mode": arguments.mode,
        "cval": arguments.cval,
        "method": arguments.method,
        "rtol": arguments.rtol,
        "workers": arguments.workers,
    }


def info(_: argparse.Namespace) -> None:
    """Print the information that a bug report needs."""
    import numbasep

    numbasep.show_config()


def calibrate(arguments: argparse.Namespace) -> None:
    """Measure the constants of this machine."""
    import numbasep

    print(numbasep.calibrate(progress=_show_bar(arguments)))


def warmup(arguments: argparse.Namespace) -> None:
    """Compile the kernels of common calls ahead of time."""
    import time

    from ..api import warmup

    start = time.perf_counter()
    compiled, found = warmup.compile_ahead(progress=_show_bar(arguments))
    seconds = time.perf_counter() - start
    print(f"{compiled} kernels compiled in {seconds:.1f} s, {found} found in the cache")


def _show_bar(arguments: argparse.Namespace) -> bool:
    """Return whether to show a progress bar: on a terminal, unless --quiet is given."""
    return sys.stderr.isatty() and not arguments.quiet
