"""Estimated cycles of the innermost loops of the separable kernel on several processors, by llvm-mca.

``python -m benchmarks.inner_loops`` compiles the kernels for each processor (those for ARM from the code for 16-byte
vectors and 32 registers), passes the loops over taps, and those over columns for few taps, to llvm-mca, and writes
``benchmarks/results/inner_loops.md``.  llvm-mca assumes that every load hits the first-level cache, and that loads
across two lines take no more time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from llvmlite import binding

RESULT = Path(__file__).parent / "results" / "inner_loops.md"
HEAD = """# Loops over taps of the separable kernel, and over columns for few taps, estimated

float32; llvm-mca {release}: loads hit the first-level cache, and none counts twice that touches two lines. The bound is
the cycles of the multiply-adds alone, by the same model; LLVM 14 takes that of Cortex-A57 for Neoverse, too. Written by
`python -m benchmarks.inner_loops`.
"""
AVX2 = "+sse4.2,+popcnt,+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe"
AVX512 = f"{AVX2},+avx512f,+avx512vl,+avx512bw,+avx512dq,+avx512cd"
NARROW = "+sse4.2,+popcnt,+bmi,+bmi2,+lzcnt,+avx512f,+avx512vl,+fma,+f16c"  # 16-byte vectors, 32 registers


@dataclass(frozen=True)
class Processor:
    """A processor for which loops are estimated."""

    name: str
    """Name in LLVM."""
    features: str
    """Features for which Numba compiles."""
    lanes: int
    """Number of float32 in a vector."""
    arm: bool = False
    """Whether it is a 64-bit ARM processor, for which the LLVM IR is compiled again."""


PROCESSORS = (
    Processor("haswell", AVX2, 8),
    Processor("znver3", AVX2, 8),
    Processor("skylake-avx512", AVX512, 16),
    Processor("cortex-a57", NARROW, 4, arm=True),
    Processor("apple-a12", NARROW, 4, arm=True),
)
PASSES = ("vertical", "horizontal")
LEAST = 12  # multiply-adds in a loop over taps; loops over blocks of columns for few taps have more


def llvm_of(which: str) -> str:
    """Return the optimised LLVM IR of one pass in float32, as compiled in this process."""
    from numbasep.cpu.intrinsics.memory import Storage
    from numbasep.cpu.kernels.horizontal import horizontal_pass
    from numbasep.cpu.kernels.nan_aware import AS_STORED
    from numbasep.cpu.kernels.separable import kernel_addresses
    from numbasep.cpu.kernels.vertical import vertical_pass

    number = Storage("f4")
    kernel_addresses(number.dtype, number, number, packed=False, single_rows=False)  # compiles both
    kernel = (
        vertical_pass(number, AS_STORED, False)
        if which == "vertical"
        else horizontal_pass(number, share=False)
    )
    (signature,) = kernel.overloads
    return str(kernel.inspect_llvm(signature))


def assembly(processor: Processor, which: str) -> str:
    """Return the assembly of a pass for a processor, compiled in a separate process."""
    name = "x86-64" if processor.arm else processor.name
    environment = {
        **os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": processor.features, "NUMBASEP_CACHE": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.inner_loops", "--llvm", which]
    code = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    triple = "aarch64-unknown-linux-gnu" if processor.arm else binding.get_process_triple()
    code = re.sub(r'target triple = "[^"]*"', f'target triple = "{triple}"', code)
    code = re.sub(r'target datalayout = "[^"]*"\n', "", code)
    code = re.sub(r'"(target-cpu|target-features)"="[^"]*"', "", code)
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    binding.initialize_native_asmparser()  # for inline assembly
    target = binding.Target.from_triple(triple)
    features = "" if processor.arm else processor.features
    machine = target.create_target_machine(cpu=processor.name, features=features, opt=3)
    return str(machine.emit_assembly(binding.parse_assembly(code)))


def loops(text: str) -> list[list[str]]:
    """Return the basic blocks that branch to themselves."""
    found: list[list[str]] = []
    label, block = "", list[str]()
    for line in text.splitlines():
        if match := re.match(r"(\.?LBB\w+):", line.strip()):
            label, block = match[1], []
        elif line.startswith("\t") and not line.strip().startswith((".", "#", "//")):
            block.append(line.strip())
            if label and re.match(rf"(j\w+|b\.?\w*|cbn?z|tbn?z)\s.*{re.escape(label)}$", line.strip()):
                found.append(block[:-1])
                label = ""
    return found


def multiply_adds(block: list[str]) -> int:
    """Return the number of vector multiply-adds in a block."""
    return sum(bool(re.match(r"vfmadd\w+ps|fmla", line)) for line in block)


def alone(processor: Processor, block: list[str]) -> list[str]:
    """Return as many independent multiply-adds of registers as a block has, on ARM in the same form."""
    count = multiply_adds(block)
    if processor.arm:
        factor = "v31.s[0]" if any(line.startswith("fmla") and ".s[" in line for line in block) else "v31.4s"
        return [f"fmla v{i % 24}.4s, v30.4s, {factor}" for i in range(count)]
    register = "zmm" if processor.lanes == 16 else "ymm"
    return [f"vfmadd231ps %{register}14, %{register}15, %{register}{i % 12}" for i in range(count)]


def cycles(processor: Processor, block: list[str]) -> float:
    """Return the cycles of one iteration of a loop."""
    triple = "aarch64-unknown-linux-gnu" if processor.arm else "x86_64-unknown-linux-gnu"
    attributes = [] if processor.arm else [f"-mattr={processor.features}"]
    command = ["llvm-mca", f"-mtriple={triple}", f"-mcpu={processor.name}", *attributes, "-iterations=200"]
    done = subprocess.run(command, input="\n".join(block) + "\n", check=True, capture_output=True, text=True)
    return int(re.search(r"Total Cycles:\s+(\d+)", done.stdout)[1]) / 200  # type: ignore[index]


def table() -> str:
    """Return the table for every pass and processor."""
    lines = [
        "| processor | pass | multiply-adds of a turn | cycles | bound | cycles / bound |",
        "|---|---|---|---|---|---|",
    ]
    for processor in PROCESSORS:
        for which in PASSES:
            found = {multiply_adds(block): block for block in loops(assembly(processor, which))}
            for count, block in sorted(found.items()):
                if count < LEAST:
                    continue
                taken, bound = cycles(processor, block), cycles(processor, alone(processor, block))
                lines.append(
                    f"| {processor.name} | {which} | {count} x {processor.lanes} float32 | {taken:.1f} | {bound:.1f} "
                    f"| {taken / bound:.2f} |"
                )
    return "\n".join(lines)


def main() -> None:
    """Write the table."""
    if sys.argv[1:2] == ["--llvm"]:
        print(llvm_of(sys.argv[2]))
        return
    if not shutil.which("llvm-mca"):
        raise SystemExit("llvm-mca is not installed; it comes with LLVM")
    version = subprocess.run(["llvm-mca", "--version"], check=True, capture_output=True, text=True).stdout
    release = re.search(r"LLVM version ([\d.]+)", version)
    RESULT.write_text(
        f"{HEAD.format(release=release[1] if release else 'of unknown release')}\n{table()}\n",
        encoding="utf-8",
    )
    print(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
