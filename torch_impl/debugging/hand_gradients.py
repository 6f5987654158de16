"""Gradients without modules: of a plain function, and of a network that keeps tensors in lists.

A gradient written by hand becomes the backward of a `torch.autograd.Function`. Autograd then asks
for it where it would have derived one, and gradcheck cannot tell the difference.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from torch_impl.debugging.gradient_checking import check_options, report_of, same_draws, wide
from torch_impl.debugging.gradient_report import GradientReport

__all__ = ["gradient_check_function", "gradient_check_lists"]


def gradient_check_function(
    function: Callable[..., Any],
    gradient: Callable[..., Any] | None,
    inputs: Sequence[Tensor],
    *,
    eps: float = 6e-6,
    sample: int | None = None,
    directions: int | None = None,
    generator: Generator | None = None,
) -> GradientReport:
    """Hold the gradient of a plain function against central differences; see `gradient_check`.

    A gradient of one's own becomes the backward of a `torch.autograd.Function`, which is what
    gradcheck is for.

    Args:
        function: called with the inputs, floats in float64; gives one number.
        gradient: called alike; gives the gradient of each float input, a tensor or a tuple. None
            takes autograd's.
        inputs: tensors; those of whole numbers are handed on and not checked.

    Raises:
        ValueError: as `gradient_check`; a gradient of another shape than its input.
        TypeError: not one gradient for each float input.
    """
    check_options(eps, sample, directions)
    generator = generator or Generator()
    given = {f"input {i}": wide(x) for i, x in enumerate(inputs)}
    tensors = {name: x for name, x in given.items() if x.is_floating_point()}

    def slopes(at: Sequence[Tensor]) -> Sequence[Tensor]:
        assert gradient is not None
        moved = dict(zip(tensors, at))
        found = gradient(*[moved.get(k, x) for k, x in given.items()])
        found = found if isinstance(found, tuple | list) else (found,)
        if len(found) != len(tensors):
            raise TypeError(f"wanted {len(tensors)} gradients, got {len(found)}")
        return found

    def number(at: Sequence[Tensor]) -> Tensor:
        moved = dict(zip(tensors, at))
        return torch.as_tensor(function(*[moved.get(k, x) for k, x in given.items()]))

    def value(at: Mapping[str, Tensor]) -> Tensor:
        entries = list(at.values())
        return number(entries) if gradient is None else _by_hand(number, slopes, entries)

    with same_draws(None, value, tensors) as repeated:
        return report_of(repeated, tensors, eps, sample, directions, generator)


def gradient_check_lists(
    model: Any,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Any] | None = None,
    *,
    eps: float = 6e-6,
    sample: int | None = None,
    directions: int | None = None,
    generator: Generator | None = None,
) -> GradientReport:
    """Check a network that keeps tensors in lists, as the guide writes it; see `gradient_check`.

    The network has `weights` and `biases`, two lists of tensors; `forward(x)` gives the list of
    activations, the output last; `backward(activations, y)` the list of the weights' gradients and
    that of the biases'. Both are checked, on a copy.

    Args:
        loss: of the output and y, one number; None takes the mean of (output - y)**2, which the
            guide prints.

    Raises:
        ValueError: as `gradient_check`; a gradient of another shape than its tensor.
        TypeError: the model lacks one of the four, or backward gives another number of gradients.
    """
    check_options(eps, sample, directions)
    lacking = [k for k in ("weights", "biases", "forward", "backward") if not hasattr(model, k)]
    if lacking:
        raise TypeError(f"wanted weights, biases, forward and backward; lacking {lacking}")
    generator, twin = generator or Generator(), copy.deepcopy(model)
    x, y, n = wide(x), wide(y), len(twin.weights)
    tensors = {f"weights[{i}]": wide(w) for i, w in enumerate(twin.weights)}
    tensors |= {f"biases[{i}]": wide(b) for i, b in enumerate(twin.biases)}
    measured = loss or nn.functional.mse_loss

    def number(at: Sequence[Tensor]) -> Tensor:
        twin.weights, twin.biases = list(at[:n]), list(at[n:])
        return torch.as_tensor(measured(twin.forward(x)[-1], y))

    def slopes(at: Sequence[Tensor]) -> Sequence[Tensor]:
        twin.weights, twin.biases = list(at[:n]), list(at[n:])
        dweights, dbiases = twin.backward(twin.forward(x), y)
        if (len(dweights), len(dbiases)) != (n, len(tensors) - n):
            raise TypeError(
                f"wanted gradients of {n} weights and {len(tensors) - n} biases, "
                f"got {len(dweights)} and {len(dbiases)}"
            )
        return [*dweights, *dbiases]

    def value(at: Mapping[str, Tensor]) -> Tensor:
        return _by_hand(number, slopes, list(at.values()))

    with same_draws(None, value, tensors) as repeated:
        return report_of(repeated, tensors, eps, sample, directions, generator)


class _Hand(torch.autograd.Function):
    """A number whose gradient somebody wrote by hand."""

    @staticmethod
    def forward(ctx: Any, number: Any, slopes: Any, *at: Tensor) -> Tensor:
        ctx.slopes = slopes
        ctx.save_for_backward(*at)
        return number(at).clone()

    @staticmethod
    def backward(ctx: Any, *dvalue: Tensor) -> Any:
        at = ctx.saved_tensors
        found = [torch.as_tensor(dx, dtype=x.dtype) for dx, x in zip(ctx.slopes(at), at)]
        for i, (dx, x) in enumerate(zip(found, at)):
            if dx.shape != x.shape:
                raise ValueError(
                    f"gradient {i} must have the shape {tuple(x.shape)}, got {tuple(dx.shape)}"
                )
        return None, None, *(dvalue[0] * dx for dx in found)


def _by_hand(number: Any, slopes: Any, at: Sequence[Tensor]) -> Tensor:
    value: Tensor = _Hand.apply(number, slopes, *at)
    return value
