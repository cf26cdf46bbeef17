"""SIMD intrinsics for Numba: vectors, memory access, register blocks; each with a reference implementation in NumPy."""
