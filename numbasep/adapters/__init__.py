"""Support for dask, xarray and arrays larger than memory; each module handles the calls for a kind of array."""
