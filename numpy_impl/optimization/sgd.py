"""Gradient descent, plain and with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from numpy_impl.module import Parameter
from numpy_impl.optimization.optimizer import Group, Optimizer, descent, refuse_unless

__all__ = ["SGD"]


class SGD(Optimizer):
    """Step against the gradient, or against a decaying sum of gradients.

    Nesterov's form after Sutskever et al. 2013, in torch's arrangement. With g the gradient (-g
    to maximize) + weight_decay * p at this step:

        momentum_buffer <- momentum * momentum_buffer + (1 - dampening) * g     (first step: g)
        p               <- p - lr * momentum_buffer
        p               <- p - lr * (g + momentum * momentum_buffer)            (nesterov)

    The learning rate stays outside the buffer (Sutskever and Keras keep it inside: the same until
    the rate changes), and the first buffer is g itself, not damped.

    Raises:
        ValueError: a negative option, or nesterov without momentum or with dampening.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(
            params, options | {"foreach": None, "differentiable": False, "fused": None}
        )

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse what torch refuses."""
        refuse_unless(options["lr"] >= 0, "learning rate", options["lr"])
        refuse_unless(options["momentum"] >= 0, "momentum value", options["momentum"])
        refuse_unless(options["weight_decay"] >= 0, "weight_decay value", options["weight_decay"])
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError(
                "Nesterov momentum requires a momentum and zero dampening, "
                f"got {options['momentum']} and {options['dampening']}"
            )

    def update(self, bundle: list[Parameter], group: Group) -> None:
        """One step of these parameters."""
        lr, momentum, weight_decay = (float(group[k]) for k in ("lr", "momentum", "weight_decay"))
        dampening = float(group["dampening"])
        first = not self.state.get(bundle[0])
        if momentum and first:
            for p in bundle:
                self.state[p]["momentum_buffer"] = np.empty_like(p.data)
        names = ["momentum_buffer"] if momentum else []
        for data, g, *buffer, s, h in self.blocks(bundle, names):
            g = descent(g, data, weight_decay, group["maximize"], out=h)
            for buf in buffer:
                if first:
                    np.copyto(buf, g)
                else:
                    buf *= momentum
                    buf += np.multiply(g, 1 - dampening, out=s) if dampening else g
                if group["nesterov"]:
                    np.multiply(buf, momentum, out=s)
                    g = np.add(g, s, out=h)
                else:
                    g = buf
            np.multiply(g, lr, out=s)
            data -= s
