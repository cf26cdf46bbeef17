"""Compiled loops of the convolutions over channels."""
