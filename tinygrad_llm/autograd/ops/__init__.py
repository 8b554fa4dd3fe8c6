"""The vocabulary: every op with its forward and its rule side by side.

`elementwise`: each element by itself. `activations` and `special`: the bends of a model, the error function.
`shape` and `rearrange`: moving values. `reduce`: bringing values together. `index`: looking values up and adding them
at places. `sorting`: ordering them. `linalg`: products. Names and semantics are NumPy's.

Every docstring gives the formula, its derivative, the shapes, and an example that runs as a test. The examples assume

    import numpy as np
    from tinygrad_llm.autograd import Tensor, ops
    np.set_printoptions(precision=4, suppress=True)
"""

from tinygrad_llm.autograd.ops.activations import (
    gelu,
    log_softmax,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
)
from tinygrad_llm.autograd.ops.elementwise import (
    abs_ as abs,
)
from tinygrad_llm.autograd.ops.elementwise import (
    add,
    clip,
    cos,
    divide,
    equal,
    exp,
    expm1,
    greater,
    greater_equal,
    less,
    less_equal,
    log,
    log1p,
    masked_fill,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    rsqrt,
    sign,
    sin,
    sqrt,
    square,
    subtract,
    tanh,
    where,
)
from tinygrad_llm.autograd.ops.index import (
    add_at,
    at,
    counts,
    embedding,
    gather,
    getitem,
    one_hot,
    scatter_add,
    set_at,
    take,
    take_along_axis,
)
from tinygrad_llm.autograd.ops.linalg import contract, einsum, matmul, outer, tensordot
from tinygrad_llm.autograd.ops.rearrange import flip, pad, repeat, roll, tile, tril, triu
from tinygrad_llm.autograd.ops.reduce import constant_max, cumsum, logsumexp, mean, norm, prod, std, var
from tinygrad_llm.autograd.ops.reduce import max_ as max
from tinygrad_llm.autograd.ops.reduce import min_ as min
from tinygrad_llm.autograd.ops.reduce import sum_ as sum
from tinygrad_llm.autograd.ops.shape import (
    alias,
    astype,
    broadcast_to,
    concat,
    expand_dims,
    join,
    permute_dims,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
)
from tinygrad_llm.autograd.ops.sorting import sort, topk
from tinygrad_llm.autograd.ops.special import erf
