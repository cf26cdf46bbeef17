"""CUDA kernels, written as Numba functions."""
