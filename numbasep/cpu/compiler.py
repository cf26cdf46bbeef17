"""Numba's compiler, reduced to the steps that kernels need, which saves a third of the time."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Iterator
from types import BuiltinFunctionType
from typing import Any, ClassVar

from llvmlite import binding
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock

from .intrinsics.builtins import INTRINSICS

# passes that would find nothing, as kernels contain no closures, no array expressions, and no inlined `overload`, and
# those to and from static single assignment, which LLVM repeats
SKIPPED = {"InlineClosureLikes", "NopythonRewrites", "InlineOverloads", "ReconstructSSA", "PreLowerStripPhis"}


class _DriverLibrary(JITCodeLibrary):
    """Library whose LLVM code is optimised once, as a module, and lightly; Numba first optimises each function."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        self._optimize(1)

    def _optimize(self, level: int, *early: str) -> None:
        """Run LLVM's passes of an optimisation level, then those named `early`.

        Loops are not unrolled: intrinsics emit as many vectors as there are registers for.
        """
        tuning = binding.create_pipeline_tuning_options(level)
        tuning.loop_vectorization, tuning.slp_vectorization, tuning.loop_unrolling = level > 1, False, False
        builder = binding.create_pass_builder(self._codegen._tm, tuning)
        manager = builder.getModulePassManager()
        for name in early:
            getattr(manager, f"add_{name}_pass")()
        manager.run(self._final_module, builder)


class _KernelLibrary(_DriverLibrary):
    """Library whose LLVM code is optimised as a module at the highest level."""

    def _optimize_final_module(self) -> None:
        self._optimize(0, "loop_rotate", "instruction_combine", "jump_threading")  # 1 to 5 % faster code
        self._optimize(3)


class _TypingContext:
    """Numba's typing context, with `INTRINSICS` and a cache, as type inference asks for each signature repeatedly."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._signatures: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def resolve_value_type(self, value: Any) -> Any:
        """Return the type of a global variable."""
        if isinstance(value, type | BuiltinFunctionType):
            value = INTRINSICS.get(value, value)
        return self._context.resolve_value_type(value)

    def resolve_function_type(self, function: Any, args: Any, kws: Any) -> Any:
        """Return the signature of a call."""
        key = function, tuple(args), tuple(kws.items())
        signature = self._signatures.get(key)
        if signature is None:
            signature = self._signatures[key] = self._context.resolve_function_type(function, args, kws)
        return signature


@functools.cache
def _typing_context(context: Any) -> _TypingContext:
    return _TypingContext(context)


class KernelCompiler(Compiler):
    """Compiler of kernels, which contain loops over numbers, calls of intrinsics, and calls by address."""

    library: ClassVar[type] = _KernelLibrary

    def define_pipelines(self) -> list[Any]:
        """Return Numba's passes without those in `SKIPPED`."""
        state = self.state
        state.typingctx = _typing_context(state.typingctx)
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()  # as Numba does for libraries that it creates
        pipelines: list[Any] = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [entry for entry in pipeline.passes if entry[0].__name__ not in SKIPPED]
            pipeline.finalize()
        return pipelines


class DriverCompiler(KernelCompiler):
    """Compiler of drivers, which spend their time in the kernels that they call."""

    library = _DriverLibrary


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Turn garbage collection off while Numba compiles; it would take a fifth of the time."""
    with global_compiler_lock:  # one thread at a time, as `gc` is global
        enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if enabled:
                gc.enable()
