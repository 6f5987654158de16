"""Softmax and its loss in one: logits in, the surprise at the right classes out.

For labels the framework runs log_softmax and nll_loss, two fused kernels; autograd keeps the
log-probabilities, and the gradient comes out as softmax minus one-hot without a one-hot ever being
made. Probabilities as targets, and label smoothing, take a second pass over the classes.

Three defaults that surprise: with `weight` the mean divides by the sum of the labels' weights, not
by the batch size; labels equal to -100 are skipped; a batch in which all are skipped has loss NaN.
Labels are int64 (uint8 passes, int32 does not). Negative `label_smoothing` is taken for 0.
"""

import torch
from torch import Tensor
from torch.nn import CrossEntropyLoss
from torch.nn.functional import cross_entropy

__all__ = ["CrossEntropyLoss", "class_weights", "cross_entropy"]


def class_weights(labels: Tensor, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights under which every class counts the same in the mean: n / (num_classes * count).

    King & Zeng 2001; scikit-learn's "balanced". A class without labels gets 0. Compute them once,
    from the training labels, and pass them as CrossEntropyLoss(weight=...), which keeps them as a
    buffer.
    """
    counts = torch.bincount(labels.flatten(), minlength=num_classes)
    if len(counts) > num_classes:
        raise ValueError(f"labels must be below {num_classes}, got {len(counts) - 1}")
    weights = labels.numel() / (num_classes * counts.double())
    return weights.masked_fill(counts == 0, 0.0).to(dtype)
