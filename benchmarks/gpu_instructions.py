"""Machine instructions of the CUDA kernels for one row of a warp, without a GPU: ptxas and nvdisasm.

``python -m benchmarks.gpu_instructions`` writes ``benchmarks/results/gpu_instructions.md`` and ``.json``.  With
``--label NAME`` it keeps the results stored under other names, and the table shows them all.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numbasep.cuda import compiler
from numbasep.cuda.intrinsics.vocabulary import LANES, ElementType
from numbasep.cuda.kernels.plane import PlaneVariant

from . import sass

RESULTS = Path(__file__).parent / "results"
CAPABILITIES = ((8, 0), (9, 0))
WORD = 4  # bytes of a copy if rows start at any address
HEAD = """# Machine instructions of one row of a warp

Interior of an image: the shortest round of the loop over rows that copies a row, filters it and stores it
(`benchmarks/sass.py`), by the assembler of CUDA {release}. Ragged: rows that start anywhere, copied in words of four
bytes. Cells: columns of a row of a warp, its instructions, multiply-adds among them, **instructions for 128 columns**,
registers of a thread. Written by `python -m benchmarks.gpu_instructions`, which needs no GPU and measures no time.
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One case of the table."""

    name: str
    """Name in the table."""
    variant: PlaneVariant
    """Variant of the kernel that is compiled."""
    ragged: bool = False
    """Whether rows start at any address."""

    @property
    def row(self) -> sass.Row:
        """Expected contents of the code of a row."""
        v = self.variant
        axes = v.along + v.down
        nbytes, size = v.pitch * v.ring.itemsize, max(WORD, v.ring.itemsize)
        written = LANES * v.width * v.result.itemsize
        if self.ragged:
            copies = (r"LDGSTS\.E(?:\.64)? ", math.ceil(nbytes / size / LANES))
            stores = (r"\bSTG\.E ", math.ceil(written / WORD / LANES))
        else:
            copies = (r"LDGSTS\S*\.128", math.ceil(nbytes / 16 / LANES))
            stores = (r"\bSTG", math.ceil(written / 16 / LANES))
        return sass.Row(v.taps * v.width * v.terms * axes, copies, stores)


def plane(taps: int, code: str = "f4", *, compute: str = "f4", **fields: Any) -> PlaneVariant:
    """Return a variant of the plane kernel: one term along two axes, unless changed by `fields`."""
    storage, result = ElementType(code), ElementType(code, bounded=code[0] == "u")
    settings: dict[str, Any] = {"terms": 1, "along": True, "down": True, "step": 1, "ring": storage} | fields
    return PlaneVariant(taps=taps, storage=storage, result=result, compute=compute, **settings)


CASES = (
    *(Case(f"float32, {taps} taps", plane(taps)) for taps in (3, 5, 9, 13, 17, 33)),
    Case("float32, 9 taps, ragged", plane(9), ragged=True),
    Case("uint8, 9 taps", plane(9, "u1")),
    Case("uint8, 9 taps, ragged", plane(9, "u1"), ragged=True),
    Case("uint16, 9 taps", plane(9, "u2")),
    Case("uint16, 9 taps, ragged", plane(9, "u2"), ragged=True),
    Case("float64, 9 taps", plane(9, "f8", compute="f8")),
    Case("float64, 9 taps, ragged", plane(9, "f8", compute="f8"), ragged=True),
    Case("volume, 9 taps: two axes", plane(9)),
    Case("volume, 9 taps: third axis", plane(9, along=False)),
)


def figures(case: Case, capability: tuple[int, int]) -> dict[str, Any]:
    """Return the instruction counts and registers of a case.

    Raises
    ------
    CudaUnavailableError
        If nvdisasm is not installed.
    """
    ptx = compiler.to_ptx(case.variant, capability)
    image, log = compiler.assemble(ptx, capability, compiler.REPORT)
    text = sass.disassembly(image)
    if text is None:
        raise compiler.CudaUnavailableError("python -m pip install nvidia-cuda-nvdisasm")
    counted, used = sass.count(text, case.row), compiler.resources(log)
    return {
        "instructions": counted.instructions, "products": case.row.products, "columns": case.variant.tile,
        "registers": used.registers, "spills": used.spills,
    }  # fmt: skip


def table(stored: dict[str, dict[str, Any]], capability: str) -> str:
    """Return a table with a column for each label."""
    labels = list(stored)
    lines = [f"\n## {capability}\n", f"| class | {' | '.join(labels)} |", "|---|" + "---|" * len(labels)]
    for case in CASES:
        cells = []
        for label in labels:
            f = stored[label][capability].get(case.name)
            cells.append("-" if f is None else (
                f"{f['columns']}, {f['instructions']:.0f}, {f['products']}, "
                f"**{f['instructions'] * 128 / f['columns']:.0f}**, {f['registers']}"
            ))  # fmt: skip
        lines.append(f"| {case.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count, store, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--label", default="now")
    label = parser.parse_args().label
    path = RESULTS / "gpu_instructions.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    stored[label] = {
        "sm_{}{}".format(*c): {case.name: figures(case, c) for case in CASES} for c in CAPABILITIES
    }
    path.write_text(json.dumps(stored, indent=1) + "\n")
    text = HEAD.format(release=compiler.release()) + "".join(table(stored, c) for c in stored[label])
    path.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
