"""Runs plans on the CPU or on a GPU."""
