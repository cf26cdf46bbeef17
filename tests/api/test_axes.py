"""The order of `axes` in `convolve` and `correlate`, in every place that takes it: SciPy is the referee.

SciPy's rule: the axes of the weights are the filtered axes in ascending order.  `origin` follows `axes` entry by entry
where some axes are left alone; where all are filtered, SciPy takes it in ascending order.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep as nsp
from numbasep.cli import main

OPERATIONS = ("convolve", "correlate")
SHAPE = (5, 6, 7)
ORDERS = [axes for n in (1, 2, 3) for axes in itertools.permutations(range(3), n)]
RNG = np.random.default_rng(18)
X = RNG.normal(size=SHAPE)
WEIGHTS = RNG.normal(size=(3, 4, 5))
CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-12}


def weights_for(axes: tuple[int, ...]) -> np.ndarray:
    """Weights of as many axes, none as long as another, so that a swap is seen."""
    return WEIGHTS[(slice(None),) * len(axes) + (0,) * (3 - len(axes))]


def origins_for(axes: tuple[int, ...]) -> list[Any]:
    """Every origin that fits whichever way the entries are ordered."""
    return [0, 1 if len(axes) == 1 else -1, *itertools.product((-1, 0), repeat=len(axes))]


def theirs(operation: str, axes: tuple[int, ...], origin: Any, mode: str = "mirror") -> np.ndarray:
    return getattr(ndimage, operation)(X, weights_for(axes), mode=mode, origin=origin, axes=axes)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("axes", ORDERS)
def test_functions_and_plans(operation: str, axes: tuple[int, ...]) -> None:
    weights = weights_for(axes)
    for origin in origins_for(axes):
        expected = theirs(operation, axes, origin)
        call: dict[str, Any] = {"mode": "mirror", "origin": origin}
        for named in (axes, [a - 3 for a in axes]):
            got = getattr(nsp, operation)(X, weights, axes=named, **call)
            np.testing.assert_allclose(got, expected, **CLOSE)
            planned = nsp.plan(weights, SHAPE, operation=operation, axes=named, **call)
            np.testing.assert_allclose(planned(X), expected, **CLOSE)


@pytest.mark.parametrize("method", ["direct", "separable", "fft"])
@pytest.mark.parametrize("axes", [(1, 0), (2, 0), (2, 1), (1, 2, 0)])
def test_every_method(method: str, axes: tuple[int, ...]) -> None:
    weights = np.multiply.outer(*[[1.0, 2, 4], [3.0, 1, 1, 5]])
    weights = weights if len(axes) == 2 else np.multiply.outer(weights, [1.0, -1, 2, 0.5, 1])
    origin = (-1, 0, 1)[: len(axes)]
    expected = ndimage.convolve(X, weights, origin=origin, axes=axes)
    got = nsp.convolve(X, weights, origin=origin, axes=axes, method=method)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("axes", [(2, 0), (1, 2, 0)])
def test_complex_weights_and_in_place(axes: tuple[int, ...]) -> None:
    weights = weights_for(axes) * (1 + 2j)
    for operation in OPERATIONS:
        expected = getattr(ndimage, operation)(X, weights, axes=axes)
        got = X.astype(complex)
        getattr(nsp, operation)(got, weights, got, axes=axes)
        np.testing.assert_allclose(got, expected, **CLOSE)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("axes", [a for a in ORDERS if len(a) > 1])
def test_modes_belong_to_the_axes_one_by_one(operation: str, axes: tuple[int, ...]) -> None:
    """SciPy's N-D filters of dense kernels take one mode only, but those along one axis take its own."""
    taps, modes = ([1.0, 2, 4], [1.0, 3, -1, 2], [2.0, 1, 1, 1, 5]), ("wrap", "nearest", "mirror")
    expected = X
    for axis, one in zip(sorted(axes), taps, strict=False):
        mode = modes[axes.index(axis)]
        expected = getattr(ndimage, f"{operation}1d")(expected, one, axis, mode=mode)
    weights = taps[0]
    for one in taps[1 : len(axes)]:
        weights = np.multiply.outer(weights, one)
    got = getattr(nsp, operation)(X, weights, mode=modes[: len(axes)], axes=axes)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("axes", [(2, 0), (2, 1), (1, 2, 0)])
def test_sizes_that_change_and_gaps(axes: tuple[int, ...]) -> None:
    weights, ascending = np.abs(weights_for(axes)), tuple(sorted(axes))
    mask = RNG.random(SHAPE) < 0.1
    for mode in ("valid", "full"):
        expected = nsp.convolve(X, weights, mode=mode, axes=ascending)
        np.testing.assert_array_equal(nsp.convolve(X, weights, mode=mode, axes=axes), expected)
    modes = ("valid", *("full",) * (len(axes) - 1))
    turned = tuple(modes[axes.index(a)] for a in ascending)
    expected = nsp.convolve(X, weights, mode=turned, axes=ascending)
    np.testing.assert_array_equal(nsp.convolve(X, weights, mode=modes, axes=axes), expected)
    expected = nsp.convolve(X, weights, axes=ascending, mask=mask)
    np.testing.assert_array_equal(nsp.convolve(X, weights, axes=axes, mask=mask), expected)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("axes", ORDERS)
def test_filter_banks(operation: str, axes: tuple[int, ...]) -> None:
    for origin in origins_for(axes):
        call: dict[str, Any] = {"mode": "mirror", "origin": origin, "axes": axes, "operation": operation}
        (got,) = nsp.filter_bank(X, [weights_for(axes)], **call)
        np.testing.assert_allclose(got, theirs(operation, axes, origin), **CLOSE)
    (got,) = nsp.filter_bank(X, [weights_for(axes)], mode="valid", axes=axes)
    np.testing.assert_allclose(got, nsp.convolve(X, weights_for(axes), mode="valid", axes=axes), **CLOSE)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("axes", ORDERS)
def test_dask(operation: str, axes: tuple[int, ...]) -> None:
    da = pytest.importorskip("dask.array", reason="needs dask: pip install numbasep[dask]")
    lazy, weights = da.from_array(X, chunks=(3, 4, 3)), weights_for(axes)
    for origin in origins_for(axes):
        expected = theirs(operation, axes, origin, "wrap")
        call: dict[str, Any] = {"mode": "wrap", "origin": origin, "axes": axes}
        got = getattr(nsp, operation)(lazy, weights, **call)
        np.testing.assert_allclose(got.compute(scheduler="sync"), expected, **CLOSE)
        bank = nsp.filter_bank(lazy, [weights], operation=operation, **call)
        np.testing.assert_allclose(bank.compute(scheduler="sync")[0], expected, **CLOSE)
    modes = ("wrap", "nearest", "mirror")[: len(axes)]
    got = getattr(nsp, operation)(lazy, weights, mode=modes, axes=axes).compute(scheduler="sync")
    np.testing.assert_allclose(got, getattr(nsp, operation)(X, weights, mode=modes, axes=axes), **CLOSE)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("axes", ORDERS)
def test_xarray(operation: str, axes: tuple[int, ...]) -> None:
    """By name, too, the order that counts is that of the array's dimensions."""
    xr = pytest.importorskip("xarray", reason="needs xarray: pip install numbasep[xarray]")
    array, weights = xr.DataArray(X, dims=("t", "y", "x")), weights_for(axes)
    names = tuple("tyx"[a] for a in axes)
    for origin in origins_for(axes):
        got = getattr(nsp, operation)(array, weights, mode="mirror", origin=origin, axes=names)
        np.testing.assert_allclose(got.data, theirs(operation, axes, origin), **CLOSE)
    labelled = array.assign_coords(t=np.arange(5), y=np.arange(6), x=np.arange(7))
    same = getattr(nsp, operation)(labelled, weights, axes=names)
    valid = getattr(nsp, operation)(labelled, weights, axes=names, mode="valid")
    np.testing.assert_allclose(valid, same.sel(t=valid.t, y=valid.y, x=valid.x), **CLOSE)


@pytest.mark.parametrize("axes", [(2, 0), (2, 1), (1, 2, 0)])
def test_files(axes: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target, kernel = (tmp_path / f"{name}.npy" for name in ("in", "out", "kernel"))
    np.save(source, X)
    np.save(kernel, weights_for(axes))
    named = ["--kernel", str(kernel), "--mode", "mirror", "--axes", ",".join(map(str, axes))]
    assert main(["filter", str(source), str(target), *named]) == 0, capsys.readouterr().err
    np.testing.assert_allclose(np.load(target), theirs("convolve", axes, 0), **CLOSE)


@pytest.mark.parametrize("axes", [(2, 0), (1, 2, 0)])
def test_weights_of_another_number_of_axes(axes: tuple[int, ...]) -> None:
    weights = np.ones((3,) * (5 - len(axes)))
    for module in (ndimage, nsp):
        with pytest.raises(RuntimeError, match=r"weights\.ndim .* must match len\(axes\)"):
            module.convolve(X, weights, axes=axes)
