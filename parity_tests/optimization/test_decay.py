"""Rates that fall: exponential, stepwise, polynomial, linear, cosine, inverse time."""

import math
from typing import Any

from numpy_impl.optimization import LRScheduler
from numpy_impl.optimization import decay as ours
from parity_tests.harness import Mistake, Refusal, SchedulerParity
from torch_impl.optimization import decay as theirs

OF_THE_EPOCH = (
    "The formula of the epoch, as papers and most code have it; torch makes each rate from the one "
    "before.",
    "A rate that was changed by hand is forgotten at the next epoch.",
)
FROM_ONE = (
    "Code that counts epochs from 1 and starts with the base rate twice.",
    "Every rate comes one epoch later than asked.",
)


def closed(base: Any, form: Any) -> Any:
    """The schedule that always takes its closed form: blind to a rate changed by hand."""

    class Closed(base):
        def get_lr(self):
            super().get_lr()
            return form(self)

    return Closed


def late(base: Any) -> Any:
    """The schedule one epoch behind: epochs counted from 1."""

    class Late(base):
        def get_lr(self):
            self.last_epoch -= 1
            try:
                return (
                    [g["lr"] for g in self.optimizer.param_groups]
                    if self.last_epoch < 0
                    else super().get_lr()
                )
            finally:
                self.last_epoch += 1

    return Late


class TestExponentialLR(SchedulerParity):
    numpy, torch = ours.ExponentialLR, theirs.ExponentialLR
    covers = (LRScheduler,)
    configs = [{"gamma": 0.9}, {"gamma": 1.0}, {"gamma": 0.0}]

    class First(ours.ExponentialLR):
        def get_lr(self):
            return self._scaled(self.gamma)

    mistakes = {
        "closed form": Mistake(
            closed(ours.ExponentialLR, lambda s: [b * s.gamma**s.last_epoch for b in s.base_lrs]),
            *OF_THE_EPOCH,
        ),
        "decays before the first epoch": Mistake(
            First,
            "A classic slip: the rate is multiplied as soon as the schedule is made.",
            "Every rate comes one epoch early.",
        ),
        "exp(-gamma * epoch)": Mistake(
            closed(
                ours.ExponentialLR,
                lambda s: [b * math.exp(-s.gamma * s.last_epoch) for b in s.base_lrs],
            ),
            "Textbooks write lr * exp(-k * epoch), where torch has lr * gamma^epoch.",
            "With gamma = 0.9 the rate falls to 0.41 of itself in every epoch.",
        ),
    }


class TestStepLR(SchedulerParity):
    numpy, torch = ours.StepLR, theirs.StepLR
    configs = [{"step_size": 3}, {"step_size": 1, "gamma": 0.5}, {"step_size": 4, "gamma": 0.8}]
    # Torch divides by zero at its first step.
    refusals = [
        Refusal({"step_size": 0}, says="at least 1, got 0", torch=False),
        Refusal({"step_size": -2}, says="got -2", torch=False),
    ]

    class EveryEpoch(ours.StepLR):
        def get_lr(self):
            return self._scaled(1 if self._is_initial else self.gamma ** (1 / self.step_size))

    mistakes = {
        "closed form": Mistake(
            closed(
                ours.StepLR,
                lambda s: [b * s.gamma ** (s.last_epoch // s.step_size) for b in s.base_lrs],
            ),
            *OF_THE_EPOCH,
        ),
        "one epoch late": Mistake(
            late(ours.StepLR),
            *FROM_ONE,
        ),
        "smooth instead of steps": Mistake(
            EveryEpoch,
            "Written with / for //.",
            "The rate falls in every epoch, and is below torch's between the steps.",
        ),
    }


class TestPolynomialLR(SchedulerParity):
    numpy, torch = ours.PolynomialLR, theirs.PolynomialLR
    configs = [{}, {"total_iters": 20, "power": 2.0}, {"total_iters": 11, "power": 0.5}]
    mistakes = {
        "closed form": Mistake(
            closed(
                ours.PolynomialLR,
                lambda s: [
                    b * (1 - min(s.total_iters, s.last_epoch) / s.total_iters) ** s.power
                    for b in s.base_lrs
                ],
            ),
            *OF_THE_EPOCH,
        ),
        "inverse time": Mistake(
            closed(
                ours.PolynomialLR,
                lambda s: [b / (1 + s.last_epoch / s.total_iters) ** s.power for b in s.base_lrs],
            ),
            "The guide's decay_type='polynomial' is lr / (1 + epoch * rate).",
            "The rate never reaches 0, and is at half where it should have ended.",
        ),
        "one epoch late": Mistake(
            late(ours.PolynomialLR),
            *FROM_ONE,
        ),
    }


class TestLinearLR(SchedulerParity):
    numpy, torch = ours.LinearLR, theirs.LinearLR
    configs = [
        {},
        {"start_factor": 0.1, "total_iters": 9},
        {"start_factor": 1.0, "end_factor": 0.2, "total_iters": 12},
        {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 12},
    ]
    refusals = [
        Refusal({"start_factor": 0.0}, says="Starting multiplicative factor .* got 0.0"),
        Refusal({"start_factor": 1.5}, says="got 1.5"),
        Refusal({"end_factor": -0.1}, says="Ending multiplicative factor .* got -0.1"),
        Refusal({"end_factor": 1.5}, says="got 1.5"),
        Refusal(
            {"end_factor": float("nan")}, says="got nan", torch=False
        ),  # torch goes on with NaN
    ]

    class PastTheEnd(ours.LinearLR):
        def get_lr(self):
            self._is_initial, kept, self.total_iters = False, self.total_iters, self.total_iters + 1
            try:
                return super().get_lr()
            finally:
                self.total_iters = kept

    mistakes = {
        "closed form": Mistake(
            closed(ours.LinearLR, ours.LinearLR._get_closed_form_lr),
            *OF_THE_EPOCH,
        ),
        "one epoch too long": Mistake(
            PastTheEnd,
            "Counting both ends of the ramp.",
            "The full rate comes one epoch later than asked, on a flatter ramp.",
        ),
        "one epoch late": Mistake(
            late(ours.LinearLR),
            *FROM_ONE,
        ),
    }


class TestCosineAnnealingLR(SchedulerParity):
    numpy, torch = ours.CosineAnnealingLR, theirs.CosineAnnealingLR
    configs = [{"T_max": 20}, {"T_max": 7, "eta_min": 0.02}, {"T_max": 1}, {"T_max": 30}]
    # Torch divides by zero at its first step.
    refusals = [Refusal({"T_max": 0}, says="at least 1, got 0", torch=False)]

    class Stays(ours.CosineAnnealingLR):
        def get_lr(self):
            return self._scaled(1) if self.last_epoch > self.T_max else super().get_lr()

    mistakes = {
        "closed form": Mistake(
            closed(ours.CosineAnnealingLR, ours.CosineAnnealingLR._get_closed_form_lr),
            *OF_THE_EPOCH,
        ),
        "stays at the foot": Mistake(
            Stays,
            "Code that holds the rate at eta_min after T_max; torch's cosine goes up again.",
            "Equal up to T_max; after it torch's rate rises.",
        ),
        "one epoch late": Mistake(
            late(ours.CosineAnnealingLR),
            *FROM_ONE,
        ),
        "whole cosine": Mistake(
            closed(
                ours.CosineAnnealingLR,
                lambda s: [
                    s.eta_min
                    + (b - s.eta_min) * (1 + math.cos(2 * math.pi * s.last_epoch / s.T_max)) / 2
                    for b in s.base_lrs
                ],
            ),
            "A classic slip: 2 pi for pi.",
            "The rate is at its foot in the middle, and ends where it began.",
        ),
        "eta_min left out": Mistake(
            closed(
                ours.CosineAnnealingLR,
                lambda s: [
                    b * (1 + math.cos(math.pi * s.last_epoch / s.T_max)) / 2 for b in s.base_lrs
                ],
            ),
            "A classic slip: the option is taken and never used.",
            "The rate ends at 0: the last epochs change nothing.",
        ),
    }


class TestInverseTimeLR(SchedulerParity):
    numpy, torch = ours.InverseTimeLR, theirs.InverseTimeLR
    configs = [{"decay_rate": 0.1}, {"decay_rate": 0.0}, {"decay_rate": 3.0}]
    refusals = [
        Refusal({"decay_rate": -0.1}, says="at least 0, got -0.1"),
        Refusal({"decay_rate": float("nan")}, says="got nan"),
    ]
    mistakes = {
        "closed form": Mistake(
            closed(ours.InverseTimeLR, ours.InverseTimeLR._get_closed_form_lr),
            "The guide's own line: lr / (1 + epoch * rate) of the first rate.",
            "A rate that was changed by hand is forgotten at the next epoch.",
        ),
        "the present rate divided again": Mistake(
            type(
                "Compounded",
                (ours.InverseTimeLR,),
                {"get_lr": lambda s: s._scaled(1 / (1 + s.decay_rate * s.last_epoch))},
            ),
            "The first rate's formula applied to the present rate.",
            "Divisors multiply up: the rate is gone within a few epochs.",
        ),
        "one epoch late": Mistake(
            late(ours.InverseTimeLR),
            *FROM_ONE,
        ),
        "polynomial": Mistake(
            closed(
                ours.InverseTimeLR,
                lambda s: [
                    b * (1 - min(s.last_epoch, 30) / 30) ** s.decay_rate for b in s.base_lrs
                ],
            ),
            "Whoever takes the guide's name for this decay at its word.",
            "The rate ends at 0, where inverse time never does.",
        ),
    }
