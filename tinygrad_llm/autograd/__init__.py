"""What a Tensor is and how gradients flow: `tensor`, `engine`, `primitive`, and the vocabulary in `ops`.

Derivatives of functions are in `functional`, `checkpoint` in `recompute`. The instruments that show what happens are in
`tinygrad_llm.debugging`.
"""

from tinygrad_llm.autograd import ops
from tinygrad_llm.autograd.creation import (
    arange,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    randint,
    randn,
    zeros,
    zeros_like,
)
from tinygrad_llm.autograd.functional import (
    grad,
    gradients,
    hessian,
    hvp,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
)
from tinygrad_llm.autograd.fused import Fused, fused
from tinygrad_llm.autograd.modes import no_grad, plain
from tinygrad_llm.autograd.primitive import Primitive, primitive
from tinygrad_llm.autograd.recompute import checkpoint
from tinygrad_llm.autograd.tensor import Tensor, is_tracked, raw
