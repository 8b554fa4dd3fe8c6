"""Training: optimizers, schedules, the training loop, the folder and the checkpoints of a run.

    train               in memory, in one call; returns a History
    train_step          one step: gradients of one or more batches, clipping, the optimizer's update
    TrainingSettings    every number that a run depends on
    Trainer             a run in a RunFolder, with evaluations, checkpoints and resuming
    DataParallel        the gradients of a batch, computed by several processes

Read in this order: `adamw.py` is one step of the optimizer, `trainer.py` the loop around it, `schedules.py` the
learning rate of each step, `data_parallel.py` the work of all cores; `run_folder.py` and `checkpoints.py` keep what
was learned.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_llm.training.data_parallel import DataParallel
    from tinygrad_llm.training.events import Evaluated, Event, Finished, Resumed, Saved, Stepped
    from tinygrad_llm.training.history import History
    from tinygrad_llm.training.in_memory import train
    from tinygrad_llm.training.run_folder import RunFolder
    from tinygrad_llm.training.settings import TrainingSettings
    from tinygrad_llm.training.trainer import Trainer, train_step

# A name is imported at its first use: an optimizer alone does not load the trainer.
_NAMES = {
    "data_parallel": "DataParallel",
    "events": "Evaluated Event Finished Resumed Saved Stepped",
    "history": "History",
    "in_memory": "train",
    "run_folder": "RunFolder",
    "settings": "TrainingSettings",
    "trainer": "Trainer train_step",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"tg.training has no '{name}'; it has {', '.join(__all__)}.")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
