"""Training: optimizers, schedules, the training loop, the folder and the checkpoints of a run.

Read in this order: `adamw.py` is one step, `trainer.py` the loop around it, `schedules.py` says how far a step goes,
`data_parallel.py` lets all cores work at it; `run_folder.py` and `checkpoints.py` keep what was learned. `train.py` is
all of it in one call. Optimizers and schedules are offered by `tinygrad_llm.optim`.
"""

from tinygrad_llm.training.history import History
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.train import train
from tinygrad_llm.training.trainer import Trainer, train_step

__all__ = ["History", "RunFolder", "Trainer", "TrainingSettings", "train", "train_step"]
