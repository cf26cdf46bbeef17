"""Peak memory of the process, with and without the filter."""

from __future__ import annotations

from . import common


class PeakMemory:
    """A 17x17 kernel on a large image, by route."""

    params = ["separable", "direct", "fft"]
    param_names = ("method",)

    def setup(self, method):
        self.array = common.image(common.SIDE, common.SIDE)
        self.kernel = common.gaussian(17)
        common.prepared(self.kernel, common.image(64, 64), method=method)  # compiles

    def peakmem_arrays(self, method):
        self.array.copy()

    def peakmem_filter(self, method):
        common.prepared(self.kernel, self.array, method=method)
