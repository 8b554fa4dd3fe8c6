"""Make tests/golden/families: a tiny random model of each family, as Transformers writes it, and what it answers.

    python tests/golden/make_families_golden.py

Needs torch and transformers; the tests that read the files do not. Weights are bfloat16 in the files; the logits are
computed in float32. Llama's is written in shards.
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

FOLDER = Path(__file__).parent / "families"
TOKENS = 40
POSITIONS = (0, 6, 7, 19, 39)  # where logits are kept: within the windows, at their edge, and far outside
SIZES = {
    "vocab_size": 48,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
GEMMA = {**SIZES, "head_dim": 8, "num_key_value_heads": 1}
CONFIGS = {
    "gpt2": GPT2Config(
        vocab_size=48, n_positions=64, n_embd=16, n_layer=3, n_head=4, bos_token_id=None, eos_token_id=None
    ),
    "llama": LlamaConfig(**SIZES, rope_parameters=LLAMA3),
    "llama_bias": LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, head_dim=8),
    "mistral": MistralConfig(**SIZES, sliding_window=7),
    "qwen2": Qwen2Config(**SIZES, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6}),
    "qwen3": Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=True),
    "gemma": GemmaConfig(**GEMMA),
    "gemma2": Gemma2Config(
        **GEMMA, query_pre_attn_scalar=16, sliding_window=7, attn_logit_softcapping=5.0, final_logit_softcapping=3.0
    ),
    "gemma3": Gemma3TextConfig(
        **GEMMA,
        query_pre_attn_scalar=8,
        sliding_window=7,
        sliding_window_pattern=2,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    ),
}


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    ids = [(7 * i * i + 3 * i) % 48 for i in range(TOKENS)]
    golden = {"made_with": f"transformers {transformers.__version__}", "ids": ids, "positions": POSITIONS, "logits": {}}
    for seed, (name, config) in enumerate(CONFIGS.items()):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
        for parameter in model.parameters():  # all of them, the norms and biases too
            parameter.data += 0.3 * torch.randn_like(parameter)
        folder = FOLDER / name
        model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="10kB" if name == "llama" else "1GB")
        (folder / "generation_config.json").unlink(missing_ok=True)
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, list(POSITIONS)]
        golden["logits"][name] = [[round(x, 7) for x in row] for row in logits.tolist()]
    (FOLDER / "logits.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
