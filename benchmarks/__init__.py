"""Benchmarks: asv classes in ``bench_*.py``, and other libraries in ``python -m benchmarks.peers``.

The bodies are part of the test suite, at small sizes, so that they cannot rot.
"""
