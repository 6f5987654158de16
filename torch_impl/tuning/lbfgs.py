"""A smooth function of a few numbers taken to its minimum, and to the last digits of it.

`torch.optim.LBFGS` with `line_search_fn="strong_wolfe"`; its default, no line search, is for noisy
losses. `tolerance_change` also ends a run whose loss has stopped moving, which happens when the
gradient is the square root of rounding: 1e-8 or so. The state it keeps (directions, steps, the
last gradient) survives from one `step` to the next, so the same object goes on without the line
search, by the gradient alone, to the digits that values do not show.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["minimize"]

POLISH = 30


def minimize(
    closure: Callable[[], Tensor],
    parameters: Sequence[Tensor],
    max_iter: int = 200,
    tolerance: float = 1e-10,
) -> float:
    """Move the parameters to a minimum of what the closure returns; returns the value there.

    Liu & Nocedal 1989.

    Args:
        closure: computes the value and calls `backward` on it, as for any optimizer that asks more
            than once a step; it begins with `zero_grad`.
        max_iter: directions tried at most; all line searches together may call the closure ten
            times as often.
        tolerance: on every element of the gradient.

    Raises:
        FloatingPointError: the value or the gradient is NaN or infinite where it starts.
    """
    parameters = list(parameters)
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=max_iter,
        max_eval=10 * max_iter,
        tolerance_grad=tolerance,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )
    value = closure()
    if not (value.isfinite() and all(g.isfinite().all() for g in _grads(parameters))):
        raise FloatingPointError(
            f"the value is {value.item()} where the search starts, gradient {_grads(parameters)}"
        )
    optimizer.step(closure)
    group: dict[str, Any] = optimizer.param_groups[0]
    group |= {"line_search_fn": None, "max_iter": 1, "tolerance_change": 0.0}
    closure()
    for _ in range(POLISH):
        best = max(float(g.abs().max()) for g in _grads(parameters))
        before = [p.detach().clone() for p in parameters]
        optimizer.step(closure)
        closure()
        if not max(float(g.abs().max()) for g in _grads(parameters)) < best:
            with torch.no_grad():
                for p, old in zip(parameters, before):
                    p.copy_(old)
            break
    return closure().item()


def _grads(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]
