"""Token ids as users pass them, as integer arrays; errors say what was wrong and what is wanted.

Used by: `layers`, `functional`, `transformer`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.autograd import raw
from tinygrad_llm.backend import Array, to_device
from tinygrad_llm.errors import InputError


def as_ids(ids: Any, vocab_size: int, device: str) -> Array:
    """Token ids as an integer array (B, T) on `device`; one text (T,) becomes (1, T).

    ids: an array, a Tensor, or lists of integers. Raises InputError for anything else, and for ids that are not in the
    vocabulary (where they are on a GPU already, they are not looked at).
    """
    array = as_integers("ids", ids)
    if array.ndim not in (1, 2):
        raise InputError(f"ids must be of shape (B, T), or (T,) for one text; the shape was {array.shape}.")
    check_range("ids", array, vocab_size, allow_negative=False)
    return to_device(array[None] if array.ndim == 1 else array, device)


def as_targets(targets: Any, ids: Array, vocab_size: int, device: str) -> Array:
    """The ids of the next tokens, as `as_ids` gives them; negative ones are allowed, they do not count."""
    array = as_integers("targets", targets)
    array = array[None] if array.ndim == 1 else array
    if array.shape != ids.shape:
        raise InputError(f"targets must have one id for each of ids; the shapes were {array.shape} and {ids.shape}.")
    check_range("targets", array, vocab_size, allow_negative=True)
    return to_device(array, device)


def as_rows(ids: Any, rows: int) -> Array:
    """The ids of rows of a table, of any shape, as an integer array. Raises InputError for others."""
    array = as_integers("ids", ids)
    if isinstance(array, np.ndarray) and array.size and (int(array.max()) >= rows or int(array.min()) < 0):
        wrong = array[(array >= rows) | (array < 0)]
        raise InputError(f"ids: {int(wrong[0])} is not a row of the table, which has the rows 0 to {rows - 1:,}.")
    return array


def as_classes(targets: Any, logits: Any) -> Array:
    """The targets of a loss as an integer array. Raises InputError unless there is one for each vector of logits."""
    array = as_integers("targets", targets)
    if array.shape != logits.shape[:-1]:
        raise InputError(
            f"cross_entropy: logits {logits.shape} want one target for each of {logits.shape[:-1]}; targets have the "
            f"shape {array.shape}."
        )
    check_range("targets", array, logits.shape[-1], allow_negative=True)
    return array


def as_integers(name: str, ids: Any) -> Array:
    array = raw(ids)
    if not hasattr(array, "dtype"):
        try:
            array = np.asarray(array)
        except ValueError as error:
            raise InputError(f"{name}: the texts of a batch must be equally long; pad them, or pass one.") from error
        array = array.astype(np.int64) if array.size == 0 else array
    if array.dtype.kind not in "iu":
        raise InputError(
            f"{name} must be integers, token ids; they were {array.dtype}. tokenizer.encode(text) gives them."
        )
    return array


def check_range(name: str, ids: Array, vocab_size: int, allow_negative: bool) -> None:
    """Only ids on the host are checked: those on a GPU would have to be waited for."""
    if (
        isinstance(ids, np.ndarray)
        and ids.size
        and (int(ids.max()) >= vocab_size or (not allow_negative and int(ids.min()) < 0))
    ):
        wrong = ids[(ids >= vocab_size) | (ids < 0) & (not allow_negative)]
        raise InputError(
            f"{name}: {int(wrong[0])} is not a token id; the vocabulary has the ids 0 to {vocab_size - 1:,}."
        )
