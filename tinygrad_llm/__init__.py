"""A large language model that can be read, on one tensor class with reverse-mode autodiff, on NumPy or CuPy.

    import tinygrad_llm as tg

Tensors
    Tensor              an array that remembers how it was made, so that gradients can flow back through it
    tensor              a Tensor with a copy of an array or of nested lists
    zeros, ones, full   constants; zeros_like, ones_like, full_like: in the shape of another tensor
    arange, linspace    numbers at equal distances
    eye                 the identity matrix
    rand, randn, randint    random numbers, the same for the same seed=
    ops                 what can be done with tensors, by NumPy's names: tg.ops.concatenate, tg.ops.where

Gradients
    no_grad             with tg.no_grad(): nothing inside is recorded
    grad                the gradient of a function, as a function; value_and_grad: its value as well
    gradients           of a result with respect to given tensors
    vjp, jvp            products of a vector with the Jacobian, and of the Jacobian with a vector
    jacobian, hessian   whole matrices of derivatives; hvp: the Hessian times a vector
    checkpoint          computes again in the backward pass instead of keeping what it computed
    primitive, fused    make an op of your own from a function and its rule
    plain               with tg.plain(): every fast kernel is replaced by its readable formula

Instruments
    gradcheck           are the gradients right, to second order? if not: which op, which number, why
    graph               the computation as a picture
    steps               backpropagation node by node, forwards and back again
    find_bad_values     with tg.find_bad_values(): names the op that makes the first NaN
    Profile             with tg.Profile(): the time that each op takes

Networks
    nn                  Module, Linear, Embedding, LayerNorm and others; nn.functional: the formulas
    Transformer         a decoder such as GPT-2 or Llama; TransformerConfig: its shape
    lora, merge         train small adapters instead of all weights; save_adapters, load_adapters: their files
    describe            every part of a model: shape, parameters, arithmetic, memory

Training
    SGD, AdamW, Muon    the optimizers
    optim               the same, schedules of the learning rate, clip_grad_norm_
    Tokenizer           text to token ids and back: byte-level BPE
    Batches             token ids to inputs and targets
    train               trains a model on token ids in one call; returns the history of its losses
    training            the trainer, its settings, run folders with checkpoints

Models and text
    load                a model by name, folder or file, with its tokenizer; export: write it for others
    LanguageModel       a network and its tokenizer: generate, next_token, perplexity, alternatives
    ChatSession         a conversation with a model
    feedback            people's judgements, and the formulas that learn from them: DPO, reward models, PPO, GRPO
    generation          samplers, key-value cache, beams, constraints, speculative decoding
    hub                 files of others: GGUF, safetensors, Hugging Face's layout
    describe_mapping    how the arrays of a file become the weights of a model

Errors
    InputError          what was given cannot be used; says what to give instead
    MachineError        the disk, the memory or the network failed
"""

import tinygrad_llm.runtime  # isort: skip  # before NumPy is loaded

import importlib
from typing import Any

from tinygrad_llm.version import __version__

# What is offered, by the module that it comes from; "" stands for whole modules. A name is imported at its first use,
# so that `import tinygrad_llm` is quick. Editors and type checkers read the same list in `__init__.pyi`.
_NAMES = {
    "": "feedback generation hub nn optim training",
    "autograd": "ops",
    "autograd.creation": "arange eye full full_like linspace ones ones_like rand randint randn tensor zeros zeros_like",
    "autograd.functional": "grad gradients hessian hvp jacobian jvp value_and_grad vjp",
    "autograd.fused": "fused",
    "autograd.modes": "no_grad plain",
    "autograd.primitive": "primitive",
    "autograd.recompute": "checkpoint",
    "autograd.tensor": "Tensor",
    "chat_session": "ChatSession",
    "debugging.bad_values": "find_bad_values",
    "debugging.gradcheck": "gradcheck",
    "debugging.graph": "graph",
    "debugging.profile": "Profile",
    "debugging.steps": "steps",
    "errors": "InputError MachineError",
    "hub.architectures": "describe_mapping",
    "language_model": "LanguageModel export load",
    "hub.adapters": "load_adapters save_adapters",
    "nn.config": "TransformerConfig",
    "nn.lora": "lora merge",
    "nn.transformer": "Transformer",
    "pictures.description": "describe",
    "text.batches": "Batches",
    "text.tokenizer": "Tokenizer",
    "training.adamw": "AdamW",
    "training.in_memory": "train",
    "training.muon": "Muon",
    "training.sgd": "SGD",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        from tinygrad_llm.autograd import ops
        from tinygrad_llm.autograd.torch_names import no_function

        if not name.startswith("_") and name in dir(ops):
            raise AttributeError(f"tg has no '{name}': write tg.ops.{name}.")
        raise no_function("tg", name)
    module = importlib.import_module(f"tinygrad_llm.{_HOME[name] or name}")
    value = globals()[name] = getattr(module, name) if _HOME[name] else module
    return value


def __dir__() -> list[str]:
    return [*__all__, "__doc__", "__version__"]
