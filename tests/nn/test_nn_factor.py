"""Ordinary convolutions as depthwise separable ones: exactness, certified errors, the choice of conv2d."""

import numpy as np
import pytest

from numbasep import nn
from tests.support import nn_oracle


def separable_filters(seed, kh, kw, channels, multiplier, outputs, dtype=np.float64):
    rng = np.random.default_rng(seed)
    depthwise = rng.standard_normal((kh, kw, channels, multiplier))
    pointwise = rng.standard_normal((channels, multiplier, outputs))
    return np.einsum("ijcr,crk->ijck", depthwise, pointwise).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("multiplier", [1, 2, 3])
def test_finds_the_multiplier_of_an_exact_form(multiplier, dtype):
    filters = separable_filters(0, 3, 5, 7, multiplier, 11, dtype)
    found = nn.factorize_conv2d(filters)
    assert found.channel_multiplier == multiplier
    assert found.exact
    assert found.depthwise.shape == (3, 5, 7, multiplier)
    assert found.pointwise.shape == (1, 1, 7 * multiplier, 11)
    assert found.depthwise.dtype == found.pointwise.dtype == dtype
    assert found.multiplications == (15 * 7 * 11, 7 * multiplier * (15 + 11))
    assert np.allclose(found.todense(), filters, atol=50 * np.finfo(dtype).eps)


def test_error_is_certified_and_attained_by_the_worst_input():
    filters = np.random.default_rng(1).standard_normal((3, 3, 4, 6))
    found = nn.factorize_conv2d(filters, channel_multiplier=2)
    norm = np.abs(filters).sum(axis=(0, 1, 2)).max()
    difference = filters - found.todense()
    worst = np.abs(difference).sum(axis=(0, 1, 2)).argmax()
    x = np.sign(difference[..., worst])[None]  # one window: max |x| is 1
    exact = nn_oracle.ordinary(x, filters, padding="VALID")
    approximate = nn.separable_conv2d(x, found.depthwise, found.pointwise, (1, 1, 1, 1), "VALID")
    reached = np.abs(exact - approximate).max() / norm
    assert reached == pytest.approx(found.error, rel=1e-9)
    assert 0.01 < found.error < 1


def test_truncation_is_the_best_for_each_channel():
    filters = np.random.default_rng(2).standard_normal((3, 3, 4, 6))
    found = nn.factorize_conv2d(filters, channel_multiplier=2)
    for c in range(4):
        residual = np.linalg.norm(filters[:, :, c] - found.todense()[:, :, c])
        assert residual == pytest.approx(np.linalg.norm(found.singular_values[c, 2:]), rel=1e-12)


def test_rtol_takes_the_smallest_multiplier_within_it():
    rng = np.random.default_rng(3)
    filters = separable_filters(3, 3, 3, 5, 1, 8) + 1e-5 * rng.standard_normal((3, 3, 5, 8))
    assert nn.factorize_conv2d(filters).channel_multiplier > 1
    loose = nn.factorize_conv2d(filters, rtol=1e-3)
    assert loose.channel_multiplier == 1
    assert 1e-7 < loose.error <= 1e-3
    assert not loose.exact


def test_every_convolution_has_a_form_with_all_taps():
    filters = np.random.default_rng(4).standard_normal((2, 3, 3, 9))
    found = nn.factorize_conv2d(filters)
    assert found.channel_multiplier == 6
    assert found.exact
    more = nn.factorize_conv2d(
        filters[..., :2], channel_multiplier=5
    )  # more than the rank: padded with zeros
    assert more.channel_multiplier == 5
    assert more.exact


def test_scale_does_not_matter():
    filters = separable_filters(5, 3, 3, 4, 2, 6)
    for scale in (1e-150, 1.0, 1e150):
        assert nn.factorize_conv2d(filters * scale).channel_multiplier == 2
    assert nn.factorize_conv2d(np.zeros((3, 3, 2, 2))).channel_multiplier == 1


@pytest.mark.parametrize(("arguments", "message"), [
    ({"filters": np.ones((3, 3, 2))}, r"filters must have shape .*got \(3, 3, 2\)"),
    ({"filters": np.ones((3, 3, 2, 0))}, "filters must have shape"),
    ({"filters": np.ones((3, 3, 2, 2), int)}, "filters must be float16, float32 or float64, got dtype int64"),
    ({"filters": np.full((3, 3, 2, 2), np.nan)}, "filters must be finite"),
    ({"rtol": -1}, r"rtol must be None or a number in \[0, 1\), got -1"),
    ({"rtol": "a"}, "rtol must be"),
    ({"channel_multiplier": 0}, "channel_multiplier must be an integer from 1 to 9, got 0"),
    ({"channel_multiplier": 10}, "channel_multiplier must be an integer from 1 to 9"),
    ({"channel_multiplier": 1, "rtol": 1e-3}, "rtol=0.001 cannot be met with channel_multiplier=1"),
])  # fmt: skip
def test_bad_input(arguments, message):
    given = {"filters": np.random.default_rng(0).random((3, 3, 2, 4))} | arguments
    with pytest.raises(ValueError, match=message):
        nn.factorize_conv2d(**given)


def test_str_tells_the_figures():
    text = str(nn.factorize_conv2d(separable_filters(6, 5, 5, 3, 1, 256)))
    assert "19,200 ordinary, 843 depthwise separable" in text
    assert "channel multiplier 1" in text


# --------------------------------------------------------------------------- the choice of conv2d


def test_auto_uses_the_form_where_it_is_quicker():
    filters = separable_filters(7, 5, 5, 32, 1, 64, np.float32)
    x = np.random.default_rng(7).standard_normal((1, 40, 40, 32)).astype(np.float32)
    plan = nn.plan_conv2d(x.shape, filters, 1, "SAME")
    assert plan.method == "separable"
    assert plan.multiplications == 1600 * 32 * (25 + 64)
    expected = nn_oracle.ordinary(x, filters)
    for result in (plan(x), nn.conv2d(x, filters, 1, "SAME")):
        bound = plan.error_bound * np.abs(filters).sum(axis=(0, 1, 2)).max() * np.abs(x).max()
        assert np.abs(result - expected).max() <= bound
        assert np.abs(result - expected).max() / np.abs(expected).max() <= 2e-6


def test_the_two_kinds_of_separability_compose():
    taps = np.hanning(11)[1:-1]
    pointwise = np.random.default_rng(8).standard_normal((16, 24))
    filters = (np.outer(taps, taps)[:, :, None, None] * pointwise).astype(np.float32)
    plan = nn.plan_conv2d((1, 50, 50, 16), filters, 1, "SAME")
    assert plan.method == "separable"
    assert plan.multiplications == 2500 * 16 * (9 + 9 + 24)
    x = np.random.default_rng(9).standard_normal((1, 50, 50, 16)).astype(np.float32)
    expected = nn_oracle.ordinary(x, filters)
    assert np.abs(plan(x) - expected).max() / np.abs(expected).max() <= 2e-6


def test_auto_stays_direct_for_filters_of_full_rank():
    filters = np.random.default_rng(10).standard_normal((3, 3, 16, 32)).astype(np.float32)
    plan = nn.plan_conv2d((1, 40, 40, 16), filters, 1, "SAME")
    assert plan.method == "direct"
    assert [candidate.method for candidate in plan.candidates] == ["direct", "separable"]


def test_a_change_of_the_filters_in_place_is_noticed():
    filters = separable_filters(11, 5, 5, 32, 1, 64, np.float32)
    x = np.random.default_rng(11).standard_normal((1, 40, 40, 32)).astype(np.float32)
    nn.conv2d(x, filters, 1, "SAME")
    filters[2, 2, 3, 4] += 5
    expected = nn_oracle.ordinary(x, filters)
    assert np.abs(nn.conv2d(x, filters, 1, "SAME") - expected).max() / np.abs(expected).max() <= 2e-6


def test_rtol_allows_an_approximate_form():
    rng = np.random.default_rng(12)
    filters = separable_filters(12, 5, 5, 32, 1, 64) + 1e-5 * rng.standard_normal((5, 5, 32, 64))
    assert nn.plan_conv2d((1, 40, 40, 32), filters, 1, "SAME").method == "direct"
    plan = nn.plan_conv2d((1, 40, 40, 32), filters, 1, "SAME", rtol=1e-3)
    assert plan.method == "separable"
    x = rng.standard_normal((1, 40, 40, 32))
    error = np.abs(plan(x) - nn_oracle.ordinary(x, filters)).max()
    assert error <= plan.error_bound * np.abs(filters).sum(axis=(0, 1, 2)).max() * np.abs(x).max()
    assert error > 1e-8


def test_non_finite_filters_run_direct():
    filters = separable_filters(13, 5, 5, 32, 1, 64, np.float32)
    filters[0, 0, 0, 0] = np.inf
    x = np.ones((1, 40, 40, 32), np.float32)
    assert nn.plan_conv2d(x.shape, filters, 1, "SAME").method == "direct"
    assert np.isinf(nn.conv2d(x, filters, 1, "SAME")[..., 0]).any()
    with pytest.raises(ValueError, match="needs finite filters"):
        nn.conv2d(x, filters, 1, "SAME", method="separable")


# --------------------------------------------------------------------------- plans


def test_plan_explains_itself_and_keeps_the_rejected_way():
    sobel = np.outer([1.0, 2, 1], [-1.0, 0, 1]).reshape(3, 3, 1, 1)
    text = str(nn.plan_depthwise_conv2d((1, 64, 64, 1), sobel, (1, 1, 1, 1), "SAME", method="separable"))
    assert "depthwise_conv2d NHWC float64 1x64x64x1 -> 1x64x64x1" in text
    assert "> separable" in text
    assert "3 taps down, 3 along" in text
    assert "3 x 3 taps at once" in text
    random = np.random.default_rng(0).random((3, 3, 1, 1))
    plan = nn.plan_depthwise_conv2d((1, 64, 64, 1), random, (1, 1, 1, 1), "SAME")
    assert not plan.candidates[1].feasible
    assert "higher rank" in str(plan)


def test_plan_refuses_another_shape_or_dtype():
    plan = nn.plan_conv2d((1, 8, 8, 2), np.ones((3, 3, 2, 2)), 1, "SAME")
    with pytest.raises(
        ValueError, match=r"input must have the shape and dtype of the plan, \(1, 8, 8, 2\) float64"
    ):
        plan(np.ones((1, 8, 9, 2)))
    with pytest.raises(ValueError, match="input must have the shape and dtype"):
        plan(np.ones((1, 8, 8, 2), np.float32))
    with pytest.raises(ValueError, match="shape must be a sequence of sizes, got 5"):
        nn.plan_conv2d(5, np.ones((3, 3, 2, 2)), 1, "SAME")


def test_plan_writes_to_output():
    plan = nn.plan_conv2d((1, 8, 8, 2), np.ones((3, 3, 2, 2)), 1, "SAME")
    out = np.empty((1, 8, 8, 2))
    assert plan(np.ones((1, 8, 8, 2)), out) is out
    assert out[0, 4, 4, 0] == 18
