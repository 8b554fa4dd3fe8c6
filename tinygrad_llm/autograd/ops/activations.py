"""The nonlinear functions of a model: activations, and the softmax.

Builds on: `basic`. Used by: `nn.functional`, which offers them again beside the layers' formulas.

A fused op has a fast pair in `kernels` beside its formula; `plain()` switches it off. All take any shape.
"""

import math

from tinygrad_llm.autograd.fused import fused
from tinygrad_llm.autograd.ops.basic import exp, logsumexp, swapaxes, tanh, where
from tinygrad_llm.autograd.ops.composite import composite
from tinygrad_llm.autograd.ops.special import erf
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.backend import array_module
from tinygrad_llm.kernels import cpu


@primitive
def relu(x):
    """max(x, 0); d/dx = 1 where x > 0, else 0 (at the kink too, as everybody does).

    >>> x = Tensor([-1.0, 0.0, 2.0], requires_grad=True)
    >>> y = ops.relu(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [0. 0. 2.] [0. 0. 1.]
    """
    return array_module(x).maximum(x, 0)


@relu.vjp
def relu_vjp(g, out, x):
    return (where(x > 0, g, 0.0),)


@primitive
def sigmoid(x):
    """s = 1 / (1 + e^-x), computed as (1 + tanh(x/2)) / 2, which cannot overflow; ds/dx = s (1 - s).

    >>> print(ops.sigmoid(Tensor([0.0, 1000.0])).numpy())
    [0.5 1. ]
    """
    return 0.5 * (1.0 + array_module(x).tanh(0.5 * x))


@sigmoid.vjp
def sigmoid_vjp(g, out, x):
    return (g * out * (1.0 - out),)


@primitive
def softplus(x):
    """log(1 + e^x), computed as max(x, 0) + log(1 + e^-|x|), which cannot overflow; d/dx = sigmoid(x).

    >>> x = Tensor([0.0, 1000.0], requires_grad=True)
    >>> y = ops.softplus(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())  # log 2
    [   0.6931 1000.    ] [0.5 1. ]
    """
    xp = array_module(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-abs(x)))


@softplus.vjp
def softplus_vjp(g, out, x):
    return (g * sigmoid(x),)


@composite
def silu(x):
    """x · sigmoid(x), also called swish (Elfwing et al. 2017); d/dx = s + x s (1 - s), s = sigmoid(x).

    >>> print(ops.silu(Tensor([0.0, 2.0])).numpy())
    [0.     1.7616]
    """
    return x * sigmoid(x)


@composite
def gelu(x):
    """x Φ(x), Φ the normal distribution function: x/2 (1 + erf(x/√2)) (Hendrycks & Gimpel 2016, section 2). Any shape.

    >>> print(ops.gelu(Tensor([0.0, 1.0])).numpy())
    [0.     0.8413]
    """
    return 0.5 * x * (1.0 + erf(x * math.sqrt(0.5)))


@fused(cpu=cpu.gelu_tanh)
def gelu_tanh(x):
    """GELU in its tanh form, GPT-2's: x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))) (Hendrycks & Gimpel 2016, section 2).

    >>> print(ops.gelu_tanh(Tensor([0.0, 1.0])).numpy())
    [0.     0.8412]
    """
    return 0.5 * x * (1.0 + tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


@composite
def softmax(x, axis=-1):
    """p_i = e^(x_i) / Σ_j e^(x_j) along one axis: probabilities from scores; dp_i/dx_j = p_i (δ_ij - p_j).

    >>> print(ops.softmax(Tensor([0.0, 0.0, 1000.0])).numpy())
    [0. 0. 1.]
    """
    if axis == -1:
        return softmax_rows(x)
    return swapaxes(softmax_rows(swapaxes(x, axis1=axis, axis2=-1)), axis1=axis, axis2=-1)


@fused(cpu=cpu.softmax)
def softmax_rows(x):
    """The softmax along the last axis, shifted by the largest x so that nothing overflows. (..., V) -> (..., V)."""
    e = exp(x - constant_max(x, axis=-1))
    return e / e.sum(axis=-1, keepdims=True)


def constant_max(x, axis):
    """max(x) with the reduced axes kept, as a constant: shifting by it changes neither value nor gradient."""
    values = x.detach() if hasattr(x, "detach") else x
    return values.max(axis=axis, keepdims=True)


@composite
def log_softmax(x, axis=-1):
    """log p_i = x_i - log Σ_j e^(x_j) over one axis; d(log p_i)/dx_j = δ_ij - p_j. Shape as x.

    >>> x = Tensor([0.0, 0.0], requires_grad=True)
    >>> y = ops.log_softmax(x)
    >>> y[0].backward()
    >>> print(y.numpy(), x.grad.numpy())  # log 1/2
    [-0.6931 -0.6931] [ 0.5 -0.5]
    """
    if axis == -1:
        return log_softmax_rows(x)
    return swapaxes(log_softmax_rows(swapaxes(x, axis1=axis, axis2=-1)), axis1=axis, axis2=-1)


@fused(cpu=cpu.log_softmax)
def log_softmax_rows(x):
    """The logarithm of the softmax of the last axis. (..., V) -> (..., V)."""
    return x - logsumexp(x, axis=-1, keepdims=True)
