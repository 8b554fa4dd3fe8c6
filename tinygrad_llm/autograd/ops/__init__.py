"""The ops: every function of Tensors that has a gradient, its forward and its rule side by side.

    from tinygrad_llm.autograd import ops
    y = ops.exp(x).sum(axis=0)

`basic` holds the ops that a training step of a transformer executes; read it first, it is all that is needed to
follow one. `activations` adds the nonlinear functions of a model. The other files complete the vocabulary by kind:
`elementwise`, `trigonometric`, `rounding`, `special`, `logic`, `shape`, `rearrange`, `reduce`, `index`, `sorting`,
`linalg`. `composite` is for ops that are made of others.

An op that has the name of a NumPy function takes that function's arguments, by position or by name, and returns what
it returns. These have their names from elsewhere: `erf`, `logsumexp`, `softmax`, `log_softmax` from SciPy; `norm` from
`numpy.linalg`; `rsqrt`, `relu`, `sigmoid`, `softplus`, `silu`, `gelu`, `gelu_tanh`, `one_hot`, `embedding`, `topk`,
`gather`, `scatter_add`, `masked_fill` from PyTorch, with NumPy's `axis=`. `__all__` lists every public op.

The examples in the docstrings run as tests. They assume

    import numpy as np
    from tinygrad_llm.autograd import Tensor, ops
    np.set_printoptions(precision=4, suppress=True)
"""

from tinygrad_llm.autograd import torch_names
from tinygrad_llm.autograd.fused import alias
from tinygrad_llm.autograd.op_table import ops as table
from tinygrad_llm.autograd.ops.activations import gelu, gelu_tanh, log_softmax, relu, sigmoid, silu, softmax, softplus
from tinygrad_llm.autograd.ops.basic import (
    add,
    add_at,
    broadcast_to,
    concatenate,
    divide,
    embedding,
    exp,
    expand_dims,
    getitem,
    logsumexp,
    matmul,
    mean,
    multiply,
    reshape,
    sqrt,
    subtract,
    swapaxes,
    take_along_axis,
    tanh,
    transpose,
    where,
)
from tinygrad_llm.autograd.ops.basic import max_ as max
from tinygrad_llm.autograd.ops.basic import sum_ as sum
from tinygrad_llm.autograd.ops.elementwise import abs_ as abs
from tinygrad_llm.autograd.ops.elementwise import (
    clip,
    exp2,
    expm1,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    masked_fill,
    maximum,
    minimum,
    nan_to_num,
    negative,
    power,
    reciprocal,
    rsqrt,
    sign,
    square,
)
from tinygrad_llm.autograd.ops.index import at, gather, one_hot, scatter_add, set_at, take
from tinygrad_llm.autograd.ops.linalg import diag, diagonal, dot, einsum, inner, kron, outer, tensordot, trace
from tinygrad_llm.autograd.ops.logic import all_ as all
from tinygrad_llm.autograd.ops.logic import any_ as any
from tinygrad_llm.autograd.ops.logic import (
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    not_equal,
)
from tinygrad_llm.autograd.ops.rearrange import diff, flip, pad, repeat, roll, tile, tril, triu
from tinygrad_llm.autograd.ops.reduce import cumprod, cumsum, norm, prod, std, var
from tinygrad_llm.autograd.ops.reduce import min_ as min
from tinygrad_llm.autograd.ops.rounding import ceil, floor, floor_divide, remainder, trunc
from tinygrad_llm.autograd.ops.rounding import round_ as round
from tinygrad_llm.autograd.ops.shape import (
    append,
    astype,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    hstack,
    moveaxis,
    permute_dims,
    ravel,
    split,
    squeeze,
    stack,
    vstack,
)
from tinygrad_llm.autograd.ops.sorting import argmax, argmin, argsort, sort, topk
from tinygrad_llm.autograd.ops.special import erf
from tinygrad_llm.autograd.ops.transfer import to_device
from tinygrad_llm.autograd.ops.trigonometric import (
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    cos,
    cosh,
    hypot,
    sin,
    sinh,
    tan,
)

concat = concatenate  # NumPy 2 has both names
table.__dict__.update({name: op for name, op in globals().items() if callable(op)})  # what Tensor's operators call

# Used by Tensor and by other packages' rules, but not public: users write x[index], x.at(index) and x.detach().
_INTERNAL = {"add_at", "alias", "at", "getitem", "set_at", "to_device"}
__all__ = sorted(
    name for name, op in globals().items() if callable(op) and not name.startswith("_") and name not in _INTERNAL
)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> None:
    raise torch_names.no_function("tinygrad_llm.autograd.ops", name)
