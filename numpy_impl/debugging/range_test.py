"""Which learning rate: raise it from far too low to far too high, and watch the loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from numpy_impl.losses.regression import Loss
from numpy_impl.module import Array, Module
from numpy_impl.optimization.optimizer import Optimizer
from numpy_impl.training.non_finite import NonFiniteError, kept_streams
from numpy_impl.training.step import train_step

__all__ = ["RangeTest", "lr_range_test"]


@dataclass
class RangeTest:
    """Losses by learning rate, as they came and smoothed, and whether they blew up."""

    lr: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)
    diverged: bool = False

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest, by decade. NaN under three steps."""
        logs = [math.log(lr) for lr in self.lr]
        slopes = [
            (self.smoothed[i + 1] - self.smoothed[i - 1]) / (logs[i + 1] - logs[i - 1])
            for i in range(1, len(logs) - 1)
        ]
        if not slopes:
            return math.nan
        return self.lr[1 + min(range(len(slopes)), key=slopes.__getitem__)]

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed loss is least: high, and safely below."""
        return self.lr[min(range(len(self.lr)), key=self.smoothed.__getitem__)] / 10

    def __str__(self) -> str:
        end = "diverged" if self.diverged else "did not diverge"
        return (
            f"rates {self.lr[0]:.3g} to {self.lr[-1]:.3g}, the loss {end}; falls fastest at "
            f"{self.steepest:.3g}, try {self.suggestion:.3g}"
        )


def lr_range_test(
    model: Module,
    batches: Iterable[Sequence[Array]],
    criterion: Loss,
    optimizer: Optimizer,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    smoothing: float = 0.9,
    stop: float = 4.0,
) -> RangeTest:
    """Take a step at each of many rates, each larger than the last, and write down the loss.

    Smith 2017, arXiv:1506.01186, section 3.3, whose rates grow by a constant; here by a factor, so
    that every decade has as many. With t the step from 0:

        lr_t       = low * (high / low)^(t / (steps - 1)),  in every parameter group
        average_t  = smoothing * average_(t-1) + (1 - smoothing) * loss_t
        smoothed_t = average_t / (1 - smoothing^(t+1))

    loss_t is measured before the step at lr_t. Too low a rate leaves the loss where it is, a good
    one makes it fall, too high a one makes it rise: the test ends where smoothed_t is above `stop`
    times its least value, or no longer finite. It trains a copy of model and optimizer; both stay
    as they are, and so do the random streams of the model and of the batches.

    Args:
        batches: (input, ..., target), gone through anew as often as need be.

    Raises:
        ValueError: not 0 < low < high, fewer than 2 steps, smoothing outside [0, 1), stop not
            above 1, or batches that are empty or can be gone through only once.
        NonFiniteError: the loss is NaN or infinite at the first rate.
    """
    if not 0 < low < high < math.inf:
        raise ValueError(f"rates must run from low to high, 0 < low < high, got {low=} {high=}")
    if not isinstance(steps, int) or steps < 2:
        raise ValueError(f"steps must be a whole number of at least 2, got {steps!r}")
    if not 0 <= smoothing < 1 or not stop > 1:
        raise ValueError(f"smoothing must lie in [0, 1) and stop above 1, got {smoothing=} {stop=}")
    twin, loss_of, mover = copy.deepcopy((model, criterion, optimizer))
    if not twin.training:
        twin.train()
    found, average, least = RangeTest(), 0.0, math.inf
    with kept_streams(batches):
        for t, batch in zip(range(steps), _again_and_again(batches)):
            lr = low * (high / low) ** (t / (steps - 1))
            for group in mover.param_groups:
                group["lr"] = lr
            try:
                loss = float(train_step(twin, batch, loss_of, mover)[0])
            except NonFiniteError:
                if not t:
                    raise
                found.diverged = True
                break
            average = smoothing * average + (1 - smoothing) * loss
            found.lr.append(lr)
            found.loss.append(loss)
            found.smoothed.append(average / (1 - smoothing ** (t + 1)))
            least = min(least, found.smoothed[-1])
            if found.smoothed[-1] > stop * least:
                found.diverged = True
                break
    return found


def _again_and_again(batches: Iterable[Sequence[Array]]) -> Iterator[Sequence[Array]]:
    if iter(batches) is batches:
        raise ValueError("batches can be gone through only once: pass a DataLoader or a list")
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            raise ValueError("there must be at least one batch, got none")
