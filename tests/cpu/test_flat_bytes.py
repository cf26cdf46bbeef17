"""Flat kernels of bytes by differences of output rows: the ends are those of the kernel, and results are exact."""

from __future__ import annotations

import numpy as np
import pytest

import numbasep
from numbasep.cpu import flat, flat_tables
from numbasep.cpu.intrinsics import flat_sums
from numbasep.factor import column_ends
from numbasep.factor.arguments import as_kernel
from numbasep.factor.runs import find
from numbasep.lowering import counts
from tests.cpu.test_flat import MODES, SHAPES, chosen_by_force, ellipsoid, irregular
from tests.support import oracle


@pytest.fixture(autouse=True)
def by_differences(monkeypatch):
    """As on processors without AVX-512, whatever this one is."""
    monkeypatch.setattr(flat_sums, "AVAILABLE", False)


@pytest.mark.parametrize("name", SHAPES)
def test_ends_are_those_of_the_kernel(name):
    found = find(as_kernel(SHAPES[name]))
    planes = np.zeros((int(np.prod(found.shape[:-2])), found.shape[-2] + 1, found.shape[-1]))
    rows = planes.reshape(-1, found.shape[-1])
    for group in found.ends.groups:
        for sign, ends in ((1, group.lost), (-1, group.gained)):
            for row, column, level in ends:
                rows[row, column : column + (1 << level)] += sign * group.weight
    kernel = planes.cumsum(axis=1)[:, :-1].reshape(found.shape) / found.divisor
    np.testing.assert_allclose(kernel, SHAPES[name], rtol=1e-15, atol=1e-15)


def test_an_end_of_each_column_is_enough():
    for radius in (3, 6, 11, 16, 25):
        ends = find(as_kernel(ellipsoid(radius, radius))).ends
        assert ends.operations <= 2 * (2 * radius + 1) + 2
    assert column_ends.column_ends(np.tile([[1.0], [0.0]], (200, 3))) is None  # columns of more than 128 runs


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("dtype", ["u1", "?"])
def test_bytes_are_exact(name, mode, dtype):
    kernel = SHAPES[name]
    shape = {2: (29, 175), 3: (9, 11, 40), 4: (4, 5, 7, 21)}[kernel.ndim]
    x = (np.random.default_rng(3).random(shape) * (2 if dtype == "?" else 256)).astype(dtype)
    options = {"mode": mode, "cval": 3.0} if mode in ("constant", "full") else {"mode": mode}
    plan = chosen_by_force(kernel, x, output=np.float32, **options)
    expected = oracle.convolve(x.astype(float), kernel, **options)
    if np.array_equal(kernel, np.rint(kernel)):
        np.testing.assert_array_equal(plan(x), expected)
    else:
        np.testing.assert_allclose(plan(x), expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (70, 5), (64, 64), (200, 131)])
def test_small_and_odd_sizes_threads_and_strips(shape, monkeypatch):
    x = np.random.default_rng(4).integers(0, 256, shape).astype("u1")
    monkeypatch.setattr(counts, "PARALLEL_WORK", 1)
    kernel = SHAPES["levels"]
    expected = oracle.correlate(x.astype(float), kernel)
    for strip, workers in ((8, 1), (16, 2), (1000, 2)):
        monkeypatch.setattr(flat_tables, "strip_rows", lambda *_, strip=strip: strip)
        monkeypatch.setattr(flat_tables, "tile_columns", lambda *_: 64)
        found = numbasep.correlate(x, kernel, np.float32, method="structured", workers=workers)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kept", [32, 10**6])
def test_planes_of_volumes(kept, monkeypatch):
    monkeypatch.setattr(flat_tables, "KEPT_COLUMNS", kept)
    x = np.random.default_rng(5).integers(0, 256, (20, 33, 70)).astype("u1")
    for workers in (1, 2):
        found = chosen_by_force(SHAPES["ball"], x, output=np.float32, workers=workers)(x)
        np.testing.assert_array_equal(found, oracle.convolve(x.astype(float), SHAPES["ball"]))


def test_many_columns_are_groups():
    kernel = ellipsoid(4, 150)
    ends = find(as_kernel(kernel)).ends
    assert len(ends.groups) == 3
    x = np.full((40, 400), 255, np.uint8)
    x[::3, ::7] = 0
    found = chosen_by_force(kernel, x, output=np.float32)(x)
    np.testing.assert_array_equal(found, oracle.convolve(x.astype(float), kernel))


def test_strided_swapped_and_rounded():
    x = np.random.default_rng(6).integers(0, 256, (60, 180)).astype("u1")
    kernel = SHAPES["mean"]
    expected = oracle.convolve(x.astype(float), kernel)
    for view in (x[:, ::-1], x[::-1], x[::2, ::3]):
        out = np.zeros((view.shape[0], 2 * view.shape[1]), ">f4")[:, ::2]
        chosen_by_force(kernel, view, output=out.dtype)(view, out)
        np.testing.assert_allclose(out, oracle.convolve(view.astype(float), kernel), rtol=1e-6)
    rounded = chosen_by_force(kernel, x)(x)
    assert rounded.dtype == np.uint8
    assert np.abs(rounded - expected).max() <= 1


@pytest.mark.parametrize("kind", ["intervals", "sheared", "blob", "levels"])
def test_irregular_kernels(kind):
    rng = np.random.default_rng(7)
    for _ in range(20):
        kernel = irregular(rng, kind)
        x = rng.integers(0, 256, rng.integers(5, 150, 2)).astype("u1")
        try:
            plan = chosen_by_force(kernel, x, output=np.float32)
        except (ValueError, AssertionError):  # no structure
            continue
        np.testing.assert_array_equal(plan(x), oracle.convolve(x.astype(float), kernel))


@pytest.mark.jitoff
def test_the_kernels_without_the_compiler():
    x = np.random.default_rng(8).integers(0, 256, (11, 30)).astype("u1")
    for name in ("disk", "ring", "levels", "ball"):
        kernel = SHAPES[name]
        image = x if kernel.ndim == 2 else x[:9].reshape(3, 9, 10)
        found = chosen_by_force(kernel, image, output=np.float32)(image)
        np.testing.assert_array_equal(found, oracle.convolve(image * 1.0, kernel))


def test_factorize_counts_the_terms_that_run(monkeypatch):
    made = []

    def tables(*args, own=flat.byte_tables):
        made.append(own(*args))
        return made[-1]

    monkeypatch.setattr(flat, "byte_tables", tables)
    kernel = ellipsoid(11, 11)
    x = np.random.default_rng(9).integers(0, 256, (50, 60)).astype("u1")
    chosen_by_force(kernel, x, output=np.float32)(x)
    terms = made[0].shifts.size // 2
    ends = find(as_kernel(kernel)).ends
    assert ends.operations == terms + ends.levels + 2
    assert f"differences of rows of bytes take {ends.operations}" in str(numbasep.factorize(kernel))
