"""SciPy's own tests of its linear filters, run on numbasep's functions."""
