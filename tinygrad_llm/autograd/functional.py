"""Derivatives of functions: grad, vjp, jvp, jacobian, hessian, hvp, of any order; and gradients of tensors at hand.

`backward()` asks a tensor for the gradients of everything behind it. Here one asks a *function* for its derivative,
and gets a function (or its value) back, which can be asked again: `grad(grad(f))` is f''. Names and arguments are
those of JAX. All of it is the one walk of `engine`; nothing here knows a rule.

    grad(f)(x)           ∇f(x)                 one walk
    vjp(f, x)            u ↦ uᵀ J              one walk per u
    jvp(f, (x,), (v,))   J v                   two walks, see there
    jacobian(f)(x)       J, row by row         one walk per number that comes out
    hessian(f)(x)        the Jacobian of ∇f    one walk per number that goes in
    hvp(f, (x,), (v,))   H v                   two walks: the gradient of (∇f · v)

The arguments may be tensors, arrays or numbers. Where one of them (or anything else that f uses) has a history, the
derivative has one too, and can be differentiated further by whatever means; where nothing has, it is plain values.
Inside `no_grad()` it is plain values always.

Left out on purpose: nested containers of arguments. For the parameters of a model, close over it and use `gradients`.

Comes before: `engine`. Comes after: whoever trains, explains or checks a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinygrad_llm.autograd import ops
from tinygrad_llm.autograd.engine import pull_back, topological_order
from tinygrad_llm.autograd.modes import mode, recording
from tinygrad_llm.autograd.tensor import Tensor, is_tracked, raw
from tinygrad_llm.backend import array_module
from tinygrad_llm.errors import InputError

# --- of tensors at hand ---------------------------------------------------------------------------------------


def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
    seeds: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> Any:
    """d(Σ outputs · seeds)/d(input) for every input, without touching any `.grad`.

    inputs: one tensor, several, or named ones as in `dict(module.named_parameters())`; the answer has the same form.
    They may be tensors that were computed on the way. The derivatives are total: with y = 2x, z = 3y, the gradients
    of z with respect to (x, y) are (6, 3). Where nothing leads from an input to the outputs, the gradient is zeros.
    seeds: as for `Tensor.backward`, one per output. create_graph, retain_graph: as there.

    Raises InputError for an input that wants no gradient (a frozen one), and whatever `Tensor.backward` raises.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> slope = gradients(x * x * x, x, create_graph=True)
    >>> print(slope.item(), gradients(slope, x).item())
    27.0 18.0
    """
    if isinstance(inputs, Mapping):
        found = gradients(outputs, list(inputs.values()), seeds, create_graph=create_graph, retain_graph=retain_graph)
        return dict(zip(inputs, found, strict=True))
    roots, wanted = as_tuple(outputs), as_tuple(inputs)
    for i, x in enumerate(wanted):
        if not is_tracked(x):
            raise InputError(
                f"gradients: inputs[{i}] wants no gradient, so the way from it was not recorded. Say "
                "x.requires_grad_() before computing with it."
            )
    each_seed = [None] * len(roots) if seeds is None else as_tuple(seeds)
    if len(each_seed) != len(roots):
        raise InputError(
            f"gradients: there are {len(roots)} outputs, so there must be as many seeds, not {len(each_seed)}."
        )
    walk = pull_back(roots, each_seed, wanted=wanted, create_graph=create_graph, retain_graph=retain_graph)
    found = in_order(walk, wanted)
    return found[0] if isinstance(inputs, Tensor) else found


def in_order(walk: Any, wanted: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The gradients that a walk yields, one per wanted tensor, zeros where none came."""
    gradient_of = {id(x): g for x, g in walk}
    return tuple(own(gradient_of.get(id(x)), x) for x in wanted)


def own(g: Any, x: Tensor) -> Tensor:
    """The gradient g of x as a Tensor with memory of its own (rules may hand one array to two inputs)."""
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
    return lambda *args, **options: value_and_grad(fn, argnums)(*args, **options)[1]


def value_and_grad(fn: Callable[..., Tensor], argnums: int | Sequence[int] = 0) -> Callable[..., tuple[Tensor, Any]]:
    """The function that computes (fn, ∇fn) at once. See `grad`."""

    def both(*args: Any, **options: Any) -> tuple[Tensor, Any]:
        call = Call(fn, args, options, argnums)
        if not call.has_one_output or call.outputs[0].size != 1:
            shapes = ", ".join(str(y.shape) for y in call.outputs)
            raise InputError(
                f"grad: {name_of(fn)} must return a single number, it returned shape {shapes}. Sum it, or use jacobian "
                "or vjp."
            )
        found = call.pull([None])
        return call.values(), found[0] if isinstance(argnums, int) else found

    return both


def vjp(fn: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Tensor, ...]]]:
    """(fn(*primals), pull), where pull(u) = uᵀ J: one gradient per primal, given one seed per output of fn.

    `pull` may be called many times; the graph is kept as long as `pull` is.

    >>> y, pull = vjp(lambda x: x * x, Tensor([1.0, 2.0]))
    >>> print(pull(Tensor([1.0, 10.0]))[0].numpy())
    [ 2. 40.]
    """
    call = Call(fn, primals, {}, range(len(primals)))
    return call.values(), lambda seeds: call.pull(as_tuple(seeds), retain_graph=True)


def jvp(fn: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """(fn(*primals), J v): how fn changes when its arguments move along `tangents` (one per primal).

    Forward mode without a second set of rules: the walk back computes u ↦ uᵀ J, which is linear in u, and its
    derivative with respect to u in the direction v is J v. So one walk records the other, and the value of u never
    matters (it is 0 here). (Townsend, "A new trick for calculating Jacobian vector products", 2017.)

    >>> y, slope = jvp(lambda x: x * x, (Tensor([1.0, 2.0]),), (Tensor([1.0, 10.0]),))
    >>> print(slope.numpy())
    [ 2. 40.]
    """
    directions = as_tuple(tangents)
    call = Call(fn, as_tuple(primals), {}, range(len(as_tuple(primals))), and_of=directions)
    with recording(True):
        seeds = [Tensor(array_module(y.data).zeros_like(y.data), requires_grad=True) for y in call.outputs]
        forward = call.pull(seeds, create_graph=True)
        pushed = call.pull_from(forward, directions, seeds, create_graph=call.has_history)
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
        first = call.pull([None], create_graph=True)
        second = call.pull_from(first, directions, call.places, create_graph=call.has_history)
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
        blocks = tuple(call.rows(k) for k in range(len(call.outputs)))  # for each output a tuple over the places
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
    """One call of a function, recorded from new names of the arguments that are differentiated ("places").

    New names, because the function may be asked inside another derivative with respect to the same tensors, and each
    must see only its own: in grad(x ↦ x · grad(y ↦ x + y)(1)) the inner gradient is 1, not 2.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any],
        options: dict[str, Any],
        argnums: Any,
        and_of: Sequence[Any] = (),
    ) -> None:
        wants_history = mode.recording
        positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        names = list(args)
        with recording(True):
            for i in positions:
                if not -len(args) <= i < len(args):
                    raise InputError(
                        f"argnums: {name_of(fn)} was called with {len(args)} arguments, there is no number {i}."
                    )
                names[i] = new_name(args[i], wants_history, f"argument {i} of {name_of(fn)}")
            answer = fn(*names, **options)
        self.places = [names[i] for i in positions]
        self.outputs = as_tuple(answer)
        self.has_one_output = not isinstance(answer, tuple | list)
        for y in self.outputs:
            if not isinstance(y, Tensor):
                raise InputError(
                    f"{name_of(fn)} returned {type(y).__name__}, it must return a Tensor that is computed from its "
                    "arguments with Tensor operations (no .item(), no .numpy())."
                )
        self.has_history = wants_history and (self.leads_further() or any(map(is_tracked, and_of)))

    def leads_further(self) -> bool:
        """Whether something that wants gradients lies behind the outputs besides, or behind, the places."""
        ours = {id(x) for x in self.places}
        behind = topological_order([y for y in self.outputs if y.requires_grad], ours)
        return any(x.node is not None for x in self.places) or any(x.node is None and id(x) not in ours for x in behind)

    def pull(
        self, seeds: Sequence[Any], *, create_graph: bool = False, retain_graph: bool = False
    ) -> tuple[Tensor, ...]:
        """One gradient per place; with a history where it is asked for, and where somebody outside wants one."""
        history = create_graph or self.has_history
        return self.pull_from(self.outputs, seeds, self.places, create_graph=history, retain_graph=retain_graph)

    def pull_from(
        self,
        roots: Sequence[Tensor],
        seeds: Sequence[Any],
        wanted: Sequence[Tensor],
        *,
        create_graph: bool,
        retain_graph: bool = False,
    ) -> tuple[Tensor, ...]:
        """One gradient per wanted tensor; roots that depend on nothing are left out."""
        if len(seeds) != len(roots):
            raise InputError(
                f"{len(roots)} tensors came out, so there must be as many seeds (or tangents), not {len(seeds)}."
            )
        live = [(y, seed) for y, seed in zip(roots, seeds, strict=True) if y.requires_grad]
        walk = pull_back(
            [y for y, _ in live],
            [seed for _, seed in live],
            wanted=wanted,
            stops=[*self.places, *wanted],
            create_graph=create_graph,
            retain_graph=retain_graph,
        )
        return in_order(walk, wanted)

    def rows(self, k: int) -> tuple[Tensor, ...]:
        """The Jacobian of output k with respect to each place, one walk per number in it."""
        y = self.outputs[k]
        xp = array_module(y.data)
        found = []
        for i in range(y.size):
            seed = xp.zeros(y.size, y.dtype)
            seed[i] = 1
            seeds = (seed.reshape(y.shape),)
            found.append(self.pull_from((y,), seeds, self.places, create_graph=self.has_history, retain_graph=True))
        if not found:
            return tuple(Tensor(xp.zeros(y.shape + x.shape, x.dtype)) for x in self.places)
        columns = zip(*found, strict=True)  # for each place its rows
        return tuple(ops.stack(rows).reshape(y.shape + x.shape) for rows, x in zip(columns, self.places, strict=True))

    def values(self) -> Any:
        """What the function returned, without history unless somebody wants it."""
        return self.in_form(self.outputs if self.has_history else tuple(y.detach() for y in self.outputs))

    def in_form(self, answers: tuple) -> Any:
        """One answer where the function returned one tensor, else the tuple."""
        return answers[0] if self.has_one_output else answers


def new_name(x: Any, with_history: bool, what: str) -> Tensor:
    """A tensor of the values of x that wants gradients; it leads back to x where x has a history that matters."""
    if is_tracked(x) and with_history:
        return ops.alias(x)
    leaf = Tensor(raw(x))
    if leaf.dtype.kind != "f":
        raise InputError(
            f"{what} is {leaf.dtype}: only floating-point numbers have derivatives; pass 3.0 instead of 3."
        )
    return leaf.requires_grad_()


def as_tuple(x: Any) -> tuple:
    """One thing as a tuple of one; several as a tuple."""
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def name_of(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__name__", type(fn).__name__)
