"""Bound the gradients between backward and step, all together by norm or each by value.

`clip_grad_norm_` multiplies by a tensor clamped at 1 and never asks for its value, so that a GPU
need not wait; hence gradients are multiplied even when nothing is to clip, and NaN spreads to all
of them unless `error_if_nonfinite=True`. With a `GradScaler` call `scaler.unscale_(optimizer)`
first, or the scaled gradients are clipped.
"""

from itertools import chain

from torch import Tensor
from torch.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from torch.optim import Optimizer

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "clipped_step",
    "get_total_norm",
]


def clipped_step(optimizer: Optimizer, max_norm: float, norm_type: float = 2.0) -> Tensor:
    """Clip the gradients of all the optimizer's groups together, then step; returns the old norm.

    A NaN or infinite norm raises before anything has moved.
    """
    params = list(chain.from_iterable(group["params"] for group in optimizer.param_groups))
    norm = clip_grad_norm_(params, max_norm, norm_type, error_if_nonfinite=True)
    optimizer.step()
    return norm
