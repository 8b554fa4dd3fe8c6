"""Turning the dials: optimizers, schedules, the training loop, the folder and the checkpoints of a run."""

from tinygrad_llm.training.events import Evaluated, Event, Finished, Resumed, Saved, Stepped
from tinygrad_llm.training.optimizers import AdamW, Muon
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.trainer import Trainer, train_step
