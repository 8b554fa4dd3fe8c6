"""More products: of vectors, of many axes, by Einstein's notation; and diagonals.

Builds on: `basic`, which has matmul.

The derivative of a product with respect to one factor is a product of the gradient with the others: of matrices a
matrix product, of an einsum another einsum.
"""

import string

from tinygrad_llm.autograd.ops.basic import add_at, axis_from_front, broadcast_to, getitem, matmul, unbroadcast
from tinygrad_llm.autograd.ops.composite import composite
from tinygrad_llm.autograd.ops.shape import moveaxis
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.autograd.tensor import raw
from tinygrad_llm.backend import array_module


@composite
def outer(x, y):
    """z_ij = x_i y_j of the flattened values; dL/dx_i = Σ_j g_ij y_j, dL/dy_j = Σ_i g_ij x_i. (n,), (m,) -> (n, m).

    >>> x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    >>> z = ops.outer(x, y)
    >>> z.sum().backward()
    >>> print(z.numpy().tolist(), x.grad.numpy(), y.grad.numpy())
    [[3.0, 4.0], [6.0, 8.0]] [7. 7.] [3. 3.]
    """
    return x.reshape(-1, 1) * y.reshape(1, -1)


@composite
def tensordot(x, y, axes=2):
    """Σ x y over pairs of axes; the other axes of x, then those of y, stay. The gradient is a tensordot with the other.

    axes: n for the last n axes of x with the first n of y, or a pair of lists: (axes of x, axes of y).

    >>> x, y = Tensor([[1.0, 2.0]], requires_grad=True), Tensor([[3.0, 4.0]], requires_grad=True)
    >>> z = ops.tensordot(x, y, axes=([1], [1]))
    >>> z.sum().backward()
    >>> print(z.numpy(), x.grad.numpy(), y.grad.numpy())
    [[11.]] [[3. 4.]] [[1. 2.]]
    """
    if isinstance(axes, int):
        if not 0 <= axes <= min(x.ndim, y.ndim):
            raise ValueError(f"axes={axes} must lie between 0 and the number of axes of x {x.shape} and of y {y.shape}")
        axes = (range(x.ndim - axes, x.ndim), range(axes))
    of_x, of_y = (
        [axis_from_front(a, z.ndim) for a in ((pair,) if isinstance(pair, int) else pair)]
        for z, pair in zip((x, y), axes, strict=True)
    )
    if [x.shape[a] for a in of_x] != [y.shape[a] for a in of_y]:
        raise ValueError(f"axes {of_x} of x, {x.shape}, and {of_y} of y, {y.shape}, must have the same lengths")
    if len(set(of_x)) != len(of_x) or len(set(of_y)) != len(of_y):
        raise ValueError(f"axes names an axis twice: {of_x} of x, {of_y} of y")
    x_letters = list(string.ascii_lowercase[: x.ndim])
    y_letters = list(string.ascii_uppercase[: y.ndim])
    for a, b in zip(of_x, of_y, strict=True):
        y_letters[b] = x_letters[a]
    kept = [letter for letter in x_letters + y_letters if (letter in x_letters) != (letter in y_letters)]
    return einsum_(x, y, terms=("".join(x_letters), "".join(y_letters)), result="".join(kept))


@composite
def inner(x, y):
    """Σ_k x_…k y_…k over the last axes of both: (..., k), (…, k) -> (..., …); a product if one is a single number.

    >>> print(ops.inner(Tensor([1.0, 2.0]), Tensor([[3.0, 4.0], [5.0, 6.0]])).numpy())
    [11. 17.]
    """
    return x * y if x.ndim == 0 or y.ndim == 0 else tensordot(x, y, axes=(-1, -1))


@composite
def dot(x, y):
    """Σ_k over the last axis of x and the last but one of y, or its only one; a product if one is a single number.

    The same as `matmul` for vectors and matrices. Further axes are not matched: (..., k), (…, k, m) -> (..., …, m).

    >>> print(ops.dot(Tensor([1.0, 2.0]), Tensor([3.0, 4.0])).numpy())
    11.0
    """
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    return matmul(x, y) if y.ndim <= 2 else tensordot(x, y, axes=(-1, -2))


@composite
def kron(x, y):
    """The Kronecker product: every x times the whole of y, (n_0, …), (m_0, …) -> (n_0 m_0, …).

    >>> print(ops.kron(Tensor([1.0, 10.0]), Tensor([1.0, 2.0])).numpy())
    [ 1.  2. 10. 20.]
    """
    ndim = max(x.ndim, y.ndim)
    of_x, of_y = ((1,) * (ndim - z.ndim) + z.shape for z in (x, y))
    apart = x.reshape(tuple(k for n in of_x for k in (n, 1))) * y.reshape(tuple(k for m in of_y for k in (1, m)))
    return apart.reshape(tuple(n * m for n, m in zip(of_x, of_y, strict=True)))


# --- diagonals --------------------------------------------------------------------------------------------------


@composite
def diagonal(x, offset=0, axis1=0, axis2=1):
    """x_(i, i + offset) over two axes, which become one, the last: (n, m, ...) -> (..., k).

    >>> print(ops.diagonal(Tensor([[1.0, 2.0], [3.0, 4.0]])).numpy())
    [1. 4.]
    """
    if x.ndim < 2:
        raise ValueError("a diagonal needs at least two axes")
    rows, columns = diagonal_index(x.shape[axis1], x.shape[axis2], offset, array_module(raw(x)))
    return getitem(moveaxis(x, (axis1, axis2), (-2, -1)), index=(..., rows, columns))


def diagonal_index(n, m, offset, xp):
    """The rows and the columns of the diagonal of an n by m matrix that starts `offset` columns to the right."""
    first_row, first_column = max(0, -offset), max(0, offset)
    steps = xp.arange(max(0, min(n - first_row, m - first_column)))
    return first_row + steps, first_column + steps


@composite
def diag(x, k=0):
    """The k-th diagonal of a matrix; or, for x of shape (n,), the (n + |k|, n + |k|) matrix with x as k-th diagonal.

    >>> print(ops.diag(Tensor([1.0, 2.0])).numpy().tolist())
    [[1.0, 0.0], [0.0, 2.0]]
    """
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError("x must have one axis or two")
    size = x.shape[0] + abs(k)
    index = diagonal_index(size, size, k, array_module(raw(x)))
    return add_at(x, index=index, shape=(size, size))


@composite
def trace(x, offset=0, axis1=0, axis2=1):
    """Σ_i x_(i, i + offset) over two axes: (n, m, ...) -> (...).

    >>> print(ops.trace(Tensor([[1.0, 2.0], [3.0, 4.0]])).numpy())
    5.0
    """
    return diagonal(x, offset, axis1, axis2).sum(axis=-1)


# --- einsum -----------------------------------------------------------------------------------------------------


@composite
def einsum(subscripts, *xs):
    """Einstein's sum: axes named by letters, equal letters multiplied, letters missing from the result summed.

    "ik,kj->ij" is z_ij = Σ_k x_ik y_kj. NumPy's notation: "..." stands for leading axes that broadcast, a letter
    twice in one term takes the diagonal, without "->" the letters that occur once stay, in alphabetical order.
    The gradient with respect to one factor is the einsum of g with the other factors: "ij,kj->ik".

    >>> x, y = Tensor([[1.0, 2.0]], requires_grad=True), Tensor([[3.0], [4.0]], requires_grad=True)
    >>> z = ops.einsum("ik,kj->ij", x, y)
    >>> z.sum().backward()
    >>> print(z.numpy(), x.grad.numpy(), y.grad.numpy().tolist())
    [[11.]] [[3. 4.]] [[1.0], [2.0]]
    """
    terms, result = spell_out(subscripts, [x.ndim for x in xs])
    xs, terms = zip(*(letters_once(x, term) for x, term in zip(xs, terms, strict=True)), strict=True)
    every = "".join(terms) + result
    xs, terms = zip(*(sum_lonely(x, term, every) for x, term in zip(xs, terms, strict=True)), strict=True)
    return einsum_(*xs, terms=terms, result=result)


def spell_out(subscripts, ndims):
    """The terms and the result of einsum's notation, with letters for every "..." and a result in any case."""
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"the subscripts '{subscripts}' name {len(terms)} operands, {len(ndims)} were given")
    spare = [letter for letter in string.ascii_letters if letter not in subscripts]
    hidden = [ndim - len(term.replace("...", "")) for term, ndim in zip(terms, ndims, strict=True)]
    for term, ndim, missing in zip(terms, ndims, hidden, strict=True):
        if missing < 0 or (missing > 0 and "..." not in term):
            raise ValueError(f"the term '{term}' of '{subscripts}' does not fit an operand with {ndim} axes")
    dots = spare[: max(hidden, default=0)]  # "..." of each term: the last of these letters, as broadcasting counts
    if arrow and dots and "..." not in result:
        raise ValueError(f"the result of '{subscripts}' must contain '...', as its terms do")
    terms = [term.replace("...", "".join(dots[len(dots) - n :])) for term, n in zip(terms, hidden, strict=True)]
    if not arrow:
        once = sorted(letter for letter in set(left) - set(".,") if left.count(letter) == 1)
        result = "..." + "".join(once)
    result = result.replace("...", "".join(dots))
    letters = "".join(terms)
    if not set(letters + result) <= set(string.ascii_letters):
        raise ValueError(f"the subscripts '{subscripts}' may have letters, commas, '...' and one '->'")
    if len(set(result)) != len(result) or not set(result) <= set(letters):
        raise ValueError(f"the result of '{subscripts}' must name letters of the terms, each once")
    return terms, result


def letters_once(x, term):
    """x and its term with every letter once: for "ii", the entries x_ii. Cutting them out is reshaping and a stride."""
    for letter in term:
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            n, rest = x.shape[first], [a for a in range(x.ndim) if a not in (first, second)]
            if x.shape[second] != n:
                raise ValueError(
                    f"the letter '{letter}' stands for axes of {n} and {x.shape[second]}, of shape {x.shape}"
                )
            lengths = tuple(x.shape[a] for a in rest)
            x = x.transpose(*rest, first, second).reshape(*lengths, n * n)[..., :: n + 1]
            term = "".join(term[a] for a in rest) + letter
    return x, term


def sum_lonely(x, term, every):
    """x and its term without the letters that stand nowhere else: those axes are only summed."""
    axes = tuple(a for a, letter in enumerate(term) if every.count(letter) == 1)
    if not axes:
        return x, term
    return x.sum(axis=axes), "".join(letter for letter in term if every.count(letter) > 1)


@primitive
def einsum_(*xs, terms, result):
    """The primitive of `einsum` and `tensordot`: every letter once per term, and in the result or another term."""
    return array_module(xs[0]).einsum(",".join(terms) + "->" + result, *xs, optimize=True)


@einsum_.vjp
def einsum_vjp(g, out, *xs, terms, result):
    gradients = []
    for i, x in enumerate(xs):
        others, their_terms = xs[:i] + xs[i + 1 :], terms[:i] + terms[i + 1 :]
        gx = unbroadcast(einsum_(g, *others, terms=(result, *their_terms), result=terms[i]), x)
        gradients.append(gx if gx.shape == x.shape else broadcast_to(gx, shape=x.shape))
    return tuple(gradients)
