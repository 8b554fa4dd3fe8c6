"""What an optimizer is given: a module, tensors, (name, tensor) pairs, or groups of them with settings of their own.

Used by: `optimizer`, which reads its first argument with `read_groups`; `trainer`, which makes the usual groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.module import Module

Parameters = Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]]
Groups = Iterable[dict[str, Any]]

# Modules of these names hold one vector per token or position, so their matrix is a table and no linear map.
TABLES = ("embedding", "position", "head")


def parameter_groups(model: Module, weight_decay: float, *, muon: bool = False) -> list[dict[str, Any]]:
    """The usual groups of a language model: matrices decay by `weight_decay`, vectors (biases, norms) do not.

    muon: whether the groups are for `Muon`; then embeddings and head are a group of their own, left to AdamW.

    >>> optimizer = AdamW(parameter_groups(model, weight_decay=0.1), lr=3e-4)
    """
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    hidden = {name: p for name, p in learned.items() if is_hidden_matrix(name, p)}
    tables = {name: p for name, p in learned.items() if p.ndim >= 2 and name not in hidden}
    vectors = {name: p for name, p in learned.items() if p.ndim < 2}
    groups: list[dict[str, Any]]
    if muon:
        groups = [
            {"params": hidden, "weight_decay": weight_decay, "use_muon": True},
            {"params": tables, "weight_decay": weight_decay, "use_muon": False},
            {"params": vectors, "weight_decay": 0.0, "use_muon": False},
        ]
    else:
        groups = [{"params": hidden | tables, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [{**group, "params": list(group["params"].items())} for group in groups if group["params"]]


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether it is a matrix between two layers of vectors, so not an embedding, a head, a bias or a norm."""
    holder = name.split(".")[-2] if "." in name else name
    return parameter.ndim == 2 and holder not in TABLES


def read_groups(optimizer: str, params: Parameters | Groups) -> list[tuple[dict[str, Tensor], dict[str, Any]]]:
    """(parameters by name, settings) of every group that `params` describes.

    Without names, parameters are called "parameters[0]", … A tensor that is listed twice in one group counts once;
    frozen ones are left out. optimizer: the name of the class, for messages.

    Raises InputError for anything that is not a parameter, for none at all, and for one that is in two groups.
    """
    if isinstance(params, Tensor | Mapping):
        example = "[x]" if isinstance(params, Tensor) else "params.items()"
        raise InputError(
            f"{optimizer}(params): params must be a module, a list of tensors or a list of groups, it was one "
            f"{type(params).__name__}. Write {optimizer}({example})."
        )
    members: list[Any] = [params] if isinstance(params, Module) else listed(optimizer, params)
    if members and all(isinstance(member, dict) for member in members):
        groups = [(listed(optimizer, group.get("params", ())), without_params(group)) for group in members]
    else:
        groups = [(listed(optimizer, params) if isinstance(params, Module) else members, {})]
    seen: dict[int, int] = {}
    names: set[str] = set()
    read: list[tuple[dict[str, Tensor], dict[str, Any]]] = []
    for number, (group, settings) in enumerate(groups):
        parameters: dict[str, Tensor] = {}
        for member in group:
            name, parameter = member if is_pair(member) else (f"parameters[{len(seen)}]", member)
            check_parameter(optimizer, name, parameter)
            if seen.setdefault(id(parameter), number) != number:
                raise InputError(f"{optimizer}(params): {name} is in two groups. Leave it out of one of them.")
            is_new = all(parameter is not other for other in parameters.values())
            if parameter.requires_grad and is_new:
                parameters[new_name(name, names)] = parameter
        read.append((parameters, settings))
    if not any(parameters for parameters, _ in read):
        what = "none of the parameters requires a gradient" if seen else "there are no parameters"
        raise InputError(
            f"{optimizer}(params): {what}. Give a module or tensors made with requires_grad=True; a generator such as "
            "model.parameters() can be read only once."
        )
    return [(parameters, settings) for parameters, settings in read if parameters]


def listed(optimizer: str, params: Any) -> list[Any]:
    """The members of `params`; of a module its named parameters."""
    if isinstance(params, Module):
        return list(params.named_parameters())
    if isinstance(params, Tensor):  # PyTorch takes a single tensor as "params" of a group
        return [params]
    if isinstance(params, str) or not isinstance(params, Iterable):
        raise InputError(
            f"{optimizer}(params): params must be a module, a list of tensors or a list of groups, it was {params!r}. "
            f"Write {optimizer}(model.parameters(), lr=1e-3)."
        )
    return list(params)


def new_name(name: str, names: set[str]) -> str:
    """`name`, with a number behind it if it is taken, as by another model; adds it to `names`."""
    candidates = itertools.chain([name], (f"{name}#{number}" for number in itertools.count(2)))
    new = next(candidate for candidate in candidates if candidate not in names)
    names.add(new)
    return new


def without_params(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def is_pair(member: Any) -> bool:
    return isinstance(member, tuple) and len(member) == 2 and isinstance(member[0], str)


def check_parameter(optimizer: str, name: str, parameter: Any) -> None:
    """Raise InputError unless it is a leaf."""
    if not isinstance(parameter, Tensor):
        raise InputError(
            f"{optimizer}(params): {name} is not a Tensor but a {type(parameter).__name__}. Give model.parameters(), "
            "or tensors made with requires_grad=True."
        )
    if parameter.node is not None:
        raise InputError(
            f"{optimizer}(params): {name} is the result of {parameter.node.name}, and only leaves can be optimized. "
            "Give the tensors that it was computed from, or x.detach().requires_grad_()."
        )
