"""Make tests/golden/peft: adapters as PEFT writes them on models of tests/golden/families, and what these answer then.

    pip install torch==2.13.0 transformers==5.24.0 peft==0.21.2
    python tests/golden/make_peft_golden.py                        # make the files
    python tests/golden/make_peft_golden.py FAMILY FOLDER LOGITS   # does PEFT answer the same?

The second form opens a folder that `tg.save_adapters` wrote on the family's model, and compares with logits (an .npy
file of (T, V)) that this project computed for `logits.json`'s ids.
"""

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import peft
import torch
from transformers import AutoModelForCausalLM

FAMILIES = Path(__file__).parent / "families"
FOLDER = Path(__file__).parent / "peft"
CASES = {  # name -> family, settings
    "llama": ("llama", {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"]}),
    "llama_patterns": (
        "llama",
        {
            "r": 3,
            "lora_alpha": 5,
            "use_rslora": True,
            "target_modules": ["q_proj", "k_proj", "o_proj", "up_proj", "down_proj"],
            "rank_pattern": {"down_proj": 1, "^model.layers.1.self_attn.q_proj": 4},
            "alpha_pattern": {"self_attn.k_proj": 7, "layers.2.mlp.up_proj": 2},
            "layers_to_transform": [1, 2],
        },
    ),
    "gpt2": ("gpt2", {"r": 2, "lora_alpha": 4, "target_modules": ["c_attn", "mlp.c_proj"], "fan_in_fan_out": True}),
    "gemma3": ("gemma3", {"r": 2, "target_modules": r".*\.(o_proj|gate_proj)"}),
}
GOLDEN = json.loads((FAMILIES / "logits.json").read_text())


def base(family):
    return AutoModelForCausalLM.from_pretrained(FAMILIES / family, attn_implementation="eager", dtype=torch.float32)


def logits(model):
    with torch.no_grad():
        return model(torch.tensor([GOLDEN["ids"]])).logits[0]


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    answers = {"made_with": f"peft {peft.__version__}", "cases": {}}
    for seed, (name, (family, settings)) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        model = peft.get_peft_model(base(family), peft.LoraConfig(task_type="CAUSAL_LM", **settings))
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                parameter.data = 0.5 * torch.randn_like(parameter)
        model.peft_config["default"].base_model_name_or_path = family
        model.save_pretrained(FOLDER / name)
        (FOLDER / name / "README.md").unlink(missing_ok=True)
        (FOLDER / name / "adapter_model.safetensors").chmod(0o644)
        rows = logits(model)[GOLDEN["positions"]].tolist()
        answers["cases"][name] = {"family": family, "logits": [[round(x, 6) for x in row] for row in rows]}
    (FOLDER / "logits.json").write_text(json.dumps(answers) + "\n")


def check(family, folder, answer):
    warnings.simplefilter("error", UserWarning)  # PEFT warns about keys that are missing or not expected
    model = peft.PeftModel.from_pretrained(base(family), folder)
    difference = np.abs(logits(model).numpy() - np.load(answer)).max()
    print(f"{family} {folder}: largest difference {difference:.2g}")
    return difference < 1e-4


if __name__ == "__main__":
    sys.exit(not check(*sys.argv[1:]) if sys.argv[1:] else main())
