"""The CUDA backend on Numba's simulator: every kernel family, as the public functions run it, against the oracle.

The simulator is a process of its own (NUMBA_ENABLE_CUDASIM=1); `conftest` starts it and brings the outcomes back.
It runs one Python thread a lane, so arrays are small: a plane kernel always works on 128 columns.
"""

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep
from numbasep import nn
from numbasep.api.build import Taps, enclosing_windows, term_plan
from numbasep.arguments import casting
from numbasep.arguments.problem import Options
from tests.support import nn_oracle, oracle
from tests.support.cuda_on_device import OnDevice, OnDeviceLibrary

pytestmark = pytest.mark.cudasim

MODES = ("reflect", "mirror", "nearest", "wrap", "constant")
STORAGE = ("float32", "float64", "float16", "uint8", "uint16")
rng = np.random.default_rng(20)


def samples(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    kind = np.dtype(dtype)
    if kind.kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(kind)
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(kind)
    top = 2 if kind.kind == "b" else min(int(np.iinfo(kind).max), 60000)
    return rng.integers(0, top, shape).astype(kind)


def check(
    x: np.ndarray, weights: Any, mode: Any = "reflect", cval: float = 0.0, origin: Any = 0, axes: Any = None,
    output: Any = None, cast: str = "truncate", method: str = "auto",
) -> numbasep.Plan:  # fmt: skip
    """Correlate on the simulated GPU, compare with the oracle within the plan's bound, return the plan."""
    weights = np.asarray(weights)
    common = {"mode": mode, "cval": cval, "origin": origin, "axes": axes, "method": method, "cast": cast}
    plan = numbasep.plan(
        weights, x.shape, x.dtype, operation="correlate", output=output, device="cuda", **common
    )
    got = numbasep.correlate(x, weights, output=output, device="cuda", **common)
    expected = oracle.correlate(x, weights, mode, cval, origin, axes)
    slack = plan.error_bound * oracle.norm(weights) * oracle.largest(x, cval)
    if got.dtype.kind in "iub" and plan.error_bound == 0:
        np.testing.assert_array_equal(got, oracle.store(expected, got.dtype, cast))
    else:
        oracle.assert_close(got, expected, slack, cast)
    return plan


def separable(rows: int, columns: int, rank: int = 1) -> np.ndarray:
    """A kernel of that rank without zeros, all weights positive."""
    terms = [np.outer(rng.random(rows) + 0.1, rng.random(columns) + 0.1) for _ in range(rank)]
    return sum(terms)


@pytest.mark.parametrize("mode", MODES)
def test_plane_every_mode(mode: str) -> None:
    plan = check(samples((13, 133)), separable(5, 7), mode, cval=1.5)
    assert plan.method == "separable"


@pytest.mark.parametrize("mode", MODES)
def test_kernel_larger_than_the_image(mode: str) -> None:
    check(samples((3, 5)), separable(9, 13), mode, cval=-0.7, method="separable")


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("taps", [5, 9])
def test_ranks(rank: int, taps: int) -> None:
    plan = check(samples((7, 21)), separable(taps, taps, rank), method="separable")
    assert plan.rank == rank


@pytest.mark.parametrize("taps", [4, 11, 17, 25, 33])
def test_tap_classes(taps: int) -> None:
    check(samples((5, 37)), separable(taps, taps), "mirror")


@pytest.mark.parametrize("columns", [1, 31, 127, 128, 132, 256])
def test_ragged_and_aligned_widths(columns: int) -> None:
    check(samples((4, columns)), separable(3, 5))


@pytest.mark.parametrize("dtype", STORAGE)
def test_storage_types(dtype: str) -> None:
    weights = np.outer([1, 4, 6, 4, 1], [1, 2, 1])
    check(samples((6, 144), dtype), weights if dtype[0] == "u" else weights / 64)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "int64", "uint32"])
def test_other_integers(dtype: str) -> None:
    check(samples((4, 19), dtype), np.outer([1, 2, 1], [1, 0, 3]))


@pytest.mark.parametrize("cast", ["truncate", "saturate"])
@pytest.mark.parametrize("output", ["uint8", "int8", "uint16", "float16", "bool", "int32", "uint64"])
def test_conversion_of_results(output: str, cast: str) -> None:
    x = samples((4, 30)) * 300
    if output != "uint64":  # which C does not define beyond its range
        x[:, -4:] = np.nan, np.inf, 1e30, -1e30
    weights = np.array([[0.5]])
    got = numbasep.correlate(x, weights, output=output, cast=cast, device="cuda")
    expected = np.empty(x.shape, "uint8" if output == "bool" else output)
    casting.store(x * np.float32(0.5), expected, cast)
    np.testing.assert_array_equal(got, expected != 0 if output == "bool" else expected)


@pytest.mark.parametrize("cval", [0.5, -3.0, 1e6, np.nan])
def test_boundary_values_that_the_type_cannot_hold(cval: float) -> None:
    x = samples((4, 9), "uint8")
    weights = np.full((3, 3), 1 / 9)
    expected = oracle.correlate(x, weights, "constant", cval)
    got = numbasep.correlate(x, weights, output=np.float32, mode="constant", cval=cval, device="cuda")
    oracle.assert_close(got, expected, 1e-6 * max(255.0, abs(cval) if cval == cval else 0))


@pytest.mark.parametrize("mode", ["valid", "full"])
def test_other_sizes(mode: str) -> None:
    check(samples((11, 140)), separable(4, 5), mode)


@pytest.mark.parametrize("origin", [(1, -2), (-1, 2)])
def test_origins(origin: tuple[int, int]) -> None:
    check(samples((6, 136)), separable(3, 5), "wrap", origin=origin)


def test_modes_of_each_axis() -> None:
    check(samples((6, 20)), separable(5, 3), ("constant", "wrap"), cval=2.0)


@pytest.mark.parametrize("channels", [2, 3, 4, 5, 37])
def test_channels_last(channels: int) -> None:
    check(samples((5, 6, channels)), separable(3, 5), axes=(0, 1))


@pytest.mark.parametrize("axes", [(1, 0), (2, 0), (2, 1), (1, 2, 0)])
def test_axes_in_another_order(axes: tuple[int, ...]) -> None:
    """The axes of the kernel are the filtered ones in ascending order, as in SciPy."""
    x, weights = samples((4, 5, 6), "float64"), rng.standard_normal((3, 4, 5)[: len(axes)])
    origin = (0, -1, 0)[: len(axes)]
    check(x, weights, ("wrap", "nearest", "mirror")[: len(axes)], origin=origin, axes=axes)
    got = numbasep.correlate(x, weights, origin=origin, axes=axes, device="cuda")
    expected = ndimage.correlate(x, weights, origin=origin, axes=axes)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_complex_data() -> None:
    check(samples((5, 17), "complex64"), separable(3, 3))
    check(samples((4, 9), "complex128"), separable(3, 3), "wrap")


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("taps", [5, 37])
def test_one_axis(axis: int, taps: int) -> None:
    x = samples((6, 5, 9))
    taps_1d = rng.random(taps)
    for mode in ("reflect", "constant"):
        got = numbasep.correlate1d(x, taps_1d, axis, mode=mode, cval=0.5, device="cuda")
        expected = oracle.correlate(x, taps_1d, mode, 0.5, axes=[axis], every_tap=True)
        oracle.assert_close(got, expected, 1e-5 * taps_1d.sum() * oracle.largest(x, 0.5))


@pytest.mark.parametrize("taps", [(35, 3), (3, 150), (41, 41)])
def test_many_taps_in_two_launches(taps: tuple[int, int]) -> None:
    plan = check(samples((5, 40)), separable(*taps), method="separable")
    assert plan.rank == 1


def test_more_terms_than_one_pass_takes() -> None:
    kernel = sum(np.outer(*rng.integers(1, 6, (2, 7)) * (-1) ** k) for k in range(5))
    plan = check(samples((6, 20), "uint8"), kernel, method="separable")
    assert plan.rank == 5


@pytest.mark.parametrize("mode", ["mirror", "constant"])
def test_volumes(mode: str) -> None:
    x = samples((4, 6, 20))
    taps = [rng.random(3), rng.random(5), rng.random(3)]
    got = numbasep.separable_correlate(x, taps, mode=mode, cval=0.25, device="cuda")
    expected = oracle.separable_correlate(x, taps, mode, 0.25)
    oracle.assert_close(got, expected, 1e-5 * math.prod(t.sum() for t in taps) * oracle.largest(x, 0.25))


def test_four_axes_and_a_sum_of_terms() -> None:
    x = samples((3, 2, 3, 6))
    terms = [{a: Taps(rng.random(2), -1) for a in range(4)} for _ in range(2)]
    options = Options(device="cuda", method="separable")
    windows = enclosing_windows(terms, x.shape, dict.fromkeys(range(4), "reflect"))
    plan = term_plan(
        terms, windows, x.shape, x.dtype, np.dtype("f8"), cval=0.0, options=options, operation="correlate"
    )
    dense = sum(oracle.outer([term[a].weights for a in range(4)]) for term in terms)
    oracle.assert_close(
        plan(x), oracle.correlate(x, dense), plan.error_bound * oracle.norm(dense) * oracle.largest(x)
    )


@pytest.mark.parametrize("mode", ["nearest", "constant"])
@pytest.mark.parametrize(("shape", "taps"), [((9, 33), (3, 4)), ((10, 20), (13, 2)), ((3, 4, 12), (2, 3, 3))])
def test_dense(shape: tuple[int, ...], taps: tuple[int, ...], mode: str) -> None:
    weights = rng.standard_normal(taps) * (rng.random(taps) > 0.2)
    plan = check(samples(shape), weights, mode, cval=1.25, method="direct")
    assert plan.method == "direct"


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_dense_types(dtype: str) -> None:
    check(samples((6, 12), dtype), rng.integers(-3, 4, (3, 5)), method="direct")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["gaussian", "sobel", "laplacian of gaussian"])
def test_the_footprint_of_nan_and_infinities(name: str, bad: float) -> None:
    x = samples((12, 25))
    x[6, 11] = bad
    r2 = np.add.outer(np.arange(-4, 5.0) ** 2, np.arange(-4, 5.0) ** 2)
    weights = {
        "gaussian": np.exp(-r2 / 4),
        "sobel": np.outer([1, 2, 1], [1, 0, -1]),
        "laplacian of gaussian": (r2 / 4 - 2) * np.exp(-r2 / 8),
    }[name]
    plan = check(x, weights, method="separable")
    assert plan.rank == (2 if name.startswith("laplacian") else 1)


def test_overflow_within_a_sum_of_terms_is_repaired() -> None:
    r2 = np.add.outer(np.arange(-4, 5.0) ** 2, np.arange(-4, 5.0) ** 2)
    x = np.full((10, 14), 3e38, np.float32)
    check(x, (r2 / 4 - 2) * np.exp(-r2 / 8) / 40, method="separable")


@pytest.mark.parametrize("rows", [1, 17, 70])
def test_strips(rows: int) -> None:
    """Tall arrays are cut into strips, whose first rows run through the taps twice."""
    from numbasep.cuda.simulator import SimulatedDevice

    SimulatedDevice.multiprocessors, before = 64, SimulatedDevice.multiprocessors
    try:
        check(samples((rows, 9)), separable(5, 3), "wrap")
    finally:
        SimulatedDevice.multiprocessors = before


def test_filters_by_name() -> None:
    x = samples((12, 14))
    for name, arguments in {
        "gaussian_filter": (1.0,), "gaussian_filter1d": (1.0,), "uniform_filter": (3,), "sobel": (),
        "prewitt": (), "laplace": (), "gaussian_laplace": (1.0,), "uniform_filter1d": (3,),
    }.items():  # fmt: skip
        filter_ = getattr(numbasep, name)
        expected = getattr(ndimage, name)(x.astype(float), *arguments)
        got = filter_(x, *arguments, device="cuda")
        np.testing.assert_allclose(got, expected, atol=3e-5 * np.abs(x).max(), err_msg=name)


def test_missing_samples_of_host_arrays() -> None:
    x = samples((8, 12))
    x[2, 3] = np.nan
    filtered = numbasep.gaussian_filter(x, 1.0, nan_policy="omit", device="cuda")
    present = ndimage.gaussian_filter(np.isfinite(x).astype(float), 1.0)
    expected = ndimage.gaussian_filter(np.nan_to_num(x).astype(float), 1.0) / present
    np.testing.assert_allclose(filtered, expected, atol=1e-5)


# ------------------------------------------------------------------------------ arrays of other libraries


@pytest.fixture
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    from numbasep.cuda import libraries

    monkeypatch.setitem(libraries.LIBRARIES, OnDevice.__module__.partition(".")[0], OnDeviceLibrary())


@pytest.mark.usefixtures("_library")
def test_arrays_on_the_device_give_arrays_on_the_device() -> None:
    x = samples((8, 20))
    filtered = numbasep.gaussian_filter(OnDevice(x), 1.0, mode="wrap")
    assert type(filtered) is OnDevice
    np.testing.assert_allclose(filtered.values, ndimage.gaussian_filter(x, 1.0, mode="wrap"), atol=1e-5)


@pytest.mark.usefixtures("_library")
def test_a_plan_runs_on_arrays_of_the_device() -> None:
    x = samples((6, 20))
    weights = separable(3, 5)
    plan = numbasep.plan(weights, x.shape, x.dtype, operation="correlate", device="cuda")
    target = OnDevice(np.empty_like(x))
    assert plan(OnDevice(x), target) is target
    oracle.assert_close(
        target.values, oracle.correlate(x, weights), 1e-5 * oracle.norm(weights) * oracle.largest(x)
    )
    with pytest.raises(ValueError, match="as planned"):
        plan(OnDevice(x[:3]))
    with pytest.raises(ValueError, match="device='cuda'"):
        numbasep.plan(weights, x.shape, x.dtype)(OnDevice(x))


@pytest.mark.usefixtures("_library")
def test_views_outputs_in_place_and_weights_on_the_device() -> None:
    x = samples((8, 20))
    weights = np.full((3, 3), 1 / 9, np.float32)
    expected = ndimage.correlate(x.T, weights)
    strided = numbasep.correlate(OnDevice(x.T), OnDevice(weights))
    np.testing.assert_allclose(strided.values, expected, atol=1e-6)
    target = OnDevice(np.zeros((20, 8), np.float64))
    assert numbasep.correlate(OnDevice(np.ascontiguousarray(x.T)), weights, target) is target
    np.testing.assert_allclose(target.values, expected, atol=1e-6)
    inside = OnDevice(np.ascontiguousarray(x.T))
    assert numbasep.correlate(inside, weights, inside) is inside
    np.testing.assert_allclose(inside.values, expected, atol=1e-6)


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("offset", [1, 2, 4])
def test_unaligned_memory(offset: int) -> None:
    flat = samples((4 * 132 + 4,))
    x = flat[offset : offset + 4 * 132].reshape(4, 132)
    filtered = numbasep.uniform_filter(OnDevice(x), 3)
    np.testing.assert_allclose(filtered.values, ndimage.uniform_filter(x, 3), atol=1e-6)


@pytest.mark.usefixtures("_library")
def test_what_arrays_on_the_device_refuse() -> None:
    x = OnDevice(samples((4, 5)))
    with pytest.raises(ValueError, match="output shape"):
        numbasep.gaussian_filter(x, 1.0, output=OnDevice(np.zeros((5, 5), "f4")))
    with pytest.raises(ValueError, match="complex weights on the GPU take arrays of CuPy or PyTorch"):
        numbasep.convolve(x, np.array([[1, 1j]]))
    with pytest.raises(ValueError, match="CPU only"):
        numbasep.gaussian_gradient_magnitude(OnDevice(samples((4, 5), "complex64")), 1.0)
    with pytest.raises(TypeError, match="mask must be boolean"):
        numbasep.gaussian_filter(x, 1.0, mask=OnDevice(np.zeros((4, 5))))
    with pytest.raises(ValueError, match="mask must have the shape"):
        numbasep.gaussian_filter(x, 1.0, mask=np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="floating output"):
        numbasep.generic_laplace(x, numbasep.sobel, output=np.int32)
    x.requires_grad = True  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="detach"):
        numbasep.gaussian_filter(x, 1.0)


def test_empty_arrays() -> None:
    assert numbasep.convolve(np.zeros((0, 4), "f4"), np.ones((3, 3)), device="cuda").shape == (0, 4)


# ------------------------------------------------------------------------------ convolutions over channels


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize(
    ("dtype", "strides", "padding", "rates"),
    [
        ("float32", (1, 1), "SAME", (1, 1)),
        ("float64", (2, 2), "VALID", (1, 1)),
        ("float16", (1, 1), "SAME", (2, 1)),
    ],
)
def test_separable_convolution_over_channels(
    dtype: str, strides: tuple[int, int], padding: str, rates: tuple[int, int], data_format: str
) -> None:
    x = samples((2, 5, 7, 3), dtype)
    depthwise, pointwise = samples((3, 2, 3, 2), dtype), samples((1, 1, 6, 5), dtype)
    last = data_format == "NHWC"
    given = x if last else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    steps = [1, *strides, 1] if last else [1, 1, *strides]
    options = {"data_format": data_format, "device": "cuda"}
    got = nn.separable_conv2d(given, depthwise, pointwise, steps, padding, list(rates), **options)
    expected = nn_oracle.separable(x, depthwise, pointwise, strides, padding, rates)
    tolerance = {"float16": 4e-3, "float32": 1e-6, "float64": 1e-14}[dtype] * np.abs(expected).max()
    np.testing.assert_allclose(got if last else got.transpose(0, 2, 3, 1), expected, atol=tolerance)
    got = nn.depthwise_conv2d(given, depthwise, steps, padding, list(rates), **options)
    expected = nn_oracle.depthwise(x, depthwise, strides, padding, rates)
    np.testing.assert_allclose(got if last else got.transpose(0, 2, 3, 1), expected, atol=tolerance)


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("theirs", [False, True], ids=["our product", "the library's product"])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_channels_on_the_device(theirs: bool, data_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnDeviceLibrary, "has_product", theirs)
    x, depthwise, pointwise = samples((1, 4, 6, 2)), samples((3, 3, 2, 1)), samples((1, 1, 2, 4))
    last = data_format == "NHWC"
    given = x if last else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    weights = OnDevice(depthwise), OnDevice(pointwise)
    got = nn.separable_conv2d(OnDevice(given), *weights, [1] * 4, "SAME", data_format=data_format)
    assert type(got) is OnDevice
    expected = nn_oracle.separable(x, depthwise, pointwise)
    np.testing.assert_allclose(got.values if last else got.values.transpose(0, 2, 3, 1), expected, atol=1e-5)
    with pytest.raises(ValueError, match="filter must be on the GPU"):
        nn.depthwise_conv2d(OnDevice(given), depthwise, [1] * 4, "SAME", data_format=data_format)
    with pytest.raises(ValueError, match="CPU only"):
        nn.conv2d(OnDevice(given), OnDevice(samples((3, 3, 2, 4))), [1] * 4, "SAME", data_format=data_format)


# ------------------------------------------------------------------------------ kernels as Numba's users know them


def test_a_kernel_is_launched_by_hand() -> None:
    """What a factory returns is a `cuda.jit` kernel: it takes arrays of the device, a grid and a block."""
    from numba import cuda

    from numbasep.cuda.intrinsics.vocabulary import ElementType
    from numbasep.cuda.kernels.depthwise import ProductVariant, product_kernel

    left, right = samples((5, 7)), samples((7, 6))
    number = ElementType("f4")
    product = cuda.to_device(np.zeros(30, np.float32))
    kernel = product_kernel(ProductVariant(number, number, number, "f4"))
    operands = [cuda.to_device(a.ravel()) for a in (left, right)]
    kernel[1, (32, 8)](operands[0], product, operands[1], 1, 5, 7, 6, 35, 7, 1, 30, 6, 1)
    np.testing.assert_allclose(product.copy_to_host().reshape(5, 6), left @ right, rtol=1e-5)


@pytest.mark.parametrize("columns", [400, 397])
def test_a_plane_is_filtered_by_hand(columns: int) -> None:
    """Five taps each way on one image: every argument of the plane kernel, without the backend."""
    from numba import cuda

    from numbasep.cuda.intrinsics.vocabulary import ElementType
    from numbasep.cuda.kernels.plane import PlaneVariant, plane_kernel

    number, taps = (
        ElementType("f4"),
        (np.float32(0.1), np.float32(0.2), np.float32(0.4), np.float32(0.2), np.float32(0.1)),
    )
    variant = PlaneVariant(5, 1, True, True, 1, number, number, number, "f4")
    x, rows = samples((11, columns)), 11
    y = cuda.to_device(np.zeros(x.size, np.float32))
    first, tiles = -2 - variant.lead, -(-columns // variant.tile)
    mirrored = np.pad(np.arange(columns), (-first, variant.tile * tiles + variant.pitch), "symmetric")
    beyond_columns = np.concatenate([mirrored[:-first], mirrored[-first + columns :]])
    beyond_rows = np.array([1, 0, rows - 1, rows - 2])
    aligned = columns % 4 == 0
    plane_kernel(variant)[tiles, (32, 1)](
        cuda.to_device(x.ravel()), y, cuda.to_device(beyond_rows), cuda.to_device(beyond_columns),
        cuda.to_device(np.zeros(2, np.int64)), 1, tiles, 1, rows, rows, columns, columns, first, rows, -2, columns,
        int(aligned), columns if aligned else -columns, np.float32(0), np.float32(1), taps, taps, (0,), (0,),
        cuda.to_device(np.zeros(2, np.int32)), cuda.to_device(np.zeros(1, np.float32)), 0,
    )  # fmt: skip
    expected = oracle.correlate(x, np.outer(taps, taps))
    np.testing.assert_allclose(y.copy_to_host().reshape(x.shape), expected, rtol=1e-5, atol=1e-5)
