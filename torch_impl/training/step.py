"""One step of training, from forgetting the old gradients to moving the parameters.

`zero_grad(set_to_none=True)`, the default, frees the gradients: backward then writes instead of
adding, and the optimizer skips what got none. The loss and the norm come back as tensors without
a graph: nothing here asks an accelerator for a value, which would make it wait for every step. On
the CPU there is nothing to wait for, so there the two are looked at before the update.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from torch_impl.regularization import ElasticNet
from torch_impl.training.non_finite import NonFiniteError, find_non_finite

__all__ = ["train_step"]


def train_step(
    model: nn.Module,
    batch: Sequence[Tensor],
    criterion: nn.Module,
    optimizer: Optimizer,
    *,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    penalty: ElasticNet | None = None,
) -> tuple[Tensor, Tensor]:
    """Descend the loss of one batch by one step; returns the loss and the gradients' norm.

    The loss is the one before the step, penalty included; the norm is that of all gradients which
    the optimizer follows, before clipping.

    Args:
        batch: the model's inputs, then the target.
        clip_norm: bound on the norm of all gradients together.
        clip_value: bound on each element of each gradient, instead.
        penalty: on the model's weights, added to the loss: L1, L2, ElasticNet.

    Raises:
        NonFiniteError: the loss or a gradient is NaN or infinite, and on the CPU. No parameter has
            moved then.
        ValueError: the loss is not one number, or both bounds are given.
    """
    if clip_norm is not None and clip_value is not None:
        raise ValueError(f"clip by norm or by value, got {clip_norm=} and {clip_value=}")
    *inputs, target = batch
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.zero_grad()
    loss = criterion(model(*inputs), target)
    if loss.ndim:
        raise ValueError(f"the loss must be one number, got shape {tuple(loss.shape)}")
    if penalty is not None:
        loss = loss + penalty(model)
    watched = loss.device.type == "cpu"
    if watched and not loss.isfinite():
        layer, why = find_non_finite(model, inputs, target, criterion)
        raise NonFiniteError(f"the loss is {loss.item()}", why, layer)
    loss.backward()
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    if watched and not norm.isfinite():
        layer, why = _first_gradient(model)
        what = f"the loss is {loss.item():.6g}, but the gradients' norm is {norm.item()}"
        raise NonFiniteError(what, why, layer)
    if clip_norm is not None:
        clip_grads_with_norm_(parameters, clip_norm, norm)
    elif clip_value is not None:
        clip_grad_value_(parameters, clip_value)
    optimizer.step()
    return loss.detach(), norm


def _first_gradient(model: nn.Module) -> tuple[str | None, str]:
    """The parameter that backward met first among those with a NaN or infinite gradient."""
    for name, p in reversed(list(model.named_parameters())):
        if p.grad is not None and not p.grad.isfinite().all():
            return name.rpartition(".")[0], f"backward came first to the gradient of {name}"
    return None, "every gradient is finite, only the sum of their squares is too large"
