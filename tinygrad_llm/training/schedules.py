"""The learning rate over a run: rise from 0, then fall. Plain functions of progress, which goes from 0 to 1.

The first steps are small, because AdamW's averages know nothing yet and one large wrong step is not forgotten soon;
the last ones are small, so that the weights settle. What happens in between differs: each function here is the part
after the warm-up, and returns how much of the way from `min_rate` up to `rate` is left.

Comes before: nothing. Comes after: `settings`, which names one of these, and `trainer`, which asks for the rate.
"""

import math

DECAY_SHARE = 0.2  # of the run, for warm-up-stable-decay: the share that Hägele et al. found to be enough


def cosine(progress: float) -> float:
    """(1 + cos(π p)) / 2: slow at both ends (Loshchilov & Hutter 2017, equation 5, without restarts)."""
    return (1.0 + math.cos(math.pi * progress)) / 2.0


def linear(progress: float) -> float:
    """1 - p: straight down."""
    return 1.0 - progress


def warmup_stable_decay(progress: float) -> float:
    """1, then straight down over the last fifth (Hu et al. 2024, section 4; the share: Hägele et al. 2024, section 3).

    Its use: the long flat part is the same for every length, so a run can be prolonged from before the decay.
    """
    return min(1.0, (1.0 - progress) / DECAY_SHARE)


def constant(progress: float) -> float:
    """1 throughout."""
    return 1.0


SCHEDULES = {
    "cosine": cosine,
    "linear": linear,
    "warmup_stable_decay": warmup_stable_decay,
    "constant": constant,
}


def learning_rate(progress: float, *, schedule: str, rate: float, min_rate: float, warmup: float) -> float:
    """The rate at `progress` in [0, 1]: straight up from 0 to `rate` while progress < warmup, then the schedule.

    The schedule sees the rest of the run as a progress of its own, from 0 to 1, and ends at `min_rate`.
    """
    if progress < warmup:
        return rate * progress / warmup
    after_warmup = (progress - warmup) / (1.0 - warmup)
    return min_rate + (rate - min_rate) * SCHEDULES[schedule](after_warmup)
