"""Learning from people's judgements: the formulas, one file per paper, and the judgements that they learn from.

    dpo_loss, ipo_loss, kto_loss, orpo_loss, simpo_loss   losses on the log-probabilities of whole replies
    RewardModel, preference_loss    a network that answers with one number, and its loss (Bradley and Terry, Davidson)
    ppo, grpo                       rewards, advantages and clipped losses on single tokens
    kl, best_of_n                   how far a policy has moved; choosing among n replies
    Judgement, read_judgements      what a person said about replies, and the files it is kept in
    report                          agreement of labellers (Cohen's kappa), bias of position and length
    SimulatedLabeller               a stated preference with noise and bias, in place of a person
    ReplyFormat, write_replies      prompts and replies as tokens; a policy writes replies to learn from

Read in this order: `judgements.py` is what people give, `log_probabilities.py` what a model says about a reply;
`reward_model.py` and `dpo.py` join the two; `ppo.py` and `grpo.py` learn from replies that the policy draws itself.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_llm.feedback import best_of_n, grpo, kl, ppo
    from tinygrad_llm.feedback.agreement import report
    from tinygrad_llm.feedback.dpo import dpo_loss
    from tinygrad_llm.feedback.ipo import ipo_loss
    from tinygrad_llm.feedback.judgement_files import read_judgements
    from tinygrad_llm.feedback.judgements import Judgement
    from tinygrad_llm.feedback.kto import kto_loss
    from tinygrad_llm.feedback.orpo import orpo_loss
    from tinygrad_llm.feedback.replies import ReplyFormat
    from tinygrad_llm.feedback.reward_model import RewardModel, preference_loss
    from tinygrad_llm.feedback.rollouts import write_replies
    from tinygrad_llm.feedback.simpo import simpo_loss
    from tinygrad_llm.feedback.simulated import SimulatedLabeller

# A name is imported at its first use: a formula alone does not load models and generation.
_NAMES = {
    "": "best_of_n grpo kl ppo",
    "agreement": "report",
    "dpo": "dpo_loss",
    "ipo": "ipo_loss",
    "judgement_files": "read_judgements",
    "judgements": "Judgement",
    "kto": "kto_loss",
    "orpo": "orpo_loss",
    "replies": "ReplyFormat",
    "reward_model": "RewardModel preference_loss",
    "rollouts": "write_replies",
    "simpo": "simpo_loss",
    "simulated": "SimulatedLabeller",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"tg.feedback has no '{name}'; it offers {', '.join(__all__)}.")
    module = importlib.import_module(f"tinygrad_llm.feedback.{_HOME[name] or name}")
    value = globals()[name] = getattr(module, name) if _HOME[name] else module
    return value


def __dir__() -> list[str]:
    return [*__all__, "__doc__"]
