"""Compilation of CUDA kernels without a device: from Python to PTX by Numba, to a cubin by ptxas or nvJitLink.

Numba's own cache cannot store kernels made in factories and does not notice a new version of numba-cuda.  Machine code
is therefore cached here, in the cache directory, under a hash of everything that it depends on.
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..system import storage
from .kernels import columns, depthwise, elementwise, plane, rows

Capability = tuple[int, int]

FAMILIES: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    plane.PlaneVariant: (plane.plane_kernel, plane.plane_signature),
    columns.ColumnsVariant: (columns.columns_kernel, columns.columns_signature),
    elementwise.ElementwiseVariant: (
        elementwise.elementwise_kernel, elementwise.elementwise_signature
    ),
    rows.LinesVariant: (rows.lines_kernel, rows.lines_signature),
    depthwise.DepthwiseVariant: (depthwise.depthwise_kernel, depthwise.depthwise_signature),
    depthwise.ProductVariant: (depthwise.product_kernel, depthwise.product_signature),
}  # fmt: skip
"""Variant type -> (function that makes the `cuda.jit` kernel of a variant, function that returns its signature)."""

PACKAGES = (
    "numba-cuda",
    "numba",
    "llvmlite",
    "cuda-core",
    "nvidia-nvvm",
    "nvidia-nvjitlink",
    "nvidia-cuda-nvcc",
)
REPORT = ("-v", "-warn-spills", "-warn-lmem-usage")
"""Options that make ptxas print the resources of a kernel."""
LEAST_PTX = (((9, 0), "8.0"), ((10, 0), "8.6"), ((12, 0), "8.7"))
"""(compute capability, PTX version that suffices up to it); all of these versions came with CUDA 12."""
ELF, PTX_END = b"\x7fELF", b"\n\0"
"""First bytes of machine code; last bytes of PTX, whose terminating zero the driver requires."""
TOO_OLD = "Unsupported .version"  # message of a ptxas that is older than the NVVM that wrote the PTX


class CudaUnavailableError(RuntimeError):
    """Raised if the GPU is requested but something it needs is missing; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Binary:
    """Code of a kernel, ready for the driver to load."""

    name: str
    """Name of the entry point."""
    image: bytes
    """A cubin, or PTX that the driver compiles."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of a kernel as reported by ptxas."""

    registers: int
    """Registers per thread."""
    stack: int
    """Stack frame per thread, in bytes of local memory."""
    spills: int
    """Bytes of spill stores and spill loads."""


def missing() -> str | None:
    """Return a sentence that says what is missing for compilation and how to install it, or None.

    Examples
    --------
    >>> missing() is None or "pip install" in missing()
    True
    """
    install = 'python -m pip install "numbasep[cuda]"'
    if importlib.util.find_spec("numba_cuda") is None:
        return f"numba-cuda is not installed: {install}"
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
        return f"cuda-bindings is not installed: {install}"
    try:
        _nvvm_version()
    except Exception as error:  # the loaders of NVIDIA's libraries raise errors of many types
        return f"NVIDIA's compiler libraries (NVVM, NVRTC) cannot be loaded ({error}): {install}"
    return None


@functools.cache
def _nvvm_version() -> tuple[int, ...]:
    from cuda.bindings import nvrtc, nvvm

    nvrtc.nvrtcVersion()
    return tuple(nvvm.version())


def to_ptx(variant: Any, capability: Capability) -> str:
    """Compile a kernel to PTX for a compute capability such as (9, 0)."""
    from numba import cuda

    make, signature = FAMILIES[type(variant)]
    ptx: str
    ptx, _ = cuda.compile(
        make(variant).py_func, signature(variant), cc=capability, device=False, abi="numba", output="ptx",
        launch_bounds=variant.launch_bounds,
    )  # fmt: skip
    return ptx


@functools.cache
def architectures() -> tuple[Capability, ...]:
    """Return the compute capabilities that the compiler supports, in ascending order."""
    from cuda.bindings import nvrtc

    numbers = nvrtc.nvrtcGetSupportedArchs()[-1]
    return tuple(sorted(divmod(int(number), 10) for number in numbers))


def release() -> str:
    """Return the release of the compiler libraries, such as "13.0"."""
    from cuda.bindings import nvrtc

    _, major, minor = nvrtc.nvrtcVersion()
    return f"{major}.{minor}"


def target_of(capability: Capability) -> Capability:
    """Return the capability to compile for: the device's, or the latest earlier one that the compiler supports."""
    return max((known for known in architectures() if known <= capability), default=capability)


def portable_ptx(ptx: str, capability: Capability) -> str:
    """Lower the version of PTX so that the oldest drivers for the device accept it.

    NVVM marks PTX with the version of its own release, and drivers reject versions later than theirs.  The kernels
    need no version later than `LEAST_PTX`, which ``tests/cuda/test_cuda_compile.py`` checks with ptxas.
    """
    least = next((version for known, version in LEAST_PTX if capability <= known), None)
    return re.sub(r"(?m)^\.version .*$", f".version {least}", ptx) if least else ptx


def entry_name(ptx: str) -> str:
    """Return the name of the kernel in its PTX."""
    found = re.search(r"\.entry\s+([\w$]+)", ptx)
    assert found is not None, "PTX without an entry"
    return found[1]


def assemble(ptx: str, capability: Capability, options: Sequence[str] = ()) -> tuple[bytes, str]:
    """Assemble PTX; return the machine code and the log of the assembler.

    Use ptxas if one is found that is not older than NVVM, since the register budgets are tuned for it.  Otherwise use
    nvJitLink, which is installed with numba-cuda, in this process.

    Raises
    ------
    CudaUnavailableError
        Neither ptxas nor nvJitLink is installed.
    RuntimeError
        The assembler rejects the PTX.
    """
    arch = "sm_{}{}".format(*capability)
    program = find_tool("ptxas")
    if program is not None:
        image, log = _by_ptxas(program, ptx, arch, options)
        if image is not None:
            return image, log
        if TOO_OLD not in log:
            raise RuntimeError(f"ptxas: {log}")
    return _by_nvjitlink(ptx, arch, options)


def _by_nvjitlink(ptx: str, arch: str, options: Sequence[str]) -> tuple[bytes, str]:
    try:
        from cuda.core import Linker, LinkerOptions, ObjectCode
    except ImportError as error:
        raise CudaUnavailableError(
            'neither ptxas nor nvJitLink is installed: python -m pip install "numbasep[cuda]"'
        ) from error
    linker = Linker(
        ObjectCode.from_ptx(ptx.encode()),
        options=LinkerOptions(arch=arch, ptxas_options=list(options) or None),
    )
    image = bytes(linker.link("cubin").code)
    return image, linker.get_info_log() + linker.get_error_log()


def find_tool(name: str) -> str | None:
    """Find a program of the CUDA toolkit in the wheels of this environment or on the path."""
    for folder in sys.path:
        for package in ("cu13", "cuda_nvcc"):  # wheels for CUDA 13, and for CUDA 12
            program = Path(folder, "nvidia", package, "bin", name)
            if program.is_file():
                return str(program)
    return shutil.which(name)


def _by_ptxas(program: str, ptx: str, arch: str, options: Sequence[str]) -> tuple[bytes | None, str]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        done = subprocess.run(
            [program, f"-arch={arch}", *options, str(source), "-o", str(target)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return None if done.returncode else target.read_bytes(), done.stderr + done.stdout


def resources(log: str) -> Resources:
    """Parse the log of the assembler, for a single kernel assembled with the options `REPORT`.

    Examples
    --------
    >>> resources("8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads, Used 40 registers")
    Resources(registers=40, stack=8, spills=8)
    """

    def number(pattern: str) -> int:
        found = re.search(pattern, log)
        return int(found[1]) if found else 0

    spills = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads")
    return Resources(number(r"Used (\d+) registers"), number(r"(\d+) bytes stack frame"), spills)


# --------------------------------------------------------------------------- the cache


@functools.cache
def _depends_on() -> str:
    """Return a hash of the kernels' source and of the versions of the compilers."""
    digest = hashlib.sha256()
    for folder in ("kernels", "intrinsics"):
        for path in sorted((Path(__file__).parent / folder).glob("*.py")):
            digest.update(path.read_bytes())
    for package in PACKAGES:
        try:
            digest.update(f"{package} {importlib.metadata.version(package)};".encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(f"{package} -;".encode())
    digest.update(repr(_nvvm_version()).encode())
    return digest.hexdigest()


def cached_path(variant: Any, capability: Capability, *, portable: bool = False) -> Path | None:
    """Return the cache file of a kernel's machine code or portable PTX, or None if nothing can be cached."""
    if os.environ.get("NUMBASEP_CACHE", "1") == "0":
        return None
    key = f"{_depends_on()} {variant!r} {capability} {portable}"
    try:
        return storage.folder("cuda") / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.cubin"
    except OSError as error:
        storage.warn_once(error)
        return None


def compiled(variant: Any, capability: Capability, *, portable: bool = False) -> Binary:
    """Load a kernel from the cache, or compile and cache it: machine code, or PTX if `portable`."""
    path = cached_path(variant, capability, portable=portable)
    if path is not None:
        try:
            name, _, image = path.read_bytes().partition(b"\0")
            if image.startswith(ELF) or (portable and image.endswith(PTX_END)):
                return Binary(name.decode(), image)
        except OSError:
            pass
    target = target_of(capability)
    ptx = to_ptx(variant, target)
    if portable:
        image = portable_ptx(ptx, target).rstrip("\0\n ").encode() + PTX_END
    else:
        image, _ = assemble(ptx, target)
    binary = Binary(entry_name(ptx), image)
    if path is not None:
        try:
            storage.write(path, binary.name.encode() + b"\0" + binary.image)
        except OSError as error:  # a failed write costs time only
            storage.warn_once(error)
    return binary
