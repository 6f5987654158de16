"""Two questions before a long run: does the loss start where it should, and can it get to 0."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numpy_impl.losses.binary_cross_entropy import BCELoss
from numpy_impl.losses.nll import NLLLoss, class_axis
from numpy_impl.losses.regression import Loss
from numpy_impl.module import Array, Module, no_grad
from numpy_impl.optimization.optimizer import Optimizer
from numpy_impl.training.non_finite import kept_streams
from numpy_impl.training.step import train_step

__all__ = ["InitialLoss", "Overfit", "initial_loss", "overfit_one_batch"]


@dataclass(frozen=True)
class InitialLoss:
    """A loss before training, and that of an output which prefers nothing."""

    loss: float
    expected: float

    @property
    def ratio(self) -> float:
        """loss / expected: about 1 where the start is right."""
        return self.loss / self.expected if self.expected else math.inf

    def __str__(self) -> str:
        return (
            f"the loss starts at {self.loss:.4g}, {self.ratio:.3g} times the {self.expected:.4g} "
            "of an output that prefers nothing"
        )


def initial_loss(model: Module, batch: Sequence[Array], criterion: Loss) -> InitialLoss:
    """Measure a loss before training beside that of an output which prefers nothing.

    That output is 0 for logits and for regression, a log-probability of -ln C under NLLLoss, a
    probability of 1/2 under BCELoss; so a cross-entropy over C classes is expected at ln C, a
    binary one at ln 2, whatever the weights and the smoothing (Karpathy, CS231n, "Neural Networks
    Part 3"). Far above it, the last layer starts too large, and the first epochs are spent on
    shrinking it; below it before any training, the model has seen the labels. It runs on a copy,
    in the model's own mode; nothing of the model and no random stream moves.

    Args:
        batch: the model's inputs, then the target.

    Raises:
        ValueError: the loss is not one number.
    """
    *inputs, target = batch
    twin, loss = copy.deepcopy((model, criterion))
    with kept_streams(), no_grad(), np.errstate(all="ignore"):
        output = twin(*inputs)
        neutral = np.zeros_like(output)
        if isinstance(loss, NLLLoss):
            neutral -= math.log(output.shape[class_axis(output)])
        elif isinstance(loss, BCELoss):
            neutral += 0.5
        found, expected = loss(output, target), loss(neutral, target)
    if np.ndim(found):
        raise ValueError(f"the loss must be one number, got shape {np.shape(found)}")
    return InitialLoss(float(found), float(expected))


@dataclass(frozen=True)
class Overfit:
    """How a loss went on one batch seen again and again, and whether it got low enough."""

    losses: list[float]
    wanted: float

    @property
    def reached(self) -> bool:
        """Whether the last loss is as low as was wanted."""
        return self.losses[-1] <= self.wanted

    def __str__(self) -> str:
        how = "is learned" if self.reached else "is not learned"
        return (
            f"one batch {how}: loss {self.losses[0]:.4g} to {self.losses[-1]:.4g} in "
            f"{len(self.losses) - 1} steps, wanted {self.wanted:.4g}"
        )


def overfit_one_batch(
    model: Module,
    batch: Sequence[Array],
    criterion: Loss,
    optimizer: Optimizer,
    *,
    steps: int = 200,
    share: float = 0.01,
) -> Overfit:
    """Train on one small batch until the loss is `share` of its first value, or steps run out.

    A network that cannot learn a few samples by heart has a fault that no data will cure: a wrong
    gradient, a rate far off, labels that do not belong to their rows, dead units (Karpathy 2019,
    "A Recipe for Training Neural Networks"). Take dropout, decay and smoothing out first: they are
    there to prevent just this. Model and optimizer are copied together, with the optimizer's state,
    and stay as they are; the copy trains in training mode.

    Args:
        batch: the model's inputs, then the target; 8 to 32 rows.

    Raises:
        ValueError: steps is not a positive whole number, or share not within 0 and 1.
        NonFiniteError: a loss or gradient became NaN or infinite; see `train_step`.
    """
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a positive whole number, got {steps!r}")
    if not 0 < share < 1:
        raise ValueError(f"share must lie within 0 and 1, got {share}")
    twin, loss, mover = copy.deepcopy((model, criterion, optimizer))
    if not twin.training:
        twin.train()
    losses: list[float] = []
    with kept_streams():
        for _ in range(steps):
            losses.append(float(train_step(twin, batch, loss, mover)[0]))
            if losses[-1] <= share * losses[0] and len(losses) > 1:
                break
        else:
            *inputs, target = batch
            with no_grad():
                losses.append(float(loss(twin(*inputs), target)))
    return Overfit(losses, share * losses[0])
