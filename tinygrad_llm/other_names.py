"""Names that users of PyTorch and Transformers type, and what to write here instead.

An alias for each would double the vocabulary; a bare "no attribute" would leave them to search. A module gets its
errors by `__getattr__ = of_module("nn")`, a class by inheriting from `SaysOtherNames`. The names of tensors and of ops
are in `autograd.torch_names`, those of every module in `nn.module_text`.

Used by: `nn`, `nn.functional`, `optim`, `text.tokenizer`, `language_model`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

INSTEAD: dict[str, dict[str, str]] = {
    "nn": {
        "Parameter": "tg.randn(3, 4, requires_grad=True); a Tensor that is an attribute of a module is a parameter",
        "Sequential": "a class with a forward that calls one layer after the other",
        "ModuleList": "a list: self.blocks = [nn.Block(config), nn.Block(config)]",
        "ModuleDict": "a dict: self.heads = {'words': nn.Linear(8, 4)}",
        "ParameterList": "a list of Tensors",
        "ReLU": "F.relu(x) in forward",
        "GELU": "F.gelu(x), or F.gelu_tanh(x), in forward",
        "SiLU": "F.silu(x) in forward",
        "Tanh": "tg.ops.tanh(x) in forward",
        "Sigmoid": "F.sigmoid(x) in forward",
        "Softmax": "F.softmax(x) in forward",
        "Dropout": "F.dropout(x, p, rng) in forward; without rng nothing is dropped",
        "CrossEntropyLoss": "F.cross_entropy(logits, targets)",
        "NLLLoss": "F.nll_loss(log_probabilities, targets)",
        "MSELoss": "F.mse_loss(x, target)",
        "MultiheadAttention": "nn.Attention(width, heads)",
        "TransformerDecoderLayer": "nn.Block(config)",
        "TransformerEncoderLayer": "nn.Block(config), whose attention is causal",
        "Identity": "nothing: leave the layer out",
        "utils": "tg.optim.clip_grad_norm_(model.parameters(), 1.0)",
    },
    "nn.functional": {
        "scaled_dot_product_attention": "F.attention(q, k, v), causal unless causal=False, of (B, T, H, D)",
        "multi_head_attention_forward": "nn.Attention(width, heads)(x)",
        "one_hot": "tg.eye(classes)[ids]",
        "pad": "tg.ops.pad(x, widths)",
        "normalize": "x / x.norm(axis=-1, keepdims=True)",
        "tanh": "tg.ops.tanh(x)",
        "cosine_similarity": "(x * y).sum(-1) / (x.norm(axis=-1) * y.norm(axis=-1))",
    },
    "optim": {
        "lr_scheduler": "schedule = tg.optim.cosine_schedule(lr=3e-4, steps=1000) and, before a step, "
        "optimizer.lr = schedule(step)",
        "Adam": "tg.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.0)",
    },
    "Tokenizer": {
        "from_file": "tg.Tokenizer.load(path)",
        "from_pretrained": "tg.load(name).tokenizer",
        "save_pretrained": "tokenizer.save(path)",
        "batch_decode": "[tokenizer.decode(ids) for ids in batch]",
        "batch_encode_plus": "tokenizer.encode_batch(texts)",
        "tokenize": "tokenizer.tokens(text)",
        "convert_ids_to_tokens": "[tokenizer.token_bytes(i) for i in ids]",
        "convert_tokens_to_ids": "tokenizer.encode(token, allowed_special='all')",
        "get_vocab": "tokenizer.bytes_of_ids",
        "eos_token_id": "tokenizer.end_of_text",
        "bos_token_id": "tokenizer.begin_of_text",
        "pad_token_id": "nothing: model.generate_batch pads by itself",
        "apply_chat_template": "tg.ChatSession(model).say(text)",
    },
    "LanguageModel": {
        "from_pretrained": "tg.load(name)",
        "save_pretrained": "model.export(folder)",
        "save": "model.export(folder), which tg.load(folder) reads; model.network.save(path) writes the network alone",
        "eval": "nothing: there is no mode, and dropout is drawn only where rng=... is given",
        "train": "tg.lora(model) or model.network.loss(ids).backward(): there is no mode",
        "parameters": "model.network.parameters()",
        "named_parameters": "model.network.named_parameters()",
        "state_dict": "model.network.state_dict()",
        "config": "model.network.config",
        "forward": "model.network(ids)",
        "chat": "tg.ChatSession(model).say(text)",
        "log_prob": "model.log_probabilities(text), in nats for each token",
        "score": "model.log_probabilities(text), or model.perplexity(text)",
        "encode": "model.tokenizer.encode(text)",
        "decode": "model.tokenizer.decode(ids)",
        "cuda": 'model.to("cuda")',
        "cpu": 'model.to("cpu")',
    },
}


def no_such_name(place: str, name: str) -> AttributeError:
    """The error for a name that `place` does not have."""
    if name in INSTEAD.get(place, {}):
        return AttributeError(f"{place} has no '{name}': write {INSTEAD[place][name]}.")
    return AttributeError(f"{place} has no attribute '{name}'")


def of_module(place: str) -> Callable[[str], NoReturn]:
    """The function `__getattr__` of a module."""

    def __getattr__(name: str) -> NoReturn:
        raise no_such_name(place, name)

    return __getattr__


class _SaysOtherNames(type):
    def __getattr__(cls, name: str) -> NoReturn:
        raise no_such_name(cls.__name__, name)


class SaysOtherNames(metaclass=_SaysOtherNames):
    """A class whose errors for other libraries' names say what to write."""

    def __getattr__(self, name: str) -> NoReturn:
        raise no_such_name(type(self).__name__, name)
