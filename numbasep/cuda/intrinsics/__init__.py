"""Intrinsics of the CUDA kernels: PTX on a device, NumPy in the simulator."""
