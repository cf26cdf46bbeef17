"""`Target`: the processor that kernels are compiled for, and its blocking.

Numba compiles for the host unless ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` name another processor.  What is read
here is what Numba reads, so that planning needs no compiler.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from ..system.caching import cached_property

STEP_ROWS = (
    16  # rows that kernels of packed rows compute together: whole blocks, and whole vectors when transposed
)
VECTORS = 2  # of a block of vertical sums
LINE_VECTORS = 4  # of a block of horizontal sums
SQUARE_TAPS = 6  # taps along packed rows from which these are transposed


@dataclass(frozen=True)
class Target:
    """A processor as the kernels see it."""

    vector_bytes: int
    """Width of a vector register: 64 for AVX-512, 32 for AVX2, 16 for SSE and NEON."""
    registers: int
    """Vector registers."""
    fma: bool
    """Whether a product and a sum are one instruction."""
    float16: bool
    """Whether there are instructions that convert float16."""
    x86: bool = True
    """Whether it is an x86-64 processor."""

    def lanes(self, item: int) -> int:
        """Numbers of `item` bytes in a vector."""
        return self.vector_bytes // item

    @cached_property
    def block_rows(self) -> int:
        """Output rows whose vertical sums stay in registers together, each for two vectors of columns.

        The sums, both vectors of a row, and a weight fit the registers.
        """
        return 8 if self.registers >= 32 else 6

    @cached_property
    def box_vectors(self) -> int:
        """Vectors of a block of four rows of packed boxes, which share every weight."""
        return 3 if self.registers >= 32 else 1

    @cached_property
    def dense_rows(self) -> int:
        """Rows that `cpu.kernels.dense` computes at a time: they share every row that they load.

        Sums, a window of as many rows and a weight fit the registers.  All but one in 16 loads touch two lines of the
        cache, so the fewer there are, the better; and as many chains of sums hide latencies.
        """
        return 14 if self.registers >= 32 else 7

    @property
    def few_rows(self) -> int:
        """As many where columns have few taps: fewer rows share a set of the cache."""
        return min(8, self.dense_rows)

    @property
    def few_taps(self) -> int:
        """The most taps of such columns."""
        return 7 if self.registers >= 32 else 0

    @property
    def most_written_out(self) -> int:
        """The most taps of a column whose loops are written out: their weights stay in registers beside the sums."""
        return self.registers - self.dense_rows - 3


def target_of(features: frozenset[str], *, x86: bool) -> Target:
    """The target with these features, by the names that LLVM gives them.

    Examples
    --------
    >>> target_of(frozenset({"avx2", "fma"}), x86=True).vector_bytes
    32
    """
    wide = {"avx512f", "avx512vl", "avx512bw", "avx512dq"} <= features
    vector_bytes = 64 if wide else 32 if "avx2" in features else 16
    registers = 32 if wide or not x86 or "avx512vl" in features else 16
    return Target(vector_bytes, registers, not x86 or "fma" in features, not x86 or "f16c" in features, x86)


def _option(name: str) -> str | None:
    """An option of Numba: from Numba if it is loaded, otherwise from the environment."""
    if "numba" in sys.modules:
        from numba.core import config

        value = getattr(config, name, None)
        return None if value is None else str(value)
    return os.environ.get(f"NUMBA_{name}")


def host_features() -> frozenset[str]:
    """Features of the processor that Numba compiles for, by the rules of `numba.core.codegen`."""
    from llvmlite import binding

    named = _option("CPU_FEATURES")
    if named is None and str(_option("CPU_NAME")).lower() == "generic":
        named = ""
    if named is not None:
        return frozenset(part.lstrip("+") for part in named.split(",") if not part.startswith("-"))
    try:
        found = binding.get_host_cpu_features()
    except RuntimeError:
        return frozenset()
    avx = _option("ENABLE_AVX") not in ("0", "False")
    return frozenset(name for name, on in found.items() if on and (avx or not name.startswith("avx")))


def host_target() -> Target:
    """The target of this process; without a compiler, which can only plan, one with AVX-512."""
    try:
        from llvmlite import binding
    except ImportError:
        return Target(64, 32, fma=True, float16=True)
    return target_of(host_features(), x86=binding.get_default_triple().startswith("x86_64"))
