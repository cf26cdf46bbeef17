"""Compiled loops: arrays, scalars and integers only; nothing is checked or allocated here."""
