"""Makes optimizer_golden.json: what PyTorch's AdamW, Muon and SGD do with three parameters and known gradients.

Run once from the root of the project, with torch 2.13 installed beside it:

    python tests/golden/make_optimizer_golden.py

The tests read the JSON and need no PyTorch. Parameters and gradients are written out too, so that both sides begin
with the same float64 numbers. PyTorch orthogonalises in bfloat16; here it is made to do so in float64.
"""

import json
from pathlib import Path

import torch

STEPS = 6
LRS = [0.01, 0.02, 0.03, 0.02, 0.01, 0.005]
SHAPES = {"wide": (3, 5), "tall": (6, 4), "vector": (4,)}
SKIPPED_STEP = 2  # in "skipping", where the parameter "tall" has no gradient


def numbers(tensors):
    return {name: tensor.detach().tolist() for name, tensor in tensors.items()}


def fresh():
    generator = torch.Generator().manual_seed(1)

    def draw():
        return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()}

    return draw(), [draw() for _ in range(STEPS)]


def run(make_optimizers, skipping=False, max_norm=None):
    start, gradients = fresh()
    parameters = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    optimizers = make_optimizers(parameters)
    after, norms = [], []
    for step, (lr, gradient) in enumerate(zip(LRS, gradients, strict=True)):
        for name, parameter in parameters.items():
            parameter.grad = None if skipping and (step, name) == (SKIPPED_STEP, "tall") else gradient[name].clone()
        if max_norm is not None:
            norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm).item())
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
        after.append(numbers(parameters))
    return after if max_norm is None else {"norms": norms, "after": after}


def adamw(parameters):
    matrices, vectors = [parameters["wide"], parameters["tall"]], [parameters["vector"]]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return [torch.optim.AdamW(groups, betas=(0.9, 0.99), eps=1e-8)]


def muon(parameters, nesterov=True):
    matrices, vectors = [parameters["wide"], parameters["tall"]], [parameters["vector"]]
    return [
        torch.optim.Muon(matrices, weight_decay=0.1, momentum=0.95, nesterov=nesterov, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(vectors, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.0),
    ]


def sgd(**settings):
    return lambda parameters: [torch.optim.SGD(parameters.values(), **settings)]


def adamw_defaults(parameters):
    return [torch.optim.AdamW(parameters.values())]


torch.Tensor.bfloat16 = lambda tensor: tensor.double().clone()  # a copy, as a conversion is
initial, all_gradients = fresh()
golden = {
    "torch": torch.__version__,
    "lrs": LRS,
    "skipped_step": SKIPPED_STEP,
    "start": numbers(initial),
    "gradients": [numbers(gradients) for gradients in all_gradients],
    "adamw": run(adamw),
    "adamw_defaults": run(adamw_defaults),
    "adamw_skipping": run(adamw, skipping=True),
    "adamw_clipped": run(adamw, max_norm=3.0),
    "muon": run(muon),
    "muon_without_nesterov": run(lambda parameters: muon(parameters, nesterov=False)),
    "sgd": run(sgd()),
    "sgd_momentum": run(sgd(momentum=0.9, weight_decay=0.1)),
    "sgd_nesterov": run(sgd(momentum=0.9, nesterov=True, weight_decay=0.1)),
}
path = Path(__file__).with_name("optimizer_golden.json")
path.write_text(json.dumps(golden))
print(f"{path}: {path.stat().st_size} bytes")
