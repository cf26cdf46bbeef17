"""The GPU backend: arrays of other libraries, the compiler, the driver, launches."""
