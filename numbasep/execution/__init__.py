"""Runs what was planned, on the CPU or on a GPU, and decides nothing."""
