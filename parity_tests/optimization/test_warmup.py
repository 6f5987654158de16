"""A warm-up chained before any schedule."""

from typing import Any

from numpy_impl.optimization import warmup as ours
from numpy_impl.optimization.scheduler import SequentialLR
from parity_tests.harness import Mistake, SchedulerParity
from torch_impl.optimization import warmup as theirs


def no_milestone(schedule, warmup_epochs, start_factor=0.1):
    """Both at once: the factors multiply."""
    chained = ours.warmup_then(schedule, warmup_epochs, start_factor)

    class Both(SequentialLR):
        def step(self, epoch=None):
            for scheduler in self._schedulers:
                scheduler.step()
            self._last_lr = self._schedulers[-1].get_last_lr()

    chained.__class__ = Both
    return chained


def from_zero(schedule, warmup_epochs, start_factor=0.1):
    return ours.warmup_then(schedule, warmup_epochs, 1e-9)


def one_short(schedule, warmup_epochs, start_factor=0.1):
    return ours.warmup_then(schedule, max(warmup_epochs - 1, 0), start_factor)


def stays_low(schedule, warmup_epochs, start_factor=0.1):
    chained = ours.warmup_then(schedule, warmup_epochs, start_factor)
    rising: list[Any] = list(chained._schedulers[:-1])
    for one in rising:
        one.end_factor = one.start_factor
    return chained


class TestWarmupThen(SchedulerParity):
    numpy, torch = staticmethod(ours.warmup_then), staticmethod(theirs.warmup_then)
    configs = [
        {"then": ("CosineAnnealingLR", {"T_max": 20}), "warmup_epochs": 5},
        {"then": ("ExponentialLR", {"gamma": 0.9}), "warmup_epochs": 3, "start_factor": 0.5},
        {"then": ("InverseTimeLR", {"decay_rate": 0.2}), "warmup_epochs": 0},
    ]
    jumps, restarts = False, None
    mistakes = {
        "both at once": Mistake(
            no_milestone,
            "Two schedules stepped side by side, where one is meant to follow the other.",
            "The decay runs through the warm-up, and the peak is never reached.",
        ),
        "from zero": Mistake(
            from_zero,
            "Recipes that warm up from a rate of 0.",
            "The first epoch is spent without a step.",
        ),
        "one epoch short": Mistake(
            one_short,
            "Counting epochs from 1, or up to and including the last of the warm-up.",
            "The whole rest of the schedule is one epoch early.",
        ),
        "ends at the start factor": Mistake(
            stays_low,
            "A classic slip: a constant factor for a growing one.",
            "The rate jumps at the end of the warm-up, which it was to prevent.",
        ),
    }

    def beside_torch(self, settings, stand_in):
        return iter(())  # a chain is compared schedule by schedule

    def build(self, side, optimizer, config):
        name, arguments = config["then"]
        schedule = getattr(self.schedules(side), name)(optimizer, **arguments)
        rest = {k: v for k, v in config.items() if k != "then"}
        return (type(self).numpy if side == "NumPy" else type(self).torch)(schedule, **rest)
