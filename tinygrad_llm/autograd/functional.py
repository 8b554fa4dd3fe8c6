"""Derivatives of functions: grad, vjp, jvp, jacobian, hessian, hvp, of any order; and gradients of tensors at hand.

`backward()` computes the gradients of one tensor with respect to everything behind it. Here one takes the derivative
of a *function* and gets a function (or its value) back, which has derivatives again: `grad(grad(f))` is f''. Names and
arguments are those of JAX. All of it is the one backward pass of `engine`; nothing here knows a rule.

    grad(f)(x)           ∇f(x)                 one backward pass
    vjp(f, x)            u ↦ uᵀ J              one per u
    jvp(f, (x,), (v,))   J v                   two, see there
    jacobian(f)(x)       J, row by row         one per number in the output
    hessian(f)(x)        the Jacobian of ∇f    one per number in the input
    hvp(f, (x,), (v,))   H v                   two: the gradient of (∇f · v)

The arguments may be tensors, arrays or numbers. Where one of them (or anything else that f uses) has a history, the
derivative has one too, and can be differentiated further by whatever means; where nothing has, it is plain values.
Inside `no_grad()` it is plain values always.

Builds on: `engine`, `subgraph`. Used by: whoever trains, explains or checks a model.
Left out on purpose: nested containers of arguments. For the parameters of a model, close over it and use `gradients`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinygrad_llm.autograd import ops
from tinygrad_llm.autograd.fused import as_variable
from tinygrad_llm.autograd.modes import mode, recording
from tinygrad_llm.autograd.subgraph import gradients_at, requiring_grad
from tinygrad_llm.autograd.tensor import Tensor, is_tracked
from tinygrad_llm.backend import array_module
from tinygrad_llm.errors import InputError

# --- of tensors at hand ---------------------------------------------------------------------------------------


def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
    output_gradients: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> Any:
    """d(Σ outputs · output_gradients)/d(input) for every input, without touching any `.grad`.

    inputs: one tensor, several, or named ones, {name: tensor}; the answer has the same form. They may be tensors that
    were computed on the way. The derivatives are total: with y = 2x, z = 3y, the gradients of z with respect to (x, y)
    are (6, 3). Where nothing leads from an input to the outputs, the gradient is zeros.
    output_gradients: one per output, as `gradient` of `Tensor.backward`. create_graph, retain_graph: as there.

    Raises InputError for an input that requires no gradient (a frozen one), and whatever `Tensor.backward` raises.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> slope = gradients(x * x * x, x, create_graph=True)
    >>> print(slope.item(), gradients(slope, x).item())
    27.0 18.0
    """
    if isinstance(inputs, Mapping):
        keep = {"create_graph": create_graph, "retain_graph": retain_graph}
        found = gradients(outputs, list(inputs.values()), output_gradients, **keep)
        return dict(zip(inputs, found, strict=True))
    roots, wanted = as_tuple(outputs), as_tuple(inputs)
    for i, x in enumerate(wanted):
        if not is_tracked(x):
            raise InputError(
                f"gradients: inputs[{i}] requires no gradient, so nothing was recorded that leads to it. Say "
                "x.requires_grad_() before computing with it."
            )
    given = [None] * len(roots) if output_gradients is None else as_tuple(output_gradients)
    if len(given) != len(roots):
        raise InputError(f"gradients: output_gradients must be one per output, {len(roots)}; there are {len(given)}.")
    found = backward_to(wanted, roots, given, create_graph=create_graph, retain_graph=retain_graph)
    return found[0] if isinstance(inputs, Tensor) else found


def backward_to(
    wanted: Sequence[Tensor],
    roots: Sequence[Tensor],
    given: Sequence[Any],
    *,
    stops: Sequence[Tensor] = (),
    create_graph: bool = False,
    retain_graph: bool = False,
) -> tuple[Tensor, ...]:
    """The gradient of Σ roots · given with respect to each wanted tensor, zeros where nothing leads there.

    Each has memory of its own (a rule may give one array to two inputs), and a history if `create_graph`.
    """
    firsts = [root.first_gradient(g) for root, g in zip(roots, given, strict=True)]
    firsts = firsts if create_graph else [g.data for g in firsts]
    found = gradients_at(wanted, roots, firsts, stops=stops, retain_graph=create_graph or retain_graph)
    return tuple(own(g, x) for g, x in zip(found, wanted, strict=True))


def own(g: Any, x: Tensor) -> Tensor:
    """The gradient g of x as a Tensor."""
    if isinstance(g, Tensor):
        return g
    xp = array_module(x.data)
    return Tensor(xp.zeros(x.shape, x.dtype) if g is None else xp.array(g))


# --- of functions ---------------------------------------------------------------------------------------------


def grad(fn: Callable[..., Tensor], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The function that computes ∇fn: the gradient of a single number with respect to the argument(s) `argnums`.

    Returns one Tensor of the argument's shape, or a tuple when `argnums` is a sequence.

    >>> print(grad(lambda x: x.tanh())(0.5), grad(grad(lambda x: x * x * x))(2.0).item())
    Tensor(0.78645, shape=(), float32) 12.0
    """
    both = value_and_grad(fn, argnums)
    return lambda *args, **options: both(*args, **options)[1]


def value_and_grad(fn: Callable[..., Tensor], argnums: int | Sequence[int] = 0) -> Callable[..., tuple[Tensor, Any]]:
    """The function that computes (fn, ∇fn) at once. See `grad`."""
    if not callable(fn):
        raise InputError(
            f"grad: fn must be a function, it was a {type(fn).__name__}. For the gradients of a result write "
            "tg.gradients(result, tensors)."
        )

    def both(*args: Any, **options: Any) -> tuple[Tensor, Any]:
        call = Call(fn, args, options, argnums)
        if not call.has_one_output or call.outputs[0].size != 1:
            shapes = ", ".join(str(y.shape) for y in call.outputs)
            raise InputError(
                f"grad: {name_of(fn)} must return a single number, it returned shape {shapes}. Sum it, or use jacobian "
                "or vjp."
            )
        found = call.gradients([None])
        return call.values(), found[0] if isinstance(argnums, int) else found

    return both


def vjp(fn: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Tensor, ...]]]:
    """(fn(*primals), pullback), where pullback(u) = uᵀ J: one gradient per primal, given one u per output of fn.

    `pullback` may be called many times; the graph is kept as long as it is.

    >>> y, pullback = vjp(lambda x: x * x, Tensor([1.0, 2.0]))
    >>> print(pullback(Tensor([1.0, 10.0]))[0].numpy())
    [ 2. 40.]
    """
    call = Call(fn, primals, {}, range(len(primals)))
    return call.values(), lambda u: call.gradients(as_tuple(u), retain_graph=True)


def jvp(fn: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """(fn(*primals), J v): how fn changes when its arguments move along `tangents` (one per primal).

    Forward mode without a second set of rules: the backward pass computes u ↦ uᵀ J, which is linear in u, and its
    derivative with respect to u in the direction v is J v. So one pass records the other, and the value of u never
    matters (it is 0 here). (Townsend, "A new trick for calculating Jacobian vector products", 2017.)

    >>> y, slope = jvp(lambda x: x * x, (Tensor([1.0, 2.0]),), (Tensor([1.0, 10.0]),))
    >>> print(slope.numpy())
    [ 2. 40.]
    """
    directions = as_tuple(tangents)
    call = Call(fn, as_tuple(primals), {}, range(len(as_tuple(primals))), and_of=directions)
    u = [Tensor(array_module(y.data).zeros_like(y.data), requires_grad=True) for y in call.outputs]
    with recording(True), requiring_grad(u):
        products = call.gradients(u, create_graph=True)  # uᵀ J
        pushed = call.derivative(products, directions, u)
    return call.values(), call.in_form(pushed)


def hvp(fn: Callable[..., Tensor], primals: Any, tangents: Any) -> Any:
    """H v: the Hessian of a function to a single number, times `tangents`, without the Hessian: ∇(∇fn · v).

    primals, tangents: one tensor, or a sequence of tensors, of equal shapes; the answer has the form of `primals`.

    >>> print(hvp(lambda x: (x * x * x).sum(), Tensor([1.0, 2.0]), Tensor([1.0, 1.0])).numpy())
    [ 6. 12.]
    """
    directions = as_tuple(tangents)
    call = Call(fn, as_tuple(primals), {}, range(len(as_tuple(primals))), and_of=directions)
    with recording(True):
        first = call.gradients([None], create_graph=True)
        second = call.derivative(first, directions, call.variables)
    return second if isinstance(primals, tuple | list) else second[0]


def jacobian(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The function that computes J[i, j] = d fn_i / d x_j, of shape (fn's shape..., x's shape...).

    A tuple over `argnums` when that is a sequence; of that, a tuple over the outputs when fn returns several.
    Row by row: choose it where fewer numbers come out than go in, else build columns with `jvp`.

    >>> print(jacobian(lambda x: x * x)(Tensor([1.0, 2.0])).numpy())
    [[2. 0.]
     [0. 4.]]
    """

    def matrix(*args: Any, **options: Any) -> Any:
        call = Call(fn, args, options, argnums)
        blocks = tuple(call.rows(k) for k in range(len(call.outputs)))  # for each output a tuple over the variables
        chosen = tuple(row[0] for row in blocks) if isinstance(argnums, int) else blocks
        return call.in_form(chosen)

    return matrix


def hessian(fn: Callable[..., Tensor], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The function that computes H[i, j] = d²fn / dx_i dx_j, of shape (x's shape..., x's shape...).

    With a sequence of `argnums`, a tuple of tuples of blocks.

    >>> print(hessian(lambda x: (x * x * x).sum())(Tensor([1.0, 2.0])).numpy())
    [[ 6.  0.]
     [ 0. 12.]]
    """
    return jacobian(grad(fn, argnums), argnums)


# --- how ------------------------------------------------------------------------------------------------------


class Call:
    """One call of a function, recorded from copies of the arguments that are differentiated: its `variables`.

    Copies, because the function may be used inside another derivative with respect to the same tensors, and each must
    see only its own: in grad(x ↦ x · grad(y ↦ x + y)(1)) the inner gradient is 1, not 2. A copy leads back to its
    argument where that has a history; otherwise it is a leaf, which requires a gradient only while one is computed
    here. So what a derivative returns never leads to the inside of another one.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any],
        options: dict[str, Any],
        argnums: Any,
        and_of: Sequence[Any] = (),
    ) -> None:
        self.wants_history = mode.recording
        positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        for i in positions:
            if not -len(args) <= i < len(args):
                raise InputError(
                    f"argnums: {name_of(fn)} was called with {len(args)} arguments, there is no number {i}."
                )
        given = list(args)
        with recording(True):
            for i in positions:
                x = checked(args[i], f"argument {i} of {name_of(fn)}")
                given[i] = as_variable(x, self.wants_history and x.requires_grad)
            self.variables = [given[i] for i in positions]
            self.leaves = [x for x in self.variables if x.node is None]
            with requiring_grad(self.leaves):
                answer = fn(*given, **options)
        self.outputs = as_tuple(answer)
        self.has_one_output = not isinstance(answer, tuple | list)
        for y in self.outputs:
            if not isinstance(y, Tensor):
                raise InputError(
                    f"{name_of(fn)} returned {type(y).__name__}, it must return a Tensor that is computed from its "
                    "arguments with Tensor operations (no .item(), no .numpy())."
                )
        self.has_history = self.wants_history and (has_leaf(self.outputs) or any(map(is_tracked, and_of)))

    def gradients(
        self, given: Sequence[Any], *, create_graph: bool = False, retain_graph: bool = False
    ) -> tuple[Tensor, ...]:
        """Σ outputs · given, differentiated with respect to each variable.

        With a history where `create_graph` says so, or where the outputs or what is given have one.
        """
        create_graph = create_graph or self.has_history or (self.wants_history and any(map(is_tracked, given)))
        return self.derivative(
            self.outputs, given, self.variables, create_graph=create_graph, retain_graph=retain_graph
        )

    def derivative(
        self,
        roots: Sequence[Tensor],
        given: Sequence[Any],
        wanted: Sequence[Tensor],
        *,
        create_graph: bool | None = None,
        retain_graph: bool = False,
    ) -> tuple[Tensor, ...]:
        """Σ roots · given, differentiated with respect to each wanted tensor; with a history if that of the call is."""
        if len(given) != len(roots):
            raise InputError(
                f"{len(roots)} tensors came out, so there must be as many gradients (or tangents), not {len(given)}."
            )
        live = [(y, g) for y, g in zip(roots, given, strict=True) if y.requires_grad]  # the others depend on nothing
        with requiring_grad(self.leaves):
            return backward_to(
                wanted,
                [y for y, _ in live],
                [g for _, g in live],
                stops=[*self.variables, *wanted],
                create_graph=self.has_history if create_graph is None else create_graph,
                retain_graph=retain_graph,
            )

    def rows(self, k: int) -> tuple[Tensor, ...]:
        """The Jacobian of output k with respect to each variable, one backward pass per number in it."""
        y = self.outputs[k]
        xp = array_module(y.data)
        found = []
        for i in range(y.size):
            basis = xp.zeros(y.size, y.dtype)
            basis[i] = 1
            found.append(self.derivative((y,), (basis.reshape(y.shape),), self.variables, retain_graph=True))
        if not found:
            return tuple(Tensor(xp.zeros(y.shape + x.shape, x.dtype)) for x in self.variables)
        columns = zip(*found, strict=True)  # for each variable its rows
        return tuple(
            ops.stack(rows).reshape(y.shape + x.shape) for rows, x in zip(columns, self.variables, strict=True)
        )

    def values(self) -> Any:
        """What the function returned, with a history where the call has one."""
        return self.in_form(self.outputs if self.has_history else tuple(y.detach() for y in self.outputs))

    def in_form(self, answers: tuple) -> Any:
        """One answer where the function returned one tensor, else the tuple."""
        return answers[0] if self.has_one_output else answers


def has_leaf(outputs: Sequence[Tensor]) -> bool:
    """Whether a leaf that requires a gradient lies behind the outputs."""
    stack, seen = [y for y in outputs if y.requires_grad], set()
    while stack:
        x = stack.pop()
        if x.node is None:
            return True
        if id(x) not in seen:
            seen.add(id(x))
            stack.extend(filter(is_tracked, x.node.inputs))
    return False


def checked(x: Any, what: str) -> Tensor:
    """The argument x as a Tensor. Raises InputError unless it is floating-point."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.dtype.kind != "f":
        raise InputError(f"{what} is {x.dtype}: only floating-point numbers have derivatives; pass 3.0 instead of 3.")
    return x


def as_tuple(x: Any) -> tuple:
    """One thing as a tuple of one; several as a tuple."""
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def name_of(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__name__", type(fn).__name__)
