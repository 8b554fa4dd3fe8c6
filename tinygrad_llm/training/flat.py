"""All parameters of a model in one flat array, and all their gradients in another.

An optimizer does the same few operations to every parameter. Parameter by parameter that is hundreds of small calls;
on one long array it is one pass, and so are the norm of the whole gradient and the sum over several machines. Nothing
changes for anybody else: each parameter's `data` becomes a view of its piece, and the engine writes its gradient into
a view of the other array (`Tensor.grad_buffer`).

The order: hidden matrices, then the other matrices (embeddings, head), then vectors. So weight decay is one slice,
and Muon's share another.

Comes before: `nn.module`. Comes after: `optimizers`.
"""

from __future__ import annotations

from itertools import accumulate

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.module import Module

HIDDEN, TABLE, VECTOR = 0, 1, 2  # the groups, in their order
TABLE_HOLDERS = ("embedding", "position", "head")  # their matrix holds one vector per token or position


class FlatParameters:
    """The parameters of `model` that want gradients, moved into one flat array.

    values, gradients: (N,) of the parameters' dtype, on their device. places: name -> slice of its numbers.
    hidden, tables, vectors: the slices of the three groups; matrices: the first two together.

    Raises InputError when nothing can be learned, or the parameters differ in dtype.
    """

    def __init__(self, model: Module) -> None:
        learned = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        if not learned:
            raise InputError("FlatParameters(model): no parameter of the model wants a gradient.")
        dtypes = {str(parameter.dtype) for _, parameter in learned}
        if len(dtypes) > 1:
            raise InputError(f"FlatParameters(model): the parameters must have one dtype, they have {sorted(dtypes)}.")
        # Sorting is stable: within a group, parameters keep the order in which the model defines them.
        self.parameters = dict(sorted(learned, key=lambda item: group(*item)))
        ends = list(accumulate(parameter.size for parameter in self.parameters.values()))
        sizes = {name: parameter.size for name, parameter in self.parameters.items()}
        self.places = {name: slice(end - sizes[name], end) for name, end in zip(sizes, ends, strict=True)}
        hidden, tables = (sum(p.size for name, p in learned if group(name, p) == kind) for kind in (HIDDEN, TABLE))
        self.hidden, self.tables = slice(0, hidden), slice(hidden, hidden + tables)
        self.matrices, self.vectors = slice(0, hidden + tables), slice(hidden + tables, ends[-1])
        self._move()

    def _move(self) -> None:
        """Copy every parameter into its place, and let it live there; a gradient that it has goes with it."""
        first = learned_array(self.parameters)
        xp = array_module(first)
        values = xp.zeros(self.vectors.stop, first.dtype)
        for name, view in self.split(values).items():
            view[...] = self.parameters[name].data
        self.move_to(values, xp.zeros_like(values))

    def move_to(self, values: Array, gradients: Array) -> None:
        """Let the parameters live in `values`, which holds their numbers already, and their gradients in `gradients`.

        Both (N,), in the order of `places`. Gradients that were computed go along.
        """
        self.values, self.gradients = values, gradients
        self._views, buffers = self.split(values), self.split(gradients)
        for name, parameter in self.parameters.items():
            parameter.data, parameter.grad_buffer = self._views[name], buffers[name]
            if parameter.grad is not None:
                buffers[name][...] = parameter.grad.data
                parameter.grad = Tensor(buffers[name])

    def split(self, flat: Array, start: int = 0) -> dict[str, Array]:
        """An array with one number per number of `values[start:]` -> its pieces by name, in the parameters' shapes.

        The pieces are views.
        """
        return {
            name: flat[place.start - start : place.stop - start].reshape(self.parameters[name].shape)
            for name, place in self.places.items()
            if start <= place.start and place.stop <= start + flat.size
        }

    def zero_grad(self) -> None:
        """Forget all gradients, without touching their memory: the next one is written over the old, not added."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def collect_gradients(self) -> Array:
        """`gradients`, complete: zeros for parameters that the loss did not depend on, a copy of any set by hand.

        From here on, the gradient of every parameter is its piece of them.

        Raises InputError when a parameter no longer lives in `values`, because the model was moved to another device
        or given to another optimizer.
        """
        for name, parameter in self.parameters.items():
            if parameter.data is not self._views[name]:
                raise InputError(
                    f"{name} was given another array since the optimizer was made, as by model.to(...) or a second "
                    "optimizer; make the optimizer afterwards."
                )
            buffer: Array = parameter.grad_buffer
            if parameter.grad is None:
                buffer[...] = 0.0
            elif parameter.grad.data is not buffer:
                buffer[...] = parameter.grad.data
            else:
                continue
            parameter.grad = Tensor(buffer)
        return self.gradients

    def first_not_finite(self) -> str | None:
        """The name of the first parameter whose gradient holds NaN or infinity."""
        finite = array_module(self.gradients).isfinite
        return next((name for name, g in self.split(self.gradients).items() if not bool(finite(g).all())), None)


def group(name: str, parameter: Tensor) -> int:
    """HIDDEN for a matrix between two layers of vectors, TABLE for embeddings and head, VECTOR for biases and norms."""
    if parameter.ndim < 2:
        return VECTOR
    holder = name.split(".")[-2] if "." in name else name
    return TABLE if holder in TABLE_HOLDERS else HIDDEN


def learned_array(parameters: dict[str, Tensor]) -> Array:
    """The array of the first parameter: where and what the others are, too."""
    return next(iter(parameters.values())).data
