"""tinygrad_llm: a large language model, from bytes to human feedback, on one readable tensor.

import tinygrad_llm as tg
"""

import tinygrad_llm.runtime  # isort: skip  # before NumPy is loaded

from tinygrad_llm.autograd import (
    Tensor,
    checkpoint,
    find_bad_values,
    grad,
    gradients,
    hessian,
    hvp,
    jacobian,
    jvp,
    no_grad,
    ops,
    plain,
    value_and_grad,
    vjp,
)
from tinygrad_llm.autograd.gradcheck import gradcheck
from tinygrad_llm.autograd.graph import graph
from tinygrad_llm.autograd.steps import steps
from tinygrad_llm.chat_session import ChatSession
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.hub.adapters import load_adapters, save_adapters
from tinygrad_llm.hub.architectures import describe_mapping
from tinygrad_llm.language_model import LanguageModel, export, load
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.lora import lora, merge
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.pictures.description import describe
from tinygrad_llm.text.batches import Batches
from tinygrad_llm.text.tokenizer import Tokenizer
from tinygrad_llm.training.optimizers import AdamW, Muon
from tinygrad_llm.version import __version__
