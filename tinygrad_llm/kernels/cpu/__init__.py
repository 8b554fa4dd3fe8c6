"""The fast pairs for NumPy: the same results as the definitions in `nn.functional`, in few passes over memory.

What makes them fast, in every one: rows in blocks that stay in the cache, operations in place, both cores
(`threads`), and nothing saved for the backward that is cheap to compute again. What each computes is written in its
definition; here stands only how.
"""

from tinygrad_llm.kernels.cpu.activations import geglu_tanh, gelu_tanh, swiglu
from tinygrad_llm.kernels.cpu.attention import causal_attention
from tinygrad_llm.kernels.cpu.dropout import dropped
from tinygrad_llm.kernels.cpu.norms import layer_norm, rms_norm
from tinygrad_llm.kernels.cpu.optimizer import adamw_step, sum_of_squares
from tinygrad_llm.kernels.cpu.probabilities import linear_cross_entropy, log_softmax, softmax, token_losses
from tinygrad_llm.kernels.cpu.products import linear, lora_linear
from tinygrad_llm.kernels.cpu.rotary import apply_rotary
from tinygrad_llm.kernels.cpu.tables import embedding
