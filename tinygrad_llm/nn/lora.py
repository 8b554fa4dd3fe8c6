"""LoRA: small matrices beside large ones, with which a laptop can tune a model that others trained (Hu et al. 2021).

Tuning moves a weight W (O, I) to W + ΔW. A ΔW of low rank is enough: ΔW = s · B A with B (O, r), A (r, I) and r far
below both sides. W is frozen; only A and B learn. For SmolLM2 with r = 8 these are 2 of 134 million numbers: no
gradient and no average of the optimizer is kept for the others. B starts at zero, so at the start nothing changes. In
the end `merge` adds s · B A to W, and what remains is an ordinary model, as fast as before.

    model = tg.lora(tg.load("smollm2-135m-instruct"), rank=8)
    optimizer = tg.AdamW(model.network, lr=1e-3)  # gets A and B alone
    ...
    tg.save_adapters(model, "sea.safetensors")
    tg.merge(model)

Builds on: `layers`, `transformer`.
Used by: `adapter_file` and `hub.peft`, which save adapters apart; the command `tinygrad-llm tune`.
Left out on purpose: adapters on embedding and head, dropout between A and B, several sets of adapters at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tinygrad_llm.autograd import Tensor, fused
from tinygrad_llm.backend import Array, to_device, to_numpy
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels import cpu
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.layers import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.transformer import Transformer

Model = TypeVar("Model")  # a Transformer, or a LanguageModel, which has one as its `network`
Layer = TypeVar("Layer", bound=Module)


@fused(cpu=cpu.lora_linear)
def lora_linear(x, weight, A, B, bias=None, *, scale):
    """y = x Wᵀ + b + scale · x Aᵀ Bᵀ (Hu et al. 2021, equation 3).

    x: (..., I), weight: (O, I), A: (r, I), B: (O, r), bias: (O,) or None -> (..., O).
    """
    inner = F.linear(x, A) * scale  # (..., r)
    return F.linear(x, weight, bias) + F.linear(inner, B)  # (..., O)


class AdapterValues(NamedTuple):
    """What one adapter consists of: A (r, I), B (O, r) and the factor of B A."""

    A: np.ndarray
    B: np.ndarray
    scale: float


class LoRALinear(Module):
    """A frozen Linear with an adapter beside it: y = x Wᵀ + b + scale · x Aᵀ Bᵀ. (..., I) -> (..., O)."""

    def __init__(self, base: Linear, values: AdapterValues) -> None:
        dtype, device = base.weight.dtype, base.weight.device
        self.base = base
        # Copies: adapters that were read from one array are trained apart.
        self.A = Tensor(to_device(np.array(values.A, dtype, order="C"), device), requires_grad=True)
        self.B = Tensor(to_device(np.array(values.B, dtype, order="C"), device), requires_grad=True)
        self.scale = values.scale
        self.forward_hooks, base.forward_hooks = base.forward_hooks, None  # hooks of the layer stay with it

    def forward(self, x: Tensor) -> Tensor:
        return lora_linear(x, self.base.weight, self.A, self.B, self.base.bias, scale=self.scale)

    def merged_weight(self) -> Array:
        """W + scale · B A, a new array. (O, I)."""
        product = self.B.data @ self.A.data
        product *= self.scale
        product += self.base.weight.data
        return product


def lora(
    model: Model, rank: int, alpha: float | None = None, parts: Sequence[str] | None = None, seed: int = 0
) -> Model:
    """Freeze all parameters of `model` and put adapters that learn on its Linear layers, in place; returns the model.

    rank: r, the rank of what can be learned. alpha: the scale of the adapters is alpha / rank; None: rank, so 1.
    parts: which layers of each block: some of query, key, value, output, gate, up, down. The paper mostly took
    ("query", "value"); None takes all, as Dettmers et al. 2023 (section 4) found necessary. seed: of A, which is normal
    with standard deviation 1/√I, so that x Aᵀ is about as large as x; B is zero.

    Raises InputError for values that are not allowed, and for a model that has adapters already.
    """
    network = network_of(model)
    refuse_adapted(network)
    chosen = chosen_layers(network, rank, parts)
    alpha = float(rank) if alpha is None else alpha
    if not (isinstance(alpha, int | float) and 0.0 < alpha < math.inf):
        raise InputError(f"alpha must be a number above 0, or None for the rank; it was {alpha!r}.")
    rng = np.random.default_rng(seed)

    def fresh(layer: Linear) -> AdapterValues:
        (outputs, inputs), dtype = layer.weight.shape, layer.weight.dtype
        A = rng.standard_normal((rank, inputs), np.float32).astype(dtype) / math.sqrt(inputs)
        return AdapterValues(A, np.zeros((outputs, rank), A.dtype), alpha / rank)

    attach(network, {name: fresh(layer) for name, layer in chosen.items()})
    return model


def attach(network: Transformer, values: Mapping[str, AdapterValues]) -> None:
    """Freeze all parameters and put an adapter with these values on each of these layers, in place.

    Raises InputError when there are adapters already, a name is not that of a Linear layer of a block, or A and B do
    not have its shape; the network is unchanged then.
    """
    refuse_adapted(network)
    layers = layers_of_blocks(network, Linear)
    for name, (A, B, _) in values.items():
        if name not in layers:
            raise InputError(f"the model has no layer {name} to put an adapter on.")
        outputs, inputs = layers[name].weight.shape
        if A.ndim != 2 or A.shape[1] != inputs or B.shape != (outputs, len(A)):
            raise InputError(
                f"an adapter on {name} has A (r, {inputs}) and B ({outputs}, r), and these are {A.shape} and {B.shape}."
            )
    for parameter in network.parameters():
        parameter.requires_grad, parameter.grad, parameter.grad_buffer = False, None, None
    for name, layer in layers.items():
        if name in values:
            put(network, name, LoRALinear(layer, values[name]))


def refuse_adapted(network: Transformer) -> None:
    """Raise InputError when the network has adapters."""
    if adapters(network):
        raise InputError("the model has adapters already. Merge them first, tg.merge(model), or load it anew.")


def merge(model: Model) -> Model:
    """Add what the adapters learned to the weights beside them, in place, and take the adapters off; returns the model.

    All parameters want gradients afterwards, as those of any model. Raises InputError when there are no adapters.
    """
    network = network_of(model)
    found = adapters(network)
    if not found:
        raise InputError("merge(model): it has no adapters. Put some on it with tg.lora(model, rank).")
    for name, adapter in found.items():
        adapter.base.weight.data[...] = adapter.merged_weight()
        adapter.base.forward_hooks = adapter.forward_hooks
        put(network, name, adapter.base)
    for parameter in network.parameters():
        parameter.requires_grad = True
    return model


def merged_state(network: Transformer) -> dict[str, np.ndarray]:
    """The values of all parameters, on the host, as they would be after `merge`; the network stays as it is."""
    merged = {f"{name}.weight": to_numpy(adapter.merged_weight()) for name, adapter in adapters(network).items()}
    return base_state(network) | merged


def base_state(network: Transformer) -> dict[str, np.ndarray]:
    """The values of all parameters, on the host, as they were before there were adapters."""
    state = network.state_dict()
    return {name.replace(".base.", "."): x for name, x in state.items() if not name.endswith((".A", ".B"))}


# --- finding the layers ---------------------------------------------------------------------------------------------


def adapters(network: Transformer) -> dict[str, LoRALinear]:
    """The layers that have adapters, by name: blocks.0.attention.query, …"""
    return layers_of_blocks(network, LoRALinear)


def chosen_layers(network: Transformer, rank: int, parts: Sequence[str] | None) -> dict[str, Linear]:
    """The Linear layers of these parts, by name. Raises InputError when there are none, or too small for the rank."""
    layers = layers_of_blocks(network, Linear)
    known = list(dict.fromkeys(part_of(name) for name in layers))
    if isinstance(parts, str) or (parts is not None and (not parts or set(parts) - set(known))):
        raise InputError(f"parts must be some of {', '.join(known)}, in a list, or None for all; it was {parts!r}.")
    chosen = {name: layer for name, layer in layers.items() if parts is None or part_of(name) in parts}
    largest = min(min(layer.weight.shape) for layer in chosen.values())
    if not isinstance(rank, int) or not 1 <= rank <= largest:
        raise InputError(
            f"rank must be a whole number from 1 to {largest}, the shorter side of the smallest of the chosen "
            f"matrices; it was {rank!r}."
        )
    return chosen


def layers_of_blocks(network: Transformer, kind: type[Layer]) -> dict[str, Layer]:
    """All layers of one kind in attention and MLP, by their dotted names, from the first block to the last."""
    return {
        f"blocks.{i}.{place}.{part}": layer
        for i, block in enumerate(network.blocks)
        for place, holder in (("attention", block.attention), ("mlp", block.mlp))
        for part, layer in vars(holder).items()
        if isinstance(layer, kind)
    }


def put(network: Transformer, name: str, layer: Module) -> None:
    """Let `layer` be the layer of that name, "blocks.0.attention.query"."""
    _, block, place, part = name.split(".")
    setattr(getattr(network.blocks[int(block)], place), part, layer)


def part_of(name: str) -> str:
    """What a layer is in its block: "query" of "blocks.0.attention.query"."""
    return name.rpartition(".")[2]


def network_of(model: Any) -> Transformer:
    """The network itself, or that of a LanguageModel. Raises InputError for anything else."""
    network = getattr(model, "network", model)
    if not isinstance(network, Transformer):
        raise InputError(f"model must be a LanguageModel or a Transformer, it was a {type(model).__name__}.")
    return network
