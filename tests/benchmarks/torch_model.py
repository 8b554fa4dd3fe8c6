"""The same models in PyTorch, written the usual way: fused attention, one projection for query, key and value.

Sizes have the names of `tinygrad_llm.training.shapes.Shape`, but come as a plain namespace: loading tinygrad_llm would
change how this process gets its memory (`tinygrad_llm.runtime`), and PyTorch shall run as its users run it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace as Sizes

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, shape: Sizes) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = (
            shape.heads,
            shape.kv_heads or shape.heads,
            shape.width // shape.heads,
        )
        bias = shape.model == "gpt2"
        self.qkv = nn.Linear(shape.width, (self.heads + 2 * self.kv_heads) * self.head_width, bias=bias)
        self.output = nn.Linear(shape.width, shape.width, bias=bias)
        self.rotary = shape.model == "llama"
        angles = torch.arange(shape.context)[:, None] * 10_000.0 ** (
            -torch.arange(0, self.head_width, 2) / self.head_width
        )
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], dim=-1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, C = x.shape
        D = self.head_width
        q, k, v = self.qkv(x).split([self.heads * D, self.kv_heads * D, self.kv_heads * D], dim=-1)
        q = q.view(B, T, self.heads, D).transpose(1, 2)
        k = k.view(B, T, self.kv_heads, D).transpose(1, 2)
        v = v.view(B, T, self.kv_heads, D).transpose(1, 2)
        if self.rotary:
            q, k = self.rotate(q), self.rotate(k)
        grouped = self.heads != self.kv_heads
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
        return self.output(y.transpose(1, 2).reshape(B, T, C))


class Gelu(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Swiglu(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 32 * math.ceil(8 * width / 96)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    def __init__(self, shape: Sizes) -> None:
        super().__init__()
        norm = nn.LayerNorm if shape.model == "gpt2" else nn.RMSNorm
        self.norm1, self.attention, self.norm2 = norm(shape.width), Attention(shape), norm(shape.width)
        self.mlp = (Gelu if shape.model == "gpt2" else Swiglu)(shape.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TorchModel(nn.Module):
    def __init__(self, shape: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocab_size, shape.width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.position = nn.Embedding(shape.context, shape.width) if shape.model == "gpt2" else None
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = (nn.LayerNorm if shape.model == "gpt2" else nn.RMSNorm)(shape.width)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        if self.position is not None:
            x = x + self.position.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


TRIALS, TRIAL_SECONDS = 4, 2.0  # of each number of threads; fewer when the work takes so long


def best_thread_count(work: Callable[[], object]) -> int:
    """Let PyTorch use one thread or all cores, whichever is faster at this work; returns how many that is."""
    medians = {}
    for threads in sorted({1, torch.get_num_threads()}):
        torch.set_num_threads(threads)
        seconds: list[float] = []
        while len(seconds) < 2 or (len(seconds) < TRIALS and sum(seconds) < TRIAL_SECONDS):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        medians[threads] = statistics.median(seconds[1:])  # the first time makes the threads
    best = min(medians, key=medians.__getitem__)
    torch.set_num_threads(best)
    return best
