"""Rates that fall: exponential, stepwise, polynomial, linear, cosine, inverse time."""

import math
from typing import Any

from numpy_impl.optimization import LRScheduler
from numpy_impl.optimization import decay as ours
from parity_tests.harness import Refusal, SchedulerParity
from torch_impl.optimization import decay as theirs


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
        "closed form": closed(
            ours.ExponentialLR, lambda s: [b * s.gamma**s.last_epoch for b in s.base_lrs]
        ),
        "decays before the first epoch": First,
        "exp(-gamma * epoch)": closed(
            ours.ExponentialLR,
            lambda s: [b * math.exp(-s.gamma * s.last_epoch) for b in s.base_lrs],
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
        "closed form": closed(
            ours.StepLR,
            lambda s: [b * s.gamma ** (s.last_epoch // s.step_size) for b in s.base_lrs],
        ),
        "one epoch late": late(ours.StepLR),
        "smooth instead of steps": EveryEpoch,
    }


class TestPolynomialLR(SchedulerParity):
    numpy, torch = ours.PolynomialLR, theirs.PolynomialLR
    configs = [{}, {"total_iters": 20, "power": 2.0}, {"total_iters": 11, "power": 0.5}]
    mistakes = {
        "closed form": closed(
            ours.PolynomialLR,
            lambda s: [
                b * (1 - min(s.total_iters, s.last_epoch) / s.total_iters) ** s.power
                for b in s.base_lrs
            ],
        ),
        "inverse time": closed(
            ours.PolynomialLR,
            lambda s: [b / (1 + s.last_epoch / s.total_iters) ** s.power for b in s.base_lrs],
        ),
        "one epoch late": late(ours.PolynomialLR),
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
        "closed form": closed(ours.LinearLR, ours.LinearLR._get_closed_form_lr),
        "one epoch too long": PastTheEnd,
        "one epoch late": late(ours.LinearLR),
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
        "closed form": closed(ours.CosineAnnealingLR, ours.CosineAnnealingLR._get_closed_form_lr),
        "stays at the foot": Stays,
        "one epoch late": late(ours.CosineAnnealingLR),
        "whole cosine": closed(
            ours.CosineAnnealingLR,
            lambda s: [
                s.eta_min
                + (b - s.eta_min) * (1 + math.cos(2 * math.pi * s.last_epoch / s.T_max)) / 2
                for b in s.base_lrs
            ],
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
        "closed form": closed(ours.InverseTimeLR, ours.InverseTimeLR._get_closed_form_lr),
        "the present rate divided again": type(
            "Compounded",
            (ours.InverseTimeLR,),
            {"get_lr": lambda s: s._scaled(1 / (1 + s.decay_rate * s.last_epoch))},
        ),
        "one epoch late": late(ours.InverseTimeLR),
        "polynomial": closed(
            ours.InverseTimeLR,
            lambda s: [b * (1 - min(s.last_epoch, 30) / 30) ** s.decay_rate for b in s.base_lrs],
        ),
    }
