"""Losses for numbers, and what every loss shares: targets, reductions, a backward from 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_impl.layers.activation import as_gradient
from numpy_impl.module import Array, Module, as_float

__all__ = [
    "L1Loss",
    "MSELoss",
    "l1_loss",
    "l1_loss_backward",
    "mse_loss",
    "mse_loss_backward",
    "r2_score",
]


def check_reduction(reduction: str) -> None:
    """ValueError unless it is one of the three."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(
            f"{reduction!r} is not a valid value for reduction; wanted 'none', 'mean' or 'sum'"
        )


def reduce(losses: Array, reduction: str, count: Any) -> Array:
    """The losses as they are, their sum, or their sum over count (0/0 is NaN, as in torch)."""
    check_reduction(reduction)
    if reduction == "none":
        return losses
    total = losses.sum()
    return np.asarray(total / count if reduction == "mean" else total)


def spread(dloss: Any, losses: tuple[int, ...], dtype: Any, reduction: str, count: Any) -> Array:
    """What `reduce` does to a gradient: dloss, or each loss's share of it."""
    check_reduction(reduction)
    dloss = as_gradient(dloss, losses if reduction == "none" else (), dtype)
    return np.asarray(dloss / count if reduction == "mean" else dloss)


def as_target(target: Any, x: Array, whole: str = "", name: str = "target") -> Array:
    """The target in the input's dtype: floats must have it, `whole` kinds are converted.

    Raises TypeError or, for another shape, ValueError.
    """
    if isinstance(target, np.ndarray | np.generic) and target.dtype.kind in whole:
        target = target.astype(x.dtype)
    target = as_float(target, name)
    if target.dtype != x.dtype:
        raise TypeError(f"{name} must be {x.dtype} like the input, got {target.dtype}")
    if target.shape != x.shape:
        raise ValueError(f"{name} must have the input's shape, {x.shape}, got {target.shape}")
    return target


class Loss(Module):
    """A number to make small: `criterion(input, target)`, then `criterion.backward()`."""

    def __init__(self, reduction: str) -> None:
        check_reduction(reduction)
        self.reduction = reduction

    def forward(self, input: Array, target: Array) -> Array:
        """The loss."""
        raise NotImplementedError

    def backward(self, dloss: Any = 1.0) -> Array:
        """The gradient of input; dloss is that of the loss."""
        raise NotImplementedError


def _difference(input: Array, target: Array, whole: str) -> Array:
    x = as_float(input)
    return np.asarray(x - as_target(target, x, whole))


def _count(losses: Array, weight: Array | None) -> Any:
    return losses.size if weight is None else as_target(weight, losses, name="weight").sum()


@np.errstate(all="ignore")
def mse_loss(
    input: Array, target: Array, *, reduction: str = "mean", weight: Array | None = None
) -> Array:
    """weight * (input - target)^2, reduced; "mean" divides by the sum of the weights."""
    losses = _difference(input, target, whole="iub")
    np.square(losses, out=losses)
    count = _count(losses, weight)
    return reduce(losses if weight is None else losses * weight, reduction, count)


@np.errstate(all="ignore")
def mse_loss_backward(
    dloss: Any,
    input: Array,
    target: Array,
    *,
    reduction: str = "mean",
    weight: Array | None = None,
) -> Array:
    """2 * weight * (input - target) times the share of dloss."""
    dx = _difference(input, target, whole="iub")
    dx *= 2 * spread(dloss, dx.shape, dx.dtype, reduction, _count(dx, weight))
    return dx if weight is None else np.asarray(dx * weight)


@np.errstate(all="ignore")
def l1_loss(
    input: Array, target: Array, *, reduction: str = "mean", weight: Array | None = None
) -> Array:
    """weight * |input - target|, reduced; "mean" divides by the sum of the weights."""
    losses = _difference(input, target, whole="iu")
    np.abs(losses, out=losses)
    count = _count(losses, weight)
    return reduce(losses if weight is None else losses * weight, reduction, count)


@np.errstate(all="ignore")
def l1_loss_backward(
    dloss: Any,
    input: Array,
    target: Array,
    *,
    reduction: str = "mean",
    weight: Array | None = None,
) -> Array:
    """weight times the sign of (input - target) times the share of dloss.

    The sign of 0, and as in torch of NaN, is 0.
    """
    difference = _difference(input, target, whole="iu")
    count = _count(difference, weight)
    dloss = spread(dloss, difference.shape, difference.dtype, reduction, count)
    sign = np.asarray(difference > 0).view(np.int8) - np.asarray(difference < 0).view(np.int8)
    return np.asarray(sign * dloss if weight is None else sign * dloss * weight)


class MSELoss(Loss):
    """The mean squared difference, over all elements.

        loss   = mean of (input - target)^2
        dinput = 2 * (input - target) / n,  n = input.size, outputs counted too

    There is no 1/2, and n is not the batch size: code that averages over samples only has a
    gradient as many times larger as there are outputs.

    Args:
        reduction: "mean", "sum", or "none" for one loss an element. By keyword, as torch's first
            positions belong to the long-deprecated size_average and reduce, which are left out.

    Shapes: input, target, dinput (*); loss () or, unreduced, (*).

    Raises:
        ValueError: the shapes differ; torch broadcasts, with a warning that it will mislead.
        TypeError: input is not a float array, or target has another float dtype.
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Array, target: Array) -> Array:
        loss = mse_loss(input, target, reduction=self.reduction)
        self.save_for_backward(loss, input, target)
        return loss

    def backward(self, dloss: Any = 1.0) -> Array:
        dloss, input, target = self.saved_for_backward(dloss)
        return mse_loss_backward(dloss, input, target, reduction=self.reduction)


class L1Loss(Loss):
    """The mean absolute difference, over all elements.

        loss   = mean of |input - target|
        dinput = sign(input - target) / n,  n = input.size

    The subgradient where input equals target is 0.

    Args:
        reduction: "mean", "sum", or "none", by keyword as for MSELoss.

    Shapes: input, target, dinput (*); loss () or, unreduced, (*).

    Raises:
        ValueError: the shapes differ.
        TypeError: input is not a float array, or target is boolean or has another float dtype.
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Array, target: Array) -> Array:
        loss = l1_loss(input, target, reduction=self.reduction)
        self.save_for_backward(loss, input, target)
        return loss

    def backward(self, dloss: Any = 1.0) -> Array:
        dloss, input, target = self.saved_for_backward(dloss)
        return l1_loss_backward(dloss, input, target, reduction=self.reduction)


@np.errstate(all="ignore")
def r2_score(input: Array, target: Array) -> Array:
    """How much of the targets' variance a prediction explains: 1 all, 0 no more than their mean.

        1 - mse_loss(input, target) / mse_loss(mean of target over samples, target)

    The outputs are pooled. NaN or -inf where no target varies.

    Shapes: input, target (N, *); result ().
    """
    mean = np.broadcast_to(target.mean(axis=0), target.shape)
    return np.asarray(1 - mse_loss(input, target) / mse_loss(mean, target))
