"""On a GPU (``python -m pytest --gpu``): every kernel class against the oracle, other libraries' arrays, large ones.

The same cases run on the simulator in `test_cuda_simulated`; here they are larger, and the machine code is real.
"""

import multiprocessing
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import numbasep
from numbasep import nn
from numbasep.cuda import driver
from numbasep.cuda.intrinsics.vocabulary import SIMULATED
from tests.support import nn_oracle, oracle

pytestmark = pytest.mark.gpu
os.environ.setdefault(
    "XLA_PYTHON_CLIENT_PREALLOCATE", "false"
)  # JAX takes three quarters of the memory otherwise
rng = np.random.default_rng(11)
MODES = ("reflect", "mirror", "nearest", "wrap", "constant")


@pytest.fixture(autouse=True)
def _a_gpu() -> None:
    reason = "the simulator is on" if SIMULATED else driver.missing()
    if reason is not None:
        pytest.skip(reason)


def samples(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(kind)
    return rng.integers(0, min(int(np.iinfo(kind).max), 60000), shape).astype(kind)


def check(
    x: np.ndarray, weights: np.ndarray, mode: Any = "reflect", cval: float = 0.0, **options: Any
) -> None:
    plan = numbasep.plan(
        weights, x.shape, x.dtype, operation="correlate", mode=mode, cval=cval, device="cuda", **options
    )
    slack = plan.error_bound * oracle.norm(weights) * oracle.largest(x, cval)
    oracle.assert_close(plan(x), oracle.correlate(x, weights, mode, cval), slack)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "uint16"])
@pytest.mark.parametrize("mode", MODES)
def test_types_and_modes(dtype: str, mode: str) -> None:
    weights = np.outer([1, 4, 6, 4, 1], [1, 2, 3, 2, 1])
    check(samples((257, 391), dtype), weights, mode, cval=3.5)
    check(samples((64, 512), dtype), weights, mode, cval=3.5)


@pytest.mark.parametrize("terms", [1, 2, 3])
@pytest.mark.parametrize("taps", [2, 3, 5, 7, 9, 12, 17, 25, 33])
def test_tap_classes_and_terms(taps: int, terms: int) -> None:
    weights = sum(np.outer(rng.random(taps) + 0.1, rng.random(taps) + 0.1) for _ in range(min(terms, taps)))
    check(samples((300, 640), "float32"), weights, method="separable")


@pytest.mark.parametrize("taps", [(41, 41), (129, 65), (3, 300)])
def test_many_taps(taps: tuple[int, int]) -> None:
    weights = np.outer(rng.random(taps[0]), rng.random(taps[1]))
    check(samples((200, 333), "float32"), weights, "mirror", method="separable")


@pytest.mark.parametrize("shape", [(3, 3), (7, 8), (11, 5), (4, 5, 6)])
def test_dense(shape: tuple[int, ...]) -> None:
    size = (120, 150) if len(shape) == 2 else (20, 30, 64)
    check(samples(size, "float32"), rng.standard_normal(shape), "constant", cval=0.5, method="direct")


@pytest.mark.parametrize("mode", MODES)
def test_transforms(mode: str) -> None:
    torch = pytest.importorskip("torch")
    x, weights = samples((300, 511), "float32"), rng.standard_normal((31, 24))
    plan = numbasep.plan(
        weights, x.shape, x.dtype, operation="correlate", mode=mode, cval=1.5, device="cuda", method="fft"
    )
    expected = oracle.correlate(x, weights, mode, 1.5)
    slack = plan.error_bound * oracle.norm(weights) * oracle.largest(x, 1.5) + 1e-6 * np.abs(expected).max()
    oracle.assert_close(plan(torch.as_tensor(x, device="cuda")).cpu().numpy(), expected, slack)
    oracle.assert_close(plan(x), expected, slack)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(24, 40, 136), (9, 31, 67)])
def test_volumes(dtype: str, shape: tuple[int, ...]) -> None:
    x = samples(shape, dtype)
    taps = [rng.random(5), rng.random(3), rng.random(9)]
    expected = oracle.separable_correlate(x, taps)
    got = numbasep.separable_correlate(x, taps, device="cuda")
    rounding = {"float32": 1e-5, "float64": 1e-14}[dtype]
    oracle.assert_close(got, expected, rounding * oracle.norm(oracle.outer(taps)) * oracle.largest(x))


def test_the_footprint_of_nan() -> None:
    r2 = np.add.outer(np.arange(-4, 5.0) ** 2, np.arange(-4, 5.0) ** 2)
    image = samples((90, 150), "float32")
    image[40, 70], image[3, 5] = np.nan, np.inf
    check(image, (r2 / 4 - 2) * np.exp(-r2 / 8), method="separable")


@pytest.mark.parametrize("library", ["cupy", "torch", "numba.cuda"])
def test_other_libraries_keep_their_arrays(library: str) -> None:
    module = pytest.importorskip(library)
    x = samples((130, 260), "float32")
    on_device = {
        "cupy": lambda: module.asarray(x),
        "torch": lambda: module.as_tensor(x, device="cuda"),
        "numba.cuda": lambda: module.to_device(x),
    }[library]()
    filtered = numbasep.gaussian_filter(on_device, 2.0)
    assert type(filtered) is type(on_device)
    from numbasep.cuda.libraries import library_of

    np.testing.assert_allclose(
        library_of(filtered).to_host(filtered), numbasep.gaussian_filter(x, 2.0), atol=1e-5
    )


def test_functions_of_several_launches() -> None:
    torch = pytest.importorskip("torch")
    x = samples((200, 333), "float32")
    on_device = torch.as_tensor(x, device="cuda")
    kernels = [rng.random((3, 5)), rng.random((9, 9))]
    bank = numbasep.filter_bank(on_device, kernels)
    np.testing.assert_allclose(bank.cpu().numpy(), numbasep.filter_bank(x, kernels), atol=1e-4)
    length = numbasep.gaussian_gradient_magnitude(on_device, 2.0)
    np.testing.assert_allclose(length.cpu().numpy(), numbasep.gaussian_gradient_magnitude(x, 2.0), atol=1e-5)
    x[50:60, 100:120] = np.nan
    mask = np.zeros(x.shape, bool)
    mask[150:, 300:] = True
    filled = numbasep.uniform_filter(torch.as_tensor(x, device="cuda"), 5, nan_policy="omit", mask=mask)
    expected = numbasep.uniform_filter(x, 5, nan_policy="omit", mask=mask)
    np.testing.assert_allclose(filled.cpu().numpy(), expected, atol=1e-5)


def test_arrays_of_jax_that_are_still_being_computed() -> None:
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("JAX has no GPU")

    @jax.jit
    def slow(x: Any) -> Any:
        product = jax.lax.fori_loop(0, 200, lambda _, y: y @ x / jax.numpy.abs(y @ x).max(), x)
        return product + 1

    x = jax.device_put(samples((2048, 2048), "float32"), jax.devices("gpu")[0])
    slow(x).block_until_ready()
    numbasep.gaussian_filter(x, 2.0)  # compiled, so that the next call is not late by itself
    computed = slow(x)
    filtered = numbasep.gaussian_filter(computed, 2.0)
    assert isinstance(filtered, jax.Array)
    expected = numbasep.gaussian_filter(np.asarray(computed), 2.0)
    np.testing.assert_allclose(np.asarray(filtered), expected, atol=1e-5)


def test_the_second_gpu() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    x = samples((130, 260), "float32")
    filtered = numbasep.gaussian_filter(torch.as_tensor(x, device="cuda:1"), 2.0)
    assert filtered.device.index == 1
    np.testing.assert_allclose(filtered.cpu().numpy(), numbasep.gaussian_filter(x, 2.0), atol=1e-5)


@pytest.mark.parametrize("size", [5, 65], ids=["one launch", "launches with scratch between"])
def test_streams_of_pytorch(size: int) -> None:
    torch = pytest.importorskip("torch")
    stream = torch.cuda.Stream()
    x = torch.rand(2048, 2048, device="cuda")
    numbasep.uniform_filter(x, size, method="separable")  # compiles, uploads its tables
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        for _ in range(20):
            y = (x @ x.T).remainder(7)  # keeps the stream busy while the filter is enqueued
        filtered = numbasep.uniform_filter(y, size, method="separable")
        del x
    torch.rand(64, 2048, 2048, device="cuda")  # takes memory that was given back too early
    stream.synchronize()
    expected = numbasep.uniform_filter(y.cpu().numpy(), size, method="separable")
    np.testing.assert_allclose(filtered.cpu().numpy(), expected, atol=1e-4)


def test_threads_each_on_a_stream() -> None:
    torch = pytest.importorskip("torch")
    images = [torch.rand(700, 500 + i, device="cuda") for i in range(8)]
    expected = [numbasep.uniform_filter(image.cpu().numpy(), 41, method="separable") for image in images]
    torch.cuda.synchronize()

    def work(i: int) -> Any:
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(20):
                filtered = numbasep.uniform_filter(images[i], 41, method="separable")
            return filtered.cpu().numpy()

    with ThreadPoolExecutor(len(images)) as pool:
        for got, wanted in zip(pool.map(work, range(len(images))), expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_graphs_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = torch.rand(300, 400, device="cuda")
    plan = numbasep.plan(np.ones((65, 5)), x.shape, "float32", device="cuda", method="separable")
    graph = torch.cuda.CUDAGraph()
    plan(x)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        filtered = plan(x)
    x.copy_(torch.rand(300, 400))
    graph.replay()
    torch.cuda.synchronize()
    expected = numbasep.convolve(x.cpu().numpy(), np.ones((65, 5)))
    np.testing.assert_allclose(filtered.cpu().numpy(), expected, atol=1e-3)


def test_tensors_with_a_type_of_their_own() -> None:
    tv_tensors = pytest.importorskip("torchvision.tv_tensors")
    torch = pytest.importorskip("torch")
    image = tv_tensors.Image(torch.rand(3, 100, 120, device="cuda"))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        filtered = numbasep.gaussian_filter(image * 2, 2.0, axes=(1, 2))
    stream.synchronize()
    assert isinstance(filtered, torch.Tensor)
    expected = numbasep.gaussian_filter(image.cpu().numpy() * 2, 2.0, axes=(1, 2))
    np.testing.assert_allclose(filtered.cpu().numpy(), expected, atol=1e-5)


def test_conjugates_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = torch.randn(60, 70, dtype=torch.complex64, device="cuda")
    filtered = numbasep.uniform_filter(x.conj(), 3)
    expected = numbasep.uniform_filter(x.cpu().numpy().conj(), 3)
    np.testing.assert_allclose(filtered.cpu().numpy(), expected, atol=1e-5)


def test_gradients_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for weights in (rng.standard_normal((3, 4)), np.outer(rng.random(5), rng.random(3))):
        x = torch.randn(6, 7, dtype=torch.float64, device="cuda", requires_grad=True)
        assert torch.autograd.gradcheck(lambda a, w=weights: numbasep.correlate(a, w, mode="mirror"), x)


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_convolutions_over_channels(library: str, data_format: str) -> None:
    x, depthwise, pointwise = (samples(s, "float32") for s in ((2, 33, 47, 6), (3, 5, 6, 2), (1, 1, 12, 40)))
    last = data_format == "NHWC"
    given: list[Any] = [x if last else np.ascontiguousarray(x.transpose(0, 3, 1, 2)), depthwise, pointwise]
    if library == "torch":
        torch = pytest.importorskip("torch")
        given = [torch.as_tensor(array, device="cuda") for array in given]
    got = nn.separable_conv2d(*given, [1] * 4, "SAME", data_format=data_format, device="cuda")
    values = got if library == "numpy" else got.cpu().numpy()
    expected = nn_oracle.separable(x, depthwise, pointwise)
    largest = np.abs(expected).max()  # PyTorch's product may round its factors to 10 bits
    np.testing.assert_allclose(
        values if last else values.transpose(0, 2, 3, 1), expected, atol=2e-3 * largest
    )


def _filter_in_a_child(answers: Any) -> None:
    try:
        numbasep.uniform_filter(np.zeros((8, 8), np.float32), 3, device="cuda")
    except Exception as error:
        answers.put(str(error))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_what_to_do() -> None:
    numbasep.uniform_filter(np.zeros((8, 8), np.float32), 3, device="cuda")
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_filter_in_a_child, args=(answers,))
    child.start()
    assert "spawn" in answers.get(timeout=60)
    child.join()


def test_more_rows_than_a_grid_has() -> None:
    x = np.tile(samples((1, 4), "float32"), (70_000 * 8, 1))
    got = numbasep.separable_correlate(x, [np.ones(3) / 3, np.ones(3) / 3], device="cuda")
    expected = numbasep.separable_correlate(x, [np.ones(3) / 3, np.ones(3) / 3])
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.slow
def test_more_than_four_gibibytes() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.mem_get_info()[0] < 12 << 30:
        pytest.skip("needs 12 GiB of free device memory")
    x = torch.zeros(36_000, 36_000, device="cuda")
    x[-5:, -7:] = torch.arange(35.0, device="cuda").reshape(5, 7)
    filtered = numbasep.uniform_filter(x, 3)
    corner = x[-40:, -40:].cpu().numpy()
    expected = numbasep.uniform_filter(corner, 3)[20:, 20:]
    np.testing.assert_allclose(filtered[-20:, -20:].cpu().numpy(), expected, atol=1e-5)


@pytest.mark.slow
def test_compute_sanitizer_finds_nothing() -> None:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed")
    script = (
        "import numpy as np, numbasep\n"
        "for width in (139, 256):\n"
        "    x = np.random.default_rng(0).random((70, width), np.float32)\n"
        "    for taps in (3, 9, 41): numbasep.separable_correlate(x, [np.ones(taps)] * 2, device='cuda')\n"
        "    numbasep.correlate(x, np.ones((5, 4)), method='direct', mode='constant', device='cuda')\n"
    )
    for tool in ("memcheck", "racecheck"):
        done = subprocess.run(
            [
                sanitizer, "--tool", tool, "--report-api-errors", "no", "--error-exitcode", "9", sys.executable, "-c",
                script,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
