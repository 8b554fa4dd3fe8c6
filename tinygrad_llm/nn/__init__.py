"""From tokens to vectors to logits: the formulas in `functional`, the modules that hold parameters, the Transformer.

A module of your own is a class with parameters and a `forward`:

    class TwoLayers(nn.Module):
        def __init__(self, width):
            self.first, self.second = nn.Linear(width, 64, seed=0), nn.Linear(64, 1, seed=1)

        def forward(self, x):
            return self.second(F.relu(self.first(x)))
"""

from tinygrad_llm.nn import functional, init
from tinygrad_llm.nn.attention import Attention
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.layers import Embedding, LayerNorm, Linear, RMSNorm
from tinygrad_llm.nn.lora import LoRALinear, lora, merge
from tinygrad_llm.nn.mlp import MLP
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.per_example import per_example_gradients
from tinygrad_llm.nn.rotary import RotaryEmbedding, RotaryScaling
from tinygrad_llm.nn.transformer import Block, Transformer
from tinygrad_llm.other_names import of_module

__getattr__ = of_module("nn")
