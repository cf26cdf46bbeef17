"""An interpreter of PTX, to test compiled CUDA kernels without a GPU.

All threads of a launch run at once as NumPy vectors, those at the earliest instruction first.  Numba's simulator runs
the Python source of a kernel; this runs the compiled code, with a memory that is stricter than hardware:

- a load or store beyond an allocation, or not aligned to its size, is an error;
- the target of an asynchronous copy is NaN until a wait for the copy;
- shared memory that one lane writes and another reads, in either order, without a barrier in between is an error.

Conversions follow the PTX ISA, "cvt": NaN becomes an integer 0 only from 32 bits and less to 32 bits and less.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

LANES = 32
HEAP_BASE = 0x7F0000000000
NEVER = 1 << 60  # epoch of the arrival of a pending copy
KINDS = {
    **{f"{k}{8 << i}": np.dtype(f"{n}{1 << i}") for k, n in (("s", "i"), ("u", "u"), ("b", "u")) for i in range(4)},
    "f16": np.dtype("f2"), "f32": np.dtype("f4"), "f64": np.dtype("f8"), "pred": np.dtype(bool),
}  # fmt: skip
WIDTHS = {
    "pred": 0,
    "b8": 1,
    "b16": 2,
    "b32": 4,
    "b64": 8,
    "f32": 4,
    "f64": 8,
    "s32": 4,
    "u32": 4,
    "u64": 8,
    "s64": 8,
}
WIDTHS |= {"u16": 2, "s16": 2, "f16": 2}
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip


class DeviceFaultError(RuntimeError):
    """An error that hardware or compute-sanitizer would report, or that gives wrong results."""


class Heap:
    """Device memory: allocations at multiples of 256 bytes, with inaccessible gaps."""

    def __init__(self, nbytes: int = 1 << 24) -> None:
        self.bytes = np.full(nbytes, 0xFF, np.uint8)  # NaN in every floating type
        self.allowed = np.zeros(nbytes, bool)
        self._sizes: dict[int, int] = {}
        self._next = 256

    def allocate(self, nbytes: int, skew: int = 0) -> int:
        """Return the address of new memory, `skew` bytes after a multiple of 256."""
        start = self._next + skew
        self._next += -(-(nbytes + skew) // 256) * 256 + 256
        if self._next > self.bytes.size:
            raise MemoryError("the interpreter's heap is full")
        self.allowed[start : start + nbytes] = True
        self._sizes[HEAP_BASE + start] = nbytes
        return HEAP_BASE + start

    def free(self, address: int) -> None:
        """Make an allocation inaccessible."""
        start = address - HEAP_BASE
        self.allowed[start : start + self._sizes.pop(address)] = False

    def view(self, address: int, nbytes: int) -> np.ndarray:
        """Return a view of bytes for the host."""
        start = address - HEAP_BASE
        if not self.allowed[start : start + nbytes].all():
            raise DeviceFaultError(
                f"the host touches {nbytes} bytes at {address:#x}, which are not allocated"
            )
        return self.bytes[start : start + nbytes]

    def places(self, addresses: np.ndarray, nbytes: int) -> np.ndarray:
        """Return the indices of all bytes of an access by the device, (threads, nbytes)."""
        if (addresses % np.uint64(nbytes)).any():
            raise DeviceFaultError(
                f"an access of {nbytes} bytes is not aligned: {[hex(a) for a in addresses[:4]]}"
            )
        at = addresses.view(np.int64) - HEAP_BASE
        if ((at < 0) | (at + nbytes > self.bytes.size)).any():
            raise DeviceFaultError(f"{nbytes} bytes beyond all memory: {[hex(a) for a in addresses[:4]]}")
        every = at[:, None] + np.arange(nbytes)
        if not self.allowed[every].all():
            raise DeviceFaultError(
                f"an access of {nbytes} bytes beyond every allocation: {[hex(a) for a in addresses[:4]]}"
            )
        return every


class Kernel:
    """An entry of a PTX module, ready to launch."""

    def __init__(self, ptx: str) -> None:
        entry = re.search(r"\.entry\s+([\w$]+)\s*\((.*?)\)([^{]*)\{(.*)\n\}", ptx, re.S)
        assert entry is not None, "PTX without an entry"
        self.name, declared, directives, body = entry.groups()
        self.parameters = re.findall(r"\.param\s+\.(\w+)\s+([\w$]+)", declared)
        bounds = re.search(r"\.maxntid\s+(\d+)", directives)
        self.most_threads = int(bounds[1]) if bounds else 1024
        self.shared: dict[str, int] = {}
        self.shared_bytes = 0
        for align, name, size in re.findall(r"\.shared\s+\.align\s+(\d+)\s+\.b8\s+([\w$]+)\[(\d+)\]", ptx):
            self.shared_bytes = -(-self.shared_bytes // int(align)) * int(align)
            self.shared[name] = self.shared_bytes
            # an array of bytes may start anywhere, so it starts at the least aligned address
            self.shared[name] += 4 if int(align) == 1 else 0
            self.shared_bytes = self.shared[name] + int(size)
        self.registers: dict[str, tuple[str, int]] = {}
        for kind, prefix, _ in re.findall(r"\.reg\s+\.(\w+)\s+(%\w+?)<(\d+)>", body):
            self.registers[prefix] = (kind, WIDTHS[kind])
        self.code, self.labels = self._parse(body)

    def _parse(self, body: str) -> tuple[list[tuple[Any, ...]], dict[str, int]]:
        body = re.sub(r"//[^\n]*", "", body)
        body = re.sub(r"\.reg[^;]*;|\.pragma[^;]*;|\.loc[^\n]*\n|\.local[^;]*;", "", body)
        code: list[tuple[Any, ...]] = []
        labels: dict[str, int] = {}
        for chunk in re.findall(r"[^;{}]*(?:\{[^{}]*\}[^;{}]*)*;|[{}]", body):
            statement = chunk.strip()
            while label := re.match(r"([$\w]+):\s*", statement):
                labels[label[1]] = len(code)
                statement = statement[label.end() :]
            found = re.match(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*);", statement, re.S)
            if found is None:
                continue
            negated, guard, opcode, rest = found.groups()
            operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", rest)
            code.append((guard, bool(negated), opcode.replace("::", "_").split("."), operands))
        return code, labels

    def kind_of(self, register: str) -> tuple[str, int]:
        """Return (declared type, bytes) of a register."""
        return self.registers[register.rstrip("0123456789")]

    def launch(self, grid: int, block: tuple[int, int], values: list[bytes], heap: Heap) -> None:
        """Run on a heap; `values` has eight bytes for each parameter."""
        if block[0] * block[1] > self.most_threads:
            raise DeviceFaultError(f"{block} threads, but compiled for {self.most_threads}")
        if self.shared_bytes > 48 << 10:
            raise DeviceFaultError(
                f"{self.shared_bytes} bytes of shared memory need an attribute that nobody sets"
            )
        if len(values) != len(self.parameters):
            raise DeviceFaultError(f"{len(values)} parameters for a kernel of {len(self.parameters)}")
        _Run(self, grid, block, values, heap).run()


class _Run:
    """The state of all threads of a launch."""

    def __init__(
        self, kernel: Kernel, grid: int, block: tuple[int, int], values: list[bytes], heap: Heap
    ) -> None:
        self.kernel, self.heap = kernel, heap
        threads = block[0] * block[1]
        count = self.count = grid * threads
        thread = np.arange(count)
        self.block, self.warp = thread // threads, thread // LANES
        self.lane = (thread % LANES).astype(np.int64)
        special = {
            "%tid.x": thread % threads % block[0], "%tid.y": thread % threads // block[0], "%tid.z": 0 * thread,
            "%ctaid.x": self.block, "%ntid.x": 0 * thread + block[0], "%ntid.y": 0 * thread + block[1],
            "%laneid": thread % LANES,
        }  # fmt: skip
        self.special = {name: value.astype(np.uint32) for name, value in special.items()}
        self.values = {name: value for (_, name), value in zip(kernel.parameters, values, strict=True)}
        self.registers: dict[str, np.ndarray] = {}
        self.pc = np.zeros(count, np.int64)
        self.barrier = np.zeros(count, np.int8)  # 1: of the warp, 2: of the block
        self.exited = np.zeros(count, bool)
        size = max(kernel.shared_bytes, 1)
        self.shared_size = size
        self.shared = np.full(grid * size, 0xFF, np.uint8)
        self.epoch = np.zeros(count, np.int64)  # barriers passed
        # the last writer and reader of each shared byte, and when
        self.writer = np.full(grid * size, -1)
        self.written = np.full(grid * size, -1)
        self.reader = np.full(grid * size, -1)
        self.when_read = np.full(grid * size, -1)
        self.closed = np.zeros(count, np.int64)  # groups of asynchronous copies
        self.pending: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        self._joins = set(kernel.labels.values())

    # ------------------------------------------------------------------ scheduling

    def run(self) -> None:
        """Run until every thread has returned."""
        code = self.kernel.code
        with np.errstate(all="ignore"):
            while True:
                ready = ~self.exited & (self.barrier == 0)
                if not ready.any():
                    if self.exited.all():
                        break
                    self._release()
                    continue
                at = int(self.pc[ready].min())
                who = np.flatnonzero(ready & (self.pc == at))
                while self._step(code[at], at, who):
                    at += 1
                    if at in self._joins:
                        self.pc[who] = at
                        break
        if self.pending:
            raise DeviceFaultError("a kernel ends with asynchronous copies on their way")

    def _release(self) -> None:
        """Release warps and blocks of which all threads have arrived at a barrier."""
        moved = False
        for group, level in ((self.warp, 1), (self.block, 2)):
            there = self.barrier == level
            if not there.any():
                continue
            missing = np.unique(group[~there & ~self.exited])
            free = there & ~np.isin(group, missing)
            moved |= bool(free.any())
            self.barrier[free] = 0
            self.epoch[free] += 1
        if not moved:
            raise DeviceFaultError("deadlock at a barrier")

    def _step(self, instruction: tuple[Any, ...], at: int, who: np.ndarray) -> bool:
        """Run one instruction for some threads; return whether all of them continue with the next one."""
        guard, negated, opcode, operands = instruction
        chosen = who
        if guard is not None:
            taken = self.registers[guard][who] != negated
            chosen = who[taken]
        name = opcode[0]
        if name == "bra":
            self.pc[who] = at + 1
            self.pc[chosen] = self.kernel.labels[operands[-1]]
            return False
        if name in ("ret", "exit"):
            self.pc[who] = at + 1
            self.exited[chosen] = True
            return False
        if name in ("bar", "barrier"):
            assert chosen.size == who.size
            if opcode[1] == "warp" and int(operands[0], 0) & 0xFFFFFFFF != 0xFFFFFFFF:
                raise DeviceFaultError(f"a barrier of some lanes only: {operands}")
            self.barrier[who] = 1 if opcode[1] == "warp" else 2
            self.pc[who] = at + 1
            return False
        if chosen.size:
            getattr(self, f"_{name}")(opcode, operands, chosen)
        return True

    # ------------------------------------------------------------------ operands

    def _raw(self, operand: str, who: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return an operand as the type that the instruction reads."""
        if operand in self.special:
            return self.special[operand][who].astype(dtype)
        if operand[0] == "%":
            raw = self.registers[operand][who]
            if dtype.kind == "b" or raw.dtype.kind == "b":
                return raw
            unsigned = np.dtype(f"u{dtype.itemsize}")
            return raw.astype(unsigned).view(dtype) if raw.dtype != unsigned else raw.view(dtype)
        if operand[:2] == "0f":
            return np.full(who.size, np.array(int(operand[2:], 16), np.uint32).view(np.float32))
        if operand[:2] == "0d":
            return np.full(who.size, np.array(int(operand[2:], 16), np.uint64).view(np.float64))
        if operand in self.kernel.shared:
            return np.full(who.size, self.kernel.shared[operand], dtype)
        number = int(operand.rstrip("U"), 0)
        if dtype.kind == "b":
            return np.full(who.size, bool(number))
        bits = 8 * dtype.itemsize
        return np.full(who.size, number & ((1 << bits) - 1), f"u{dtype.itemsize}").view(dtype)

    def _set(self, register: str, who: np.ndarray, value: np.ndarray) -> None:
        """Write a register: signed values are extended with their sign, other values with zeros."""
        kind, width = self.kernel.kind_of(register)
        dtype = np.dtype(bool) if kind == "pred" else np.dtype(f"u{width}")
        if kind != "pred":
            if value.dtype.kind == "b":
                value = value.astype(dtype)
            if value.dtype.kind == "f":
                value = value.view(f"u{value.dtype.itemsize}")
            if value.dtype.itemsize != width:
                value = value.astype(f"{value.dtype.kind}{width}")
            value = value.view(dtype)
        held = self.registers.get(register)
        if held is None:
            held = self.registers[register] = np.zeros(self.count, dtype)
        held[who] = value

    def _address(self, operand: str, who: np.ndarray) -> np.ndarray:
        base, _, offset = operand.strip("[] ").partition("+")
        found = self._raw(base.strip(), who, np.dtype("u8"))
        return found + np.uint64(int(offset or 0) & (2**64 - 1))

    # ------------------------------------------------------------------ arithmetic

    def _binary(self, opcode: list[str], operands: list[str], who: np.ndarray, function: Any) -> None:
        dtype = KINDS[opcode[-1]]
        a, b = (self._raw(o, who, dtype) for o in operands[1:3])
        self._set(operands[0], who, np.asarray(function(a, b)).astype(dtype, copy=False))

    def _add(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._binary(opcode, operands, who, np.add)

    def _sub(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._binary(opcode, operands, who, np.subtract)

    def _mul(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        if "wide" in opcode:
            dtype = KINDS[opcode[-1]]
            wide = f"{dtype.kind}{2 * dtype.itemsize}"
            a, b = (self._raw(o, who, dtype).astype(wide) for o in operands[1:3])
            self._set(operands[0], who, a * b)
        else:
            assert "hi" not in opcode
            self._binary(opcode, operands, who, np.multiply)

    def _mad(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        dtype = KINDS[opcode[-1]]
        wide = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}") if "wide" in opcode else dtype
        a, b = (self._raw(o, who, dtype).astype(wide) for o in operands[1:3])
        self._set(operands[0], who, a * b + self._raw(operands[3], who, wide))

    def _fma(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        dtype = KINDS[opcode[-1]]
        wide = np.float64 if dtype == np.float32 else np.longdouble
        a, b, c = (self._raw(o, who, dtype).astype(wide) for o in operands[1:4])
        self._set(operands[0], who, (a * b + c).astype(dtype))

    def _div(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        if KINDS[opcode[-1]].kind == "f":
            assert "rn" in opcode
            self._binary(opcode, operands, who, np.divide)
        else:  # towards zero
            self._binary(opcode, operands, who, lambda a, b: (a - np.fmod(a, b)) // b)

    def _rem(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._binary(opcode, operands, who, np.fmod)

    def _min(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._binary(opcode, operands, who, np.fmin)

    def _max(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._binary(opcode, operands, who, np.fmax)

    def _and(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._binary(opcode, operands, who, np.bitwise_and)

    def _or(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._binary(opcode, operands, who, np.bitwise_or)

    def _xor(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._binary(opcode, operands, who, np.bitwise_xor)

    def _unary(self, opcode: list[str], operands: list[str], who: np.ndarray, function: Any) -> None:
        dtype = KINDS[opcode[-1]]
        self._set(operands[0], who, np.asarray(function(self._raw(operands[1], who, dtype))))

    def _not(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._unary(opcode, operands, who, np.invert)

    def _neg(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._unary(opcode, operands, who, np.negative)

    def _abs(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._unary(opcode, operands, who, np.abs)

    def _sqrt(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        assert "rn" in opcode
        self._unary(opcode, operands, who, np.sqrt)

    def _shl(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._shift(opcode, operands, who, np.left_shift)

    def _shr(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._shift(opcode, operands, who, np.right_shift)

    def _shift(self, opcode: list[str], operands: list[str], who: np.ndarray, function: Any) -> None:
        dtype = KINDS[opcode[-1]]
        value = self._raw(operands[1], who, dtype)
        amount = self._raw(operands[2], who, np.dtype("u4"))
        bits = 8 * dtype.itemsize
        most = np.minimum(amount, bits - 1).astype(dtype)
        moved = function(value, most)
        beyond = amount >= bits
        if beyond.any():
            rest = moved >> 1 if dtype.kind == "i" and function is np.right_shift else np.zeros_like(moved)
            moved = np.where(beyond, rest, moved)
        self._set(operands[0], who, moved)

    def _shf(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        assert opcode[1:] == ["r", "wrap", "b32"]
        low, high, amount = (self._raw(o, who, np.dtype("u4")).astype(np.uint64) for o in operands[1:4])
        moved = (low | high << np.uint64(32)) >> (amount & np.uint64(31))
        self._set(operands[0], who, moved.astype(np.uint32))

    def _bfe(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        assert opcode[-1] == "u32"
        value, start, length = (self._raw(o, who, np.dtype("u4")) for o in operands[1:4])
        self._set(operands[0], who, (value >> start) & ((np.uint32(1) << length) - np.uint32(1)))

    def _bfi(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        dtype = KINDS[opcode[-1].replace("b", "u")]
        piece, whole = (self._raw(o, who, dtype) for o in operands[1:3])
        start, length = (self._raw(o, who, dtype) for o in operands[3:5])
        mask = ((dtype.type(1) << length) - dtype.type(1)) << start
        self._set(operands[0], who, (whole & ~mask) | ((piece << start) & mask))

    def _prmt(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        a, b, control = (self._raw(o, who, np.dtype("u4")).astype(np.uint64) for o in operands[1:4])
        both, result = a | (b << np.uint64(32)), np.zeros(who.size, np.uint64)
        for i in range(4):
            nibble = (control >> np.uint64(4 * i)) & np.uint64(7)
            result |= ((both >> (nibble * np.uint64(8))) & np.uint64(255)) << np.uint64(8 * i)
        self._set(operands[0], who, result.astype(np.uint32))

    def _setp(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        relation, dtype = opcode[1], KINDS[opcode[-1]]
        a, b = (self._raw(o, who, dtype) for o in operands[1:3])
        if relation in ("num", "nan"):
            found = (np.isnan(a) | np.isnan(b)) == (relation == "nan")
        elif relation.endswith("u") and relation[:-1] in COMPARE and dtype.kind == "f":
            found = COMPARE[relation[:-1]](a, b) | np.isnan(a) | np.isnan(b)
        else:
            found = COMPARE[relation](a, b)
            if dtype.kind == "f":
                found &= ~(np.isnan(a) | np.isnan(b))
        if len(opcode) == 4:  # setp.lt.and.s64 p, a, b, q
            other = self._raw(operands[3].lstrip("!"), who, np.dtype(bool)) != operands[3].startswith("!")
            found = found & other if opcode[2] == "and" else found | other
        self._set(operands[0], who, found)

    def _selp(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        dtype = KINDS[opcode[-1]]
        a, b = (self._raw(o, who, dtype) for o in operands[1:3])
        self._set(
            operands[0], who, np.where(self.registers[operands[3]][who], a, b).astype(dtype, copy=False)
        )

    def _mov(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        dtype = KINDS[opcode[-1]]
        target, source = operands[:2]
        if target[0] == "{":
            names = [n.strip() for n in target.strip("{}").split(",")]
            whole = self._raw(source, who, dtype)
            parts = np.ascontiguousarray(whole).view(f"u{dtype.itemsize // len(names)}").reshape(who.size, -1)
            for i, name in enumerate(names):
                if name != "_":
                    self._set(name, who, np.ascontiguousarray(parts[:, i]))
        elif source[0] == "{":
            names = [n.strip() for n in source.strip("{}").split(",")]
            piece = np.dtype(f"u{dtype.itemsize // len(names)}")
            parts = np.stack([self._raw(n, who, piece) for n in names], axis=1)
            self._set(target, who, np.ascontiguousarray(parts).view(f"u{dtype.itemsize}").ravel())
        else:
            self._set(target, who, self._raw(source, who, dtype))

    def _cvta(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        self._set(operands[0], who, self._raw(operands[1], who, np.dtype("u8")))

    def _cvt(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        target, source = KINDS[opcode[-2]], KINDS[opcode[-1]]
        value = self._raw(operands[1], who, source)
        rounding = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
        rule = next((rounding[o] for o in opcode if o in rounding), None)
        if source.kind == "f" and target.kind in "iu":
            assert rule is not None
            limits, whole = np.iinfo(target), rule(value).astype(np.longdouble)
            clipped = np.clip(np.nan_to_num(whole), limits.min, limits.max)
            found = np.array([int(v) for v in clipped], object).astype(target)
            small = source.itemsize < 8 and target.itemsize < 8
            nan = 0 if small else (limits.min if target.kind == "i" else 1 << (8 * target.itemsize - 1))
            self._set(operands[0], who, np.where(np.isnan(value), np.array(nan, target), found))
        else:
            assert "sat" not in opcode
            assert not {"rz", "rm", "rp"} & set(opcode)
            self._set(operands[0], who, (value if rule is None else rule(value)).astype(target))

    # ------------------------------------------------------------------ memory

    def _ld(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        space, dtype = opcode[1], KINDS[opcode[-1]]
        if space == "param":
            name, _, offset = operands[1].strip("[] ").partition("+")
            raw = self.values[name][int(offset or 0) :][: dtype.itemsize]
            self._set(operands[0], who, np.full(who.size, np.frombuffer(raw, dtype)[0]))
            return
        targets = [n.strip() for n in operands[0].strip("{}").split(",")]
        address, nbytes = self._address(operands[1], who), dtype.itemsize * len(targets)
        if space == "global":
            found = self.heap.bytes[self.heap.places(address, nbytes)]
        elif space == "shared":
            found = self.shared[self._in_shared(address, nbytes, who, write=False)]
        else:
            raise DeviceFaultError(f"a load from {space}")
        values = np.ascontiguousarray(found).view(dtype)
        for i, name in enumerate(targets):
            self._set(name, who, np.ascontiguousarray(values[:, i]))

    def _st(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        space, dtype = opcode[1], KINDS[opcode[-1]]
        names = [n.strip() for n in operands[1].strip("{}").split(",")]
        address, nbytes = self._address(operands[0], who), dtype.itemsize * len(names)
        values = np.ascontiguousarray(np.stack([self._raw(n, who, dtype) for n in names], axis=1))
        raw = values.view(np.uint8)
        if space == "global":
            places = self.heap.places(address, nbytes)
            self.heap.bytes[places] = raw
            if (self.heap.bytes[places] != raw).any():
                raise DeviceFaultError("two threads write different values to one place at once")
        elif space == "shared":
            self.shared[self._in_shared(address, nbytes, who, write=True)] = raw
        else:
            raise DeviceFaultError(f"a store to {space}")

    def _in_shared(self, address: np.ndarray, nbytes: int, who: np.ndarray, *, write: bool) -> np.ndarray:
        """Return the indices of the bytes of an access to shared memory, after a check for races."""
        if (address % np.uint64(nbytes)).any():
            raise DeviceFaultError(
                f"an access of {nbytes} bytes of shared memory is not aligned: {address[:4]}"
            )
        at = address.view(np.int64)
        if ((at < 0) | (at + nbytes > self.shared_size)).any():
            raise DeviceFaultError(f"beyond shared memory of {self.shared_size} bytes: {at[:4]}")
        every = (self.block[who] * self.shared_size + at)[:, None] + np.arange(nbytes)
        mine, now = who[:, None], self.epoch[who][:, None]
        foreign = (self.writer[every] != mine) & (self.writer[every] >= 0) & (self.written[every] >= now)
        if foreign.any():
            raise DeviceFaultError("shared memory that another lane wrote, without a barrier in between")
        if write:
            read = (self.reader[every] != mine) & (self.reader[every] != -1) & (self.when_read[every] >= now)
            if read.any():
                raise DeviceFaultError(
                    "shared memory is overwritten that another lane reads, without a barrier in between"
                )
            self.writer[every], self.written[every] = mine, now
        else:
            again = (self.when_read[every] == now) & (self.reader[every] != mine)
            self.reader[every] = np.where(again, -2, mine)  # -2: several lanes
            self.when_read[every] = now
        return every

    def _cp(self, opcode: list[str], operands: list[str], who: np.ndarray) -> None:
        if "commit_group" in opcode:
            self.closed[who] += 1
        elif "wait_group" in opcode:
            self._arrive(who, int(operands[0]))
        else:
            nbytes = int(operands[2])
            if ("cg" in opcode) != (nbytes == 16):
                raise DeviceFaultError(f"cp.async of {nbytes} bytes as {opcode}")
            source = self.heap.bytes[self.heap.places(self._address(operands[1], who), nbytes)]
            target = self._in_shared(self._address(operands[0], who), nbytes, who, write=True)
            self.shared[target] = 0xFF
            self.written[target] = NEVER
            self.pending.append((who, self.closed[who].copy(), target, source))

    def _arrive(self, who: np.ndarray, left: int) -> None:
        """Complete the copies of all groups except the last `left` of each thread."""
        waiting = np.zeros(self.count, bool)
        waiting[who] = True
        still = []
        for issuers, group, target, source in self.pending:
            here = waiting[issuers] & (group < self.closed[issuers] - left)
            if here.any():
                places = target[here]
                self.shared[places] = source[here]
                self.writer[places] = issuers[here][:, None]
                self.written[places] = self.epoch[issuers[here]][:, None]
            if not here.all():
                still.append((issuers[~here], group[~here], target[~here], source[~here]))
        self.pending = still
