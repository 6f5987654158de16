"""Normalise each channel over the batch, for rows of features and for images.

Ioffe & Szegedy 2015, arXiv:1502.03167. What `BatchNorm1d` and `BatchNorm2d` do out of sight:

- `momentum` is the share of the new batch, and momentum=None makes it 1 / num_batches_tracked.
- Training normalises by the biased variance and tracks the unbiased one.
- `train()` and `eval()` choose between the batch's statistics and the tracked ones, and autograd
  follows: in training the mean and the variance have gradients, in eval mode they are constants.
  `torch.no_grad()` chooses nothing: a forward in training mode goes on tracking.
- Autograd keeps the input and each channel's mean and rstd, not the normalised input.
- The float32 CPU kernel sums in double. It then folds the norm into x * a + c, so far from zero the
  output has the digits of x, not those of x - mean.
- A training batch with one number a channel raises, an empty one counts in num_batches_tracked and
  changes nothing else.
- The statistics are buffers: in `state_dict()`, not in `parameters()`, and an average of weights
  (`swa_utils`) leaves them behind until `update_bn` runs the data again.
"""

from typing import Any

import torch
from torch.nn import BatchNorm1d, BatchNorm2d, Linear, ReLU, Sequential

__all__ = ["BatchNorm1d", "BatchNorm2d", "batch_norm_from_guide", "linear_norm_relu"]


def batch_norm_from_guide(
    num_features: int,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    gamma: Any = 1.0,
    beta: Any = 0.0,
    running_mean: Any = None,
    running_var: Any = None,
    batch_size: int | None = None,
    dtype: torch.dtype | None = None,
) -> BatchNorm1d:
    """The BatchNorm1d that does what the guide's BatchNormalization with this state does.

    The one place where its convention is translated: its momentum is the share of the old value;
    gamma and beta are one number for all features; its variance is tracked biased, and is None
    before the first batch. As given, the state makes eval outputs equal; with batch_size=n it is
    made what this layer would have tracked, running_var * n / (n - 1), to train on from.

    Raises:
        ValueError: momentum is outside [0, 1], only one of the statistics is given, or batch_size
            is below 2.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum must be between 0 and 1, got {momentum}")
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must come together, got only one")
    if batch_size is not None and batch_size < 2:
        raise ValueError(f"batch_size must be 2 or more, got {batch_size}")
    norm = BatchNorm1d(num_features, eps=epsilon, momentum=1 - momentum, dtype=dtype)
    state = norm.state_dict()  # shares memory with the layer
    values = {"weight": gamma, "bias": beta}
    if running_mean is not None:
        values |= {"running_mean": running_mean, "running_var": running_var}
    for key, value in values.items():
        value = torch.as_tensor(value, dtype=torch.float64)
        state[key].copy_(value.flatten() if value.ndim else value)
    if running_mean is not None:
        if batch_size is not None:
            state["running_var"].mul_(batch_size / (batch_size - 1))
        state["num_batches_tracked"].add_(1)
    return norm


def linear_norm_relu(in_features: int, out_features: int) -> Sequential:
    """One hidden layer with batch norm: Linear, BatchNorm1d, ReLU.

    The Linear has no bias: the norm subtracts each feature's mean, and the bias with it, so its
    gradient would be zero and the norm's own bias does its work.
    """
    return Sequential(
        Linear(in_features, out_features, bias=False),
        BatchNorm1d(out_features),
        ReLU(),
    )
