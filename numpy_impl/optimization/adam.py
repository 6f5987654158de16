"""Momentum and a step size per element from one pair of running means."""

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

__all__ = ["Adam"]


class Adam(Optimizer):
    """Step along the running mean of the gradient, scaled by its running root mean square.

    Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; amsgrad Reddi et al. 2018, arXiv:1904.09237.
    With g the gradient (-g to maximize) + weight_decay * p at the parameter's own step t:

        exp_avg    <- beta1 * exp_avg    + (1 - beta1) * g
        exp_avg_sq <- beta2 * exp_avg_sq + (1 - beta2) * g^2
        m_hat = exp_avg / (1 - beta1^t),  v_hat = exp_avg_sq / (1 - beta2^t)
        p          <- p - lr * m_hat / (sqrt(v_hat) + eps)

    As in torch, eps joins after the bias correction (Keras and scikit-learn add it before). The
    code has both corrections folded into the step size and eps, with root = sqrt(1 - beta2^t):

        p <- p - (lr * root / (1 - beta1^t)) * exp_avg / (sqrt(exp_avg_sq) + eps * root)

    amsgrad divides by the largest exp_avg_sq so far, taken before its correction. With
    decoupled_weight_decay p first shrinks by lr * weight_decay and g is left alone: AdamW.

    Raises:
        ValueError: a negative option, or betas that are not two floats in [0, 1).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": None,
            "capturable": False,
            "differentiable": False,
            "fused": None,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, options)

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse what torch refuses."""
        refuse_unless(options["lr"] >= 0, "learning rate", options["lr"])
        refuse_unless(options["eps"] >= 0, "epsilon value", options["eps"])
        for i, beta in enumerate(options["betas"]):
            refuse_unless(0 <= beta < 1, f"beta parameter at index {i}", beta, "0 <= beta < 1")
            if not isinstance(beta, float):
                raise ValueError(f"betas must be floats, got {beta!r}")
        refuse_unless(options["weight_decay"] >= 0, "weight_decay value", options["weight_decay"])

    def update(self, bundle: list[Parameter], group: Group) -> None:
        """One step of these parameters."""
        lr, eps, weight_decay = (float(group[k]) for k in ("lr", "eps", "weight_decay"))
        beta1, beta2 = group["betas"]
        names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * group["amsgrad"]
        t = self.begin(bundle, names)
        root = (1 - beta2**t) ** 0.5
        step_size = lr * root / (1 - beta1**t)
        decoupled = group["decoupled_weight_decay"]
        for data, g, m, v, *largest, s, h in self.blocks(bundle, names):
            if decoupled and weight_decay:
                data *= 1 - lr * weight_decay
            g = descent(g, data, 0 if decoupled else weight_decay, group["maximize"], out=h)
            lerp(m, g, 1 - beta1, s)
            add_product(v, g, beta2, s)
            for v_max in largest:
                v = np.maximum(v_max, v, out=v_max)
            np.sqrt(v, out=s)
            s += eps * root
            np.divide(m, s, out=s)
            s *= step_size
            data -= s
