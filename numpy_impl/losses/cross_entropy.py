"""Softmax and its loss in one: logits in, the surprise at the right classes out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from numpy_impl.layers.softmax import fold, shift, unfold
from numpy_impl.losses.nll import (
    Labels,
    as_class_weight,
    as_index,
    as_labels,
    class_axis,
    locate,
    one_per_place,
)
from numpy_impl.losses.regression import Loss, as_target, reduce, spread
from numpy_impl.module import Array, as_float, float_dtype

__all__ = ["CrossEntropyLoss", "class_weights", "cross_entropy", "cross_entropy_backward"]


class _Kept(NamedTuple):
    """What the gradient is made of. Axes (before, C, after), or (before, after) without classes."""

    shape: tuple[int, ...]
    e: Array  # exp of the shifted logits, ours to overwrite
    total: Array  # its sum over classes
    labels: Labels | None
    even: Array | None  # (C, 1), what smoothing makes a label put on every class
    q: Array | None  # what the target puts on each class, where it is no label


def _forward(
    input: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> tuple[Array, _Kept]:
    x, smoothing = as_float(input), _as_smoothing(smoothing)
    places, weight, dim = one_per_place(x), as_class_weight(weight, x), class_axis(x)
    z, classes = fold(x, dim), x.shape[dim]
    labels = even = q = None
    if smoothing:
        even = np.full((classes, 1), smoothing / max(classes, 1), x.dtype)
        even = even if weight is None else even * weight[:, np.newaxis]

    if isinstance(target, np.ndarray) and target.shape == x.shape and target.dtype.kind == "f":
        if ignore_index >= 0:
            raise ValueError(f"ignore_index is for labels, got {ignore_index} with probabilities")
        q = (1 - smoothing) * fold(as_target(target, x), dim)
        q = q if weight is None else q * weight[:, np.newaxis]
        q = q if even is None else q + even
        z = shift(z)
        aimed = (q * z).sum(axis=1)
        e = np.exp(z, out=z)
        total = e.sum(axis=1)
        losses = np.log(total) * q.sum(axis=1) - aimed
        count = losses.size
    else:
        labels = locate(as_labels(target, x), z.shape, x.dtype, weight, ignore_index)
        z = shift(z)
        aimed, everywhere = z.take(labels.at), None if even is None else (even * z).sum(axis=1)
        e = np.exp(z, out=z)
        total = e.sum(axis=1)
        log_total = np.log(total)
        losses = log_total - aimed
        if labels.weight is not None:
            losses *= labels.weight
        if even is not None:
            losses = (1 - smoothing) * losses + (log_total * even.sum() - everywhere)
        if labels.kept is not None:
            losses = np.where(labels.kept, losses, 0)
        count = labels.denominator()
    kept = _Kept(x.shape, e, total, labels, even, q)
    return reduce(losses.reshape(places), reduction, count), kept


def _backward(dloss: Any, kept: _Kept, reduction: str, smoothing: float) -> Array:
    shape, e, total, labels, even, q = kept
    places, dim = (shape[:1] + shape[2:], 1) if len(shape) > 1 else ((), 0)
    count = total.size if labels is None else labels.denominator()
    share = spread(dloss, places, e.dtype, reduction, count)
    share = share.reshape(total.shape) if share.ndim else np.broadcast_to(share, total.shape)
    if q is not None:
        e *= (share * q.sum(axis=1) / total)[:, np.newaxis]
        e -= share[:, np.newaxis] * q
    if labels is not None:
        if labels.kept is not None:
            share = np.where(labels.kept, share, 0)
        aim = share if labels.weight is None else share * labels.weight
        if even is None:
            e *= (aim / total)[:, np.newaxis]
        else:
            aim = (1 - smoothing) * aim
            e *= ((aim + share * even.sum()) / total)[:, np.newaxis]
            e -= share[:, np.newaxis] * even
        e.reshape(-1)[labels.at] -= aim
    return unfold(e, shape, dim)


@np.errstate(all="ignore")
def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """log(sum of exp(input)) - input at the target, weighted and reduced."""
    return _forward(input, target, weight, ignore_index, reduction, label_smoothing)[0]


@np.errstate(all="ignore")
def cross_entropy_backward(
    dloss: Any,
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """(softmax(input) - target) times weight and the share of dloss."""
    kept = _forward(input, target, weight, ignore_index, reduction, label_smoothing)[1]
    return _backward(dloss, kept, reduction, _as_smoothing(label_smoothing))


class CrossEntropyLoss(Loss):
    """The mean surprise, -log p, at the right classes, p the softmax of the logits.

    With q_ic what the target puts on class c of sample i, and z the logits less their maximum:

        loss_i    = log(sum_c exp z_ic) * sum_c q_ic - sum_c q_ic * z_ic
        dinput_ic = p_ic * sum_c q_ic - q_ic,  p_ic = exp z_ic / sum_c exp z_ic

    A label t puts w_t on its class, w = weight; probabilities y put w_c * y_c. Label smoothing s
    (Szegedy et al. 2016, arXiv:1512.00567) makes that (1 - s) times as much plus w_c * s / C on
    each of the C classes, the right one included. "mean" divides by the sum of the labels' w_t, or
    under probabilities by the number of samples. Ignored labels count neither above nor below the
    line; if all are ignored the mean is 0/0, NaN, and its gradient 0.

    The logits go in bare: no softmax before, and none in the model (see `predict_proba`).

    Args:
        weight: one number a class; kept as a buffer.
        ignore_index: the label that stands for none.
        reduction: "mean", "sum", or "none". By keyword, as torch's positions in between belong to
            the long-deprecated size_average and reduce, which are left out.
        label_smoothing: s, from 0 to 1.

    Shapes: input, dinput (C,) or (N, C, *); target, labels (), (N, *) or probabilities like input;
    loss () or, unreduced, (), (N, *).

    Raises:
        IndexError: a label is no class.
        ValueError: the shapes do not fit, or label_smoothing is not in [0, 1].
        TypeError: input is not a float array, labels are not int64 or uint8, or weight or
            probabilities have another dtype than input.
    """

    weight: Array | None

    def __init__(
        self,
        weight: Array | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = as_index(ignore_index)
        self.label_smoothing = _as_smoothing(label_smoothing)

    @np.errstate(all="ignore")
    def forward(self, input: Array, target: Array) -> Array:
        options = self.weight, self.ignore_index, self.reduction, self.label_smoothing
        loss, kept = _forward(input, target, *options)
        self.save_for_backward(loss, kept)
        return loss

    @np.errstate(all="ignore")
    def backward(self, dloss: Any = 1.0) -> Array:
        dloss, kept = self.saved_for_backward(dloss)
        return _backward(dloss, kept, self.reduction, self.label_smoothing)


def class_weights(labels: Array, num_classes: int, dtype: DTypeLike = np.float32) -> Array:
    """Weights under which every class counts the same in the mean: n / (num_classes * count).

    King & Zeng 2001; scikit-learn's "balanced". A class without labels gets 0.

    Shapes: labels (*), whole numbers; result (num_classes,).

    Raises:
        ValueError: a label is not in [0, num_classes).
    """
    counts = np.bincount(np.ravel(labels), minlength=num_classes)
    if len(counts) > num_classes:
        raise ValueError(f"labels must be below {num_classes}, got {len(counts) - 1}")
    weights = np.zeros(num_classes, float_dtype(dtype))
    return np.divide(
        counts.sum() / num_classes, counts, out=weights, where=counts > 0, casting="same_kind"
    )


def _as_smoothing(label_smoothing: float) -> float:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0.0 and 1.0, got {label_smoothing}")
    return float(label_smoothing)
