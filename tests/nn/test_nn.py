"""The convolutions over channels against the formula in float64, in every option; and their refusals."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numbasep import nn
from numbasep.nn import bands
from tests.support import nn_oracle

TOLERANCE = {"float16": 1e-3, "float32": 1e-6, "float64": 1e-14}
OPERATIONS = ("separable_conv2d", "depthwise_conv2d", "conv2d")


def relative(result, expected):
    return np.abs(result - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), 1e-300)


def arrays(seed, shape, kernel, multiplier, outputs, dtype):
    """An input, depthwise, pointwise and ordinary filters."""
    rng = np.random.default_rng(seed)
    channels = shape[3]
    x = rng.standard_normal(shape).astype(dtype)
    depthwise = rng.standard_normal((*kernel, channels, multiplier)).astype(dtype)
    pointwise = rng.standard_normal((1, 1, channels * multiplier, outputs)).astype(dtype)
    filters = rng.standard_normal((*kernel, channels, outputs)).astype(dtype)
    return x, depthwise, pointwise, filters


def call(operation, x, filters, strides, padding, rates, data_format, **options):
    """Call with an NHWC input in either data format; an NHWC result."""
    if data_format == "NCHW":
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        padding = padding if isinstance(padding, str) else [padding[i] for i in (0, 3, 1, 2)]
        strides = (1, 1, *strides)
    else:
        strides = (1, *strides, 1)
    if operation == "conv2d":
        result = nn.conv2d(x, *filters, strides, padding, data_format, rates, **options)
    else:
        result = getattr(nn, operation)(x, *filters, strides, padding, rates, None, data_format, **options)
    return result.transpose(0, 2, 3, 1) if data_format == "NCHW" else result


def oracle(operation, x, filters, strides, padding, rates):
    formula = {
        "separable_conv2d": nn_oracle.separable,
        "depthwise_conv2d": nn_oracle.depthwise,
        "conv2d": nn_oracle.ordinary,
    }[operation]
    return formula(x, *filters, strides, padding, rates)


def choose(operation, depthwise, pointwise, filters):
    return {
        "separable_conv2d": (depthwise, pointwise),
        "depthwise_conv2d": (depthwise,),
        "conv2d": (filters,),
    }[operation]


@st.composite
def requests(draw):
    operation = draw(st.sampled_from(OPERATIONS))
    kernel = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    rates = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (3, 1), (2, 3)]))
    if operation != "conv2d" and max(rates) > 1:
        strides = (1, 1)
    shape = (
        draw(st.sampled_from([1, 1, 2, 0])),
        draw(st.integers(1, 20)),
        draw(st.integers(1, 20)),
        draw(st.sampled_from([1, 3, 8, 16, 19, 33, 64])),
    )
    pads = st.tuples(st.integers(0, 4), st.integers(0, 4))
    padding = draw(
        st.sampled_from(["SAME", "VALID"]) | st.tuples(st.just((0, 0)), pads, pads, st.just((0, 0)))
    )
    if padding != "SAME":
        extra = [0, 0] if padding == "VALID" else [sum(pair) for pair in padding[1:3]]
        for i in range(2):
            assume((kernel[i] - 1) * rates[i] + 1 <= shape[1 + i] + extra[i])
    return {
        "operation": operation,
        "shape": shape,
        "kernel": kernel,
        "strides": strides,
        "padding": padding,
        "rates": rates,
        "multiplier": draw(st.integers(1, 3)),
        "outputs": draw(st.sampled_from([1, 3, 16, 31, 64, 70])),
        "dtype": draw(st.sampled_from(sorted(TOLERANCE))),
        "data_format": draw(st.sampled_from(["NHWC", "NCHW"])),
        "workers": draw(st.sampled_from([1, 2])),
        "seed": draw(st.integers(0, 2**31)),
    }


@pytest.mark.jitoff
@given(request=requests())
def test_equals_the_formula(request):
    operation, strides, padding, rates = (request[k] for k in ("operation", "strides", "padding", "rates"))
    dtype = request["dtype"]
    x, depthwise, pointwise, filters = arrays(
        request["seed"], request["shape"], request["kernel"], request["multiplier"], request["outputs"], dtype
    )
    used = choose(operation, depthwise, pointwise, filters)
    result = call(
        operation, x, used, strides, padding, rates, request["data_format"], workers=request["workers"]
    )
    expected = oracle(operation, x, used, strides, padding, rates)
    assert result.dtype == dtype
    assert result.shape == expected.shape
    assert relative(result, expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize(
    "seed", [*range(36), *(pytest.param(n, marks=pytest.mark.slow) for n in range(36, 300))]
)
def test_float32_error_on_random_configurations(seed):
    rng = np.random.default_rng(seed)
    operation = OPERATIONS[seed % 3]
    kernel = tuple(rng.integers(1, 6, 2).tolist())
    strides = tuple(rng.integers(1, 4, 2).tolist())
    shape = (int(rng.integers(1, 3)), *rng.integers(8, 30, 2).tolist(), int(rng.choice([3, 32, 96, 300])))
    x, *filters = arrays(
        seed, shape, kernel, int(rng.integers(1, 3)), int(rng.choice([8, 64, 100])), "float32"
    )
    used = choose(operation, *filters)
    padding = ("SAME", "VALID")[seed // 3 % 2]
    result = call(operation, x, used, strides, padding, (1, 1), ("NHWC", "NCHW")[seed // 6 % 2])
    assert relative(result, oracle(operation, x, used, strides, padding, (1, 1))) <= 1e-6


@pytest.mark.thinned
@pytest.mark.parametrize(("size", "channels", "outputs", "stride"), [
    (112, 32, 64, 1), (56, 128, 256, 2), (14, 512, 512, 1), (14, 512, 1024, 2), (7, 1024, 1024, 1),
])  # fmt: skip
@pytest.mark.parametrize("workers", [1, 2])
def test_mobilenet_layers(size, channels, outputs, stride, workers):
    x, depthwise, pointwise, _ = arrays(0, (1, size, size, channels), (3, 3), 1, outputs, "float32")
    strides = (1, stride, stride, 1)
    result = nn.separable_conv2d(x, depthwise, pointwise, strides, "SAME", workers=workers)
    expected = nn_oracle.separable(x, depthwise, pointwise, (stride, stride))
    assert relative(result, expected) <= 1e-6


@pytest.mark.parametrize("operation", ["separable_conv2d", "depthwise_conv2d"])
@pytest.mark.parametrize("stride", [1, 2])
def test_large_results_are_written_past_the_caches(operation, stride):
    x, depthwise, pointwise, _ = arrays(9, (1, 150, 212, 80), (3, 3), 1, 80, "float32")
    used = (depthwise, pointwise)[: 2 if operation == "separable_conv2d" else 1]
    expected = oracle(operation, x, used, (stride, stride), "SAME", (1, 1))
    raw = np.zeros(expected.size + 17, np.float32)
    start = 1 + (-(raw.ctypes.data + 4) % 64) // 4 + 1  # not on a vector's boundary: written the other way
    misaligned = raw[start : start + expected.size].reshape(expected.shape)
    for output in (None, misaligned):
        result = call(operation, x, used, (stride, stride), "SAME", (1, 1), "NHWC", output=output)
        assert relative(result, expected) <= 1e-6


@pytest.mark.thinned
@pytest.mark.parametrize("kernel", [(5, 5), (7, 3), (1, 9), (9, 1), (4, 6)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (1, 2)])
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_spatially_separable_filters_as_two_passes(kernel, strides, multiplier, data_format):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 23, 26, 37)).astype(np.float32)
    columns, rows = (
        rng.standard_normal((kernel[0], 1, 37, multiplier)),
        rng.standard_normal((1, kernel[1], 37, multiplier)),
    )
    depthwise = (columns * rows).astype(np.float32)
    pointwise = rng.standard_normal((1, 1, 37 * multiplier, 20)).astype(np.float32)
    for operation, used in (
        ("separable_conv2d", (depthwise, pointwise)),
        ("depthwise_conv2d", (depthwise,)),
    ):
        result = call(operation, x, used, strides, "SAME", (1, 1), data_format, method="separable")
        assert relative(result, oracle(operation, x, used, strides, "SAME", (1, 1))) <= 1e-6


@pytest.mark.jitoff
def test_dilated_spatially_separable_filters():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((1, 30, 31, 20))
    depthwise = rng.standard_normal((5, 1, 20, 1)) * rng.standard_normal((1, 5, 20, 1))
    result = nn.depthwise_conv2d(x, depthwise, (1, 1, 1, 1), "SAME", (2, 3), method="separable")
    assert relative(result, nn_oracle.depthwise(x, depthwise, rates=(2, 3))) <= 1e-14


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_auto_takes_two_passes_for_large_separable_filters(data_format):
    taps = np.hanning(13)[1:-1]
    depthwise = np.repeat(np.outer(taps, taps)[:, :, None, None], 16, axis=2)
    shape = (1, 64, 64, 16) if data_format == "NHWC" else (1, 16, 64, 64)
    options = {"data_format": data_format, "workers": 2}
    plan = nn.plan_depthwise_conv2d(shape, depthwise, (1, 1, 1, 1), "SAME", **options)
    assert plan.method == "separable"
    assert plan.seconds < plan.candidates[1].seconds
    assert plan.multiplications == 64 * 64 * 16 * (11 + 11)
    depthwise[0, 0, 7] += 1
    assert nn.plan_depthwise_conv2d(shape, depthwise, (1, 1, 1, 1), "SAME", **options).method == "direct"


def test_auto_keeps_one_pass_where_two_cost_more():
    for taps, side in (([1.0, 2.0, 1.0], 112), (np.hanning(13)[1:-1], 4)):
        depthwise = np.repeat(np.outer(taps, taps)[:, :, None, None], 16, axis=2)
        plan = nn.plan_depthwise_conv2d((1, side, side, 16), depthwise, (1, 1, 1, 1), "SAME")
        assert plan.method == "direct"
        assert plan.candidates[1].feasible


def test_separable_method_is_refused_for_filters_of_higher_rank():
    with pytest.raises(ValueError, match="method='separable' needs"):
        nn.depthwise_conv2d(
            np.ones((1, 5, 5, 1)), np.eye(3)[..., None, None], (1, 1, 1, 1), "SAME", method="separable"
        )


def test_results_do_not_depend_on_workers():
    x, depthwise, pointwise, filters = arrays(1, (2, 30, 31, 48), (3, 3), 1, 40, "float32")
    for operation in OPERATIONS:
        used = choose(operation, depthwise, pointwise, filters)
        one, two = (
            call(operation, x, used, (1, 1), "SAME", (1, 1), "NHWC", workers=workers) for workers in (1, 2)
        )
        assert np.array_equal(one, two)


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_padding_never_makes_a_nan_and_a_nan_stays_in_its_window(operation, data_format):
    x, depthwise, pointwise, filters = arrays(2, (1, 9, 10, 20), (3, 3), 1, 6, "float32")
    x[0, 4, 5, 7] = np.nan
    used = choose(operation, depthwise, pointwise, filters)
    result = call(operation, x, used, (1, 1), "SAME", (1, 1), data_format)
    hit = np.isnan(result).any(axis=(0, 3))
    expected = np.zeros((9, 10), bool)
    expected[3:6, 4:7] = True
    assert np.array_equal(hit, expected)


# --------------------------------------------------------------------------- the field's worked example


def test_worked_example_of_12_by_12_by_3():
    x, depthwise, pointwise, filters = arrays(3, (1, 12, 12, 3), (5, 5), 1, 256, "float32")
    ordinary = nn.plan_conv2d(x.shape, filters, (1, 1, 1, 1), "VALID", method="direct")
    separable = nn.plan_separable_conv2d(
        x.shape, depthwise, pointwise, (1, 1, 1, 1), "VALID", method="direct"
    )
    depthwise_alone = nn.plan_depthwise_conv2d(x.shape, depthwise, (1, 1, 1, 1), "VALID", method="direct")
    assert ordinary.multiplications == 1_228_800
    assert depthwise_alone.multiplications == 4_800
    assert separable.multiplications == 53_952 == 4_800 + 49_152
    assert separable(x).shape == ordinary(x).shape == (1, 8, 8, 256)


# --------------------------------------------------------------------------- arrays in and out


@pytest.mark.thinned
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", sorted(TOLERANCE))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_output_is_written_in_place(operation, dtype, data_format):
    x, depthwise, pointwise, filters = arrays(4, (2, 8, 9, 5), (3, 3), 2, 7, dtype)
    used = choose(operation, depthwise, pointwise, filters)
    expected = call(operation, x, used, (1, 1), "SAME", (1, 1), data_format)
    shape = expected.shape if data_format == "NHWC" else tuple(expected.shape[i] for i in (0, 3, 1, 2))
    for out in (
        np.full(shape, 9, dtype),
        np.full((*shape, 2), 9, dtype)[..., 0],
        np.full(shape, 9, np.dtype(dtype).newbyteorder()),
    ):
        result = call(operation, x, used, (1, 1), "SAME", (1, 1), data_format, output=out)
        assert np.shares_memory(result, out)
        assert np.array_equal(result, expected)


def test_output_may_be_the_input():
    x, depthwise, *_ = arrays(5, (1, 12, 12, 4), (3, 3), 1, 4, "float32")
    expected = nn.depthwise_conv2d(x, depthwise, (1, 1, 1, 1), "SAME")
    assert nn.depthwise_conv2d(x, depthwise, (1, 1, 1, 1), "SAME", output=x) is x
    assert np.array_equal(x, expected)


def test_layouts_of_the_input():
    x, depthwise, pointwise, _ = arrays(6, (2, 10, 11, 6), (3, 3), 1, 8, "float32")
    expected = nn.separable_conv2d(x, depthwise, pointwise, (1, 1, 1, 1), "SAME")
    fixed = x.copy()
    fixed.flags.writeable = False
    odd = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    odd[...] = x
    for other in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x.astype(">f4"), fixed, odd):
        assert np.array_equal(
            nn.separable_conv2d(other, depthwise, pointwise, (1, 1, 1, 1), "SAME"), expected
        )


def test_float16_is_summed_in_float32():
    x = np.full((1, 1, 1, 4096), 1, np.float16)
    ones = np.ones((1, 1, 4096, 1), np.float16)
    result = nn.separable_conv2d(x, ones, ones.reshape(1, 1, 4096, 1), (1, 1, 1, 1), "VALID")
    assert result.dtype == np.float16
    assert float(result[0, 0, 0, 0]) == 4096  # a float16 sum would stop at 2048


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("kernel", "strides", "rates"), [((3, 3), (1, 1), (1, 1)), ((4, 2), (3, 2), (1, 1)),
                                                          ((3, 3), (1, 1), (4, 1))])  # fmt: skip
def test_float16_is_converted_in_bands(monkeypatch, kernel, strides, rates, data_format):
    x, depthwise, *_ = arrays(12, (3, 17, 9, 5), kernel, 2, 4, "float16")
    used = (x, (depthwise,), strides, "SAME", rates)
    whole = call("depthwise_conv2d", *used, data_format)
    for size in (1, 9000, 30000):  # one row at a time, some rows, an image
        monkeypatch.setattr(bands, "BAND_BYTES", size)
        assert np.array_equal(call("depthwise_conv2d", *used, data_format), whole)


def test_float16_needs_no_float32_copy_of_a_whole_array():
    x = np.zeros((4, 256, 256, 32), np.float16)
    taps = np.ones((3, 3, 32, 1), np.float16)
    nn.depthwise_conv2d(x[:1], taps, (1, 1, 1, 1), "SAME")
    tracemalloc.start()
    nn.depthwise_conv2d(x, taps, (1, 1, 1, 1), "SAME")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * x.nbytes  # the result, and bands


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_empty_batch_and_empty_image(operation, dtype):
    x, depthwise, pointwise, filters = arrays(7, (0, 7, 8, 3), (3, 3), 1, 4, dtype)
    used = choose(operation, depthwise, pointwise, filters)
    result = call(operation, x, used, (1, 1), "SAME", (1, 1), "NHWC")
    assert result.shape[:3] == (0, 7, 8)
    none = np.zeros((2, 0, 8, 3), dtype)
    assert call(operation, none, used, (1, 1), "SAME", (1, 1), "NHWC").shape[:3] == (2, 0, 8)


def test_conv2d_takes_short_strides_and_dilations_with_strides():
    x, _, _, filters = arrays(8, (1, 15, 16, 3), (3, 3), 1, 4, "float64")
    expected = nn_oracle.ordinary(x, filters, (2, 2), "SAME", (2, 2))
    for strides in (2, [2], [2, 2], [1, 2, 2, 1]):
        for data_format in ("NHWC", "NCHW"):
            given_strides = [1, 1, 2, 2] if data_format == "NCHW" and np.size(strides) == 4 else strides
            image = x if data_format == "NHWC" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
            result = nn.conv2d(image, filters, given_strides, "SAME", data_format, 2)
            result = result if data_format == "NHWC" else result.transpose(0, 2, 3, 1)
            assert relative(result, expected) <= 1e-14


# --------------------------------------------------------------------------- refusals: features of tf.nn's
# rules

X = np.zeros((1, 9, 10, 2), np.float32)
D = np.zeros((3, 3, 2, 2), np.float32)
P = np.zeros((1, 1, 4, 5), np.float32)
ONE = [1, 1, 1, 1]


@pytest.mark.parametrize(("change", "message"), [
    ({"input": X[0]}, r"input must have 4 dimensions.*\(9, 10, 2\)"),
    ({"input": X.astype(np.int32)}, "input must be float16, float32 or float64, got dtype int32"),
    ({"input": X.astype(np.complex64)}, "input must be float16, float32 or float64, got dtype complex64"),
    ({"input": X.astype(np.float64)}, "depthwise_filter must have the dtype of input, float64, got float32"),
    ({"pointwise_filter": P.astype(np.float16)}, "pointwise_filter .*dtype of input, float32, got float16"),
    ({"depthwise_filter": D[0]}, r"depthwise_filter must have shape .*got \(3, 2, 2\)"),
    ({"depthwise_filter": D[:, :, :1]}, "depthwise_filter .*third dimension is 1.*is 2"),
    ({"depthwise_filter": D[:0]}, r"all at least 1, got \(0, 3, 2, 2\)"),
    ({"pointwise_filter": P[0]}, r"pointwise_filter must have shape \(1, 1, .*got \(1, 4, 5\)"),
    ({"pointwise_filter": np.zeros((3, 3, 4, 5), "f4")}, r"pointwise_filter .*got \(3, 3, 4, 5\)"),
    ({"pointwise_filter": P[:, :, :3]}, r"2 \* 2 = 4 as its third dimension, got 3"),
    ({"strides": [1, 1]}, r"strides must be 4 integers, each at least 1, got \(1, 1\)"),
    ({"strides": 1}, "strides must be 4 integers"),
    ({"strides": [1, 0, 1, 1]}, r"each at least 1, got \(1, 0, 1, 1\)"),
    ({"strides": [1, 1.5, 1, 1]}, "strides must be 4 integers"),
    ({"strides": [2, 1, 1, 1]}, r"strides of batch and channels must be 1, got \(2, 1, 1, 1\)"),
    ({"strides": [1, 1, 1, 2]}, r"strides of batch and channels must be 1"),
    ({"strides": [1, 2, 2, 1], "data_format": "NCHW", "input": X.swapaxes(1, 3)}, "1, got .*NCHW order"),
    ({"strides": [1, 2, 1, 1], "rate": [2, 1]}, r"strides must all be 1 .*\(1, 2, 1, 1\) with rate \(2, 1\)"),
    ({"strides": [1, 2, 1, 1], "dilations": [1, 2]}, "strides must all be 1 .*dilations"),
    ({"rate": 2}, "rate must be 2 integers, each at least 1, got 2"),
    ({"rate": [2]}, "rate must be 2 integers"),
    ({"rate": [1, 2, 2, 1]}, "rate must be 2 integers"),
    ({"rate": [0, 1]}, r"rate must be 2 integers, each at least 1, got \(0, 1\)"),
    ({"rate": [1, 1], "dilations": [1, 1]}, "rate and dilations are two names"),
    ({"padding": "same"}, "padding must be 'SAME', 'VALID' or four pairs.*got 'same'"),
    ({"padding": "EXPLICIT"}, "padding must be 'SAME', 'VALID'"),
    ({"padding": [[0, 0], [1, 1], [0, 0]]}, "padding must be 'SAME', 'VALID' or four pairs"),
    ({"padding": [[0, 0], [1, -1], [0, 0], [0, 0]]}, "padding must be"),
    ({"padding": [[1, 0], [1, 1], [0, 0], [0, 0]]}, "none of batch and channels"),
    ({"padding": [[0, 0], [1, 1], [0, 0], [0, 1]]}, "none of batch and channels"),
    ({"padding": None}, "padding must be"),
    ({"data_format": "NHCW"}, "data_format must be 'NHWC', 'NCHW' or None .*got 'NHCW'"),
    ({"padding": "VALID", "depthwise_filter": np.zeros((10, 3, 2, 2), "f4")}, "height of the filter, 10 .*9"),
    ({"padding": "VALID", "rate": [1, 5]}, "width of the filter, 11 .*input, 10"),
    ({"strides": [[1], 1, 1, 1]}, "strides"),
    ({"padding": {"a": []}}, "must be numbers, strings or sequences"),
    ({"workers": 0}, "workers must be None or an integer of at least 1, got 0"),
    ({"workers": True}, "workers must be None"),
    ({"device": "tpu"}, "device must be None or 'cpu'"),
    ({"method": "fft"}, "method must be 'auto', 'direct' or 'separable', got 'fft'"),
    ({"output": np.zeros((1, 9, 10, 4), np.float32)}, r"output must have the shape .*\(1, 9, 10, 5\)"),
    ({"output": np.zeros((1, 9, 10, 5))}, "output must have the dtype of input, float32, got float64"),
    ({"output": [0]}, "output must be None or an array, got list"),
    ({"output": np.broadcast_to(np.float32(0), (1, 9, 10, 5))}, "output must be writable"),
])  # fmt: skip
def test_bad_input_of_separable_conv2d(change, message):
    arguments = {
        "input": X, "depthwise_filter": D, "pointwise_filter": P, "strides": ONE, "padding": "SAME",
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        nn.separable_conv2d(**arguments)


@pytest.mark.parametrize(("change", "message"), [
    ({"filter": D[0]}, "filter must have shape"),
    ({"filter": D[:, :, :1]}, "filter must have as many input channels"),
    ({"strides": [1, 2, 1, 1], "rate": [2, 2]}, "strides must all be 1"),
    ({"padding": "VALID", "filter": np.zeros((3, 11, 2, 1), np.float32)}, "width of the filter, 11"),
])  # fmt: skip
def test_bad_input_of_depthwise_conv2d(change, message):
    with pytest.raises(ValueError, match=message):
        nn.depthwise_conv2d(**({"input": X, "filter": D, "strides": ONE, "padding": "SAME"} | change))


@pytest.mark.parametrize(("change", "message"), [
    ({"filters": D[0]}, "filters must have shape"),
    ({"filters": D[:, :, :1]}, "filters must have as many input channels"),
    ({"strides": [1, 2, 1]}, "strides must be 1 or 2 or 4 integers"),
    ({"dilations": "2"}, "rate must be 1 or 2 or 4 integers|dilations must be 1 or 2 or 4 integers"),
    ({"rtol": 2}, r"rtol must be None or a number in \[0, 1\), got 2"),
    ({"rtol": float("nan")}, "rtol must be"),
])  # fmt: skip
def test_bad_input_of_conv2d(change, message):
    arguments = {"input": X, "filters": D, "strides": 1, "padding": "SAME"} | change
    with pytest.raises(ValueError, match=message):
        nn.conv2d(**arguments)
