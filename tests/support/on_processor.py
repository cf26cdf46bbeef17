"""A program that compares all kinds of filters with the oracle, for processors other than this one."""

import sys

import numpy as np

import numbasep
from numbasep.cpu.intrinsics import vectors
from tests.support import oracle

TYPES = ("f4", "f8", "u1")


def kernels() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    short, long = rng.random(5) + 0.1, rng.random(31) + 0.1
    dense = rng.standard_normal((7, 8))
    return {
        "short": np.outer(short, short),
        "long": np.outer(long, long),
        "sum": np.outer(short, short) + np.outer(rng.random(5), rng.standard_normal(5)),
        "dense": dense,
        "even": dense + dense[:, ::-1],
        "box": np.ones((45, 47)),
        "along rows": short[None],
        "down rows": long[:, None],
    }


def compare(x: np.ndarray, weights: np.ndarray, **keywords: object) -> None:
    output = np.float64 if x.dtype.kind in "iu" else None
    got = numbasep.correlate(x, weights, output, **keywords)
    expected = oracle.correlate(x.astype(np.float64), weights)
    unit = {"f4": 2e-6, "f2": 2e-3}.get(x.dtype.str[1:], 1e-12)
    what = f"{x.dtype} {x.shape} {weights.shape}"
    np.testing.assert_allclose(
        got, expected, atol=unit * np.abs(weights).sum() * 200, rtol=unit, err_msg=what
    )


def halves() -> None:
    """Check every float16, and float32 between and beyond them."""
    one = np.ones((1, 1))
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    np.testing.assert_array_equal(numbasep.correlate(every, one), every)
    with np.errstate(over="ignore", invalid="ignore"):
        near = np.concatenate(
            [np.nextafter(every.astype(np.float32), np.float32(to)).reshape(-1) for to in (-np.inf, np.inf)]
            + [(every[:, 1:].astype(np.float32) / 2 + every[:, :-1].astype(np.float32) / 2).reshape(-1)]
        )  # ties
        near = near[: near.size // 256 * 256].reshape(256, -1)
        np.testing.assert_array_equal(numbasep.correlate(near, one, np.float16), near.astype(np.float16))


def main(vector_bytes: int) -> None:
    assert vector_bytes == vectors.VECTOR_BYTES
    halves()
    rng = np.random.default_rng(1)
    for dtype in TYPES:
        for name, weights in kernels().items():
            weights = weights / np.abs(weights).sum()
            compare((rng.random((53, 97)) * 200).astype(dtype), weights)
            if dtype in ("f4", "u1") and name in ("short", "even"):
                compare((rng.random((35, 44, 3)) * 200).astype(dtype), weights[:, :, None])
                compare((rng.random((53, 190)) * 200).astype(dtype)[:, ::2], weights)
    volume = (rng.random((20, 30, 40)) * 200).astype(np.float32)
    compare(volume, np.multiply.outer(np.outer([1.0, 2, 1], [1.0, 3, 1]), [2.0, 1, 1]))
    gaps = np.where(volume < 20, np.nan, volume)
    for array, weights in ((gaps, np.ones((3, 3, 3))), (gaps[0].copy(), kernels()["dense"] ** 2)):
        known, total = ~np.isnan(array), weights.sum()
        share = oracle.correlate(known.astype(np.float64), weights)
        expected = oracle.correlate(np.where(known, array, 0).astype(np.float64), weights) / share * total
        for method in ("separable", "direct") if weights.ndim > 2 else ("direct",):
            got = numbasep.correlate(array, weights, nan_policy="omit", method=method)
            np.testing.assert_allclose(got, expected, rtol=1e-4)
    large = rng.random((1500, 1501), np.float32)  # stored without the caches
    for weights in (kernels()["short"], kernels()["dense"]):
        compare(large, weights)
    whole = rng.random((1500, 1504), np.float32)  # rows of whole vectors, but not of whole cache lines
    for offset in range(0, 16, 3):
        output = np.empty(whole.size + 16, np.float32)[offset : offset + whole.size].reshape(whole.shape)
        numbasep.correlate(whole, kernels()["down rows"], output)
        np.testing.assert_allclose(output, oracle.correlate(whole, kernels()["down rows"]), rtol=1e-5)
    for taps in ((3, 4), (5, 5), (6, 3)):  # few taps, in unrolled loops
        compare(large[:300, :301].copy(), rng.standard_normal(taps))
    compare(large[:800, :700].copy(), np.full((47, 17), 1 / 799))  # as boxes
    x = rng.standard_normal((2, 20, 22, 5)).astype(np.float32)
    depthwise = rng.standard_normal((3, 3, 5, 1)).astype(np.float32)
    pointwise = rng.standard_normal((1, 1, 5, 7)).astype(np.float32)
    made = numbasep.nn.separable_conv2d(x, depthwise, pointwise, (1, 1, 1, 1), "SAME")
    apart = np.stack([oracle.correlate(np.float64(x[..., c]), depthwise[None, :, :, c, 0], mode="constant")
                      for c in range(5)], axis=-1)  # fmt: skip
    np.testing.assert_allclose(made, apart @ np.float64(pointwise[0, 0]), atol=1e-4)


if __name__ == "__main__":
    main(int(sys.argv[1]))
