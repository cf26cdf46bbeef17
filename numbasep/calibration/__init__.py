"""Measures the constants of this machine that predictions of time depend on."""
