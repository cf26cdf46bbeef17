"""The processor that kernels are compiled for, and how it blocks them: plain numbers, no Numba.

Numba compiles for the host unless ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` name another processor.  What is read
here is what Numba reads, so that planning needs no compiler.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cached_property


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

    @cached_property
    def block_rows(self) -> int:
        """Output rows whose vertical sums stay in registers together, each for two vectors of columns."""
        return block_rows(self.registers)


def block_rows(registers: int) -> int:
    """`Target.block_rows` for so many registers: the sums, both vectors of a row, and a weight fit them.

    Examples
    --------
    >>> block_rows(32), block_rows(16)
    (8, 6)
    """
    return 8 if registers >= 32 else 6


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
