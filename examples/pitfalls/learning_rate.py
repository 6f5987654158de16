"""Learning rates: one too low to arrive, one too high to stay, and how to find one between."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from examples.pitfalls.both_sides import LOSS, RATE, VAL_METRIC, Pair, Setting
from examples.pitfalls.figure import OURS, THEIRS, colour, curves
from examples.pitfalls.pitfall import Claim, Found, Pitfall, digits, fit
from parity_tests.harness.training_case import Data

EPOCHS, BATCH = 4, 32
TOO_LOW, TOO_HIGH, ADAM_RATE, DECAY = 1e-3, 1.5, 5e-3, 0.003
LOWEST, HIGHEST = 1e-4, 10.0  # of the range test
TEST = "range test"


class LearningRate(Pitfall):
    """The rate is the first thing to tune: a factor of ten either way loses the training."""

    name = "learning-rate"
    title = f"two hidden layers of 32 on digits, SGD at rates from {TOO_LOW:g} to {TOO_HIGH:g}"
    look_for = (
        "On the left, the range test: the rate grows by a factor in every step, the loss falls "
        "once the rate is worth something and jumps when it is too much, and a quarter of the "
        "lowest point's rate is one to train with (the dotted line). On the right, the rate that "
        "is too low goes down too slowly to matter, and the one that is too high throws the ReLUs "
        "where they are 0 for every digit, so the loss stays at a guess's 2.30. The same high rate "
        "does learn where it decays step by step, the rate that the test found learns at once, and "
        "so does Adam at a rate of its own."
    )

    def settings(self, quick: bool, seed: int) -> list[Setting]:
        def mlp(lr: float) -> Callable[[Any], Any]:
            return lambda impl: impl.architectures.DeepMLP([64, 32, 32, 10], lr)

        data = digits(640)
        plain = fit(EPOCHS, BATCH)
        adam = fit(EPOCHS, BATCH, lambda impl: impl.optimization.Adam)
        found = [
            Setting(f"SGD at {TOO_LOW:g}", mlp(TOO_LOW), plain, data, role="before"),
            Setting(f"SGD at {TOO_HIGH:g}", mlp(TOO_HIGH), plain, data, role="before"),
            Setting(TEST, mlp(LOWEST), range_test, data, role="test"),
            Setting("SGD at the rate found", mlp(LOWEST), as_found, data),
            Setting(f"SGD at {TOO_HIGH:g}, decaying", mlp(TOO_HIGH), fit_along(DECAY), data),
            Setting(f"Adam at {ADAM_RATE:g}", mlp(ADAM_RATE), adam, data),
        ]
        return found[1:4] if quick else found

    def columns(self, pair: Pair) -> dict[str, str]:
        start, end = pair[RATE][0], pair[RATE][-1]
        return {
            "rate": f"{start:.3g}" if start == end else f"{start:.3g} -> {end:.3g}",
            "loss": f"{pair[LOSS][0]:.2f} -> {pair.last(LOSS, 8):.2f}",
            "accuracy": f"{pair.last(VAL_METRIC):.1%}",
        }

    def claims(self, found: Found) -> list[Claim]:
        said = [
            Claim(f"{pair.name}: loss at the end", pair.last(LOSS, 8), above=2.2)
            for pair in found.values()
            if pair.role == "before"
        ]
        said.append(Claim(f"{TEST}: rate found", rate_of(found[TEST]), below=1.0, above=0.03))
        for pair in found.values():
            if pair.role == "after":
                said.append(Claim(f"{pair.name}: loss at the end", pair.last(LOSS, 8), below=1.9))
        return said

    def draw(self, figure: Figure, found: Found) -> None:
        left, right = figure.subplots(1, 2)
        test = found[TEST]
        for numbers, style in ((test.ours, OURS), (test.theirs, THEIRS)):
            smooth = trailing(numbers[LOSS])
            left.plot(numbers[RATE], smooth, color=colour(found)[TEST], **style)
        left.axvline(rate_of(test), color="0.3", linewidth=1, linestyle=":")
        left.set(title="range test: loss against rate", xlabel="learning rate", xscale="log")
        left.set(ylim=(0, 5))
        curves(right, found, LOSS, only={k: pair for k, pair in found.items() if k != TEST})
        right.set(title="loss", xlabel="step", ylim=(0, 5))


def fit_along(decay: float, epochs: int = EPOCHS) -> Callable[..., object]:
    """Fit with a rate that has `decay` times its size after the last step."""

    def train(impl: Any, model: Any, data: Data, history: Any) -> object:
        steps = epochs * -(-len(data.x) // BATCH)
        schedule = impl.optimization.ExponentialLR
        options = {
            "scheduler": lambda optimizer: schedule(optimizer, gamma=decay ** (1 / steps)),
            "scheduler_steps": "step",
        }
        return fit(epochs, BATCH, options=lambda impl: options)(impl, model, data, history)

    return train


range_test = fit_along(HIGHEST / LOWEST)
"""Train while the rate grows from LOWEST to HIGHEST."""


def as_found(impl: Any, model: Any, data: Data, history: Any) -> object:
    """Fit at the rate that a range test from these weights finds."""
    tried, before = impl.training.History(), copy.deepcopy(model.state_dict())
    range_test(impl, model, data, tried)
    model.load_state_dict(before)
    model.learning_rate = best_rate(np.array(tried.step_loss), np.array(tried.step_lr))
    return fit(EPOCHS, BATCH)(impl, model, data, history)


def trailing(loss: Any, n: int = 5) -> Any:
    """The mean of each loss and of those up to n - 1 steps before it."""
    return np.array([loss[max(0, i - n + 1) : i + 1].mean() for i in range(len(loss))])


def best_rate(loss: Any, rate: Any) -> float:
    """A quarter of the rate at which the loss was lowest."""
    return float(rate[np.argmin(trailing(loss))] / 4)


def rate_of(pair: Pair) -> float:
    """What a range test found, on the NumPy side."""
    return best_rate(pair[LOSS], pair[RATE])
