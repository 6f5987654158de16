"""Losses for yes-or-no targets, one decision an element: of probabilities and of logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_impl.layers.activation import sigmoid
from numpy_impl.losses.regression import Loss, as_target, reduce, spread
from numpy_impl.module import Array, as_float

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "positive_weight",
]

FLOOR = -100.0  # of a logarithm: where p is exactly wrong the loss is 100, not infinite
NARROW = float(np.float32(1e-12))  # of p * (1 - p) in the gradient; in torch a C float


def _probabilities(x: Array, name: str) -> Array:
    if x.size and not (x.min() >= 0 and x.max() <= 1):  # NaN is in no range
        raise ValueError(
            f"all elements of {name} should be between 0 and 1, got {x.min()} to {x.max()}"
        )
    return x


def _as_weight(weight: Array | None, x: Array, name: str = "weight") -> Array | None:
    """The weight in the input's dtype; ValueError unless it broadcasts to the input's shape."""
    if weight is None:
        return None
    if not isinstance(weight, np.ndarray | np.generic):
        raise TypeError(f"{name} must be a NumPy array, got {type(weight).__name__}")
    try:
        fits = np.broadcast_shapes(weight.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must broadcast to the input's {x.shape}, got {weight.shape}")
    return np.asarray(weight, x.dtype)


@np.errstate(all="ignore")
def binary_cross_entropy(
    input: Array, target: Array, weight: Array | None = None, *, reduction: str = "mean"
) -> Array:
    """-(target * log(input) + (1 - target) * log(1 - input)), weighted and reduced."""
    p = _probabilities(as_float(input), "input")
    y, weight = _probabilities(as_target(target, p), "target"), _as_weight(weight, p)
    losses = np.asarray(np.log1p(-p))
    np.maximum(losses, FLOOR, out=losses)
    losses *= y - 1
    losses -= y * np.maximum(np.log(p), FLOOR)
    if weight is not None:
        losses *= weight
    return reduce(losses, reduction, losses.size)


@np.errstate(all="ignore")
def binary_cross_entropy_backward(
    dloss: Any, input: Array, target: Array, weight: Array | None = None, *, reduction: str = "mean"
) -> Array:
    """(input - target) / (input * (1 - input)) times weight and the share of dloss."""
    p = _probabilities(as_float(input), "input")
    y, weight = _probabilities(as_target(target, p), "target"), _as_weight(weight, p)
    dp = np.asarray(p - y)
    dp /= np.maximum((1 - p) * p, NARROW)
    if weight is not None:
        dp *= weight
    dp *= spread(dloss, p.shape, p.dtype, reduction, p.size)
    return dp


@np.errstate(all="ignore")
def binary_cross_entropy_with_logits(
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Array | None = None,
) -> Array:
    """binary_cross_entropy(sigmoid(input), target), right where the sigmoid is 0 or 1."""
    x = as_float(input)
    y, weight = as_target(target, x), _as_weight(weight, x)
    pos_weight = _as_weight(pos_weight, x, "pos_weight")
    losses = np.asarray(np.negative(np.abs(x)))
    np.log1p(np.exp(losses, out=losses), out=losses)
    beyond = np.minimum(x, 0)  # log(1 + exp(-x)) is what losses hold now, less this
    if pos_weight is not None:
        v = 1 + (pos_weight - 1) * y
        losses *= v
        beyond = beyond * v
    losses += (1 - y) * x - beyond  # large numbers first, lest they swallow a small loss
    if weight is not None:
        losses *= weight
    return reduce(losses, reduction, losses.size)


@np.errstate(all="ignore")
def binary_cross_entropy_with_logits_backward(
    dloss: Any,
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Array | None = None,
) -> Array:
    """((1 - y) * s - pos_weight * y * (1 - s)) times weight and the share of dloss."""
    x = as_float(input)
    y, weight = as_target(target, x), _as_weight(weight, x)
    pos_weight = _as_weight(pos_weight, x, "pos_weight")
    dx = sigmoid(x)
    if pos_weight is None:
        dx -= y
    else:
        dx *= 1 + (pos_weight - 1) * y
        dx -= pos_weight * y
    if weight is not None:
        dx *= weight
    dx *= spread(dloss, x.shape, x.dtype, reduction, x.size)
    return dx


class BCELoss(Loss):
    """The mean surprise at yes-or-no targets y, given the probabilities p of yes.

        loss = mean of -w * (y * log p + (1 - y) * log(1 - p)),  logarithms at least -100
        dp   = w * (p - y) / max(p * (1 - p), 1e-12) / n

    The two floors are torch's: a probability that is exactly wrong costs 100 and pulls with 1e12.
    With logits at hand BCEWithLogitsLoss is the careful form.

    Args:
        weight: a factor for each loss, anything that broadcasts to the input; kept as a buffer.
        reduction: "mean", "sum", or "none". By keyword, as torch's positions in between belong to
            the long-deprecated size_average and reduce, which are left out.

    Shapes: input, target, dp (*); loss () or, unreduced, (*).

    Raises:
        ValueError: a number of input or target is not in [0, 1], or the shapes do not fit.
        TypeError: input is not a float array, or target has another dtype.
    """

    weight: Array | None

    def __init__(self, weight: Array | None = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)

    def forward(self, input: Array, target: Array) -> Array:
        loss = binary_cross_entropy(input, target, self.weight, reduction=self.reduction)
        self.save_for_backward(loss, input, target, self.weight)
        return loss

    def backward(self, dloss: Any = 1.0) -> Array:
        saved = self.saved_for_backward(dloss)
        return binary_cross_entropy_backward(*saved, reduction=self.reduction)


class BCEWithLogitsLoss(Loss):
    """The mean surprise at yes-or-no targets y, given logits x, with s = sigmoid(x).

        loss = mean of w * ((1 - y) * x + v * log(1 + exp(-x))),  v = 1 + (pos_weight - 1) * y
        dx   = w * (v * s - pos_weight * y) / n,  which is w * (s - y) / n without pos_weight

    log(1 + exp(-x)) is computed as log1p(exp(-|x|)) - min(x, 0), which never overflows.

    Args:
        weight: a factor for each loss, anything that broadcasts to the input; kept as a buffer.
        reduction: "mean", "sum", or "none". By keyword, as for BCELoss.
        pos_weight: how much more a yes counts than a no (see `positive_weight`), likewise.

    Shapes: input, target, dx (*); loss () or, unreduced, (*).

    Raises:
        ValueError: the shapes do not fit.
        TypeError: input is not a float array, or target has another dtype.
    """

    weight: Array | None
    pos_weight: Array | None

    def __init__(
        self,
        weight: Array | None = None,
        *,
        reduction: str = "mean",
        pos_weight: Array | None = None,
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Array, target: Array) -> Array:
        loss = binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )
        self.save_for_backward(loss, input, target, self.weight, self.pos_weight)
        return loss

    def backward(self, dloss: Any = 1.0) -> Array:
        *saved, pos_weight = self.saved_for_backward(dloss)
        return binary_cross_entropy_with_logits_backward(
            *saved, reduction=self.reduction, pos_weight=pos_weight
        )


@np.errstate(all="ignore")
def positive_weight(targets: Array) -> Array:
    """The pos_weight under which, label by label, yes and no count the same: noes / yeses.

    A label without a yes gets 1.

    Shapes: targets (N, *), zeros and ones; result (*).
    """
    yes = as_float(targets, "targets").sum(axis=0)
    return np.where(yes > 0, (len(targets) - yes) / np.maximum(yes, 1), 1).astype(targets.dtype)
