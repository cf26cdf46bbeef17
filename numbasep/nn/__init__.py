"""Convolutions over channels on NumPy arrays, as defined by `tf.nn`.

Depthwise, depthwise separable and ordinary convolutions, with TensorFlow's names, positional order, data
formats and padding.  Two kinds of separability are used: a depthwise filter may be the product of a column and
a row of taps, and an ordinary convolution may be depthwise separable (`factorize_conv2d`).
`plan_separable_conv2d`, `plan_depthwise_conv2d` and `plan_conv2d` explain how a convolution will be computed
and why; the functions that end in ``_vjp`` return gradients.
"""

from .convolutions import conv2d, depthwise_conv2d, separable_conv2d
from .factor import DepthwiseSeparable, factorize_conv2d
from .gradients import conv2d_vjp, depthwise_conv2d_vjp, separable_conv2d_vjp
from .planning import (
    ConvolutionCandidate,
    ConvolutionPlan,
    plan_conv2d,
    plan_depthwise_conv2d,
    plan_separable_conv2d,
)

__all__ = [
    "ConvolutionCandidate",
    "ConvolutionPlan",
    "DepthwiseSeparable",
    "conv2d",
    "conv2d_vjp",
    "depthwise_conv2d",
    "depthwise_conv2d_vjp",
    "factorize_conv2d",
    "plan_conv2d",
    "plan_depthwise_conv2d",
    "plan_separable_conv2d",
    "separable_conv2d",
    "separable_conv2d_vjp",
]
