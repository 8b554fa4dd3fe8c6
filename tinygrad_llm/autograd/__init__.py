"""What a Tensor is and how gradients flow: `tensor`, `primitive`, `engine`, and the vocabulary in `ops`.

Derivatives of functions stand in `functional`. The instruments that show what happens are in `debugging`.
"""

from tinygrad_llm.autograd.tensor import Tensor, is_tracked, ones_like, raw, zeros  # first: the others build on it

from tinygrad_llm.autograd.modes import no_grad, plain  # isort: skip
from tinygrad_llm.autograd.primitive import Fused, Primitive, fused, primitive  # isort: skip
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
from tinygrad_llm.autograd.recompute import checkpoint
