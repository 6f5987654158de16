"""The loss of log-probabilities against class labels, and how labels point into an array."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from numpy_impl.losses.regression import Loss, reduce, spread
from numpy_impl.module import Array, as_float

__all__ = ["NLLLoss", "nll_loss", "nll_loss_backward", "perplexity"]


class Labels(NamedTuple):
    """Labels against scores (before, classes, after); every array has the labels' places."""

    at: Array  # where each label's score stands in the flat scores
    weight: Array | None  # the label's class weight, 0 where ignored; None where all are 1
    kept: Array | None  # False where the label is ignore_index; None where none is

    def denominator(self) -> Any:
        """What "mean" divides by."""
        return self.at.size if self.weight is None else self.weight.sum()


def aimed_at(scores: Array, labels: Labels) -> Array:
    """Each label's score; zeros where there are no classes, so that every label was ignored."""
    return scores.take(labels.at) if scores.size else np.zeros(labels.at.shape, scores.dtype)


def one_per_place(input: Array) -> tuple[int, ...]:
    """The shape of the labels for scores (N, C, *): (N, *), and () for (C,)."""
    if input.ndim == 0:
        raise ValueError("input wants a class axis: (C,) or (N, C, *), got a scalar")
    return input.shape[:1] + input.shape[2:] if input.ndim > 1 else ()


def class_axis(input: Array) -> int:
    """Which axis of the scores counts classes."""
    return min(input.ndim - 1, 1)


def as_labels(target: Any, input: Array) -> Array:
    """The labels as int64, one a place.

    Raises TypeError unless they are int64 or uint8 (as in torch), and ValueError for a wrong shape.
    """
    if not isinstance(target, np.ndarray | np.generic):
        raise TypeError(f"target must be a NumPy array, got {type(target).__name__}")
    if target.dtype not in (np.int64, np.uint8):
        raise TypeError(f"class labels must be int64 or uint8, got {target.dtype}")
    shape = one_per_place(input)
    if target.shape != shape and (shape, target.shape) != ((), (1,)):
        raise ValueError(
            f"target wants shape {shape} for an input of shape {input.shape}, got {target.shape}"
        )
    return np.asarray(target, np.int64)


def as_class_weight(weight: Array | None, input: Array) -> Array | None:
    """The class weights, checked: one for each class, in the input's dtype."""
    if weight is None:
        return None
    classes = input.shape[class_axis(input)]
    if as_float(weight, "weight").shape != (classes,):
        raise ValueError(f"weight wants shape ({classes},), one a class, got {weight.shape}")
    if weight.dtype != input.dtype:
        raise TypeError(f"weight must be {input.dtype} like the input, got {weight.dtype}")
    return weight


def locate(
    labels: Array, scores: tuple[int, ...], dtype: Any, weight: Array | None, ignore_index: int
) -> Labels:
    """Find every label's score among scores of shape (before, classes, after).

    Raises IndexError for a label that is no class and not ignore_index.
    """
    before, classes, after = scores
    labels, kept = labels.reshape(before, after), None
    # As unsigned numbers negative labels are huge, so one maximum finds both kinds of stray.
    if 0 <= ignore_index < classes or labels.size and labels.view(np.uint64).max() >= classes:
        kept = labels != ignore_index
        wrong = kept & ((labels < 0) | (labels >= classes))
        if wrong.any():
            raise IndexError(
                f"Target {labels[wrong][0]} is out of bounds: wanted 0 to {classes - 1}, "
                f"or ignore_index {ignore_index}"
            )
        labels = np.where(kept, labels, 0)
    at = labels * after + np.arange(after)
    if before > 1:
        at += (np.arange(before) * (classes * after))[:, np.newaxis]
    weights = None if weight is None else weight.take(labels)
    if kept is not None:
        weights = kept.astype(dtype) if weights is None else np.where(kept, weights, 0)
    return Labels(at, weights, kept)


def _prepared(
    input: Any, target: Any, weight: Array | None, ignore_index: int
) -> tuple[Array, Labels]:
    x = as_float(input)
    labels, weight = as_labels(target, x), as_class_weight(weight, x)
    axis = class_axis(x)
    x = x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))
    return x, locate(labels, x.shape, x.dtype, weight, ignore_index)


@np.errstate(all="ignore")
def nll_loss(
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Array:
    """-weight[target] * input[target], reduced; "mean" divides by the sum of the weights."""
    x, labels = _prepared(input, target, weight, ignore_index)
    losses = -aimed_at(x, labels)
    if labels.weight is not None:
        losses *= labels.weight
    if labels.kept is not None:
        losses = np.where(labels.kept, losses, 0)
    return reduce(losses.reshape(one_per_place(input)), reduction, labels.denominator())


@np.errstate(all="ignore")
def nll_loss_backward(
    dloss: Any,
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Array:
    """-weight[target] times the share of dloss, at the labels; 0 elsewhere."""
    x, labels = _prepared(input, target, weight, ignore_index)
    share = spread(dloss, one_per_place(input), x.dtype, reduction, labels.denominator())
    share = -share.reshape(labels.at.shape) if share.ndim else -share
    if labels.weight is not None:
        share = share * labels.weight
    if labels.kept is not None:
        share = np.where(labels.kept, share, 0)
    dx = np.zeros(x.size, x.dtype)
    if dx.size:
        dx[labels.at] = share
    return dx.reshape(input.shape)


class NLLLoss(Loss):
    """The weighted mean of the negative log-probabilities at the labels.

        loss   = sum of w_i * -input[i, target_i] / sum of w_i,  w_i = weight[target_i]
        dinput = -w_i / sum of w_i at [i, target_i], 0 elsewhere

    Input is what LogSoftmax gives. An ignored label has w_i = 0, so it counts neither above nor
    below the line; if all are ignored the mean is 0/0, NaN, and its gradient 0.

    Args:
        weight: one number a class; kept as a buffer.
        ignore_index: the label that stands for none; -100 by default.
        reduction: "mean", "sum", or "none". By keyword, as torch's positions in between belong to
            the long-deprecated size_average and reduce, which are left out.

    Shapes: input, dinput (C,) or (N, C, *); target (), (N, *); loss () or, unreduced, target's.

    Raises:
        IndexError: a label is no class.
        ValueError: the shapes do not fit.
        TypeError: input is not a float array, target not int64 or uint8.
    """

    weight: Array | None

    def __init__(
        self,
        weight: Array | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = as_index(ignore_index)

    def forward(self, input: Array, target: Array) -> Array:
        weight, ignore_index, reduction = self.weight, self.ignore_index, self.reduction
        loss = nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)
        self.save_for_backward(loss, input, target, weight)
        return loss

    def backward(self, dloss: Any = 1.0) -> Array:
        return nll_loss_backward(
            *self.saved_for_backward(dloss),
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


def as_index(ignore_index: int) -> int:
    """TypeError unless it is a whole number."""
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, int | np.integer):
        raise TypeError(f"ignore_index must be an int, got {type(ignore_index).__name__}")
    return int(ignore_index)


@np.errstate(all="ignore")
def perplexity(input: Array, target: Array, ignore_index: int = -100) -> Array:
    """exp of the mean NLLLoss: how many equally likely classes the model hesitates between.

    Shapes: input (N, C, *), log-probabilities; target (N, *); result ().
    """
    return np.asarray(np.exp(nll_loss(input, target, ignore_index=ignore_index)))
