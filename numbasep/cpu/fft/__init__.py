"""Correlation by fast Fourier transforms of `scipy.fft`."""
