"""Names that PyTorch has and this library does not: each is an error that gives the line to write instead.

The arithmetic here has NumPy's names. An alias for each of PyTorch's would double the vocabulary; a bare "no attribute"
would leave a PyTorch user to search. `ATTRIBUTES` is for `tensor.name`, `FUNCTIONS` for `tg.name` and `tg.ops.name`,
`KEYWORDS` for arguments of ops. What to write are lines that run, separated by ", or ".

Used by: `tensor`, `op_errors`, `ops`.
"""

from __future__ import annotations

from collections.abc import Iterable

from tinygrad_llm.errors import InputError

ATTRIBUTES = {
    "view": "tensor.reshape(2, 3)",
    "view_as": "tensor.reshape(other.shape)",
    "reshape_as": "tensor.reshape(other.shape)",
    "permute": "tensor.transpose(0, 2, 1)",
    "t": "tensor.T",
    "mT": "tensor.swapaxes(-1, -2)",
    "unsqueeze": "tensor[:, None], or tg.ops.expand_dims(tensor, axis)",
    "unbind": "list(tensor)",
    "chunk": "tg.ops.split(tensor, 3, axis=0)",
    "split": "tg.ops.split(tensor, 3, axis=0)",
    "expand": "tg.ops.broadcast_to(tensor, shape)",
    "expand_as": "tg.ops.broadcast_to(tensor, other.shape)",
    "contiguous": "tensor",
    "clone": "tensor.copy()",
    "new_zeros": "tg.zeros(shape)",
    "new_ones": "tg.ones(shape)",
    "cuda": 'tensor.to("cuda")',
    "cpu": 'tensor.to("cpu")',
    "is_cuda": 'tensor.device == "cuda"',
    "float": 'tensor.astype("float32")',
    "double": 'tensor.astype("float64")',
    "half": 'tensor.astype("float16")',
    "long": 'tensor.astype("int64")',
    "int": 'tensor.astype("int32")',
    "bool": "tensor != 0",
    "type": 'tensor.astype("float32")',
    "dim": "tensor.ndim",
    "numel": "tensor.size",
    "nelement": "tensor.size",
    "is_leaf": "tensor.node is None",
    "grad_fn": "tensor.node",
    "retain_grad": "tg.gradients(loss, tensor), or tensor.register_hook(print)",
    "detach_": "tensor = tensor.detach()",
    "zero_": "tensor = tg.zeros_like(tensor), or tensor.data[...] = 0",
    "fill_": "tensor = tg.full_like(tensor, value), or tensor.data[...] = value",
    "add_": "tensor = tensor + other, or tensor.data += array",
    "sub_": "tensor = tensor - other, or tensor.data -= array",
    "mul_": "tensor = tensor * other, or tensor.data *= array",
    "div_": "tensor = tensor / other, or tensor.data /= array",
    "copy_": "tensor.data[...] = array",
    "normal_": "tg.randn(shape)",
    "uniform_": "tg.rand(shape)",
    "masked_fill_": "tensor = tensor.masked_fill(mask, value)",
    "add": "tensor + other",
    "sub": "tensor - other",
    "mul": "tensor * other",
    "div": "tensor / other",
    "pow": "tensor ** exponent",
    "neg": "-tensor",
    "matmul": "tensor @ other",
    "mm": "tensor @ other",
    "bmm": "tensor @ other",
    "mv": "tensor @ vector",
    "eq": "tensor == other",
    "ne": "tensor != other",
    "lt": "tensor < other",
    "le": "tensor <= other",
    "gt": "tensor > other",
    "ge": "tensor >= other",
    "where": "tg.ops.where(condition, tensor, other)",
    "clamp": "tensor.clip(min, max)",
    "rsqrt": "tg.ops.rsqrt(tensor)",
    "topk": "tg.ops.topk(tensor, k)",
    "gather": "tg.ops.gather(tensor, indices, axis=-1)",
    "scatter_add": "tg.ops.scatter_add(tensor, indices, values, axis=-1)",
    "index_select": "tensor.take(indices, axis=0)",
    "masked_select": "tensor[mask]",
    "flip": "tg.ops.flip(tensor, axis)",
    "roll": "tg.ops.roll(tensor, shift, axis)",
    "tril": "tg.ops.tril(tensor)",
    "triu": "tg.ops.triu(tensor)",
    "tile": "tg.ops.tile(tensor, repeats)",
    "amax": "tensor.max(axis=0)",
    "amin": "tensor.min(axis=0)",
}
FUNCTIONS = {
    "cat": "tg.ops.concatenate([x, y], axis=0)",
    "permute": "tg.ops.transpose(x, (0, 2, 1))",
    "unsqueeze": "tg.ops.expand_dims(x, axis)",
    "chunk": "tg.ops.split(x, 3, axis=0)",
    "clamp": "tg.ops.clip(x, min, max)",
    "clone": "x.copy()",
    "view": "tg.ops.reshape(x, shape)",
    "sub": "tg.ops.subtract(x, y)",
    "mul": "tg.ops.multiply(x, y)",
    "div": "tg.ops.divide(x, y)",
    "pow": "tg.ops.power(x, y)",
    "neg": "tg.ops.negative(x)",
    "mm": "tg.ops.matmul(x, y)",
    "bmm": "tg.ops.matmul(x, y)",
    "mv": "tg.ops.matmul(x, y)",
    "eq": "tg.ops.equal(x, y)",
    "ne": "tg.ops.not_equal(x, y)",
    "lt": "tg.ops.less(x, y)",
    "le": "tg.ops.less_equal(x, y)",
    "gt": "tg.ops.greater(x, y)",
    "ge": "tg.ops.greater_equal(x, y)",
    "amax": "tg.ops.max(x, axis=0)",
    "amin": "tg.ops.min(x, axis=0)",
    "index_select": "tg.ops.take(x, indices, axis=0)",
    "masked_select": "x[mask]",
    "from_numpy": "tg.Tensor(array)",
    "as_tensor": "tg.Tensor(array)",
    "manual_seed": "tg.randn(shape, seed=0)",
    "float32": 'tensor.astype("float32")',
    "float64": 'tensor.astype("float64")',
    "float16": 'tensor.astype("float16")',
    "int64": 'tensor.astype("int64")',
    "long": 'tensor.astype("int64")',
    "device": 'tensor.to("cpu"), or tensor.to("cuda")',
    "cuda": 'tensor.to("cuda"), or model.to("cuda")',
    "set_grad_enabled": "with tg.no_grad(): ...",
    "inference_mode": "with tg.no_grad(): ...",
    "save": "model.save(path)",
}
KEYWORDS = {
    "dim": "axis=",
    "dims": "axis=, or axes= of transpose",
    "keepdim": "keepdims=",
    "other": "the second argument by position",
    "input": "the first argument by position",
    "unbiased": "ddof=",
    "correction": "ddof=",
}


class UnknownName(InputError, AttributeError):
    """An attribute that does not exist, with the line to write instead."""


class UnknownArgument(InputError, TypeError):
    """An argument that does not exist, with the one to write instead."""


class Size(int):
    """`tensor.size`: how many numbers there are. PyTorch's `tensor.size()` is an error that says `tensor.shape`."""

    def __call__(self, axis: int | None = None) -> None:
        raise UnknownName(f"tensor.size is a number: write tensor.shape{'' if axis is None else f'[{axis}]'}.")


def no_attribute(name: str) -> AttributeError:
    """The error for `tensor.name`."""
    if name in ATTRIBUTES:
        return UnknownName(f"a Tensor has no '{name}', it has NumPy's names: write {ATTRIBUTES[name]}.")
    return AttributeError(f"a Tensor has no '{name}'; dir(tensor) lists what it has, dir(tg.ops) what works on it.")


def no_function(module: str, name: str) -> AttributeError:
    """The error for `module.name`."""
    if name in FUNCTIONS:
        return UnknownName(f"{module} has no '{name}', it has NumPy's names: write {FUNCTIONS[name]}.")
    return AttributeError(f"module '{module}' has no attribute '{name}'")


def refuse_arguments(function: str, names: Iterable[str]) -> None:
    """Raise UnknownArgument where one of the names is PyTorch's for an argument that has NumPy's name here."""
    for name in names:
        if name in KEYWORDS:
            raise UnknownArgument(f"{function}: there is no argument '{name}': write {KEYWORDS[name]}.")
