"""Turning the dials: optimizers, schedules, the training loop, the folder and the checkpoints of a run.

Read in this order: `optimizers.py` is one step, `trainer.py` the loop around it, `schedules.py` says how far a step
goes, `parallel.py` lets all cores work at it; `run_folder.py` and `checkpoints.py` keep what was learned.
"""
