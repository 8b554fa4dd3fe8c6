"""tinygrad_llm: a large language model, from bytes to human feedback, on one readable tensor.

    import tinygrad_llm as tg
"""

from tinygrad_llm.autograd import Tensor, no_grad, plain
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.transformer import Transformer

__version__ = "0.1.0"
