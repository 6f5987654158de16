"""Gradient descent with each step divided by the gradient's running size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from numpy_impl.module import Parameter
from numpy_impl.optimization.optimizer import (
    Group,
    Optimizer,
    add_product,
    descent,
    lerp,
    refuse_unless,
)

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """Divide the gradient by its running root mean square.

    Tieleman & Hinton 2012 (lecture 6.5), centered form Graves 2013, arXiv:1308.0850. With g the
    gradient (-g to maximize) + weight_decay * p at this step:

        square_avg <- alpha * square_avg + (1 - alpha) * g^2
        grad_avg   <- alpha * grad_avg   + (1 - alpha) * g                      (centered)
        size        = sqrt(square_avg) + eps,  sqrt(square_avg - grad_avg^2) + eps when centered
        p          <- p - lr * g / size
        momentum_buffer <- momentum * momentum_buffer + g / size,  p <- p - lr * momentum_buffer

    As in torch eps stands outside the root (TensorFlow and Graves have it inside).

    Raises:
        ValueError: a negative option.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": False,
            "foreach": None,
            "maximize": maximize,
            "differentiable": False,
        }
        super().__init__(params, options)

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse what torch refuses."""
        refuse_unless(options["lr"] >= 0, "learning rate", options["lr"])
        refuse_unless(options["eps"] >= 0, "epsilon value", options["eps"])
        for key in ("momentum", "weight_decay", "alpha"):
            refuse_unless(options[key] >= 0, f"{key} value", options[key])

    def update(self, bundle: list[Parameter], group: Group) -> None:
        """One step of these parameters."""
        lr, alpha, eps = float(group["lr"]), float(group["alpha"]), float(group["eps"])
        momentum, weight_decay = float(group["momentum"]), float(group["weight_decay"])
        names = ["square_avg"]
        names += ["momentum_buffer"] if momentum else []
        names += ["grad_avg"] if group["centered"] else []
        self.begin(bundle, names)
        for data, g, square_avg, *more, s, h in self.blocks(bundle, names):
            g = descent(g, data, weight_decay, group["maximize"], out=h)
            add_product(square_avg, g, alpha, s)
            if group["centered"]:
                grad_avg = more[-1]
                lerp(grad_avg, g, 1 - alpha, s)
                np.multiply(grad_avg, grad_avg, out=s)
                np.subtract(square_avg, s, out=s)
                np.sqrt(s, out=s)
            else:
                np.sqrt(square_avg, out=s)
            s += eps
            np.divide(g, s, out=s)
            if momentum:
                buf = more[0]
                buf *= momentum
                buf += s
                np.multiply(buf, lr, out=s)
            else:
                s *= lr
            data -= s
