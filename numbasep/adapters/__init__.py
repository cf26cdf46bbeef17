"""Support for dask, xarray and arrays larger than memory; each module takes calls over for one kind of array."""
