"""Flat kernels, disks to balls: the sums of rows that are found are the kernel, and those that run equal the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import numbasep
from numbasep.cpu import flat_tables
from numbasep.factor import runs
from numbasep.factor.arguments import as_kernel
from numbasep.lowering import counts
from tests.support import oracle

MODES = ["reflect", "mirror", "nearest", "wrap", "constant", "valid", "full"]


def ellipsoid(*radii, shift=0.0):
    grid = np.ogrid[tuple(slice(-int(r), int(r) + 1) for r in radii)]
    return (sum(((g + shift) / r) ** 2 for g, r in zip(grid, radii, strict=True)) <= 1).astype(float)


def ring(inner, outer):
    return ellipsoid(outer, outer) - np.pad(ellipsoid(inner, inner), outer - inner)


def rotated(a, b, degrees):
    y, x = np.mgrid[-a : a + 1, -a : a + 1]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (((c * x + s * y) / a) ** 2 + ((c * y - s * x) / b) ** 2 <= 1).astype(float)


def diamond(r):
    y, x = np.ogrid[-r : r + 1, -r : r + 1]
    return (abs(x) + abs(y) <= r).astype(float)


def surround(inner, outer):
    disk = ellipsoid(inner, inner)
    return np.pad(disk / disk.sum(), outer - inner) - ellipsoid(outer, outer) / ellipsoid(outer, outer).sum()


SCATTERED, NOISE = (
    (np.random.default_rng(7).random(shape) < 0.4).astype(float) for shape in ((9, 12), (20, 30))
)
SHAPES = {
    "disk": ellipsoid(7, 7), "mean": ellipsoid(6, 6) / ellipsoid(6, 6).sum(), "even": ellipsoid(8, 8)[:-1, 1:],
    "off centre": ellipsoid(6, 9, shift=0.3), "ellipse": ellipsoid(4, 11), "tilted": rotated(10, 4, 25),
    "ring": ring(4, 7), "annulus": ring(2, 8) / 177.0, "diamond": diamond(6), "surround": surround(3, 7),
    "levels": ellipsoid(7, 7) + np.pad(ellipsoid(4, 4), 3) - 3 * np.pad(ellipsoid(2, 2), 5), "negative": -ring(3, 6),
    "scattered": SCATTERED, "wide": ellipsoid(2, 20),
    "tall": ellipsoid(20, 2), "ball": ellipsoid(3, 3, 3), "spheroid": ellipsoid(2, 4, 3),
    "shell": ellipsoid(3, 3, 3) - np.pad(ellipsoid(2, 2, 2), 1), "4-D": ellipsoid(1, 2, 2, 2),
}  # fmt: skip


def rebuilt(found):
    """The kernel that sums of rows stand for, by their definition."""
    rows = int(np.prod(found.shape[:-1]))
    sums = []
    for base, added in found.sums:
        column = sums[base].copy() if base >= 0 else np.zeros(rows)
        np.add.at(column, list(added), 1)
        sums.append(column)
    columns = [[(column, 0)] for column in sums]
    for base, shift in found.doubles:
        columns.append(columns[base] + [(column, at + shift) for column, at in columns[base]])
    kernel = np.zeros((rows, found.shape[-1]))
    for which, shift, weight in found.shifted:
        for column, at in columns[which]:
            kernel[:, at + shift] += weight * column
    return kernel.reshape(found.shape) / found.divisor


def chosen_by_force(kernel, x, **options):
    """The plan with the flat kernels as what is chosen, whatever they cost."""
    from dataclasses import replace

    plan = numbasep.plan(kernel, x.shape, x.dtype, method="structured", **options)
    facts = plan.kernel.flat
    assert facts is not None
    candidate = replace(plan.choice.chosen, runner="flat", name="flat", needs_finite=False)
    return replace(plan, choice=replace(plan.choice, chosen=candidate))


@pytest.mark.parametrize("name", SHAPES)
def test_sums_of_rows_are_the_kernel(name):
    kernel = SHAPES[name]
    found = runs.find(as_kernel(kernel))
    np.testing.assert_allclose(rebuilt(found), kernel, rtol=1e-15, atol=0)
    if found.intervals is not None:
        for (first, last, wider), one in zip(found.intervals, found.sums, strict=True):
            assert wider == (one.base >= 0)
            below = found.intervals[one.base] if wider else (first, first - 1)
            assert sorted([*range(below[0], below[1] + 1), *one.rows]) == [*range(first, last + 1)]


def test_a_disk_takes_two_additions_for_a_line():
    for r in (6, 11, 16, 25):
        found = runs.find(as_kernel(ellipsoid(r, r)))
        assert found.operations <= 2 * (2 * r + 1)
        assert found.intervals is not None


@pytest.mark.parametrize(
    "kernel",
    [np.ones((3, 3)), np.random.default_rng(0).random((9, 9)), np.ones(30), 1j * np.ones((7, 7)), NOISE],
)
def test_other_kernels_are_left_alone(kernel):
    assert runs.find(as_kernel(kernel)) is None


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "output"), [("f4", "f4"), ("f8", "f8"), ("u1", "f4"), ("u2", "f8"), (">i2", "f8")]
)
def test_every_shape_mode_and_type(name, mode, dtype, output):
    kernel = SHAPES[name]
    rng = np.random.default_rng(3)
    shape = {2: (29, 75), 3: (9, 11, 40), 4: (4, 5, 7, 21)}[kernel.ndim]
    x = (rng.random(shape) * 200).astype(dtype)
    options = {"mode": mode, "cval": 3.0} if mode in ("constant", "full") else {"mode": mode}
    plan = chosen_by_force(kernel, x, output=np.dtype(output), **options)
    expected = oracle.convolve(x.astype(float), kernel, **options)
    found = plan(x)
    assert found.shape == expected.shape
    bound = plan.kernel.flat.roundings * (2.0**-24 if plan.problem.compute_dtype.itemsize == 4 else 2.0**-53)
    assert (
        np.abs(found - expected).max(initial=0)
        <= (bound + 2.0**-24 * (output == "f4")) * np.abs(kernel).sum() * 200
    )


@pytest.mark.parametrize("name", ["disk", "ring", "levels", "even", "ball", "tilted"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4"])
def test_integers_are_exact(name, dtype):
    kernel = SHAPES[name]
    x = np.random.default_rng(4).integers(0, 200, (13, 17, 40)[3 - kernel.ndim :]).astype(dtype)
    plan = chosen_by_force(kernel, x, output=np.float64)
    np.testing.assert_array_equal(plan(x), oracle.convolve(x.astype(float), kernel))


@pytest.mark.thinned
@pytest.mark.parametrize("kernel", [ellipsoid(25, 25), 2 * ring(8, 12), ellipsoid(3, 3, 3), ellipsoid(5, 60)])
@pytest.mark.parametrize("mode", ["reflect", "constant", "full"])
@pytest.mark.parametrize("cval", [0, 255, 256, -1, 0.5])
def test_bytes_are_summed_up_without_overflow(kernel, mode, cval):
    x = np.full((9, 60, 330)[3 - kernel.ndim :], 255, np.uint8)
    x[..., 40:45] = 3
    plan = chosen_by_force(kernel, x, output=np.float32, mode=mode, cval=cval)
    expected = oracle.convolve(x.astype(float), kernel, mode=mode, cval=cval)
    np.testing.assert_array_equal(plan(x), expected.astype(np.float32))


def test_bytes_of_tall_kernels():
    kernel = np.ones((300, 9))
    kernel[:20, 0] = 0
    x = np.full((310, 40), 255, np.uint8)
    np.testing.assert_array_equal(
        chosen_by_force(kernel, x, output=np.float64)(x), oracle.convolve(x * 1.0, kernel)
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3), (5, 5), (16, 2), (7, 130), (130, 300)])
@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant"])
def test_arrays_of_any_size(shape, mode):
    x = np.random.default_rng(5).random(shape)
    for name in ("disk", "tilted", "levels"):
        found = chosen_by_force(SHAPES[name], x, mode=mode)(x)
        np.testing.assert_allclose(found, oracle.convolve(x, SHAPES[name], mode=mode), rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("width", [48, 64, 80, 96, 128, 192, 256, 384, 480])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
def test_rows_that_end_with_a_block(width, dtype):
    x = (np.random.default_rng(7).random((40, width)) * 200).astype(dtype)
    for name in ("disk", "ring", "tilted"):
        output = np.float64 if dtype == "f8" else np.float32
        plan = chosen_by_force(SHAPES[name], x, output=output, mode="reflect")
        expected = oracle.convolve(x.astype(float), SHAPES[name], mode="reflect")
        np.testing.assert_allclose(plan(x), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["disk", "mean", "ring", "surround", "levels", "ball", "tilted", "wide"])
def test_numbers_that_are_not_finite_spread_as_by_summation(name, bad):
    kernel = SHAPES[name]
    rng = np.random.default_rng(6)
    x = rng.random((12, 19, 50)[3 - kernel.ndim :])
    for _ in range(3):
        x[tuple(rng.integers(0, n) for n in x.shape)] = bad
    plan = chosen_by_force(kernel, x)
    found, expected = plan(x), numbasep.convolve(x, kernel, method="direct")
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])
@pytest.mark.parametrize("inner", [1, 3, 20])
def test_axes_that_are_not_filtered(axes, inner):
    shape = [6, 7, 8]
    shape[axes[0]], shape[axes[1]] = 21, 30
    x = np.random.default_rng(8).random((*shape, inner))
    plan = chosen_by_force(SHAPES["even"], x, axes=axes)
    assert plan.kernel.flat is not None
    np.testing.assert_allclose(plan(x), oracle.convolve(x, SHAPES["even"], axes=axes), rtol=1e-12, atol=1e-12)


def test_memory_in_any_order():
    x = np.random.default_rng(9).random((14, 15, 40))
    kernel = SHAPES["spheroid"]
    expected = oracle.convolve(x, kernel)
    plan = chosen_by_force(kernel, x)
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0)):
        turned = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
        out = np.empty((14, 15, 80))[..., ::2]
        np.testing.assert_allclose(plan(turned), expected, rtol=1e-12)
        np.testing.assert_allclose(plan(turned, out), expected, rtol=1e-12)
    np.testing.assert_allclose(
        plan(x[:, ::-1])[:, ::-1], oracle.convolve(x[:, ::-1], kernel)[:, ::-1], rtol=1e-12
    )
    flipped = np.ascontiguousarray(x.T)
    np.testing.assert_allclose(numbasep.convolve(flipped.T, kernel), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "u1"])
def test_threads_and_tiles_do_not_change_a_bit(dtype, monkeypatch):
    image = (np.random.default_rng(10).random((300, 700)) * 255).astype(dtype)
    cases = [(SHAPES[name], image) for name in ("mean", "ring", "levels")]
    cases.append((SHAPES["ball"], image[:280].reshape(35, 40, 140)))
    expected = [chosen_by_force(k, x, workers=1)(x) for k, x in cases]
    monkeypatch.setattr(counts, "PARALLEL_WORK", 1)
    monkeypatch.setattr(flat_tables, "tile_columns", lambda *_: 64)
    for workers, kept in ((1, 32), (2, 64), (2, 10**6)):
        monkeypatch.setattr(flat_tables, "KEPT_COLUMNS", kept)
        for (kernel, x), one in zip(cases, expected, strict=True):
            np.testing.assert_array_equal(chosen_by_force(kernel, x, workers=workers)(x), one)


def test_it_is_chosen_and_explained():
    kernel = ellipsoid(11, 11)
    plan = numbasep.plan(kernel, (4096, 4096), np.float32)
    chosen = plan.choice.chosen
    assert (chosen.method, chosen.name, chosen.runner) == ("structured", "flat", "flat")
    assert chosen.operations <= 2 * 23
    found = runs.find(as_kernel(kernel))
    assert chosen.operations in (found.operations, found.paired_operations)
    range_of = f"{found.paired_operations} to {found.operations} operations a pixel"
    assert range_of in str(numbasep.factorize(kernel))
    assert "structured (flat)" in str(plan)
    assert plan.verify() <= plan.error_bound
    assert numbasep.plan(kernel, (4096, 4096), np.uint8, output=np.float32).exact


def test_strides_and_complex_data_take_other_routes():
    kernel = ellipsoid(11, 11)
    for options in ({"stride": 2}, {}):
        dtype = np.float32 if options else np.complex64
        plan = numbasep.plan(kernel, (1024, 1024), dtype, **options)
        assert all(candidate.runner != "flat" for candidate in plan.candidates)


def test_missing_samples():
    x = np.random.default_rng(11).random((60, 200))
    x[5:9, 50:61] = np.nan
    found = numbasep.convolve(x, SHAPES["mean"], nan_policy="omit")
    expected = numbasep.convolve(x, SHAPES["mean"], nan_policy="omit", method="direct")
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.jitoff
def test_the_kernels_without_the_compiler():
    x = np.random.default_rng(12).random((11, 30))
    whole = (200 * x).astype(np.uint8)
    for name in ("disk", "ring", "levels", "wide"):
        plan = chosen_by_force(SHAPES[name], whole, output=np.float32)
        np.testing.assert_array_equal(plan(whole), oracle.convolve(whole * 1.0, SHAPES[name]))
        np.testing.assert_allclose(
            chosen_by_force(SHAPES[name], x)(x), oracle.convolve(x, SHAPES[name]), rtol=1e-12, atol=1e-12
        )


def irregular(rng: np.random.Generator, kind: str) -> np.ndarray:
    """A random kernel of few weights: intervals of rows, sheared boxes, blobs of one weight or two."""
    h, w = rng.integers(3, 20, 2)
    smooth = ndimage.gaussian_filter(rng.standard_normal((h, w)), 2)
    if kind == "blob":
        return (smooth > np.quantile(smooth, 0.4)).astype(float)
    if kind == "levels":
        return np.digitize(smooth, np.quantile(smooth, [0.4, 0.8])).astype(float)
    kernel = np.zeros((h, w))
    for column in range(w):
        a, b = np.sort(rng.integers(0, h, 2))
        if kind == "sheared":
            a = min(h // 4 + column * h // (4 * w), h - 1)
            b = min(a + h // 2, h - 1)
        kernel[a : b + 1, column] = 1
    return kernel


@pytest.mark.parametrize("kind", ["intervals", "sheared", "blob", "levels"])
@pytest.mark.parametrize("seed", range(10))
def test_irregular_kernels(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(20):
        kernel = irregular(rng, kind)
        dtype = rng.choice(["uint8", "int16", "float32", "float64"])
        x = rng.integers(0, 255, rng.integers(5, 150, 2)).astype(dtype)
        mode = str(rng.choice(["reflect", "wrap", "constant"]))
        try:
            got = numbasep.correlate(x, kernel, float, mode, method="structured")
        except ValueError:  # no structure
            continue
        found += 1
        np.testing.assert_array_equal(got, ndimage.correlate(x.astype(float), kernel, mode=mode))
    assert found


@pytest.mark.parametrize(
    "kernel",
    [
        ellipsoid(16, 16)[:-1, 1:], ellipsoid(12, 15, shift=0.3), np.pad(ellipsoid(12, 12), ((3, 0), (0, 7))),
        ellipsoid(9, 20) / 3, rotated(18, 8, 25), rotated(18, 8, 70)[:, :-1], ring(8, 13), ellipsoid(5, 5, 5),
    ],
    ids=["even", "off centre", "padded", "ellipse", "rotated", "rotated, even", "ring", "ball"],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_masks_of_any_shape_are_recognised(kernel, dtype):
    shown = next(line for line in str(numbasep.factorize(kernel)).splitlines() if "few different" in line)
    numbers = {int(word) for word in shown.replace(";", " ").split() if word.isdigit()}
    plan = numbasep.plan(kernel, (300,) * kernel.ndim, dtype, output=np.float32, method="structured")
    assert plan.choice.chosen.name == "flat"
    assert plan.choice.chosen.operations in numbers
    x = (np.random.default_rng(13).random((40, 50, 60)[3 - kernel.ndim :]) * 200).astype(dtype)
    found = chosen_by_force(kernel, x, output=np.float32)(x)
    np.testing.assert_allclose(found, oracle.convolve(x.astype(float), kernel), rtol=1e-5)
