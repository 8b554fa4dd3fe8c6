"""More ops that give the same values another shape: squeezing, stacking, splitting, converting.

Builds on: `basic`, which has reshape, transpose, swapaxes, expand_dims, broadcast_to and concatenate.
"""

from tinygrad_llm.autograd.ops.basic import (
    along,
    axis_from_front,
    concatenate,
    concatenate_,
    expand_dims,
    reshape,
    transpose,
)
from tinygrad_llm.autograd.ops.composite import composite
from tinygrad_llm.autograd.primitive import primitive


@primitive
def astype(x, *, dtype):
    """The values in another dtype, dy/dx = 1; the gradient comes back in the dtype of x. Any shape.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = ops.astype(x, dtype=np.float64)
    >>> y.sum().backward()
    >>> print(y.dtype, x.grad.dtype)
    float64 float32
    """
    return x.astype(dtype)


@astype.vjp
def astype_vjp(g, out, x, *, dtype):
    return (g.astype(x.dtype),)


@composite
def permute_dims(x, axes):
    """`transpose` under its name in the array API: y[i_axes] = x[i]. The gradient takes the inverse order.

    >>> print(ops.permute_dims(Tensor(np.zeros((2, 3, 4))), (2, 0, 1)).shape)
    (4, 2, 3)
    """
    return transpose(x, axes=axes)


@primitive
def squeeze(x, *, axis=None):
    """Axes of length 1 removed: all of them, or those in `axis`. The gradient gets them back.

    >>> x = Tensor([[1.0, 2.0]], requires_grad=True)
    >>> y = ops.squeeze(x)
    >>> y.sum().backward()
    >>> print(y.shape, x.grad.shape)
    (2,) (1, 2)
    """
    return x.squeeze(axis)


@squeeze.vjp
def squeeze_vjp(g, out, x, *, axis=None):
    return (g.reshape(x.shape),)


@composite
def stack(arrays, axis=0):
    """Arrays of one shape joined along a new axis. Each gets its own slice of the gradient.

    arrays: n of them, of shape (...) -> (..., n, ...), the new axis at `axis` of the result.

    >>> x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    >>> z = ops.stack([x, y], axis=1)
    >>> z[0].sum().backward()
    >>> print(z.numpy().tolist(), x.grad.numpy(), y.grad.numpy())
    [[1.0, 3.0], [2.0, 4.0]] [1. 0.] [1. 0.]
    """
    shapes = [x.shape for x in arrays]
    if len(set(shapes)) != 1:
        raise ValueError(f"all arrays must have one shape, they have {shapes}")
    return concatenate_(*(expand_dims(x, axis=axis) for x in arrays), axis=axis)


@composite
def split(x, indices_or_sections, axis=0):
    """An axis cut into a list of pieces: the inverse of `concatenate`. The gradients of the pieces are joined again.

    indices_or_sections: how many equal pieces, or the positions to cut at: [2, 5] makes [:2], [2:5] and [5:].

    >>> x = Tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    >>> a, b = ops.split(x, [1])
    >>> b.sum().backward()
    >>> print(a.numpy(), b.numpy(), x.grad.numpy())
    [1.] [2. 3. 4.] [0. 1. 1. 1.]
    """
    axis = axis_from_front(axis, x.ndim)
    cuts = indices_or_sections
    if isinstance(cuts, int):
        if cuts < 1 or x.shape[axis] % cuts:
            raise ValueError(f"axis {axis} of length {x.shape[axis]} does not divide into {cuts} equal pieces")
        size = x.shape[axis] // cuts
        cuts = range(size, x.shape[axis], size) if size else [0] * (cuts - 1)
    return [x[along(axis, slice(start, end))] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]


@composite
def moveaxis(x, source, destination):
    """Axes moved to other positions; the others keep their order. The gradient is moved back.

    source, destination: an axis each, or as many of one as of the other.

    >>> print(ops.moveaxis(Tensor(np.zeros((2, 3, 4))), 0, -1).shape)
    (3, 4, 2)
    """
    source, destination = (
        [axis_from_front(a, x.ndim) for a in ((axes,) if isinstance(axes, int) else axes)]
        for axes in (source, destination)
    )
    if len(source) != len(destination) or len(set(source)) != len(source) or len(set(destination)) != len(source):
        raise ValueError(f"source {source} and destination {destination} must name as many axes, each once")
    order = [a for a in range(x.ndim) if a not in source]
    for new, old in sorted(zip(destination, source, strict=True)):
        order.insert(new, old)
    return transpose(x, axes=tuple(order))


@composite
def ravel(x):
    """All values in one row, in their order. The gradient gets the shape back.

    >>> print(ops.ravel(Tensor([[1.0, 2.0], [3.0, 4.0]])).numpy())
    [1. 2. 3. 4.]
    """
    return reshape(x, shape=(-1,))


def atleast_1d(*arrays):
    """A number as a row of one value; anything else as it is. Several arguments give a tuple.

    >>> print(ops.atleast_1d(Tensor(5.0)).shape)
    (1,)
    """
    return each(arrays, lambda x: x if x.ndim else reshape(x, shape=(1,)))


def atleast_2d(*arrays):
    """Axes of length 1 in front until there are two. Several arguments give a tuple.

    >>> print(ops.atleast_2d(Tensor([1.0, 2.0])).shape)
    (1, 2)
    """
    return each(arrays, lambda x: x if x.ndim >= 2 else reshape(x, shape=(1, x.size)))


def atleast_3d(*arrays):
    """Axes of length 1 until there are three, as NumPy places them: (n,) -> (1, n, 1), (n, m) -> (n, m, 1).

    >>> print(ops.atleast_3d(Tensor([1.0, 2.0])).shape)
    (1, 2, 1)
    """
    return each(
        arrays,
        lambda x: x if x.ndim >= 3 else reshape(x, shape=(*x.shape, 1) if x.ndim == 2 else (1, x.size, 1)),
    )


def each(arrays, change):
    """`change` of one array, or a tuple of several."""
    changed = tuple(map(change, arrays))
    return changed[0] if len(changed) == 1 else changed


@composite
def vstack(arrays):
    """Arrays joined as rows: along the first axis, once each has two.

    >>> print(ops.vstack([Tensor([1.0, 2.0]), Tensor([3.0, 4.0])]).numpy().tolist())
    [[1.0, 2.0], [3.0, 4.0]]
    """
    return concatenate([atleast_2d(x) for x in arrays], axis=0)


@composite
def hstack(arrays):
    """Arrays joined side by side: along the second axis, or the first if they have only one.

    >>> print(ops.hstack([Tensor([1.0, 2.0]), Tensor([3.0])]).numpy())
    [1. 2. 3.]
    """
    arrays = [atleast_1d(x) for x in arrays]
    return concatenate(arrays, axis=0 if arrays and arrays[0].ndim == 1 else 1)


@composite
def append(x, values, axis=None):
    """x with values behind it along an axis; both flattened if `axis` is None.

    >>> print(ops.append(Tensor([1.0, 2.0]), Tensor([3.0])).numpy())
    [1. 2. 3.]
    """
    return concatenate([x, values], axis=axis)
