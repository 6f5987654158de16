"""A price on large weights: L1, L2, and both together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numpy_impl.module import Module, Parameter

__all__ = ["L1", "L2", "ElasticNet"]

Choose = Callable[[str, Parameter], bool]


class ElasticNet:
    """Add l1 * sum |w| + l2/2 * sum w^2 over a model's weights to its loss.

    Zou & Hastie 2005 (JRSS B). Over all chosen parameters w:

        penalty(model)             l1 * sum |w| + l2/2 * sum w^2
        penalty.backward(model)    dw += dloss * (l1 * sign(w) + l2 * w),  sign(0) = 0

    L1 pulls every weight towards zero by the same amount, whatever its size, so some arrive there;
    L2 pulls by a share of the weight, so all shrink. At exactly 0 the slope of |w| is taken as 0.

    With the half in front, l2 is what optimizers call weight_decay: SGD(weight_decay=l2) takes the
    very same steps, and so does Adam, where the penalty goes through the moments like any other
    gradient. AdamW's decay does not: it shrinks w by lr * weight_decay * w beside the step. Much
    scratch code writes lambda * sum w^2 and adds lambda * w to the gradient, which belong to
    different lambdas: the gradient of the first is 2 * lambda * w.

    Args:
        l1: weight of the sum of magnitudes.
        l2: weight of half the sum of squares.
        include: which parameters pay, told by name and parameter. By default those of 2 or more
            dimensions: biases and the parameters of norms, which have 1, go free.

    Example:
        loss = criterion(model(x), y) + penalty(model)
        model.backward(criterion.backward())
        penalty.backward(model)

    Raises:
        ValueError: a weight is negative or not finite.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, include: Choose | None = None) -> None:
        self.l1, self.l2 = (_checked(name, value) for name, value in (("l1", l1), ("l2", l2)))
        self.include = include

    def __call__(self, model: Module) -> Any:
        """The price of the weights as they are, a number in their dtype."""
        weights = list(self._chosen(model))
        total = weights[0].dtype.type(0) if weights else np.float32(0)
        with np.errstate(over="ignore"):  # squares of finite weights may be infinite
            for w in weights:
                if self.l1:
                    total = total + np.abs(w.data).sum() * self.l1
                if self.l2:  # sum, not vdot: pairwise addition keeps float32 exact to an ulp or so
                    total = total + np.square(w.data).sum() * (self.l2 / 2)
        return total

    def backward(self, model: Module, dloss: float = 1.0) -> None:
        """Add the slope of the price, times dloss, into the `.grad` of each weight that pays."""
        l1, l2 = self.l1 * float(dloss), self.l2 * float(dloss)
        for w in self._chosen(model):
            if w.requires_grad and (self.l1 or self.l2):
                grad = w.data * l2 if self.l2 else np.sign(w.data) * l1
                if self.l1 and self.l2:
                    grad += np.sign(w.data) * l1
                w.add_grad(np.asarray(grad))

    def _chosen(self, model: Module) -> Iterator[Parameter]:
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
