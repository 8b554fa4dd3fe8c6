"""The base: the model that a run tunes, and what the run remembers of it in its config.json.

The weights in the folder of a tuned run are whole, adapters merged into them, so it is loaded, exported and passed on
as any other. What weights do not say is remembered here: chat template, stop tokens, begin token. The base itself is
needed once more only when the run is resumed: checkpoints hold what is learned, and nothing of what is frozen. It is
found by its name, and a fingerprint tells whether it is still the same.

Builds on: `pretrained`, `nn.lora`, `training.run_folder`. Used by: `models`, the command `tinygrad-llm tune`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.pretrained import Pretrained
from tinygrad_llm.nn.adapter_file import fingerprint
from tinygrad_llm.nn.lora import lora
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.chat import ChatTemplate
from tinygrad_llm.text.tokenizer import Tokenizer
from tinygrad_llm.training.run_folder import RunFolder

ENTRY = "base"  # in a run's source


@dataclass(frozen=True)
class Base:
    """name: as `tg.load` takes it, from any folder. fingerprint: of its weights. rank: of the adapters on all
    matrices; None: all weights learn. The other fields are those of `Pretrained`."""

    name: str
    fingerprint: str
    rank: int | None
    chat_template: ChatTemplate | None
    stop_tokens: tuple[int, ...]
    begin_token: int | None

    @classmethod
    def of(cls, name: str, model: Pretrained, rank: int | None) -> Self:
        """What to remember of `model`, which was loaded by this name."""
        return cls(
            name,
            fingerprint(model.network),
            rank,
            model.chat_template,
            tuple(model.stop_tokens),
            model.begin_token,
        )

    @classmethod
    def of_run(cls, run: RunFolder) -> Self | None:
        """The base of a run; None for one that began with a new model. Raises InputError when that entry is damaged."""
        values: Any = run.source.get(ENTRY)
        if values is None:
            return None
        try:
            template = values["chat_template"]
            return cls(
                **{
                    **values,
                    "chat_template": None if template is None else ChatTemplate(**template),
                    "stop_tokens": tuple(values["stop_tokens"]),
                }
            )
        except (KeyError, TypeError) as error:
            path = run.path / "config.json"
            raise InputError(f"{path} is damaged: its entry {ENTRY!r} cannot be read ({error!r}).") from error

    def to_source(self) -> dict[str, Any]:
        """The entry for a run's source."""
        return {ENTRY: asdict(self)}

    def tuned(self, network: Transformer, tokenizer: Tokenizer) -> Pretrained:
        """The whole model of a run on this base, with the run's network and tokenizer."""
        return Pretrained(network, tokenizer, self.chat_template, self.stop_tokens, self.begin_token)

    def adapted(self, network: Transformer, seed: int) -> Transformer:
        """The base's network, ready to learn: with new adapters, if the run has any.

        Raises InputError when it is not the network that the run began with.
        """
        if fingerprint(network) != self.fingerprint:
            raise InputError(f"{self.name} is not the model any more that this run tunes: its weights have changed.")
        return network if self.rank is None else lora(network, self.rank, seed=seed)
