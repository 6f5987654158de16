"""One step of training, from forgetting the old gradients to moving the parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from numpy_impl.losses.regression import Loss
from numpy_impl.module import Array, Module
from numpy_impl.optimization.clipping import (
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from numpy_impl.optimization.optimizer import Optimizer
from numpy_impl.regularization import ElasticNet
from numpy_impl.training.non_finite import NonFiniteError, find_non_finite

__all__ = ["train_step"]


def train_step(
    model: Module,
    batch: Sequence[Array],
    criterion: Loss,
    optimizer: Optimizer,
    *,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    penalty: ElasticNet | None = None,
) -> tuple[Array, Array]:
    """Descend the loss of one batch by one step; returns the loss and the gradients' norm.

    The loss is the one before the step, penalty included; the norm is that of all gradients which
    the optimizer follows, before clipping.

    Args:
        batch: the model's inputs, then the target.
        clip_norm: bound on the norm of all gradients together.
        clip_value: bound on each element of each gradient, instead.
        penalty: on the model's weights, added to the loss: L1, L2, ElasticNet.

    Raises:
        NonFiniteError: the loss or a gradient is NaN or infinite. No parameter has moved then.
        ValueError: the loss is not one number, or both bounds are given.
    """
    if clip_norm is not None and clip_value is not None:
        raise ValueError(f"clip by norm or by value, got {clip_norm=} and {clip_value=}")
    *inputs, target = batch
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.zero_grad()
    try:
        with np.errstate(all="ignore"):  # what overflows is reported below
            loss = criterion(model(*inputs), target)
            if np.ndim(loss):
                raise ValueError(f"the loss must be one number, got shape {np.shape(loss)}")
            if penalty is not None:
                loss = loss + penalty(model)
            if not math.isfinite(loss):
                layer, why = find_non_finite(model, inputs, target, criterion)
                raise NonFiniteError(f"the loss is {loss}", why, layer)
            model.backward(criterion.backward())
            if penalty is not None:
                penalty.backward(model)
            norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    except BaseException:
        _drop_saved(model, criterion)
        raise
    if not math.isfinite(norm):
        layer, why = _first_gradient(model)
        what = f"the loss is {loss:.6g}, but the gradients' norm is {norm}"
        raise NonFiniteError(what, why, layer)
    if clip_norm is not None:
        clip_grads_with_norm_(parameters, clip_norm, norm)
    elif clip_value is not None:
        clip_grad_value_(parameters, clip_value)
    optimizer.step()
    return loss, norm


def _first_gradient(model: Module) -> tuple[str | None, str]:
    """The parameter that backward met first among those with a NaN or infinite gradient."""
    for name, p in reversed(list(model.named_parameters())):
        if p.grad is not None and not np.isfinite(p.grad).all():
            return name.rpartition(".")[0], f"backward came first to the gradient of {name}"
    return None, "every gradient is finite, only the sum of their squares is too large"


def _drop_saved(*modules: Module) -> None:
    """Leave no forward behind that has not been gone back through."""
    for module in modules:
        for part in module.modules():
            part._saved.clear()
