"""Lowers a filter on a memory layout to passes.  Plain integers, no compiler."""
