"""Compiled loops over arrays, with scalars and integers as arguments; they check and allocate nothing."""
