"""SGD: plain, with momentum, dampening, Nesterov's form, decay, upwards."""

from typing import Any

import numpy as np

from numpy_impl.optimization import Optimizer
from numpy_impl.optimization import sgd as ours
from parity_tests.harness import OptimizerParity, Refusal
from torch_impl.optimization import sgd as theirs


class PlainSGD(ours.SGD):
    """The formula parameter by parameter; subclasses slip."""

    slip = ""

    def update(self, bundle: Any, group: Any) -> None:
        for p in bundle:
            self.update_one(p, group)

    def update_one(self, p: Any, group: Any) -> None:
        lr, mu, slip = group["lr"], group["momentum"], self.slip
        damp, decay = group["dampening"], group["weight_decay"]
        g = p.grad
        if slip == "decay turned with maximize":
            g = g + decay * p.data
            g = -g if group["maximize"] else g
        else:
            g = -g if group["maximize"] and slip != "maximize ignored" else g
            if slip != "decoupled decay":
                g = g + decay * p.data * (2 if slip == "decay of lambda*sum(p^2)" else 1)
        if slip == "decoupled decay":
            p.data *= 1 - lr * decay
        if mu:
            state = self.state[p]
            first = "momentum_buffer" not in state
            inside = lr if slip == "lr inside the buffer" else 1
            keep = (1 - mu) if slip == "momentum as a running mean" else 1 - damp
            if first and slip not in ("first buffer damped", "momentum as a running mean"):
                state["momentum_buffer"] = np.array(g * inside)
            else:
                old = np.zeros(p.shape) if first else state["momentum_buffer"]
                state["momentum_buffer"] = mu * old + keep * g * inside
            buf = state["momentum_buffer"]
            if group["nesterov"] and slip == "look-ahead without the gradient":
                g = mu * buf
            elif group["nesterov"] and slip != "nesterov ignored":
                g = g * inside + mu * buf
            else:
                g = buf
            lr = 1 if slip == "lr inside the buffer" else lr
        p.data -= lr * g


SLIPS = [
    "decay turned with maximize",
    "maximize ignored",
    "decay of lambda*sum(p^2)",
    "decoupled decay",
    "lr inside the buffer",
    "momentum as a running mean",
    "first buffer damped",
    "nesterov ignored",
    "look-ahead without the gradient",
]


class TestSGD(OptimizerParity):
    numpy, torch = ours.SGD, theirs.SGD
    covers = (Optimizer,)
    configs = [
        {},
        {"lr": 0.1, "weight_decay": 0.3},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5},
        {"lr": 0.1, "momentum": 0.8, "nesterov": True},
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1, "maximize": True},
    ]
    refusals = [
        Refusal({"momentum": -0.1}, says="Invalid momentum value: -0.1"),
        Refusal({"nesterov": True}, says="Nesterov momentum requires"),
        Refusal({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, says="got 0.9 and 0.1"),
    ]
    rewrites = {"parameter by parameter": PlainSGD}
    mistakes = {slip: type(slip, (PlainSGD,), {"slip": slip}) for slip in SLIPS}
