"""Numba's compiler, reduced to the steps that kernels need, which saves a third of the time."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any, ClassVar

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock

# Kernels contain no closures, no expressions of whole arrays, and no inlined `overload`.
SKIPPED = {"InlineClosureLikes", "NopythonRewrites", "InlineOverloads"}


class _Library(JITCodeLibrary):
    """LLVM code that is optimised once: as a module, not function by function before."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout


class _DriverLibrary(_Library):
    """As `_Library`, with little optimisation."""

    def _optimize_final_module(self) -> None:
        made = self._codegen._module_pass_manager(opt=1, loop_vectorize=False, slp_vectorize=False)
        manager, *builder = made if isinstance(made, tuple) else (made,)  # Numba before 0.62 has no builder
        manager.run(self._final_module, *builder)


class KernelCompiler(Compiler):
    """Compiles kernels: loops over numbers, words of `cpu.intrinsics`, and calls by address."""

    library: ClassVar[type] = _Library

    def define_pipelines(self) -> list[Any]:
        """Numba's passes, without those that find nothing to do."""
        state = self.state
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()  # as Numba's lowering does with a library of its own
        pipelines: list[Any] = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [entry for entry in pipeline.passes if entry[0].__name__ not in SKIPPED]
            pipeline.finalize()
        return pipelines


class DriverCompiler(KernelCompiler):
    """Compiles kernels that spend their time in the kernels that they call."""

    library = _DriverLibrary


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Compile without garbage collections: Numba makes so many objects that they take a fifth of the time."""
    with global_compiler_lock:  # by one thread at a time
        enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if enabled:
                gc.enable()
