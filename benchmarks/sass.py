"""Machine instructions of a CUDA kernel for one row of a warp, counted in the output of nvdisasm.

A kernel's loop over rows has branches for rare cases, such as boundaries.  The count is that of the shortest path
around the loop on which a row is copied, filtered and stored, as in the interior of an image.
"""

from __future__ import annotations

import heapq
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numbasep.cuda import compiler

PRODUCTS = r"(?:FFMA|FMUL|DFMA|DMUL)\b"
LINE = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;")
LABEL = re.compile(r"^(\.L_x_\d+):")
TARGET = re.compile(r"`\((\.L_x_\d+)\)")


@dataclass(slots=True)
class Block:
    """A basic block."""

    instructions: list[str] = field(default_factory=list)
    """Instructions, without addresses."""
    following: list[int] = field(default_factory=list)
    """Indices of the blocks that may follow."""


@dataclass(frozen=True, slots=True)
class Row:
    """Expected contents of the code of one row of a warp."""

    products: int
    """Number of multiplications, fused or not."""
    copies: tuple[str, int]
    """Pattern and number of the instructions that copy input to shared memory."""
    stores: tuple[str, int]
    """Pattern and number of the instructions that store results."""


@dataclass(frozen=True, slots=True)
class Count:
    """Instruction count of one row of a warp."""

    instructions: float
    """Number of instructions per row."""
    rows: int
    """Number of rows in one iteration of the loop."""
    listing: tuple[str, ...]
    """Instructions of the iteration."""


def disassembly(image: bytes) -> str | None:
    """Return machine code as text, or None if nvdisasm is not installed."""
    program = compiler.find_tool("nvdisasm")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(image)
        return subprocess.run([program, "-c", str(path)], capture_output=True, text=True, check=True).stdout


def blocks_of(text: str) -> list[Block]:
    """Return the control flow graph of a kernel."""
    blocks, labels, jumps = [Block()], {}, {}
    for line in text.splitlines():
        if label := LABEL.match(line):
            if blocks[-1].instructions:
                blocks[-1].following.append(len(blocks))
                blocks.append(Block())
            labels[label[1]] = len(blocks) - 1
        elif found := LINE.match(line):
            instruction = found[1]
            blocks[-1].instructions.append(instruction)
            opcode = re.sub(r"^@!?U?P\w+\s+", "", instruction).split()[0]
            ends = opcode.partition(".")[0] in ("BRA", "EXIT", "RET")
            if ends:
                always = opcode == instruction.split()[0] and not re.search(
                    r"BRA\S*\s+!?U?P|DIV", instruction
                )
                if target := TARGET.search(instruction):
                    jumps[len(blocks) - 1] = target[1]
                if not always:
                    blocks[-1].following.append(len(blocks))
                blocks.append(Block())
    for number, label in jumps.items():
        if label in labels:
            blocks[number].following.append(labels[label])
    for block in blocks:
        block.following = [n for n in block.following if n < len(blocks)]
    return blocks


def count(text: str, row: Row) -> Count:
    """Return the count for the shortest iteration of a loop over rows, per row.

    Raises
    ------
    ValueError
        If there is no loop that copies, filters and stores a row.
    """
    blocks, best = blocks_of(text), None
    for rows in (1, 2, 4):  # the assembler may unroll the loop
        round_ = shortest_round(blocks, row, rows)
        if round_ is not None:
            found = sum(bool(re.search(PRODUCTS, i)) for i in round_) // row.products
            counted = Count(len(round_) / found, found, tuple(round_))
            best = counted if best is None or counted.instructions < best.instructions else best
    if best is None:
        raise ValueError(f"no loop with {row}")
    return best


def shortest_round(blocks: list[Block], row: Row, rows: int) -> list[str] | None:
    """Return the shortest path from a block with products back to itself that processes `rows` rows."""
    patterns = (PRODUCTS, row.copies[0], row.stores[0])
    limits = tuple(rows * n for n in (row.products, row.copies[1], row.stores[1]))
    have = [tuple(sum(bool(re.search(p, i)) for i in b.instructions) for p in patterns) for b in blocks]
    ways = [_way(blocks, have, limits, start) for start, h in enumerate(have) if 4 * h[0] >= row.products]
    rounds = [[i for n in way for i in blocks[n].instructions] for way in ways if way]
    return min(rounds, key=len, default=None)


def _way(
    blocks: list[Block], have: list[tuple[int, ...]], limits: tuple[int, ...], start: int
) -> list[int] | None:
    """Find a shortest path by Dijkstra's algorithm over states (block, capped counts of the patterns so far)."""
    first = (start, tuple(map(min, have[start], limits)))
    heap: list[tuple[int, Any, Any]] = [(len(blocks[start].instructions), first, None)]
    before: dict[Any, Any] = {}
    while heap:
        length, state, previous = heapq.heappop(heap)
        if state in before:
            continue
        before[state] = previous
        number, seen = state
        for after in blocks[number].following:
            if after != start:
                counts = tuple(min(a + b, n) for a, b, n in zip(seen, have[after], limits, strict=True))
                heapq.heappush(heap, (length + len(blocks[after].instructions), (after, counts), state))
            elif seen == limits:
                way: list[int] = []
                at: Any = state
                while at is not None:
                    way.append(at[0])
                    at = before[at]
                return way[::-1]
    return None
