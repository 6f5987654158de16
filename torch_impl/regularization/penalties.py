"""A price on large weights: L1, L2, and both together.

torch ships no penalties: L2 hides in the optimizers' `weight_decay`, which adds weight_decay * p to
the gradient (SGD, Adam, RMSprop) or shrinks p beside the step (AdamW) and never shows in the loss.
Left to its default it decays *every* parameter it is given, biases and norms too; parameter groups
say otherwise:

    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    SGD([{"params": decayed, "weight_decay": 1e-4}, {"params": others, "weight_decay": 0.0}])

Written into the loss instead, as here, the penalty is one more differentiable scalar: autograd
gives abs the slope 0 at 0, keeps every weight until backward, and the printed loss includes the
price. Gradient clipping then sees the penalty, too, which it does not with weight_decay.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

__all__ = ["L1", "L2", "ElasticNet"]

Choose = Callable[[str, nn.Parameter], bool]


class ElasticNet:
    """Add l1 * sum |w| + l2/2 * sum w^2 over a model's weights to its loss.

    Zou & Hastie 2005 (JRSS B). `loss = criterion(model(x), y) + penalty(model)`, then backward.

    Args:
        l1: weight of the sum of magnitudes.
        l2: weight of half the sum of squares: what optimizers call weight_decay.
        include: which parameters pay, told by name and parameter; by default those of 2 or more
            dimensions.

    Raises:
        ValueError: a weight is negative or not finite.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, include: Choose | None = None) -> None:
        self.l1, self.l2 = (_checked(name, value) for name, value in (("l1", l1), ("l2", l2)))
        self.include = include

    def __call__(self, model: nn.Module) -> Tensor:
        """The price of the weights as they are, differentiable."""
        weights = list(self._chosen(model))
        total = weights[0].new_zeros(()) if weights else torch.zeros(())
        for w in weights:
            if self.l1:
                total = total + self.l1 * w.abs().sum()
            if self.l2:
                total = total + self.l2 / 2 * w.square().sum()
        return total

    def _chosen(self, model: nn.Module) -> Iterator[nn.Parameter]:
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 if self.include is None else self.include(name, parameter):
                yield parameter

    def __repr__(self) -> str:
        return f"{type(self).__name__}(l1={self.l1}, l2={self.l2})"


class L1(ElasticNet):
    """Add lam * sum |w| to the loss: the lasso (Tibshirani 1996, JRSS B)."""

    def __init__(self, lam: float, include: Choose | None = None) -> None:
        super().__init__(_checked("lam", lam), 0.0, include)


class L2(ElasticNet):
    """Add lam/2 * sum w^2 to the loss: ridge (Hoerl & Kennard 1970), torch's weight_decay=lam."""

    def __init__(self, lam: float, include: Choose | None = None) -> None:
        super().__init__(0.0, _checked("lam", lam), include)


def _checked(name: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
    return float(value)
