"""From token ids to batches: the inputs of the model and the targets it should predict.

A window of `T + 1` ids gives `T` inputs and, shifted by one, `T` targets: at every position the model predicts the id
that follows.

For training, an epoch cuts the stream of ids, from a random offset, into windows that do not overlap, and visits them
in random order: every target comes exactly once before any comes again. Each epoch has a new offset, so an id at the
start of a window, with no context, is in the middle of one in the next epoch. Independent random windows, the other
common scheme, leave out 1/e of the text per epoch. The whole state is two numbers, epoch and position; offset and order
follow from (seed, epoch).

Builds on: `tokenizer`, which makes the ids. Used by: `training.trainer`.

Left out on purpose: windows that respect the borders of documents, packing, and loading from disk (an array
from `np.memmap` works).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError


class Batches:
    """An endless supply of training batches from one stream of token ids.

    tokens: (N,) integers, N > context; not copied. batch: B, windows per batch. context: T. seed: integer >=
    0. begin_token: what a model that knows its texts to begin with a certain token finds in the place of the
    first input of every window. Nothing is lost: that input is a target of the window before.

    `next()` gives `(inputs, targets)`, both (B, T) int32, where `targets[:, t]` follows `inputs[:, t]` in the
    stream. Every batch is full: the last of an epoch is filled up from the next epoch. The same arguments
    give the same batches on every machine and NumPy version. At an offset r there are `(N - 1 - r) // T`
    windows; the fewer than 2T targets before the first and after the last are left to other epochs.

    Raises `InputError` when an argument is not of its kind, or the text is too short for one window.
    """

    def __init__(self, tokens: np.ndarray, batch: int, context: int, seed: int, begin_token: int | None = None):
        _check_stream(tokens, context)
        if batch < 1:
            raise InputError(f"batch is {batch}; give at least 1 window per batch.")
        if seed < 0:
            raise InputError(f"seed is {seed}; give an integer that is not negative.")
        self.tokens = tokens
        self.batch = batch
        self.context = context
        self.seed = seed
        self.begin_token = begin_token
        self._start_epoch(0)

    def __repr__(self) -> str:
        size, read = f"{self.batch} × {self.context}", f"{self.epochs:.2f}"
        return f"Batches({size} of {len(self.tokens):,} tokens, {read} epochs read)"

    @property
    def epochs(self) -> float:
        """How often the text has been read so far: 1.25 in the second quarter of the second epoch."""
        return self._epoch + self._position / len(self._starts)

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """The next inputs and targets, each (B, T) int32."""
        starts = np.concatenate(list(self._take(self.batch)))  # (B,)
        return _cut(self.tokens, starts, self.context, self.begin_token)  # (B, T), (B, T)

    def state(self) -> dict[str, int]:
        """Where it stands, as plain integers for JSON: `restore` continues from here exactly."""
        return {
            "epoch": self._epoch,
            "position": self._position,
            "seed": self.seed,
            "context": self.context,
            "tokens": len(self.tokens),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go to where `state()` was taken, so that the next batch is the one that would have come then.

        The batch size may differ (the windows come in the same order). Raises `InputError` when seed, context
        or number of tokens differ, since the windows would be others, or when the state is damaged.
        """
        now = self.state()
        if not isinstance(state, dict) or state.keys() != now.keys() or any(type(v) is not int for v in state.values()):
            raise InputError(f"state: {state!r} is damaged; give the integers {', '.join(now)} as state() made them.")
        for key in ("seed", "context", "tokens"):
            if state[key] != now[key]:
                raise InputError(
                    f"state: it was saved with {key} {state[key]} and these batches have {now[key]}; "
                    "go on with the text and the settings of the saved run."
                )
        windows = len(self._cut_epoch(max(state["epoch"], 0)))
        if state["epoch"] < 0 or not 0 <= state["position"] <= windows:
            raise InputError(
                f"state: epoch {state['epoch']} has no position {state['position']}; give a state that state() made."
            )
        self._start_epoch(state["epoch"])
        self._position = state["position"]

    def _take(self, count: int):
        """The starts of the next `count` windows, in pieces that each belong to one epoch."""
        while count:
            if self._position == len(self._starts):
                self._start_epoch(self._epoch + 1)
            piece = self._starts[self._position : self._position + count]
            self._position += len(piece)
            count -= len(piece)
            yield piece

    def _start_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._position = 0
        self._starts = self._cut_epoch(epoch)

    def _cut_epoch(self, epoch: int) -> np.ndarray:
        """The starts of the windows of one epoch in the order of the visit, (windows,) int64."""
        # Raw bits and a stable sort instead of Generator.permutation: NumPy keeps the bits of PCG64 the same
        # in all versions but may change what the Generator makes of them (NEP 19), and a resumed run must be
        # bit-equal.
        bits = np.random.PCG64(np.random.SeedSequence([self.seed, epoch]))
        targets = len(self.tokens) - 1
        offset = bits.random_raw() % min(self.context, targets - self.context + 1)
        windows = (targets - offset) // self.context
        order = np.argsort(bits.random_raw(windows), kind="stable")
        return offset + order * self.context


@dataclass(frozen=True)
class ValidationWindows:
    """Windows to measure on: inputs and targets (count, T) int32, and how many bytes of text the targets
    stand for."""

    inputs: np.ndarray
    targets: np.ndarray
    target_bytes: int


def validation_windows(
    tokens: np.ndarray,
    context: int,
    count: int | None,
    bytes_per_token: np.ndarray,
    begin_token: int | None = None,
) -> ValidationWindows:
    """`count` windows at even distances from the first to the last token: the same ones each time.

    tokens: (N,) integers. bytes_per_token: (V,) the length in bytes of the text of every token id, so that
    losses can be given per byte (`bits_per_byte`), which can be compared between tokenizers; a loss per token
    cannot. begin_token: as in `Batches`.

    With `count=None`, or more than are needed, the windows cover the text: `ceil((N - 1) / T)` windows, which
    hold every target (all tokens but the first) at least once, and fewer than T of them twice, where windows
    overlap because T does not divide N - 1. Bytes are counted as often as targets. Fewer windows do not
    overlap.

    The i-th target of a window is predicted from i tokens, T / 2 on average: a model that is read with a full
    context does a little better than what is measured here.

    Raises `InputError` when the text is too short for one window, when `count` is below 1, and for ids
    without a length.
    """
    _check_stream(tokens, context)
    if count is not None and count < 1:
        raise InputError(f"count is {count}; give at least 1 validation window, or None for the whole text.")
    targets_in_text = len(tokens) - 1
    covering = -(-targets_in_text // context)
    count = covering if count is None else min(count, covering)
    starts = np.arange(count) * (targets_in_text - context) // max(count - 1, 1)  # (count,)
    inputs, targets = _cut(tokens, starts, context, begin_token)  # (count, T), (count, T)
    check_token_ids(targets, len(bytes_per_token))
    return ValidationWindows(inputs, targets, target_bytes=int(bytes_per_token[targets].sum(dtype=np.int64)))


def bits_per_byte(total_nats: float, total_bytes: int) -> float:
    """`total_nats / (total_bytes * ln 2)`: how many bits a byte of text costs, with this model as the code.

    total_nats: the sum (not the mean) of the cross-entropies of all targets, natural logarithm. total_bytes:
    the length of the text of the same targets. 8 is what plain bytes cost. Raises `InputError` when there are
    no bytes.
    """
    if total_bytes <= 0:
        raise InputError(f"total_bytes is {total_bytes}; bits per byte need at least one byte of text.")
    return total_nats / (total_bytes * math.log(2))


def check_token_ids(ids: np.ndarray, vocab_size: int) -> None:
    """Raise `InputError` unless `ids` (any shape, on the host) are integers with `0 <= id < vocab_size`.

    An embedding on the GPU wraps an id out of range to another token without a word: hence the check, before.
    """
    ids = np.asarray(ids)
    if not np.issubdtype(ids.dtype, np.integer):
        raise InputError(f"token ids are of type {ids.dtype}; give integers.")
    if not ids.size or (ids.min() >= 0 and ids.max() < vocab_size):
        return
    where = tuple(int(i) for i in np.argwhere((ids < 0) | (ids >= vocab_size))[0])
    raise InputError(
        f"token id {int(ids[where])} at index {where} is not in the vocabulary (0 to {vocab_size - 1}); "
        "use the tokenizer that belongs to the model."
    )


def _check_stream(tokens: np.ndarray, context: int) -> None:
    if not isinstance(tokens, np.ndarray) or tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        kind = f"{tokens.dtype} {tokens.shape}" if isinstance(tokens, np.ndarray) else type(tokens).__name__
        raise InputError(f"tokens: {kind}; give one NumPy array of integers, of shape (N,).")
    if context < 1:
        raise InputError(f"context is {context}; give at least 1 position.")
    if len(tokens) <= context:
        remedy = f"give more text, or a context of at most {len(tokens) - 1}" if len(tokens) > 1 else "give more text"
        raise InputError(
            f"the text has {len(tokens)} tokens, and a context of {context} needs at least {context + 1}; {remedy}."
        )


def _cut(
    tokens: np.ndarray, starts: np.ndarray, context: int, begin_token: int | None
) -> tuple[np.ndarray, np.ndarray]:
    windows = tokens[starts[:, None] + np.arange(context + 1)].astype(np.int32)  # (B, T + 1)
    if begin_token is not None:
        windows[:, 0] = begin_token
    return np.ascontiguousarray(windows[:, :-1]), np.ascontiguousarray(windows[:, 1:])  # (B, T), (B, T)
