"""The convolutions over channels drawn at random with all their arguments, beside loops over taps in float64.

Every sum of n products is within n + 4 units of roundoff of the sum of their magnitudes; nothing more is allowed.
"""

from dataclasses import dataclass
from typing import Any

import hypothesis
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numbasep import nn
from tests.support import nn_oracle, oracle, strategies

FORMULAS = {
    "depthwise_conv2d": nn_oracle.depthwise,
    "separable_conv2d": nn_oracle.separable,
    "conv2d": nn_oracle.ordinary,
}
ELSEWHERE = (
    "ConvolutionCandidate",
    "ConvolutionPlan",
    "DepthwiseSeparable",
)  # what plans and factorizations return
FACTORS = ("factorize_conv2d",)


def test_every_function_is_drawn() -> None:
    drawn = {made for name in FORMULAS for made in (name, f"plan_{name}", f"{name}_vjp")}
    assert {*drawn, *FACTORS, *ELSEWHERE} == set(nn.__all__)


@dataclass
class Layer:
    """A call of one of the convolutions, and the formula that it stands for, channels last."""

    name: str
    x: np.ndarray
    filters: list[np.ndarray]
    strides: tuple[int, int]
    padding: Any
    rates: tuple[int, int]
    layout: str
    method: str
    workers: int | None

    def formula(self, x: np.ndarray, *filters: np.ndarray) -> np.ndarray:
        """The result in float64."""
        return FORMULAS[self.name](x, *filters, self.strides, self.padding, self.rates)

    def given(self, x: np.ndarray) -> np.ndarray:
        """An array as the call takes it: a view, of any strides, for channels first."""
        return x.transpose(0, 3, 1, 2) if self.layout == "NCHW" else x

    def returned(self, y: np.ndarray) -> np.ndarray:
        """What the call returns, channels last."""
        return y.transpose(0, 2, 3, 1) if self.layout == "NCHW" else y

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Strides and padding; keywords."""
        first = self.layout == "NCHW"
        strides = (1, 1, *self.strides) if first else (1, *self.strides, 1)
        padding = self.padding
        if not isinstance(padding, str) and first:
            padding = [padding[i] for i in (0, 3, 1, 2)]
        return [strides, padding], {
            "data_format": self.layout,
            "dilations": self.rates,
            "workers": self.workers,
        }

    @property
    def terms(self) -> int:
        """Products in the sum of one result."""
        kh, kw, channels = self.filters[0].shape[:3]
        if self.name == "conv2d":
            return kh * kw * channels
        return kh * kw + (self.filters[1].shape[2] if self.name == "separable_conv2d" else 0)

    @property
    def unit(self) -> float:
        """Half an epsilon of the type that sums are taken in."""
        return float(np.finfo(np.float64 if self.x.dtype == np.float64 else np.float32).eps) / 2


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    dtype = draw(st.sampled_from(["float16", "float32", "float64"]))
    channels, multiplier, outputs = (draw(st.integers(1, n)) for n in (20, 3, 40))
    size = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    name = draw(st.sampled_from(sorted(FORMULAS)))
    taps, strides = ((draw(st.integers(1, n)), draw(st.integers(1, n))) for n in (4, 3))
    rates = (1, 1)
    if strides == (1, 1) or name == "conv2d":
        rates = draw(st.sampled_from([(1, 1), (2, 1), (2, 3)]))
    padding = draw(st.sampled_from(["SAME", "VALID", "explicit"]))
    if padding != "SAME":  # the filter must fit
        pads = [
            [draw(st.integers(0, 3)), draw(st.integers(0, 3))] if padding == "explicit" else [0, 0]
            for _ in (0, 1)
        ]
        for axis in (0, 1):
            reach = (taps[axis] - 1) * rates[axis] + 1
            lacking = max(0, reach - size[axis] - sum(pads[axis]))
            pads[axis][1] += lacking
            padding = "explicit" if lacking else padding
        if padding == "explicit":
            padding = [[0, 0], *pads, [0, 0]]
    separable = draw(st.booleans())
    shape = (*taps, channels, multiplier)
    filters = [rng.standard_normal(shape)]
    if separable:
        filters = [rng.standard_normal((taps[0], 1, *shape[2:])) * rng.standard_normal((1, *shape[1:]))]
    points = rng.standard_normal((1, 1, channels * multiplier, outputs))
    if name == "conv2d" and separable:  # is a depthwise and a pointwise convolution
        filters = [np.einsum("ijcm,cmk->ijck", filters[0], points.reshape(channels, multiplier, outputs))]
    elif name == "conv2d":
        filters = [rng.standard_normal((*taps, channels, outputs))]
    elif name == "separable_conv2d":
        filters.append(points)
    x = rng.standard_normal((draw(st.integers(0, 2)), *size, channels))
    return Layer(
        name, x.astype(dtype), [f.astype(dtype) for f in filters], strides, padding, rates,
        draw(st.sampled_from(["NHWC", "NCHW"])), draw(st.sampled_from(["auto", "direct", "separable"])),
        draw(st.sampled_from([1, 2, None])),
    )  # fmt: skip


@hypothesis.settings(max_examples=strategies.examples(100))
@given(layers(), st.data())
def test_any_convolution(layer: Layer, data: st.DataObject) -> None:
    before = [layer.x.copy(), *(f.copy() for f in layer.filters)]
    expected = layer.formula(layer.x, *layer.filters)
    positional, keywords = layer.arguments()
    x = layer.given(layer.x)
    output = None
    if data.draw(st.booleans()):
        layout = data.draw(st.sampled_from(["C", "stepped", "reversed", "byte-swapped", "misaligned"]))
        output = strategies.LAYOUTS[layout](np.full(layer.given(expected).shape, 77, layer.x.dtype))
    if data.draw(st.booleans()):
        x = strategies.LAYOUTS[data.draw(st.sampled_from(sorted(strategies.LAYOUTS)))](x)
    planned = data.draw(st.booleans())
    call = getattr(nn, layer.name)

    def run(method: str) -> np.ndarray:
        if planned:
            plan = getattr(nn, f"plan_{layer.name}")(
                x.shape, *layer.filters, *positional, method=method, **keywords
            )
            return plan(x, output)
        return call(x, *layer.filters, *positional, output=output, method=method, **keywords)

    try:
        got = run(layer.method)
    except ValueError as error:
        if layer.method != "separable" or "separable" not in str(error):
            raise
        got = run("auto")
    assert output is None or got is output
    for array, copy in zip((layer.x, *layer.filters), before, strict=True):
        np.testing.assert_array_equal(array, copy)
    magnitudes = layer.formula(np.abs(layer.x), *map(np.abs, layer.filters))
    slack = (2 * layer.terms + 8) * layer.unit * magnitudes.max(initial=0.0)
    if (
        layer.method != "direct"
    ):  # an equal form may be within 16 units of the type of the filters, of their norm
        whole = np.abs(layer.filters[0].astype(float)).sum((0, 1))
        if layer.name == "conv2d":
            whole = whole.sum(0)
        elif layer.name == "separable_conv2d":
            whole = whole.reshape(-1) @ np.abs(layer.filters[1][0, 0].astype(float))
        slack += 16 * float(np.finfo(layer.x.dtype).eps) * whole.max() * oracle.largest(layer.x)
    oracle.assert_close(layer.returned(got), expected, slack)


@given(layers())
def test_any_gradient(layer: Layer) -> None:
    """They are adjoint to the convolution: <g, f(d)> = <gradient, d> for any change d of one argument."""
    rng = np.random.default_rng(0)
    result = layer.formula(layer.x, *layer.filters)
    g = rng.standard_normal(result.shape).astype(layer.x.dtype)
    positional, keywords = layer.arguments()
    gradients = getattr(nn, f"{layer.name}_vjp")(
        layer.given(g), layer.given(layer.x), *layer.filters, *positional, **keywords
    )
    arrays = [layer.x, *layer.filters]
    for i, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
        gradient = layer.returned(gradient) if i == 0 else gradient
        assert gradient.shape == array.shape
        assert gradient.dtype == array.dtype
        if array.dtype == np.float16 and np.isinf(gradient).any():
            continue  # a sum beyond the type
        direction = rng.standard_normal(array.shape)
        change = layer.formula(*[direction if j == i else a for j, a in enumerate(arrays)])
        sizes = layer.formula(*[np.abs(direction) if j == i else np.abs(a) for j, a in enumerate(arrays)])
        stored = float(np.finfo(array.dtype).eps) * float(np.abs(gradient.astype(float) * direction).sum())
        terms = 2 * (layer.terms + g.size + max(f.shape[-1] for f in layer.filters)) + 8
        allowed = terms * layer.unit * float((np.abs(g).astype(float) * sizes).sum()) + stored
        difference = (g.astype(float) * change).sum() - (gradient.astype(float) * direction).sum()
        assert abs(difference) <= allowed, (i, difference, allowed)


@given(st.integers(0, 999), st.integers(1, 4), st.integers(1, 4), st.sampled_from([None, 1e-3, 0.3]))
def test_factors_of_any_filters_are_within_their_stated_error(
    seed: int, height: int, width: int, rtol: float | None
) -> None:
    rng = np.random.default_rng(seed)
    channels, outputs, rank = (int(n) for n in rng.integers(1, 9, 3))
    dtype = rng.choice(["float32", "float64"])
    depth = rng.standard_normal((height, width, channels, rank))
    filters = np.einsum("ijcm,cmk->ijck", depth, rng.standard_normal((channels, rank, outputs))).astype(dtype)
    found = nn.factorize_conv2d(filters, rtol=rtol)
    eps = float(np.finfo(dtype).eps)
    # the largest, over outputs, of the sum of errors, relative to that of the weights
    missing = np.abs(found.todense() - filters).sum((0, 1, 2)) / np.abs(filters).sum((0, 1, 2)).max()
    assert missing.max() <= found.error + 4 * eps
    assert found.error <= (16 * eps if rtol is None else rtol)
    assert found.channel_multiplier <= min(height * width, outputs)
    if rtol is None and rank < min(height * width, outputs):
        assert found.channel_multiplier <= rank
