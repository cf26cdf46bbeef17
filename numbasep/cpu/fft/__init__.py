"""Correlation by fast Fourier transforms: those of `scipy.fft`, and along rows those of `cpu.kernels`."""
