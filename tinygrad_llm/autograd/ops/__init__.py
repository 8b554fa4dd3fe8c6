"""The vocabulary: every op with its forward and its rule side by side.

`elementwise`: each element by itself. `shape`: moving values. `reduce`: bringing values together. `index`: looking
values up. `linalg`: matrix products. Names and semantics are NumPy's.
"""

from tinygrad_llm.autograd.ops.elementwise import (
    abs_ as abs,
)
from tinygrad_llm.autograd.ops.elementwise import (
    add,
    cos,
    divide,
    equal,
    exp,
    greater,
    greater_equal,
    less,
    less_equal,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    sigmoid,
    sign,
    sin,
    sqrt,
    subtract,
    tanh,
    where,
)
from tinygrad_llm.autograd.ops.index import add_at, getitem, take_along_last
from tinygrad_llm.autograd.ops.linalg import matmul
from tinygrad_llm.autograd.ops.reduce import constant_max, logsumexp, mean, var
from tinygrad_llm.autograd.ops.reduce import max_ as max
from tinygrad_llm.autograd.ops.reduce import min_ as min
from tinygrad_llm.autograd.ops.reduce import sum_ as sum
from tinygrad_llm.autograd.ops.shape import (
    alias,
    astype,
    broadcast_to,
    concat,
    expand_dims,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
)
