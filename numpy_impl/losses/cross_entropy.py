"""Softmax and its loss in one: logits in, the surprise at the right classes out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from numpy_impl.layers.softmax import fold, shift, unfold
from numpy_impl.losses.nll import (
    Labels,
    aimed_at,
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
    target: Labels | Array  # the labels, or what the target puts on each class
    even: Array | None  # (C, 1), what smoothing makes a label put on every class


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
    z = fold(x, dim)
    even = everywhere = None
    if smoothing:
        even = np.full((z.shape[1], 1), smoothing / max(z.shape[1], 1), x.dtype)
        even = even if weight is None else even * weight[:, np.newaxis]
    if isinstance(target, np.ndarray) and target.shape == x.shape and target.dtype.kind == "f":
        if ignore_index >= 0:
            raise ValueError(f"ignore_index is for labels, got {ignore_index} with probabilities")
        q = (1 - smoothing) * fold(as_target(target, x), dim)
        q = q if weight is None else q * weight[:, np.newaxis]
        to: Labels | Array = q if even is None else q + even
    else:
        to = locate(as_labels(target, x), z.shape, x.dtype, weight, ignore_index)

    z = shift(z)  # what follows takes from z all it needs before exp overwrites it
    aimed = aimed_at(z, to) if isinstance(to, Labels) else (to * z).sum(axis=1)
    if even is not None and isinstance(to, Labels):
        everywhere = (even * z).sum(axis=1)
    e = np.exp(z, out=z)
    total = e.sum(axis=1)
    log_total = np.log(total) if z.shape[1] else total  # no classes, no loss, as in torch
    kept = _Kept(x.shape, e, total, to, even)
    if not isinstance(to, Labels):
        losses = log_total * to.sum(axis=1) - aimed
        count = losses.size if z.shape[1] else 0
        return reduce(losses.reshape(places), reduction, count), kept
    losses = log_total - aimed
    if to.weight is not None:
        losses *= to.weight
    if even is not None:
        losses = (1 - smoothing) * losses + (log_total * even.sum() - everywhere)
    if to.kept is not None:
        losses = np.where(to.kept, losses, 0)
    return reduce(losses.reshape(places), reduction, to.denominator()), kept


def _backward(dloss: Any, kept: _Kept, reduction: str, smoothing: float) -> Array:
    shape, e, total, to, even = kept
    places, dim = (shape[:1] + shape[2:], 1) if len(shape) > 1 else ((), 0)
    count = to.denominator() if isinstance(to, Labels) else total.size
    share = spread(dloss, places, e.dtype, reduction, count)
    share = share.reshape(total.shape if share.ndim else (1, 1))
    if not isinstance(to, Labels):
        e *= (share * to.sum(axis=1) / total)[:, np.newaxis]
        e -= share[:, np.newaxis] * to
        return unfold(e, shape, dim)
    if not e.size:
        return unfold(e, shape, dim)
    if to.kept is not None:
        share = np.where(to.kept, share, 0)
    aim = share if to.weight is None else share * to.weight
    if even is None:
        e *= (aim / total)[:, np.newaxis]
        e.ravel()[to.at] -= aim
    else:  # p - 1 at the label and W * p - w everywhere, each exact where it vanishes
        e /= total[:, np.newaxis]
        rest = share[:, np.newaxis] * (e * even.sum() - even)
        e.ravel()[to.at] -= 1
        e *= (1 - smoothing) * aim[:, np.newaxis]
        e += rest
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
    return np.divide(counts.sum() / num_classes, counts, out=weights, where=counts > 0)


def _as_smoothing(label_smoothing: float) -> float:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0.0 and 1.0, got {label_smoothing}")
    return float(label_smoothing)
