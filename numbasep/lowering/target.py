"""`Target`: the processor that kernels are compiled for, and its blocking.

Numba compiles for the host unless ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` name another processor.  This module
reads the same variables, so that planning needs no compiler.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from ..system.caching import cached_property

# Packed rows that are computed together: a multiple of block heights and, for transposes, of vectors.
STEP_ROWS = 16
VECTORS = 2  # width of a block of vertical sums, in vectors
LINE_VECTORS = 4  # width of a block of horizontal sums, in vectors
SQUARE_TAPS = 6  # with at least this many taps along packed rows, the rows are transposed


@dataclass(frozen=True)
class Target:
    """The properties of a processor that kernels depend on."""

    vector_bytes: int
    """Width of a vector register: 64 for AVX-512, 32 for AVX2, 16 for SSE and NEON."""
    registers: int
    """Number of vector registers."""
    fma: bool
    """Whether there are fused multiply-add instructions."""
    float16: bool
    """Whether there are conversion instructions for float16."""
    x86: bool = True
    """Whether it is an x86-64 processor."""

    def lanes(self, item: int) -> int:
        """Return the number of elements of `item` bytes in a vector."""
        return self.vector_bytes // item

    @cached_property
    def block_rows(self) -> int:
        """Output rows of a block of vertical sums, which is two vectors wide.

        The sums, two vectors of a row, and a weight fit the registers.
        """
        return 8 if self.registers >= 32 else 6

    @cached_property
    def box_vectors(self) -> int:
        """Width in vectors of a block of four rows in box kernels, whose rows share every weight."""
        return 3 if self.registers >= 32 else 1

    @cached_property
    def dense_rows(self) -> int:
        """Output rows that `cpu.kernels.dense` computes at a time, which share every loaded row.

        The sums, a window of as many rows and a weight fit the registers.  Most loads are unaligned and touch two
        cache lines, so that fewer loads are faster; and many independent sums hide latencies.
        """
        return 14 if self.registers >= 32 else 7

    @property
    def few_rows(self) -> int:
        """`dense_rows` for columns with few taps: fewer rows map to the same set of the cache."""
        return min(8, self.dense_rows)

    @property
    def few_taps(self) -> int:
        """Largest number of taps per column for `few_rows`."""
        return 7 if self.registers >= 32 else 0

    @property
    def most_written_out(self) -> int:
        """Largest number of taps per column for unrolled loops, which keep weights and sums in registers."""
        return self.registers - self.dense_rows - 3


def target_of(features: frozenset[str], *, x86: bool) -> Target:
    """Return the target with the given features, by their names in LLVM.

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
    """Return an option of Numba: from Numba if it is loaded, else from the environment."""
    if "numba" in sys.modules:
        from numba.core import config

        value = getattr(config, name, None)
        return None if value is None else str(value)
    return os.environ.get(f"NUMBA_{name}")


def host_features() -> frozenset[str]:
    """Return the features of the processor that Numba compiles for, by the rules of `numba.core.codegen`."""
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
    """Return the target of this process; without a compiler, when only plans are made, one with AVX-512."""
    try:
        from llvmlite import binding
    except ImportError:
        return Target(64, 32, fma=True, float16=True)
    return target_of(host_features(), x86=binding.get_default_triple().startswith("x86_64"))
