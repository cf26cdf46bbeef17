"""A long run of random calls, many thousands of new ones, with a report.

``python -m tests.support.fuzz --write benchmarks/results/fuzz.md`` takes about two hours on one core.
"""

# ruff: noqa: T201 - a command line prints

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ("tests/api/test_fuzz.py", "tests/nn/test_fuzz_channels.py")


def run() -> str:
    """Run the tests; return the output of pytest with the statistics of Hypothesis."""
    command = [sys.executable, "-m", "pytest", "-q", "--hypothesis-show-statistics", *TESTS]
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "long"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )  # fmt: skip
    return done.stdout


def counts(text: str) -> list[tuple[str, int, int, int]]:
    """Return (test, passing examples, failing examples, seconds) for each test."""
    found = []
    parts = re.split(r"^(tests/\S+::\S+):$", text, flags=re.MULTILINE)
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        examples = re.findall(r"(\d+) passing(?: examples)?, (\d+) failing", body)
        seconds = re.findall(r"during \w+ phase \(([\d.]+) seconds\)", body)
        passing, failing = (sum(int(pair[i]) for pair in examples) for i in (0, 1))
        found.append((name, passing, failing, round(sum(map(float, seconds)))))
    return found


def table(text: str) -> str:
    """Return the report in Markdown."""
    import hypothesis
    import numba
    import numpy as np
    import scipy

    lines = [
        "# Random calls",
        "",
        "Written by `python -m tests.support.fuzz --write benchmarks/results/fuzz.md`: calls with drawn arguments,",
        "compared with SciPy or direct summation in float64 within the error that the plans certify.",
        f"Python {platform.python_version()}, Numba {numba.__version__}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}, Hypothesis {hypothesis.__version__}.",
        "",
        "| test | calls that agree | calls that do not | seconds |",
        "|---|---:|---:|---:|",
        *(f"| `{name}` | {good:,} | {bad:,} | {seconds:,} |" for name, good, bad, seconds in counts(text)),
    ]
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests, print the table, and write it if asked; return 1 if a call did not agree."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.fuzz", description=__doc__)
    parser.add_argument("--write", type=Path, help="file for the table")
    parser.add_argument("--log", type=Path, help="what pytest has said in a run before, instead of a new one")
    options = parser.parse_args(arguments)
    text = options.log.read_text(encoding="utf-8") if options.log else run()
    print(table(text))
    if options.write:
        options.write.write_text(table(text), encoding="utf-8")
    return any(bad for _, _, bad, _ in counts(text))


if __name__ == "__main__":
    sys.exit(main())
