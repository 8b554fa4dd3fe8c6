"""Whose parameter is whose: the families of models, and under which name each array stands in a file.

A model is the same numbers under other names. Two formats name them, Hugging Face's safetensors ("hf") and llama.cpp's
"gguf", and each family has its own. `FAMILIES` is the list, `mapping` the table of one family in one format, and
`describe_mapping` prints it. What is not copied as it is, and why:

- Rotary pairs. Here, and in Hugging Face's files, the two channels of a pair are half a head apart. GGUF files of the
  llama family have them side by side: their query and key rows stand in another order.
- Folded norms. Gemma's norms multiply by 1 + w. Hugging Face's files hold w (`norm_weight_plus_one`), GGUF files 1 + w.
- GPT-2 in Hugging Face's files stores matrices as (in, out), transposed, and query, key and value in one.
- Tied: where embedding and head are one matrix, it stands in the file once.

Which family a model belongs to is seen from its config alone (`family_of`), so what was trained here has one as well.
A Mistral without a sliding window computes what a Llama computes, and counts as one.

Builds on: `nn.config`, `nn.transformer`, `weights`.
Used by: `config_json` and `gguf_config`, which translate the settings, and the readers and writers of whole models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from tinygrad_llm.drawing.terminal import Text
from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.weights import Weights
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.describe import shapes_of_one_layer
from tinygrad_llm.nn.lora import merged_state
from tinygrad_llm.nn.transformer import Transformer

Format = Literal["hf", "gguf"]
LAYER = "{layer}"  # in a name: the number of the layer
LAYER_LIMIT = 1000  # far above any model; a damaged file must not make a table of a billion rows


@dataclass(frozen=True)
class Row:
    """One array of a file and the parameters that are in it; `LAYER` in both names stands for every layer.

    The file has, in this order: the parameters stacked along the rows (if there are several), then transposed, or the
    rows of each head interleaved, or a number added.

    interleaved: which field of the config counts the heads. added: file = ours + added.
    """

    file: str
    ours: tuple[str, ...]
    transposed: bool = False
    interleaved: Literal["heads", "kv_heads"] | None = None
    added: float = 0.0

    @property
    def is_copy(self) -> bool:
        return len(self.ours) == 1 and not self.transposed and self.interleaved is None and self.added == 0.0

    def renamed(self, file: str) -> Row:
        return replace(self, file=file)

    @property
    def change(self) -> str:
        """What is done to the array, in words."""
        words = []
        if len(self.ours) > 1:
            words.append("stacked")
        if self.transposed:
            words.append("transposed")
        if self.interleaved:
            words.append("rows of each head interleaved: 0, D/2, 1, D/2 + 1, …")
        if self.added:
            words.append(f"the file has w {'+' if self.added > 0 else '-'} {abs(self.added):g}")
        return ", ".join(words) or "as it is"

    def file_shape(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """The shape of the array in the file, from those of our parameters."""
        rows, *rest = (sum(shapes[name][0] for name in self.ours), *shapes[self.ours[0]][1:])
        return (*rest, rows) if self.transposed else (rows, *rest)

    def to_file(self, parameters: list[np.ndarray], config: TransformerConfig) -> np.ndarray:
        x = parameters[0] if len(parameters) == 1 else np.concatenate(parameters)
        if self.transposed:
            x = x.T
        if self.interleaved is not None:
            x = interleave(x, getattr(config, self.interleaved))
        return x + np.float32(self.added) if self.added else x

    def from_file(self, x: np.ndarray, rows: list[int], config: TransformerConfig) -> list[np.ndarray]:
        """The parameters in the array; `rows`: how many rows each of them has."""
        if self.added:
            x = x - np.float32(self.added)
        if self.interleaved is not None:
            x = deinterleave(x, getattr(config, self.interleaved))
        if self.transposed:
            x = x.T
        return [x] if len(rows) == 1 else np.split(x, np.cumsum(rows)[:-1])


def interleave(x: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head from half-split order (0, 1, …, D-1) to pairs: (0, D/2, 1, D/2 + 1, …). (H·D, ...)."""
    halves = x.reshape(heads, 2, -1, *x.shape[1:])  # (H, 2, D/2, ...)
    return halves.swapaxes(1, 2).reshape(x.shape)


def deinterleave(x: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of `interleave`."""
    pairs = x.reshape(heads, -1, 2, *x.shape[1:])  # (H, D/2, 2, ...)
    return pairs.swapaxes(1, 2).reshape(x.shape)


# --- the families -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """One kind of model.

    name: also that of its architecture in GGUF files. model_type, model_class: its names in Hugging Face's config.json.
    settings: the values that a config of this family has, given its sizes. free: fields that may have any value.
    All other fields have their defaults. example: a small config of the family, to show its tables.
    """

    name: str
    model_type: str
    model_class: str
    settings: Callable[[TransformerConfig], dict[str, Any]]
    free: frozenset[str]
    example: TransformerConfig

    def differences(self, config: TransformerConfig) -> list[str]:
        """What in `config` no model of this family has, in words."""
        wanted = {field.name: field.default for field in fields(config)} | config.usual() | self.settings(config)
        return [
            f"{name} {getattr(config, name)!r} in place of {value!r}"
            for name, value in wanted.items()
            if name not in self.free and not _equal(getattr(config, name), value)
        ]


def _equal(x: Any, y: Any) -> bool:
    return math.isclose(x, y, rel_tol=1e-6) if isinstance(x, float) and isinstance(y, float) else x == y


SIZES = frozenset({"vocab_size", "context", "layers", "heads", "width", "hidden", "norm_eps", "dropout", "tied"}) | {
    "init",
    "init_std",
}
ROTARY = SIZES | {"kv_heads", "head_dim", "rotary_base", "rotary_scaling"}
GEMMA = (ROTARY - {"tied"}) | {"norm_weight_plus_one"}
LLAMA_SETTINGS = {
    "positions": "rotary",
    "norm": "rms_norm",
    "activation": "silu",
    "gated": True,
    "bias": False,
    "qkv_bias": False,
}
SMALL: dict[str, Any] = {"vocab_size": 96, "context": 64, "layers": 2, "heads": 4, "width": 32, "hidden": 48}


def _gpt2(config: TransformerConfig) -> dict[str, Any]:
    return {"qkv_bias": True}


def _llama(config: TransformerConfig) -> dict[str, Any]:
    return LLAMA_SETTINGS | {"bias": config.bias, "qkv_bias": config.bias}


def _mistral(config: TransformerConfig) -> dict[str, Any]:
    return LLAMA_SETTINGS | {"window": config.window or "a number"}


def _qwen2(config: TransformerConfig) -> dict[str, Any]:
    return LLAMA_SETTINGS | {"qkv_bias": True}


def _qwen3(config: TransformerConfig) -> dict[str, Any]:
    return LLAMA_SETTINGS | {"qk_norm": True}


def _gemma(config: TransformerConfig) -> dict[str, Any]:
    return LLAMA_SETTINGS | {"activation": "gelu_tanh", "tied": True, "embedding_scale": math.sqrt(config.width)}


def _gemma2(config: TransformerConfig) -> dict[str, Any]:
    return _gemma(config) | {"post_norms": True, "full_attention_every": 2, "window": config.window or "a number"}


def _gemma3(config: TransformerConfig) -> dict[str, Any]:
    return _gemma(config) | {
        "post_norms": True,
        "qk_norm": True,
        "window": config.window or "a number",
        "full_attention_every": config.full_attention_every or "a number",
        "local_rotary_base": config.local_rotary_base or "a number",
    }


def _rotary_example(**settings: Any) -> TransformerConfig:
    values = SMALL | {
        "positions": "rotary",
        "norm": "rms_norm",
        "activation": "silu",
        "gated": True,
        "bias": False,
        "kv_heads": 2,
    }
    return TransformerConfig(**values | settings)


_GEMMA_EXAMPLE: dict[str, Any] = {
    "activation": "gelu_tanh",
    "embedding_scale": math.sqrt(SMALL["width"]),
    "norm_weight_plus_one": True,
    "head_dim": 16,
}
_GEMMA2_EXAMPLE: dict[str, Any] = _GEMMA_EXAMPLE | {"post_norms": True, "window": 8, "attention_scale": 0.25}

FAMILIES = {
    family.name: family
    for family in (
        Family("gpt2", "gpt2", "GPT2LMHeadModel", _gpt2, SIZES, TransformerConfig(**SMALL)),
        Family("llama", "llama", "LlamaForCausalLM", _llama, ROTARY, _rotary_example(tied=False)),
        Family("mistral", "mistral", "MistralForCausalLM", _mistral, ROTARY, _rotary_example(tied=False, window=8)),
        Family("qwen2", "qwen2", "Qwen2ForCausalLM", _qwen2, ROTARY | {"window"}, _rotary_example(qkv_bias=True)),
        Family("qwen3", "qwen3", "Qwen3ForCausalLM", _qwen3, ROTARY | {"window"}, _rotary_example(qk_norm=True)),
        Family("gemma", "gemma", "GemmaForCausalLM", _gemma, GEMMA, _rotary_example(**_GEMMA_EXAMPLE)),
        Family(
            "gemma2",
            "gemma2",
            "Gemma2ForCausalLM",
            _gemma2,
            GEMMA | {"attention_scale", "attention_softcap", "logit_softcap"},
            _rotary_example(**_GEMMA2_EXAMPLE, attention_softcap=50.0, logit_softcap=30.0, full_attention_every=2),
        ),
        Family(
            "gemma3",
            "gemma3_text",
            "Gemma3ForCausalLM",
            _gemma3,
            GEMMA | {"attention_scale", "attention_softcap", "logit_softcap"},
            _rotary_example(
                **_GEMMA2_EXAMPLE, qk_norm=True, full_attention_every=6, rotary_base=1e6, local_rotary_base=1e4
            ),
        ),
    )
}


def family_of(config: TransformerConfig) -> Family:
    """The family that a config belongs to. Raises InputError that says what is in the way when there is none."""
    found = {family.name: family.differences(config) for family in FAMILIES.values()}
    nearest = min(found, key=lambda name: len(found[name]))
    if found[nearest]:
        raise InputError(
            f"This model belongs to no family that other programs know. Nearest is {nearest}, and it has "
            f"{'; '.join(found[nearest])}. Train a model of the kind gpt2 or llama to export it."
        )
    return FAMILIES[nearest]


# --- the tables -------------------------------------------------------------------------------------------------------


def mapping(config: TransformerConfig, format: Format, family: Family | None = None) -> list[Row]:
    """Which arrays a file of this format has for a model with this config, and what each of them is.

    family: that of the config, when it is known already.
    """
    family = family or family_of(config)
    if format == "hf":
        return _hf_gpt2(config) if family.name == "gpt2" else _hf_llama(config, family)
    return _gguf(config, family)


def _layer(file: str, *ours: str, **change: Any) -> Row:
    return Row(file, tuple(f"blocks.{LAYER}.{name}" for name in ours), **change)


def _with_biases(rows: list[Row]) -> Iterator[Row]:
    """For each matrix the row of its bias, in addition. A bias has one dimension: there is nothing to transpose."""
    for row in rows:
        yield row
        ours = tuple(name.removesuffix("weight") + "bias" for name in row.ours)
        yield Row(row.file.removesuffix("weight") + "bias", ours, interleaved=row.interleaved)


def _hf_gpt2(config: TransformerConfig) -> list[Row]:
    layer = "transformer.h." + LAYER
    rows = [
        Row("transformer.wte.weight", ("embedding.weight",)),
        Row("transformer.wpe.weight", ("position.weight",)),
        *_with_biases(
            [
                _layer(f"{layer}.ln_1.weight", "attention_norm.weight"),
                _layer(
                    f"{layer}.attn.c_attn.weight",
                    *("attention.query.weight", "attention.key.weight", "attention.value.weight"),
                    transposed=True,
                ),
                _layer(f"{layer}.attn.c_proj.weight", "attention.output.weight", transposed=True),
                _layer(f"{layer}.ln_2.weight", "mlp_norm.weight"),
                _layer(f"{layer}.mlp.c_fc.weight", "mlp.up.weight", transposed=True),
                _layer(f"{layer}.mlp.c_proj.weight", "mlp.down.weight", transposed=True),
                Row("transformer.ln_f.weight", ("final_norm.weight",)),
            ]
        ),
    ]
    return rows if config.tied else [*rows, Row("lm_head.weight", ("head.weight",))]


def _hf_llama(config: TransformerConfig, family: Family) -> list[Row]:
    """Llama's names, which Qwen, Mistral and Gemma share."""
    layer = "model.layers." + LAYER
    # Gemma's files hold w where 1 + w is meant. A model that was read from GGUF holds 1 + w.
    added = -1.0 if family.name.startswith("gemma") and not config.norm_weight_plus_one else 0.0
    before_mlp = "pre_feedforward_layernorm" if config.post_norms else "post_attention_layernorm"
    qkv = [_layer(f"{layer}.self_attn.{name[0]}_proj.weight", f"attention.{name}.weight") for name in QKV]
    output = [_layer(f"{layer}.self_attn.o_proj.weight", "attention.output.weight")]
    mlp = [_layer(f"{layer}.mlp.{name}_proj.weight", f"mlp.{name}.weight") for name in ("gate", "up", "down")]
    rows = [
        Row("model.embed_tokens.weight", ("embedding.weight",)),
        _layer(f"{layer}.input_layernorm.weight", "attention_norm.weight", added=added),
        *(_with_biases(qkv) if config.qkv_bias else qkv),
        *(_with_biases(output) if config.bias else output),
        _layer(f"{layer}.{before_mlp}.weight", "mlp_norm.weight", added=added),
        *(_with_biases(mlp) if config.bias else mlp),
        Row("model.norm.weight", ("final_norm.weight",), added=added),
    ]
    if config.qk_norm:
        rows += [_layer(f"{layer}.self_attn.q_norm.weight", "attention.query_norm.weight", added=added)]
        rows += [_layer(f"{layer}.self_attn.k_norm.weight", "attention.key_norm.weight", added=added)]
    if config.post_norms:
        rows += [_layer(f"{layer}.post_attention_layernorm.weight", "attention_post_norm.weight", added=added)]
        rows += [_layer(f"{layer}.post_feedforward_layernorm.weight", "mlp_post_norm.weight", added=added)]
    return rows if config.tied else [*rows, Row("lm_head.weight", ("head.weight",))]


QKV = ("query", "key", "value")


def _gguf(config: TransformerConfig, family: Family) -> list[Row]:
    layer = "blk." + LAYER
    added = 1.0 if config.norm_weight_plus_one else 0.0
    # Of our families only llama's (and with it Mistral) has its pairs side by side in GGUF files.
    pairs = family.name in ("llama", "mistral")
    norms = [
        _layer(f"{layer}.attn_norm.weight", "attention_norm.weight", added=added),
        _layer(f"{layer}.ffn_norm.weight", "mlp_norm.weight", added=added),
        Row("output_norm.weight", ("final_norm.weight",), added=added),
    ]
    qkv = [
        _layer(f"{layer}.attn_q.weight", "attention.query.weight", interleaved="heads" if pairs else None),
        _layer(f"{layer}.attn_k.weight", "attention.key.weight", interleaved="kv_heads" if pairs else None),
        _layer(f"{layer}.attn_v.weight", "attention.value.weight"),
    ]
    if family.name == "gpt2":
        qkv = [_layer(f"{layer}.attn_qkv.weight", *(f"attention.{name}.weight" for name in QKV))]
    names = ("gate", "up", "down") if config.gated else ("up", "down")
    others = [
        _layer(f"{layer}.attn_output.weight", "attention.output.weight"),
        *(_layer(f"{layer}.ffn_{name}.weight", f"mlp.{name}.weight") for name in names),
    ]
    rows = [
        Row("token_embd.weight", ("embedding.weight",)),
        *(_with_biases(norms) if config.norm == "layer_norm" else norms),
        *(_with_biases(qkv) if config.qkv_bias else qkv),
        *(_with_biases(others) if config.bias else others),
    ]
    if config.positions == "learned":
        rows += [Row("position_embd.weight", ("position.weight",))]
    if config.qk_norm:
        rows += [_layer(f"{layer}.attn_q_norm.weight", "attention.query_norm.weight", added=added)]
        rows += [_layer(f"{layer}.attn_k_norm.weight", "attention.key_norm.weight", added=added)]
    if config.post_norms:
        rows += [_layer(f"{layer}.post_attention_norm.weight", "attention_post_norm.weight", added=added)]
        rows += [_layer(f"{layer}.post_ffw_norm.weight", "mlp_post_norm.weight", added=added)]
    return rows if config.tied else [*rows, Row("output.weight", ("head.weight",))]


def describe_mapping(family: str, format: Format = "hf") -> Text:
    """The table of a family ("llama", "gemma3", …) in a format ("hf" or "gguf") as text: what is done to each array.

    >>> print(describe_mapping("gpt2").splitlines()[3])
    transformer.h.{layer}.ln_1.weight         as it is               blocks.{layer}.attention_norm.weight
    """
    if family not in FAMILIES:
        raise InputError(f"family must be one of {', '.join(FAMILIES)}; it was {family!r}.")
    if format not in ("hf", "gguf"):
        raise InputError(f"format must be 'hf' or 'gguf', it was {format!r}.")
    example = FAMILIES[family].example
    rows = mapping(example, format)
    if example.tied:
        name = "lm_head.weight" if format == "hf" else "output.weight"
        rows = [*rows, Row(name, ("embedding.weight",))]
    lines = [("in the file", "change", "here")]
    lines += [(row.file, row.change, ", ".join(row.ours)) for row in rows]
    if example.tied:
        lines[-1] = (lines[-1][0], "not in the file: tied", "embedding.weight")
    first, second = (max(len(line[i]) for line in lines) for i in (0, 1))
    return Text("\n".join(f"{a:<{first}}  {b:<{second}}  {c}" for a, b, c in lines))


# --- from file to model, and back -------------------------------------------------------------------------------------


def parameter_shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter that a model of this config has, layers as `LAYER`."""
    return {name.replace("blocks.0.", f"blocks.{LAYER}."): shape for name, shape in shapes_of_one_layer(config).items()}


def load_network(
    config: TransformerConfig, rows: list[Row], weights: Weights, source: str, ignored: frozenset[str] = frozenset()
) -> Transformer:
    """The network with the values of a file, each read straight to its place.

    ignored: arrays of the file that are known and not needed. Raises InputError when an array is missing, has another
    shape than the config says, or is unknown: before anything large is made.
    """
    check_arrays(config, rows, weights.shapes, source, ignored)
    network = Transformer.empty(config)
    parameters, shapes = dict(network.named_parameters()), parameter_shapes(config)
    for row, layer in _all_layers(rows, config):
        ours = [parameters[_numbered(name, layer)].data for name in row.ours]
        name = _numbered(row.file, layer)
        if row.is_copy:
            weights.read_into(name, ours[0])
            continue
        x = np.empty(row.file_shape(shapes), np.float32)
        weights.read_into(name, x)
        for parameter, part in zip(ours, row.from_file(x, [len(p) for p in ours], config), strict=True):
            parameter[...] = part
    return network


def check_arrays(
    config: TransformerConfig,
    rows: list[Row],
    found: Mapping[str, tuple[int, ...]],
    source: str,
    ignored: frozenset[str] = frozenset(),
) -> None:
    """Raise InputError unless a file with these arrays has just what a model of this config needs."""
    shapes = parameter_shapes(config)
    unknown = set(found) - ignored
    # Stops at the first array that is missing, so that a config with a billion layers costs nothing.
    for row, layer in _all_layers(rows, config):
        name, shape = _numbered(row.file, layer), row.file_shape(shapes)
        if name not in found:
            raise InputError(f"{source} has no array {name}, which a model of its config needs. Fetch it again.")
        if found[name] != shape:
            raise InputError(f"{source}: {name} has the shape {found[name]}, and by the config it should be {shape}.")
        unknown.discard(name)
    if unknown:
        raise InputError(
            f"{source} has {len(unknown)} arrays that this kind of model does not have, for instance {min(unknown)}: "
            "it computes something that is not supported here."
        )


def export_arrays(network: Transformer, rows: list[Row]) -> Iterator[tuple[str, np.ndarray]]:
    """Name and float32 values of every array that a file for this network has. Copies are the model's own arrays.

    Adapters are merged into the weights beside them.
    """
    state = merged_state(network)
    for row, layer in _all_layers(rows, network.config):
        ours = [state[_numbered(name, layer)] for name in row.ours]
        yield _numbered(row.file, layer), row.to_file(ours, network.config)


def _all_layers(rows: list[Row], config: TransformerConfig) -> Iterator[tuple[Row, int]]:
    """Every row with every layer, layer by layer; rows without a layer once."""
    yield from ((row, 0) for row in rows if LAYER not in row.file)
    for layer in range(config.layers):
        yield from ((row, layer) for row in rows if LAYER in row.file)


def _numbered(name: str, layer: int) -> str:
    return name.replace(LAYER, str(layer))
