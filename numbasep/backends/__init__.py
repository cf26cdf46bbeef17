"""What runs a plan: each backend owns its memory, threads and tiles, and calls its kernels."""
