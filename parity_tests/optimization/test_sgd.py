"""SGD: plain, with momentum, dampening, Nesterov's form, decay, upwards."""

from typing import Any

import numpy as np

from numpy_impl.optimization import Optimizer
from numpy_impl.optimization import sgd as ours
from parity_tests.harness import Mistake, OptimizerParity, Refusal
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


SLIPS = {
    "decay turned with maximize": (
        "A classic slip: the sign is turned after the decay is added.",
        "Going up, weights grow instead of decaying.",
    ),
    "maximize ignored": (
        "A classic slip: the option is taken and never used.",
        "Training goes the other way.",
    ),
    "decay of lambda*sum(p^2)": (
        "Keras's l2 and the guide's penalty have no half; torch's weight_decay has it.",
        "Weights decay twice as fast.",
    ),
    "decoupled decay": (
        "Code that shrinks weights beside the step, as AdamW does.",
        "Equal without momentum; with it the decay is not smoothed.",
    ),
    "lr inside the buffer": (
        "Keras's SGD: velocity = momentum * velocity - lr * g.",
        "Equal until the learning rate changes; then old gradients keep their old rate.",
    ),
    "momentum as a running mean": (
        "Written as mu * v + (1 - mu) * g; torch does not damp.",
        "Steps are ten times too small at 0.9.",
    ),
    "first buffer damped": (
        "A classic slip: the first step damped like the others; torch's buffer starts as g.",
        "The first steps are too small wherever dampening is used.",
    ),
    "nesterov ignored": (
        "A classic slip: the option is taken and never used.",
        "Plain momentum: it overshoots where Nesterov's form brakes.",
    ),
    "look-ahead without the gradient": (
        "A classic slip: mu * v for g + mu * v.",
        "The present gradient counts only through the past.",
    ),
}


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
    mistakes = {
        slip: Mistake(type(slip, (PlainSGD,), {"slip": slip}), *words)
        for slip, words in SLIPS.items()
    }
