"""The vocabulary as a table: one row per op, with its reference and the inputs it is tried on.

A row says what the op is called, the op, the same thing in NumPy, and some cases: what goes in and with which options.
`test_ops.py` takes every case of every row through every check. A new op is tested by adding a row.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.autograd import ops
from tinygrad_llm.autograd.ops import index, linalg
from tinygrad_llm.nn import functional as F

# --- what goes in ---------------------------------------------------------------------------------------------
# Each makes a function of a random generator. Values keep away from kinks, so that derivatives exist.


def normal(*shape):
    return lambda rng: rng.standard_normal(shape)


def positive(*shape):
    return lambda rng: rng.uniform(0.5, 2.0, shape)


def nonzero(*shape):
    return lambda rng: rng.uniform(0.2, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def distinct(*shape):
    """Values that differ from each other and from 0 by at least 0.1."""
    n = math.prod(shape)
    return lambda rng: (rng.permutation(n).reshape(shape) - n // 2) * 0.3 + 0.1


def integers(high, *shape):
    return lambda rng: rng.integers(0, high, shape)


def inside(*shape):
    """Values in (-0.9, 0.9)."""
    return lambda rng: rng.uniform(-0.9, 0.9, shape)


def between_whole(*shape):
    """Values at least 0.1 from every multiple of 0.5."""
    return lambda rng: rng.integers(-6, 6, shape) * 0.5 + rng.uniform(0.1, 0.4, shape)


def booleans(*shape):
    return lambda rng: rng.random(shape) < 0.5


def exactly(values):
    return lambda rng: np.array(values)


@dataclass(frozen=True)
class Case:
    inputs: tuple
    options: dict

    def draw(self, seed=0) -> list:
        rng = np.random.default_rng(seed)
        return [x(rng) if callable(x) else x for x in self.inputs]


def case(*inputs, **options) -> Case:
    return Case(inputs, options)


@dataclass(frozen=True)
class Row:
    """One op. differentiable: whether a gradient flows through it. broadcasts: which kind of input it broadcasts."""

    name: str
    op: Callable[..., Any]
    reference: Callable[..., Any]
    cases: tuple[Case, ...]
    differentiable: bool = True
    broadcasts: Any = None

    @property
    def has_fast_pair(self) -> bool:
        return self.name in FAST


def row(name, reference, *cases, op=None, **properties) -> Row:
    return Row(name, op or getattr(ops, name), reference, cases, **properties)


# --- references that NumPy has no function for ------------------------------------------------------------------


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def logsumexp(x, axis=None, keepdims=False):
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def norm(x, axis=None, keepdims=False):
    return np.sqrt(np.square(x).sum(axis=axis, keepdims=keepdims))


def topk(x, k, axis=-1):
    order = np.flip(np.argsort(x, axis=axis), axis)
    places = np.take(order, range(k), axis)
    return np.take_along_axis(x, places, axis), places


def gather(x, indices, axis=-1):
    y = np.empty(indices.shape, x.dtype)
    for i in np.ndindex(indices.shape):
        j = list(i)
        j[axis] = indices[i]
        y[i] = x[tuple(j)]
    return y


def scatter_add(x, indices, values, axis=-1):
    y = x.copy()
    for i in np.ndindex(indices.shape):
        j = list(i)
        j[axis] = indices[i]
        y[tuple(j)] += values[i]
    return y


def add_at(values, index, shape):
    y = np.zeros(shape, values.dtype)
    np.add.at(y, index, values)
    return y


def set_at(x, values, index):
    y = x.copy()
    y[index] = values
    return y


def stays(x, index):
    y = np.full(x.shape, -1)
    written = np.arange(y[index].size).reshape(y[index].shape)
    y[index] = written
    return y[index] == written


def layer_norm(x, weight, bias=None, eps=1e-5):
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight
    return y if bias is None else y + bias


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    turned = (x[..., :half] + 1j * x[..., half:]) * (cos + 1j * sin)[:, None, :]
    return np.concatenate([turned.real, turned.imag], -1)


def attention(q, k, v, scale=None, window=None):
    B, T, H, D = q.shape
    S, K = k.shape[1:3]
    out = np.zeros((B, T, H, v.shape[-1]), q.dtype)
    for b, t, h in np.ndindex(B, T, H):
        last = S - T + t
        first = 0 if window is None else max(0, last - window + 1)
        keys, values = (z[b, first : last + 1, h // (H // K)] for z in (k, v))
        out[b, t, h] = softmax(keys @ q[b, t, h] * (1.0 / math.sqrt(D) if scale is None else scale)) @ values
    return out


def token_losses(logits, targets):
    chosen = np.take_along_axis(softmax(logits), np.maximum(targets, 0)[..., None], -1)[..., 0]
    return np.where(targets >= 0, -np.log(chosen), 0).astype(logits.dtype)


def cross_entropy(logits, targets, reduction="mean"):
    losses = token_losses(logits, targets)
    return losses.sum() / (targets >= 0).sum() if reduction == "mean" else losses.sum()


def dropout(x, rate, seed):
    drawn = np.random.default_rng(seed).integers(0, 2**64, -(-x.size // 4), dtype=np.uint64)
    keep = np.stack([drawn >> 16 * i & 0xFFFF for i in range(4)], axis=-1).reshape(-1)[: x.size] >= rate * 65536
    return x * (keep.reshape(x.shape) / (1.0 - rate)).astype(x.dtype)


# --- the table --------------------------------------------------------------------------------------------------

COLD = [[2, 0, 2], [1, 1, 1]]  # places that repeat
MASK = np.array([[True, False, True], [False, True, True]])
ANGLES = np.arange(6.0).reshape(3, 2)
pair = (normal(3, 4), normal(3, 4))
STACKED = (case(normal(3), normal(3)), case(normal(2, 3), normal(2, 3), normal(2, 3)))
ROUNDED = (case(between_whole(3, 4), 0.5), case(2.5, nonzero(3)))
POLAR = (case(nonzero(3), nonzero(3)), case(1.5, nonzero(3)), case(nonzero(3), -1.5))


def joined(op):
    """`op` of a list as a function of its elements."""
    return lambda *xs: op(xs)


TABLE = [
    # elementwise
    row("add", np.add, case(*pair), case(normal(3), 2.5), case(2.5, normal(3)), broadcasts=normal),
    row("subtract", np.subtract, case(*pair), case(normal(3), 2.5), case(2.5, normal(3)), broadcasts=normal),
    row("multiply", np.multiply, case(*pair), case(normal(3), 2.5), case(2.5, normal(3)), broadcasts=normal),
    row(
        "divide",
        np.divide,
        case(nonzero(3), nonzero(3)),
        case(normal(3), 2.5),
        case(2.5, nonzero(3)),
        broadcasts=nonzero,
    ),
    row("negative", np.negative, case(normal(3, 4))),
    row(
        "power",
        np.power,
        case(positive(3, 2), normal(3, 2)),
        case(normal(4), 2),
        case(normal(4), 3),
        case(normal(4), 1),
        case(normal(4), 0),
        case(positive(4), -1.5),
        case(2.0, normal(3)),
        broadcasts=positive,
    ),
    row("reciprocal", np.reciprocal, case(nonzero(3, 4))),
    row("square", np.square, case(normal(3, 4))),
    row("abs", np.abs, case(nonzero(3, 4))),
    row("sign", np.sign, case(nonzero(3, 4))),
    row("exp", np.exp, case(normal(3, 4)), case(normal())),
    row("expm1", np.expm1, case(normal(3, 4)), case(exactly([1e-9, -1e-9]))),
    row("log", np.log, case(positive(3, 4))),
    row("log2", np.log2, case(positive(3, 4))),
    row("log10", np.log10, case(positive(3, 4))),
    row("exp2", np.exp2, case(normal(3, 4))),
    row("logaddexp", np.logaddexp, case(*pair), case(normal(3), 2.5), case(2.5, normal(3)), broadcasts=normal),
    row("log1p", np.log1p, case(positive(3, 4)), case(exactly([1e-9, -1e-9]))),
    row("sqrt", np.sqrt, case(positive(3, 4))),
    row("rsqrt", lambda x: 1 / np.sqrt(x), case(positive(3, 4))),
    row("sin", np.sin, case(normal(3, 4))),
    row("cos", np.cos, case(normal(3, 4))),
    row("tanh", np.tanh, case(normal(3, 4))),
    row("tan", np.tan, case(inside(3, 4))),
    row("arcsin", np.arcsin, case(inside(3, 4))),
    row("arccos", np.arccos, case(inside(3, 4))),
    row("arctan", np.arctan, case(normal(3, 4))),
    row(
        "arctan2",
        np.arctan2,
        case(nonzero(3), nonzero(3)),
        case(1.5, nonzero(3)),
        case(nonzero(3), -1.5),
        broadcasts=nonzero,
    ),
    row(
        "hypot",
        np.hypot,
        case(nonzero(3), nonzero(3)),
        case(1.5, nonzero(3)),
        case(nonzero(3), -1.5),
        broadcasts=nonzero,
    ),
    row("sinh", np.sinh, case(normal(3, 4))),
    row("cosh", np.cosh, case(normal(3, 4))),
    row("arcsinh", np.arcsinh, case(normal(3, 4))),
    row("arccosh", lambda x: np.arccosh(x), case(lambda rng: rng.uniform(1.2, 3.0, (3, 4)))),
    row("arctanh", np.arctanh, case(inside(3, 4))),
    row("floor", np.floor, case(between_whole(3, 4))),
    row("ceil", np.ceil, case(between_whole(3, 4))),
    row("trunc", np.trunc, case(between_whole(3, 4))),
    row("round", np.round, case(between_whole(3, 4)), case(normal(3, 4), decimals=1)),
    row("floor_divide", np.floor_divide, *ROUNDED, broadcasts=nonzero),
    row(
        "remainder",
        np.remainder,
        case(between_whole(3, 4), 0.5),
        case(2.5, nonzero(3)),
        case(normal(3), -0.7),
        broadcasts=nonzero,
    ),
    row(
        "nan_to_num",
        np.nan_to_num,
        case(normal(3, 4)),
        case(exactly([1.5, np.nan, -2.0]), nan=0.5),
        case(exactly([np.inf, -np.inf, 1.0]), posinf=2.5, neginf=-3.5),
    ),
    row("erf", lambda x: np.array([math.erf(v) for v in x.flat], x.dtype).reshape(x.shape), case(normal(3, 4))),
    row("maximum", np.maximum, case(distinct(3, 4), 0.25), case(0.25, distinct(3)), broadcasts=normal),
    row("minimum", np.minimum, case(distinct(3, 4), 0.25), case(0.25, distinct(3)), broadcasts=normal),
    row(
        "clip",
        np.clip,
        case(distinct(3, 4), -0.75, 0.85),
        case(distinct(4), None, 0.25),
        case(distinct(4), min=0.25),
        case(distinct(3, 4), exactly([-1.0, -0.6, -0.25, 0.0]), 0.85),
        case(distinct(4), 1.05, -0.25),
    ),
    row(
        "where",
        np.where,
        case(booleans(3, 4), *pair),
        case(booleans(3, 1), normal(4), 2.5),
        case(booleans(3), 0.5, normal(3)),
    ),
    row(
        "masked_fill",
        lambda x, mask, value: np.where(mask, value, x).astype(x.dtype),
        case(normal(3, 4), booleans(4), -2.5),
        case(normal(3, 4), booleans(3, 4), normal(4)),
    ),
    *(
        row(name, getattr(np, name), case(integers(3, 9), integers(3, 9)), case(normal(3), 0.1), differentiable=False)
        for name in (
            "equal",
            "not_equal",
            "less",
            "less_equal",
            "greater",
            "greater_equal",
            "logical_and",
            "logical_or",
        )
    ),
    *(
        row(name, getattr(np, name), case(exactly([0.0, 1.5, -np.inf, np.nan, np.inf])), differentiable=False)
        for name in ("isnan", "isinf", "isfinite", "logical_not")
    ),
    *(
        row(
            name,
            getattr(np, name),
            case(booleans(3, 4)),
            case(exactly([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]), axis=1),
            case(booleans(2, 3, 2), axis=(0, 2), keepdims=True),
            differentiable=False,
        )
        for name in ("any", "all")
    ),
    # activations
    row("relu", lambda x: np.maximum(x, 0), case(nonzero(3, 4))),
    row("sigmoid", sigmoid, case(normal(3, 4))),
    row("softplus", lambda x: np.log(1 + np.exp(x)), case(normal(3, 4))),
    row("silu", lambda x: x * sigmoid(x), case(normal(3, 4))),
    row("gelu_tanh", gelu, case(normal(3, 4)), case(normal(5))),
    row(
        "gelu",
        lambda x: 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0))).astype(x.dtype),
        case(normal(3, 4)),
        case(normal(5)),
    ),
    row("softmax", softmax, case(normal(3, 4)), case(normal(2, 3, 4), axis=1), case(normal(5), axis=0)),
    row("log_softmax", lambda x, axis=-1: np.log(softmax(x, axis)), case(normal(3, 4)), case(normal(3, 4), axis=0)),
    # shape
    row("alias", lambda x: x, case(normal(3, 4)), op=ops.alias),
    row("astype", lambda x, dtype: x.astype(dtype), case(normal(3, 4), dtype=np.float64)),
    row(
        "reshape",
        np.reshape,
        case(normal(3, 4), shape=(2, 6)),
        case(normal(2, 3, 2), shape=(4, -1)),
        case(normal(1), shape=()),
    ),
    row(
        "transpose",
        np.transpose,
        case(normal(2, 3, 4)),
        case(normal(2, 3, 4), axes=(2, 0, 1)),
        case(normal(2, 3, 4), axes=(-1, 0, 1)),
    ),
    row("permute_dims", np.transpose, case(normal(2, 3, 4), axes=(1, 2, 0))),
    row("swapaxes", np.swapaxes, case(normal(2, 3, 4), axis1=0, axis2=-1)),
    row(
        "moveaxis",
        np.moveaxis,
        case(normal(2, 3, 4), 0, -1),
        case(normal(2, 3, 4), (0, 1), (-1, 0)),
        case(normal(2, 3, 4), source=[2], destination=[0]),
    ),
    row("ravel", np.ravel, case(normal(2, 3)), case(normal())),
    *(
        row(name, getattr(np, name), case(normal()), case(normal(3)), case(normal(2, 3)), case(normal(2, 1, 3, 2)))
        for name in ("atleast_1d", "atleast_2d", "atleast_3d")
    ),
    row("expand_dims", np.expand_dims, case(normal(3, 4), axis=1), case(normal(3, 4), axis=(0, -1))),
    row(
        "squeeze", np.squeeze, case(normal(1, 3, 1)), case(normal(1, 3, 1), axis=-1), case(normal(1, 1, 2), axis=(0, 1))
    ),
    row("broadcast_to", np.broadcast_to, case(normal(3, 1), shape=(2, 3, 4)), case(normal(), shape=(2,))),
    row(
        "concatenate",
        lambda *xs, axis=0: np.concatenate(xs, axis),
        case(normal(2, 3), normal(0, 3), normal(1, 3)),
        case(normal(2, 3), normal(2, 1), axis=-1),
        case(normal(2, 3), normal(2), axis=None),
        op=lambda *xs, **options: ops.concatenate(xs, **options),
    ),
    row(
        "stack",
        lambda *xs, axis=0: np.stack(xs, axis),
        case(normal(2, 3), normal(2, 3)),
        case(normal(2, 3), normal(2, 3), axis=-1),
        case(normal(), normal()),
        op=lambda *xs, **options: ops.stack(xs, **options),
    ),
    row("vstack", joined(np.vstack), *STACKED, op=joined(ops.vstack)),
    row("hstack", joined(np.hstack), *STACKED, op=joined(ops.hstack)),
    row("append", np.append, case(normal(2, 3), normal(2)), case(normal(2, 3), normal(1, 3), axis=0)),
    row("split", np.split, case(normal(6, 2), 3), case(normal(2, 7), [2, 5], axis=-1), case(normal(4), [1, 1, 6])),
    # rearrange
    row(
        "pad",
        lambda x, pad_width, constant_values=0.0: np.pad(x, pad_width, constant_values=constant_values),
        case(normal(2, 3), pad_width=1),
        case(normal(2, 3), pad_width=((0, 1), (2, 0)), constant_values=-1.5),
        case(normal(2, 3), pad_width=(1, 2)),
    ),
    row(
        "diff",
        lambda x, n=1, axis=-1, **ends: np.diff(x, n, axis, **ends).astype(x.dtype),
        case(normal(2, 5)),
        case(normal(4, 3), n=2, axis=0),
        case(normal(2, 3), n=0),
        case(normal(2, 3), n=9),
        case(normal(2, 3), prepend=0.5, append=np.array([[1.5], [2.5]])),
    ),
    row("flip", np.flip, case(normal(2, 3)), case(normal(2, 3), axis=1), case(normal(2, 3, 2), axis=(0, -1))),
    row(
        "roll",
        np.roll,
        case(normal(2, 3), shift=1),
        case(normal(2, 3), shift=-4, axis=1),
        case(normal(2, 3), shift=(1, 2), axis=(0, 1)),
    ),
    row("tril", np.tril, case(normal(3, 4)), case(normal(2, 3, 3), k=1), case(normal(3, 3), k=-1)),
    row("triu", np.triu, case(normal(3, 4)), case(normal(2, 3, 3), k=1), case(normal(3, 3), k=-1)),
    row(
        "repeat",
        np.repeat,
        case(normal(2, 3), 2),
        case(normal(2, 3), 3, axis=0),
        case(normal(2, 3), [0, 2, 1], axis=-1),
    ),
    row(
        "tile",
        np.tile,
        case(normal(2, 3), 2),
        case(normal(3), (2, 1, 3)),
        case(normal(2, 3, 2), (2,)),
        case(normal(2), (0,)),
    ),
    # reduce
    *(
        row(
            name,
            reference,
            case(make(3, 4)),
            case(make(2, 3, 4), axis=1),
            case(make(2, 3, 4), axis=(0, -1), keepdims=True),
            case(make(2, 3), axis=None, keepdims=True),
            case(make(3), axis=-1),
        )
        for name, reference, make in (
            ("sum", np.sum, normal),
            ("mean", np.mean, normal),
            ("var", np.var, normal),
            ("std", np.std, normal),
            ("norm", norm, normal),
            ("max", np.max, distinct),
            ("min", np.min, distinct),
            ("logsumexp", logsumexp, normal),
            ("prod", np.prod, normal),
        )
    ),
    row("var with ddof", np.var, case(normal(5), ddof=1), case(normal(3, 4), axis=0, ddof=2), op=ops.var),
    row(
        "std with ddof", np.std, case(normal(5), ddof=1), case(normal(3, 4), axis=1, ddof=2, keepdims=True), op=ops.std
    ),
    row(
        "prod with zeros",
        np.prod,
        case(exactly([2.0, 0.0, 3.0, -1.0, 0.5])),
        case(exactly([[0.0, 2.0, 0.0], [3.0, 0.0, 4.0]]), axis=1),
        case(exactly([0.0, 0.0, 0.0])),
        op=ops.prod,
    ),
    row("cumsum", np.cumsum, case(normal(3, 4)), case(normal(3, 4), axis=0), case(normal(2, 3, 2), axis=-2)),
    row(
        "cumprod",
        np.cumprod,
        case(normal(3, 4)),
        case(normal(5, 2), axis=0),
        case(exactly([[2.0, 0.0, 3.0, -1.0, 0.5], [0.0, 1.0, 0.0, 2.0, 3.0]]), axis=-1),
    ),
    # index
    row(
        "getitem",
        lambda x, index: x[index],
        case(normal(4, 3), index=1),
        case(normal(4, 3), index=(slice(None, None, -2), None, 2)),
        case(normal(4, 3), index=(..., 0)),
        case(normal(4, 3), index=[2, 0, 2, 2]),
        case(normal(4, 3), index=np.array(COLD)),
        case(normal(2, 3), index=MASK),
        case(normal(3, 4), index=([2, 0, 2], [1, 1, 1])),
        case(normal(3, 2, 4), index=([2, 0, 2], slice(None), [1, -1, 1])),
        case(normal(3, 2, 4), index=(slice(None), [[0], [1]], np.array([0, 0]))),
        case(normal(3, 2, 4), index=(..., [-1, -1], slice(1, 3))),
        case(normal(3, 2, 4), index=(1, slice(None), [0, 0])),
        case(normal(2, 3, 2), index=(MASK, 1)),
        case(normal(2, 3, 130), index=([1, 0, 1],)),
    ),
    row(
        "take",
        np.take,
        case(normal(3, 4), integers(4, 2, 3), axis=1),
        case(normal(3, 4), exactly([0, -1, 0])),
        case(normal(3, 4), 1, axis=0),
    ),
    row("embedding", lambda weight, ids: weight[ids], case(normal(5, 3), integers(5, 2, 4))),
    row(
        "take_along_axis",
        np.take_along_axis,
        case(normal(3, 4), integers(4, 3, 6), axis=1),
        case(normal(3, 4), integers(3, 2, 4), axis=0),
        case(normal(3, 4), integers(4, 1, 2), axis=-1),
    ),
    row("gather", gather, case(normal(3, 4), integers(4, 2, 5), axis=1), case(normal(3, 4), integers(3, 4, 2), axis=0)),
    row(
        "scatter_add",
        scatter_add,
        case(normal(3, 4), integers(4, 2, 5), normal(2, 5), axis=1),
        case(normal(3, 4), integers(3, 4, 2), normal(4, 2), axis=0),
    ),
    row(
        "add_at",
        add_at,
        case(normal(2), index=1, shape=(3, 2)),
        case(normal(3), index=[2, 0, 2], shape=(4,)),
        case(normal(2, 3, 2), index=np.array(COLD), shape=(3, 2)),
        case(normal(1, 2), index=np.array([1, 1]), shape=(3, 2)),
        case(normal(3, 2), index=([0, 1, 0], slice(None), [1, 0, 1]), shape=(2, 2, 2)),
        case(normal(2, 140), index=[1, 1], shape=(3, 140)),
    ),
    row(
        "set_at",
        set_at,
        case(normal(4, 3), normal(3), index=1),
        case(normal(4, 3), 2.5, index=(slice(1, 3),)),
        case(normal(4), normal(3), index=[2, 0, 2]),
        case(normal(4, 3), normal(3), index=np.array([1, 1])),
        case(normal(2, 3), normal(), index=MASK),
        case(normal(4, 3), normal(2, 1), index=(np.array([[0], [1]]), [2, 2])),
    ),
    row(
        "stays",
        stays,
        case(normal(4), index=[2, 0, 2]),
        case(normal(4, 3), index=np.array([1, 1])),
        op=index.stays,
        differentiable=False,
    ),
    row(
        "at",
        lambda x, values, index: x + add_at(np.broadcast_to(values, x[index].shape), index, x.shape),
        case(normal(4, 3), normal(3), index=[1, 1]),
        case(normal(4, 3), 2.5, index=(slice(None), 1)),
        op=lambda x, values, index: ops.at(x, index).add(values),
    ),
    row(
        "at set",
        set_at,
        case(normal(4), normal(2), index=[3, 3]),
        op=lambda x, values, index: ops.at(x, index).set(values),
    ),
    row("one_hot", lambda ids, n: np.eye(n, dtype=np.float32)[ids], case(integers(4, 2, 3), 4), differentiable=False),
    # sorting
    row("sort", np.sort, case(distinct(3, 4)), case(distinct(3, 4), axis=0), case(distinct(2, 3), axis=None)),
    row("topk", topk, case(distinct(3, 4), 2), case(distinct(3, 4), 3, axis=0), case(distinct(4), 0)),
    row(
        "argsort",
        np.argsort,
        case(distinct(3, 4)),
        case(distinct(3, 4), axis=0),
        case(distinct(3, 2), axis=None),
        differentiable=False,
    ),
    *(
        row(
            name,
            getattr(np, name),
            case(distinct(3, 4)),
            case(distinct(3, 4), axis=0, keepdims=True),
            differentiable=False,
        )
        for name in ("argmax", "argmin")
    ),
    # linalg
    row("inner", np.inner, case(normal(3), normal(3)), case(normal(2, 3), normal(4, 2, 3)), case(normal(), normal(3))),
    row(
        "dot",
        np.dot,
        case(normal(3), normal(3)),
        case(normal(2, 3), normal(3, 4)),
        case(normal(2, 4, 3), normal(3)),
        case(normal(4, 3), normal(2, 3, 2)),
        case(normal(3), normal(2, 3, 2)),
        case(normal(2, 3), normal()),
    ),
    row(
        "kron", np.kron, case(normal(2), normal(3)), case(normal(2, 3), normal(3, 2)), case(normal(2, 1, 2), normal(3))
    ),
    row(
        "diagonal",
        np.diagonal,
        case(normal(3, 4)),
        case(normal(4, 3), offset=-1),
        case(normal(2, 3, 4), 1, 2, 0),
        case(normal(2, 3), 5),
    ),
    row("diag", np.diag, case(normal(3)), case(normal(2), k=-1), case(normal(3, 4), k=1)),
    row("trace", np.trace, case(normal(3, 4)), case(normal(2, 3, 4), 1, 1, 2)),
    row(
        "matmul",
        np.matmul,
        case(normal(2, 3), normal(3, 4)),
        case(normal(3), normal(3)),
        case(normal(3), normal(3, 4)),
        case(normal(2, 3), normal(3)),
        case(normal(3), normal(2, 3, 4)),
        case(normal(2, 3, 4), normal(4)),
        case(normal(2, 1, 2, 3), normal(4, 3, 2)),
        case(normal(2, 3), normal(2, 3, 2)),
    ),
    row("outer", np.outer, case(normal(3), normal(4)), case(normal(2, 2), normal(3))),
    row(
        "tensordot",
        np.tensordot,
        case(normal(2, 3, 4), normal(3, 4, 2)),
        case(normal(2, 3), normal(2, 4), axes=([0], [0])),
        case(normal(2, 3, 4), normal(4, 2), axes=([2, 0], [0, 1])),
        case(normal(2), normal(3), axes=0),
        case(normal(2, 3), normal(4, 3), axes=(-1, -1)),
    ),
    row(
        "einsum",
        lambda subscripts, *xs: np.einsum(subscripts, *xs),
        case("ik,kj->ij", normal(2, 3), normal(3, 4)),
        case("ij,jk,kl->il", normal(2, 3), normal(3, 2), normal(2, 4)),
        case("bthd,bshd->bhts", normal(2, 3, 2, 2), normal(2, 4, 2, 2)),
        case("...ij,...jk->...ik", normal(2, 1, 2, 3), normal(4, 3, 2)),
        case("ij->ji", normal(2, 3)),
        case("ij->", normal(2, 3)),
        case("ij->j", normal(2, 3)),
        case("ii", normal(3, 3)),
        case("ii->i", normal(3, 3)),
        case("iij,jkk->ik", normal(2, 2, 3), normal(3, 2, 2)),
        case("i,j", normal(2), normal(3)),
        case("ij,jk", normal(2, 3), normal(3, 2)),
        case("i,i->i", normal(1), normal(3)),
        case("i,i->", normal(1), normal(3)),
        case("ij,kl->il", normal(2, 3), normal(2, 2)),
        case("...i->...", normal(2, 3)),
        case("b...->...b", normal(2, 3, 2)),
        case("i,i,i->", normal(3), normal(3), normal(3)),
        case(",i->i", normal(), normal(3)),
    ),
    row(
        "einsum_",
        lambda *xs, terms, result: np.einsum(",".join(terms) + "->" + result, *xs),
        case(normal(2, 3), normal(3), terms=("ij", "j"), result="i"),
        op=linalg.einsum_,
    ),
    # the formulas of nn.functional
    row(
        "linear",
        lambda x, w, b=None: x @ w.T + (0 if b is None else b),
        case(normal(2, 3), normal(4, 3), normal(4)),
        case(normal(2, 2, 3), normal(4, 3)),
        case(normal(3), normal(4, 3), None),
        op=F.linear,
    ),
    row(
        "swiglu",
        lambda gate, up: gate * sigmoid(gate) * up,
        case(normal(2, 3), normal(2, 3)),
        case(normal(2, 2, 3), normal(2, 2, 3)),
        op=F.swiglu,
    ),
    row(
        "geglu_tanh",
        lambda gate, up: gelu(gate) * up,
        case(normal(2, 3), normal(2, 3)),
        case(normal(2, 2, 3), normal(2, 2, 3)),
        op=F.geglu_tanh,
    ),
    row(
        "layer_norm",
        layer_norm,
        case(normal(3, 4), normal(4), normal(4)),
        case(normal(2, 2, 4), normal(4)),
        case(normal(3, 4), normal(4), normal(4), eps=0.1),
        op=F.layer_norm,
    ),
    row(
        "rms_norm",
        lambda x, w, eps=1e-5: x / np.sqrt(np.square(x).mean(-1, keepdims=True) + eps) * w,
        case(normal(3, 4), normal(4)),
        case(normal(2, 2, 4), normal(4), eps=0.1),
        op=F.rms_norm,
    ),
    row(
        "apply_rotary",
        rotate,
        case(normal(2, 3, 2, 4), cos=np.cos(ANGLES), sin=np.sin(ANGLES)),
        op=lambda x, cos, sin: F.apply_rotary(x, cos, sin),
    ),
    row(
        "causal_attention",
        attention,
        case(normal(2, 3, 2, 4), normal(2, 3, 2, 4), normal(2, 3, 2, 4)),
        case(normal(1, 3, 4, 2), normal(1, 3, 2, 2), normal(1, 3, 2, 2)),
        case(normal(1, 2, 2, 2), normal(1, 5, 1, 2), normal(1, 5, 1, 2)),
        case(normal(1, 5, 2, 2), normal(1, 5, 2, 2), normal(1, 5, 2, 2), window=2),
        case(normal(1, 2, 2, 2), normal(1, 5, 2, 2), normal(1, 5, 2, 2), window=3, scale=0.3),
        op=F.causal_attention,
    ),
    row(
        "token_losses",
        token_losses,
        case(normal(3, 4), exactly([1, 3, -1])),
        case(normal(3, 4), exactly([1, -100, 3])),
        case(normal(2, 3, 5), integers(5, 2, 3)),
        op=F.token_losses,
    ),
    row(
        "linear_cross_entropy",
        lambda x, weight, targets: token_losses(x @ weight.T, targets).sum(),
        case(normal(3, 2), normal(4, 2), exactly([1, 3, -1])),
        case(normal(3, 2), normal(4, 2), exactly([1, 3, -100])),
        op=F.linear_cross_entropy,
    ),
    row(
        "cross_entropy",
        cross_entropy,
        case(normal(3, 4), exactly([1, -1, 3])),
        case(normal(3, 4), exactly([1, 2, 3]), reduction="sum"),
        op=F.cross_entropy,
    ),
    row(
        "dropout",
        dropout,
        case(normal(3, 4), 0.25, 7),
        op=lambda x, rate, seed: F.dropout(x, rate, np.random.default_rng(seed)),
    ),
    row(
        "dropped",
        lambda x, draws, p: np.where(draws >= p * 65536, x / (1.0 - p), 0.0).astype(x.dtype),
        case(normal(2, 3), exactly([[0, 16383, 16384], [65535, 16385, 7]]), p=0.25),
        op=F.dropped,
    ),
]

FAST = {
    "embedding",
    "gelu_tanh",
    "softmax",
    "linear",
    "swiglu",
    "geglu_tanh",
    "layer_norm",
    "rms_norm",
    "apply_rotary",
    "causal_attention",
    "token_losses",
    "linear_cross_entropy",
    "dropped",
}
CASES = {f"{r.name}-{i}": (r, c) for r in TABLE for i, c in enumerate(r.cases)}
