"""Ops that look values up by position, and their opposite: adding values at positions.

Reading a place twice means that its gradient is added twice. That is why the rule of indexing is not "write the
gradient back" but "add it up there".
"""

import numpy as np

from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.backend import array_module


def is_basic(index):
    """Whether an index is made of slices, integers, None and ... only, so that it reads no place twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, slice | int | np.integer) for part in parts)


@primitive
def getitem(x, *, index):
    """x[index] by NumPy's rules, basic or advanced. The gradient is added at the places that were read."""
    return x[index]


@getitem.vjp
def getitem_vjp(g, out, x, *, index):
    return (add_at(g, index=index, shape=x.shape),)


@primitive
def add_at(g, *, index, shape):
    """Zeros of `shape`, with g added at `index`, repeated places counted each time: the transpose of indexing."""
    xp = array_module(g)
    out = xp.zeros(shape, g.dtype)
    if is_basic(index):
        out[index] = g
    elif xp is np:
        np.add.at(out, index, g)
    else:
        xp.add.at(out, index, g)
    return out


@add_at.vjp
def add_at_vjp(dd, out, g, *, index, shape):
    return (getitem(dd, index=index),)


def take_along_last(x, ids):
    """x[..., ids[...]]: from the last axis, one value per row. x: (..., V), ids: (...) integers -> (...)."""
    xp = array_module(ids)
    rows = xp.ogrid[tuple(slice(n) for n in ids.shape)] if ids.ndim > 1 else [xp.arange(n) for n in ids.shape]
    return x[(*rows, ids)]
