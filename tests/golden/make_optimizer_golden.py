"""Makes optimizer_golden.json: what PyTorch's AdamW and Muon do with three parameters and known gradients.

Run once from the root of the project, with torch 2.13 installed beside it:

    python tests/golden/make_optimizer_golden.py

The tests read the JSON and need no PyTorch. Parameters and gradients are written out too, so that both sides begin
with the same float64 numbers. PyTorch orthogonalises in bfloat16; here it is made to do so in float64.
"""

import json
from pathlib import Path

import torch

STEPS = 6
RATES = [0.01, 0.02, 0.03, 0.02, 0.01, 0.005]
SHAPES = {"wide": (3, 5), "tall": (6, 4), "vector": (4,)}


def numbers(tensors):
    return {name: tensor.detach().tolist() for name, tensor in tensors.items()}


def fresh():
    generator = torch.Generator().manual_seed(1)

    def draw():
        return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()}

    return draw(), [draw() for _ in range(STEPS)]


def run(make_optimizers):
    start, gradients = fresh()
    parameters = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    optimizers = make_optimizers(parameters)
    after = []
    for rate, gradient in zip(RATES, gradients, strict=True):
        for name, parameter in parameters.items():
            parameter.grad = gradient[name].clone()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        after.append(numbers(parameters))
    return after


def adamw(parameters):
    matrices, vectors = [parameters["wide"], parameters["tall"]], [parameters["vector"]]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return [torch.optim.AdamW(groups, betas=(0.9, 0.99), eps=1e-8)]


def muon(parameters):
    matrices, vectors = [parameters["wide"], parameters["tall"]], [parameters["vector"]]
    return [
        torch.optim.Muon(matrices, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(vectors, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.0),
    ]


torch.Tensor.bfloat16 = torch.Tensor.double
initial, all_gradients = fresh()
golden = {
    "torch": torch.__version__,
    "rates": RATES,
    "start": numbers(initial),
    "gradients": [numbers(gradients) for gradients in all_gradients],
    "adamw": run(adamw),
    "muon": run(muon),
}
path = Path(__file__).with_name("optimizer_golden.json")
path.write_text(json.dumps(golden))
print(f"{path}: {path.stat().st_size} bytes")
