"""dask arrays: the result of the whole array in every mode, for any chunks, on every scheduler."""

import pickle
from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep import nn
from numbasep.planning import planner
from tests.support.strategies import often

da = pytest.importorskip("dask.array", reason="needs dask: pip install numbasep[dask]")

import dask  # noqa: E402

from numbasep.adapters import dask_blocks, grid  # noqa: E402

RNG = np.random.default_rng(7)
X = RNG.random((13, 17)).astype(np.float32)
BYTES = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
GAPS = np.where(RNG.random(X.shape) < 0.1, np.float32(np.nan), X)
MASK = RNG.random(X.shape) < 0.2
DENSE = RNG.standard_normal((5, 7))
BINOMIAL = np.outer([1, 2, 1], [1, 4, 6, 4, 1])

MODES = ("reflect", "mirror", "nearest", "wrap", "constant", "valid", "full")
CHUNKS = {
    "uneven": ((6, 6, 1), (9, 8)),
    "ones": ((1,) * 13, (17,)),
    "small": ((2,) * 6 + (1,), (7, 1, 0, 6, 3)),
}
LAST_BITS = 8 * np.finfo(np.float32).eps


def second_difference(input: Any, axis: int, output: Any, mode: Any, cval: Any) -> Any:
    return nsp.correlate1d(input, [1, -2, 1], axis, output, mode, cval)


CALLS: dict[str, Any] = {
    "convolve": lambda x, **o: nsp.convolve(x, DENSE, **o),
    "convolve even": lambda x, **o: nsp.convolve(x, DENSE[:4, :6], **o),
    "correlate integers": lambda x, **o: nsp.correlate(x, BINOMIAL, **o),
    "convolve one axis": lambda x, **o: nsp.convolve(x, [1, 2, 3, 4], axes=0, **o),
    "filter_bank": lambda x, **o: nsp.filter_bank(x, [BINOMIAL, BINOMIAL[::-1] - 3.5], **o),
    "convolve1d": lambda x, **o: nsp.convolve1d(x, [1, 2, 3.0], axis=0, **o),
    "separable_convolve": lambda x, **o: nsp.separable_convolve(x, {1: [1, 2, 3, 4], 0: [1, 1]}, **o),
    "separable_correlate": lambda x, **o: nsp.separable_correlate(x, [[1, 5], [2, 1, 1]], axes=(1, 0), **o),
    "gaussian_filter": lambda x, **o: nsp.gaussian_filter(x, (1, 2), **o),
    "gaussian_filter derivative": lambda x, **o: nsp.gaussian_filter(x, 1, order=(0, 1), **o),
    "gaussian_filter1d": lambda x, **o: nsp.gaussian_filter1d(x, 2, **o),
    "gaussian_filter spacing": lambda x, **o: nsp.gaussian_filter(x, 1, spacing=(2, 0.5), **o),
    "gaussian_laplace": lambda x, **o: nsp.gaussian_laplace(x, 1, truncate=3.0, **o),
    "gaussian_gradient_magnitude": lambda x, **o: nsp.gaussian_gradient_magnitude(x, 1, **o),
    "uniform_filter": lambda x, **o: nsp.uniform_filter(x, (4, 5), **o),
    "uniform_filter1d": lambda x, **o: nsp.uniform_filter1d(x, 4, axis=0, **o),
    "sobel": lambda x, **o: nsp.sobel(x, 0, **o),
    "prewitt": lambda x, **o: nsp.prewitt(x, **o),
    "laplace": lambda x, **o: nsp.laplace(x, **o),
    "generic_laplace": lambda x, **o: nsp.generic_laplace(x, second_difference, **o),
    "generic_gradient_magnitude": lambda x, **o: nsp.generic_gradient_magnitude(x, nsp.sobel, **o),
}


def chunked(x: np.ndarray, chunks: str) -> Any:
    return da.from_array(x, chunks=CHUNKS[chunks])


def compare(lazy: Any, expected: np.ndarray, *, exact: bool = True, slack: Any = 1.0, **compute: Any) -> None:
    """The lazy array knows shape and type, and computes the expected values."""
    assert isinstance(lazy, da.Array)
    assert (lazy.shape, lazy.dtype, lazy._meta.dtype) == (expected.shape, expected.dtype, expected.dtype)
    assert lazy._meta.ndim == expected.ndim
    result = lazy.compute(**{"scheduler": "synchronous", **compute})
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    if exact:
        np.testing.assert_array_equal(result, expected)
    else:
        scale = float(np.nanmax(np.abs(expected), initial=1.0))
        np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
        assert np.nanmax(np.abs(result - expected) / slack, initial=0.0) <= LAST_BITS * scale


def shared_call(lazy: Any) -> dask_blocks.BlockCall:
    """What all tasks of a result share."""
    (shared,) = (v for v in dict(lazy.__dask_graph__()).values() if isinstance(v, dask_blocks.BlockCall))
    return shared


@pytest.fixture(params=["joined", "as they are"])
def chunks_kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways: chunks that are smaller than the kernel are joined first, or not."""
    if request.param == "as they are":
        monkeypatch.setattr(dask_blocks, "MERGED_BYTES", 0)


@pytest.mark.thinned
@pytest.mark.parametrize(
    ("chunks", "joined"), [("uneven", True), ("small", True), ("small", False), ("ones", False)]
)
@pytest.mark.parametrize("name", CALLS)
def test_equals_the_whole_array_in_every_mode(
    name: str, chunks: str, joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not joined:
        monkeypatch.setattr(dask_blocks, "MERGED_BYTES", 0)
    for number, mode in enumerate(MODES):
        for x in (X, BYTES)[number % 2 :: 2] if chunks == "ones" else (X, BYTES):
            if name.startswith("generic") and mode in ("valid", "full"):
                continue
            options = {"mode": mode, "cval": 1.5}
            expected = CALLS[name](x, **options)
            # blocks as small as these may take another route than the whole array: floats to the last bits
            compare(CALLS[name](chunked(x, chunks), **options), expected, exact=x.dtype == np.uint8)


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["convolve", "filter_bank", "gaussian_laplace", "convolve one axis"])
def test_large_blocks_in_slabs(name: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "SLAB_BYTES", 1000)
    x = RNG.random((70, 60), dtype=np.float32)
    for chunks in ((35, 20), (70, 30), (20, 60)):
        lazy = da.from_array(x, chunks=chunks)
        compare(CALLS[name](lazy, mode=mode, cval=0.5), CALLS[name](x, mode=mode, cval=0.5), exact=False)
    masked = nsp.gaussian_filter(da.from_array(x, chunks=35), 1, mode=mode, mask=x > 0.9)
    # sums t and shares s of the weights, each to the last bits: t / s then differs by up to (1 + t / s) / s of these
    share = nsp.gaussian_filter((x <= 0.9).astype(float), 1, mode=mode)
    slack = 2 / np.maximum(share, 1e-30)
    compare(masked, nsp.gaussian_filter(x, 1, mode=mode, mask=x > 0.9), exact=False, slack=slack)


def test_slabs_fit_together() -> None:
    small = shared_call(nsp.gaussian_filter(da.zeros((1000, 3000), chunks=(1000, 1500)), 2, axes=1))
    assert small.grid.slabs((0, 0), 8) == []
    shared = shared_call(nsp.gaussian_filter(da.zeros((9000, 3000), chunks=(9000, 1500)), 2, axes=1))
    slabs = shared.grid.slabs((0, 0), 8)
    assert [slab.start for slab in slabs] == [0, *(slab.stop for slab in slabs[:-1])]
    assert slabs[-1].stop == 9000
    assert 9000 / len(slabs) * 1508 * 8 <= grid.SLAB_BYTES


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["convolve", "gaussian_filter", "gaussian_laplace", "sobel"])
def test_blocks_of_usual_size(name: str, mode: str) -> None:
    x = RNG.random((900, 700), dtype=np.float32)
    lazy = da.from_array(x, chunks=(300, 350))
    compare(CALLS[name](lazy, mode=mode), CALLS[name](x, mode=mode), exact=False, scheduler="threads")


@pytest.mark.usefixtures("chunks_kept")
@pytest.mark.parametrize(
    "name", ["convolve", "gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude", "sobel"]
)
@pytest.mark.parametrize("modes", [("wrap", "constant"), ("full", "mirror"), ("nearest", "valid")], ids=str)
def test_a_mode_for_each_axis(name: str, modes: tuple[str, str]) -> None:
    if name.startswith("gaussian_") and name != "gaussian_filter" and set(modes) & {"valid", "full"}:
        pytest.skip("derivatives of different sizes do not add up, for whole arrays neither")
    for x in (X, BYTES):
        expected = CALLS[name](x, mode=modes)
        for chunks in ("uneven", "small"):
            compare(CALLS[name](chunked(x, chunks), mode=modes), expected, exact=False)


@pytest.mark.parametrize("cast", ["truncate", "saturate"])
@pytest.mark.parametrize("name", ["gaussian_laplace", "gaussian_gradient_magnitude"])
def test_a_mode_for_each_axis_and_integers(name: str, cast: str) -> None:
    arguments = {"mode": ("nearest", "wrap"), "cast": cast, "sigma": 0.7}
    compare(getattr(nsp, name)(chunked(BYTES, "uneven"), **arguments), getattr(nsp, name)(BYTES, **arguments))


@pytest.mark.thinned
@pytest.mark.usefixtures("chunks_kept")
@pytest.mark.parametrize("mode", MODES[:5])
@pytest.mark.parametrize("size", [1, 2, 60])
def test_kernels_longer_than_the_array_and_shifted_windows(mode: str, size: int) -> None:
    weights = RNG.standard_normal(size)
    for origin in {-(size // 2), 0, size // 2 - 1}:
        for function in (nsp.correlate1d, nsp.convolve1d):
            try:
                expected = function(X, weights, axis=0, mode=mode, cval=2.0, origin=origin)
            except ValueError:
                continue
            lazy = function(chunked(X, "small"), weights, axis=0, mode=mode, cval=2.0, origin=origin)
            compare(lazy, expected, exact=False)


@pytest.mark.parametrize(
    "options", [{"nan_policy": "omit"}, {"mask": MASK}, {"mask": MASK, "nan_policy": "omit"}], ids=str
)
@pytest.mark.parametrize("mode", ["reflect", "constant", "wrap"])
def test_missing_samples(options: dict[str, Any], mode: str) -> None:
    expected = nsp.gaussian_filter(GAPS, 1.5, mode=mode, **options)
    compare(nsp.gaussian_filter(chunked(GAPS, "uneven"), 1.5, mode=mode, **options), expected, exact=False)
    if "mask" in options:
        options = options | {"mask": da.from_array(MASK, chunks=(4, 17))}
        compare(nsp.gaussian_filter(chunked(GAPS, "small"), 1.5, mode=mode, **options), expected, exact=False)


def test_nan_raises_when_it_is_met() -> None:
    lazy = nsp.gaussian_filter(chunked(GAPS, "uneven"), 1.0, nan_policy="raise")
    with pytest.raises(ValueError, match="nan_policy='raise'"):
        lazy.compute(scheduler="synchronous")


@pytest.mark.parametrize(
    "dtype", often(["uint16", "float64"], ["bool", "uint16", "int64", "float16", "float64", "complex64"])
)
def test_types_of_results(dtype: str) -> None:
    x = (X * 200).astype(dtype)
    for output in (None, "float32", np.dtype(np.float64), np.complex128):
        if output is not None and np.dtype(output).kind != "c" and dtype == "complex64":
            continue
        expected = nsp.uniform_filter(x, 3, output)
        exact = x.dtype.kind in "bui"
        compare(nsp.uniform_filter(chunked(x, "uneven"), 3, output), expected, exact=exact)
    compare(nsp.correlate(chunked(x, "uneven"), 1j * DENSE), nsp.correlate(x, 1j * DENSE), exact=False)


def test_three_dimensions_with_axes_left_alone() -> None:
    stack = RNG.random((4, 9, 16, 20), dtype=np.float32)
    expected = nsp.gaussian_filter(stack, 1.5, axes=(1, 3), spacing=(3.0, 0.5))
    lazy = da.from_array(stack, chunks=(1, 3, 16, 7))
    compare(nsp.gaussian_filter(lazy, 1.5, axes=(1, 3), spacing=(3.0, 0.5)), expected, exact=False)
    expected = nsp.convolve(stack, DENSE, axes=(3, 2), cast="saturate", mode="wrap")
    compare(nsp.convolve(lazy, DENSE, axes=(3, 2), cast="saturate", mode="wrap"), expected, exact=False)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), ()])
def test_tiny_and_empty_arrays(shape: tuple[int, ...]) -> None:
    x = np.ones(shape, np.float32)
    for mode in ("reflect", "valid", "full"):
        compare(
            nsp.gaussian_filter(da.from_array(x, chunks=1), 1, mode=mode),
            nsp.gaussian_filter(x, 1, mode=mode),
        )
    compare(nsp.gaussian_filter(da.from_array(x, chunks=1), 0), x)


def test_chunks_of_the_result_are_those_of_the_input() -> None:
    for chunks in ("uneven", "ones", "small"):
        assert nsp.gaussian_filter(chunked(X, chunks), 1).chunks == CHUNKS[chunks]
    assert nsp.uniform_filter(chunked(X, "uneven"), 5, mode="valid").chunks == ((6, 3), (9, 4))
    assert nsp.uniform_filter(chunked(X, "uneven"), 5, mode="full").chunks == ((6, 6, 5), (9, 12))


# ----------------------------------------------------------------------------------------- graphs


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    x = chunked(X, "uneven").map_blocks(fail, meta=np.empty((0, 0), np.float32))
    for call in CALLS.values():
        assert isinstance(call(x), da.Array)


def test_one_task_a_block_and_one_for_its_strips() -> None:
    x = da.zeros((8000, 8000), chunks=1000, dtype=np.float32)
    graph = nsp.gaussian_filter(x, 2).__dask_graph__()
    tasks = [len(layer) for name, layer in graph.layers.items() if name.startswith("gaussian_filter")]
    assert sum(tasks) <= 2 * 64 + 1


def test_dense_kernels_are_planned_outside_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = nsp.convolve(da.from_array(RNG.random((40, 50)), chunks=(20, 20)), DENSE)

    def choose(*_: Any) -> None:
        raise AssertionError("planned in a task")

    monkeypatch.setattr(planner, "choose", choose)
    monkeypatch.setattr("numbasep.api.build.choose", choose)
    lazy.compute(scheduler="threads")


def test_the_shared_call_can_be_sent() -> None:
    shared = shared_call(nsp.convolve(chunked(X, "uneven"), DENSE))
    copy = pickle.loads(pickle.dumps(shared))
    assert copy.grid == shared.grid
    assert set(copy.plans) == set(shared.plans) != set()


@pytest.mark.parametrize(("blocks", "threads"), [(1, 8), (2, 4), (3, 2), (64, 1)])
def test_threads_of_blocks_and_of_the_scheduler_do_not_multiply(
    blocks: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_blocks, "CPU_COUNT", 8)
    x = da.zeros((64 * blocks,), chunks=64, dtype=np.float32)

    assert shared_call(nsp.gaussian_filter(x, 1)).workers == threads
    assert shared_call(nsp.gaussian_filter(x, 1, workers=3)).workers == 3


def test_the_name_of_a_result_is_that_of_an_equal_call() -> None:
    x = chunked(X, "uneven")
    assert nsp.gaussian_filter(x, 1).name == nsp.gaussian_filter(x, 1).name
    assert nsp.gaussian_filter(x, 1).name != nsp.gaussian_filter(x, 2).name


# ------------------------------------------------------------------------------------- schedulers


def test_threaded_scheduler() -> None:
    x = RNG.random((300, 400), dtype=np.float32)
    lazy = da.from_array(x, chunks=(64, 80))
    compare(
        nsp.gaussian_filter(lazy, 2),
        nsp.gaussian_filter(x, 2),
        exact=False,
        scheduler="threads",
        num_workers=4,
    )
    compare(
        nsp.convolve(lazy, DENSE), nsp.convolve(x, DENSE), exact=False, scheduler="threads", num_workers=4
    )


def test_process_scheduler() -> None:
    x = RNG.random((100, 120), dtype=np.float32)
    lazy = nsp.gaussian_filter(da.from_array(x, chunks=(50, 60)), 2)
    compare(lazy, nsp.gaussian_filter(x, 2), exact=False, scheduler="processes", num_workers=2)


@pytest.mark.filterwarnings("default")
def test_distributed_cluster_of_two_processes() -> None:
    distributed = pytest.importorskip("distributed", reason="needs distributed: pip install distributed")
    x = RNG.random((200, 240), dtype=np.float32)
    lazy = da.from_array(x, chunks=(50, 60))
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        client.wait_for_workers(2)
        workers = list(client.scheduler_info()["workers"])
        assert len(workers) == 2
        compare(
            nsp.gaussian_filter(lazy, 2, mode="wrap"),
            nsp.gaussian_filter(x, 2, mode="wrap"),
            exact=False,
            scheduler=client,
        )
        compare(nsp.convolve(lazy, DENSE), nsp.convolve(x, DENSE), exact=False, scheduler=client)
        magnitude = nsp.gaussian_gradient_magnitude(lazy, 1)
        compare(magnitude, nsp.gaussian_gradient_magnitude(x, 1), exact=False, scheduler=client)
        for worker in workers:  # each process by itself, so that both have done it
            result = client.compute(nsp.sobel(lazy), workers=[worker], allow_other_workers=False).result()
            np.testing.assert_allclose(result, nsp.sobel(x), rtol=0, atol=8 * LAST_BITS)


# ------------------------------------------------------------------------------------- layers, errors


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("chunks", [1, (2, 4, -1, 2)], ids=str)
def test_layers_over_the_batch(data_format: str, chunks: Any) -> None:
    x = RNG.random((5, 8, 9, 4) if data_format == "NHWC" else (5, 4, 8, 9), dtype=np.float32)
    depthwise, pointwise = (
        RNG.random((3, 3, 4, 2), dtype=np.float32),
        RNG.random((1, 1, 8, 6), dtype=np.float32),
    )
    filters = RNG.random((3, 3, 4, 6), dtype=np.float32)
    rest: Any = ([1, 1, 1, 1], "SAME")
    lazy = da.from_array(x, chunks=chunks)
    for function, weights in (
        (nn.separable_conv2d, (depthwise, pointwise)),
        (nn.depthwise_conv2d, (depthwise,)),
        (nn.conv2d, (filters,)),
    ):
        expected = function(x, *weights, *rest, data_format=data_format)
        result = function(lazy, *weights, *rest, data_format=data_format)
        compare(result, expected, exact=False)
        assert result.chunks[0] == lazy.chunks[0]
        gradients = getattr(nn, function.__name__ + "_vjp")
        whole = gradients(expected, x, *weights, *rest, data_format=data_format)
        parts = gradients(result, lazy, *weights, *rest, data_format=data_format)
        assert len(parts) == len(whole)
        for part, gradient in zip(dask.compute(*parts, scheduler="synchronous"), whole, strict=True):
            np.testing.assert_allclose(part, gradient, rtol=1e-5)
            assert part.dtype == gradient.dtype


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: nsp.gaussian_filter(x, 1, mode="bounce"), ValueError, "mode='bounce'"),
        (lambda x: nsp.gaussian_filter(x, -1), ValueError, "sigma"),
        (lambda x: nsp.gaussian_filter(x, 1, axes=5), ValueError, "axes"),
        (lambda x: nsp.gaussian_filter(x, 1, sigmas=2), TypeError, "sigmas"),
        (lambda x: nsp.gaussian_filter(x, 1, output=np.empty((13, 17))), TypeError, "output must be a dtype or None"),
        (lambda x: nsp.gaussian_filter(x, 1, cast="round"), ValueError, "cast"),
        (lambda x: nsp.gaussian_filter(x, 1, nan_policy="skip"), ValueError, "nan_policy"),
        (lambda x: nsp.gaussian_filter(x, 1, mask=np.zeros((3, 3), bool)), ValueError, "mask must have the shape"),
        (lambda x: nsp.gaussian_laplace(x, 1, sharpness=2), TypeError, "sharpness"),
        (lambda x: nsp.gaussian_filter(x, 1, cval=1j), ValueError, "complex-valued cval"),
        (lambda x: nsp.convolve(x, np.ones(3)), ValueError, "weights.ndim"),
        (lambda x: nsp.convolve(x, np.ones((3, 3)), origin=2), ValueError, "origin"),
        (lambda x: nsp.convolve(x, np.ones((3, 3)), method="separable", rtol=2), ValueError, "rtol"),
        (lambda x: nsp.convolve(x, RNG.random((9, 9)), method="structured"), ValueError, "structured"),
        (lambda x: nsp.separable_convolve(x, [[1, 2]]), ValueError, "kernels"),
        (lambda x: nsp.uniform_filter1d(x, 0), ValueError, "size"),
        (lambda x: nsp.filter_bank(x, []), ValueError, "kernels"),
        (lambda x: nsp.filter_bank(x, [np.ones((3, 3)), np.ones((5, 5))], mode="valid"), ValueError, "one shape"),
        (lambda x: nsp.sobel(x.astype(object)), TypeError, "array type not supported"),
        (lambda x: nsp.sobel(x[x[:, 0] > 0.5]), ValueError, "compute_chunk_sizes"),
        (lambda x: nn.conv2d(x, np.ones((3, 3, 1, 1), "f4"), 1, "SAME"), ValueError, "input must have 4 dimensions"),
    ],
)  # fmt: skip
def test_bad_input_is_told_at_once(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(chunked(X, "uneven"))


def test_a_derivative_that_leaves_dask_is_refused() -> None:
    def eager(input: Any, axis: int, output: Any, mode: Any, cval: Any) -> np.ndarray:
        return np.zeros(input.shape, output)

    with pytest.raises(TypeError, match="derivative must return a dask array"):
        nsp.generic_laplace(chunked(X, "uneven"), eager)
