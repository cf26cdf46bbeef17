"""The planner: time to plan, accuracy of predicted times, and cost of wrong choices."""

from __future__ import annotations

import itertools

import numpy as np

import numbasep
from numbasep.demo.measure import take_turns

from . import calm, common, regret


class Planning:
    """Time to plan for known kernels, which are cached, and for new ones, which are factorized."""

    params = ["gaussian 9", "gaussian 31", "sobel", "disk 8", "random 15"]
    param_names = ("kernel",)

    def setup(self, kernel):
        self.kernel = problems()[kernel]
        self.scales = itertools.count(1)
        self.time_known(kernel)

    def time_known(self, kernel):
        numbasep.plan(self.kernel, (4096, 4096), np.float32)

    def time_new(self, kernel):
        numbasep.plan(self.kernel * next(self.scales), (4096, 4096), np.float32)


class Choice:
    """The automatic choice and every route, measured in turns."""

    params = [
        "gaussian 3",
        "gaussian 9",
        "gaussian 31",
        "sobel",
        "disk 8",
        "random 5",
        "random 15",
        "random 31",
    ]
    param_names = ("kernel",)
    timeout = 600

    def setup(self, kernel):
        self.weights = problems()[kernel]
        self.array = common.image(common.SIDE // 2, common.SIDE // 2)

    def measure(self):
        """Return the automatic plan and the seconds of each route."""
        plan = numbasep.plan(self.weights, self.array.shape, self.array.dtype)
        methods = dict.fromkeys(c.method for c in plan.candidates if c.feasible)
        calls = {method: common.prepared(self.weights, self.array, method=method) for method in methods}
        return plan, take_turns(calls, repeat=5)

    def track_regret(self, kernel):
        plan, seconds = self.measure()
        return seconds[plan.method] / min(seconds.values())

    track_regret.unit = "time of the choice / time of the fastest route"

    def track_prediction(self, kernel):
        plan, seconds = self.measure()
        ratio = plan.seconds / seconds[plan.method]
        return max(ratio, 1 / ratio)

    track_prediction.unit = "factor between predicted and measured time"


class Zoo:
    """The automatic choice for a sample of the kernels found in practice; `benchmarks.regret` measures all of them."""

    params = [64, 256, 1024]
    param_names = ("side",)
    KERNELS = 12

    def setup_cache(self):
        """Return the records by side, measured once for all tracked values."""
        probe = calm.Probe(None)
        kernels = list(common.zoo().items())
        kernels = kernels[:: len(kernels) // self.KERNELS]
        records = {}
        for side in self.params:
            size = min(side, common.SIDE)
            found = (
                regret.measure(name, weights, size, "float32", workers=None, probe=probe, limit=0.5)
                for name, weights in kernels
            )
            records[side] = [record for record in found if record is not None and "measured" in record]
        return records

    setup_cache.timeout = 600

    def track_regret(self, records, side):
        return float(np.exp(np.mean([np.log(record["regret"]) for record in records[side]] or [0.0])))

    track_regret.unit = "time of the choice / time of the fastest route, geometric mean"

    def track_worst(self, records, side):
        return max([record["regret"] for record in records[side]], default=1.0)

    track_worst.unit = "time of the choice / time of the fastest route"

    def track_predictions(self, records, side):
        ratios = [r["predicted"][m] / t for r in records[side] for m, t in r["measured"].items()]
        return float(np.exp(np.mean([abs(np.log(ratio)) for ratio in ratios] or [0.0])))

    track_predictions.unit = "factor between predicted and measured time, geometric mean"


class Transforms:
    """Tiled transforms and those of `scipy.signal`, float32, in turns."""

    params = [31, 101]
    param_names = ("taps",)
    timeout = 600

    def setup(self, taps):
        import scipy.signal

        x, weights = common.image(common.SIDE, common.SIDE), common.random_kernel(taps)
        calls = {
            "numbasep": common.prepared(weights, x, method="fft", rtol=1e-3),
            "oaconvolve": lambda: scipy.signal.oaconvolve(x, weights, "same"),
            "fftconvolve": lambda: scipy.signal.fftconvolve(x, weights, "same"),
        }
        self.seconds = take_turns(calls, repeat=3)

    def track_oaconvolve(self, taps):
        return self.seconds["oaconvolve"] / self.seconds["numbasep"]

    def track_fftconvolve(self, taps):
        return self.seconds["fftconvolve"] / self.seconds["numbasep"]

    track_oaconvolve.unit = track_fftconvolve.unit = "times faster"


def problems():
    """Return kernels by name."""
    sizes = {f"gaussian {taps}": common.gaussian(taps) for taps in (3, 9, 31)}
    sizes |= {f"random {taps}": common.random_kernel(taps) for taps in (5, 15, 31)}
    return sizes | {
        "sobel": np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
        "disk 8": common.disk(8),
    }
