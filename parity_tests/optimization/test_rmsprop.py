"""RMSprop: plain, centered, with momentum, decay, upwards."""

from typing import Any

import numpy as np

from numpy_impl.optimization import rmsprop as ours
from parity_tests.harness import Mistake, OptimizerParity, Refusal
from torch_impl.optimization import rmsprop as theirs


class PlainRMSprop(ours.RMSprop):
    """The formula parameter by parameter; subclasses slip."""

    slip = ""

    def update(self, bundle: Any, group: Any) -> None:
        for p in bundle:
            self.update_one(p, group)

    def update_one(self, p: Any, group: Any) -> None:
        lr, alpha, eps, mu, slip = (
            *(group[k] for k in ("lr", "alpha", "eps", "momentum")),
            self.slip,
        )
        state = self.state[p]
        if not state:
            state["step"] = np.zeros((), np.float32)
            state["square_avg"] = np.full_like(p.data, slip == "starts at 1")
            if mu > 0:
                state["momentum_buffer"] = np.zeros_like(p.data)
            if group["centered"]:
                state["grad_avg"] = np.zeros_like(p.data)
        state["step"] += 1
        g = -p.grad if group["maximize"] and slip != "maximize ignored" else p.grad
        if slip == "decoupled decay":
            p.data *= 1 - lr * group["weight_decay"]
        else:
            g = g + group["weight_decay"] * p.data
        old = state["square_avg"]
        v = alpha * old + (1 - alpha) * g**2
        if slip == "alpha on the new square":
            v = (1 - alpha) * old + alpha * g**2
        state["square_avg"] = v
        if group["centered"]:
            state["grad_avg"] = alpha * state["grad_avg"] + (1 - alpha) * g
            if slip != "centered ignored":
                v = v - state["grad_avg"] ** 2
        if slip == "divides by the old square":
            v = old
        if slip == "bias corrected":
            v = v / (1 - alpha ** float(state["step"]))
        size = np.sqrt(v + eps) if slip == "eps inside the root" else np.sqrt(v) + eps
        step = g / size
        if mu > 0:
            inside = lr if slip == "lr inside the buffer" else 1
            if slip == "momentum on the gradient":
                state["momentum_buffer"] = buf = mu * state["momentum_buffer"] + g
                step = buf / size
            else:
                state["momentum_buffer"] = buf = mu * state["momentum_buffer"] + inside * step
                step = buf / inside
        p.data -= lr * step


SLIPS = {
    "starts at 1": (
        "Keras's Adagrad starts its accumulator at 0.1, TensorFlow 1's RMSprop at 1; torch at 0.",
        "The first steps are as small as the true gradients, not as large as lr / sqrt(1 - alpha).",
    ),
    "maximize ignored": (
        "A classic slip: the option is taken and never used.",
        "Training goes the other way.",
    ),
    "decoupled decay": (
        "Code that shrinks weights beside the step, as AdamW does.",
        "Decay acts alike on all weights, where torch divides it by each gradient's size.",
    ),
    "alpha on the new square": (
        "Code whose decay rate weighs the new value; torch's alpha keeps the old.",
        "The mean follows the last gradient alone, and steps are all of size lr.",
    ),
    "centered ignored": (
        "A classic slip: the option is taken and never used.",
        "Steps along steady gradients are too small.",
    ),
    "divides by the old square": (
        "A classic slip of order: the step is taken before the mean is updated.",
        "The first step divides by eps alone.",
    ),
    "bias corrected": (
        "Adam's correction carried over; torch's RMSprop has none.",
        "The first steps are ten times too small at 0.99.",
    ),
    "eps inside the root": (
        "TensorFlow 1 and chainer: sqrt(v + eps).",
        "Tiny gradients give far smaller steps, the more so with the usual large eps.",
    ),
    "lr inside the buffer": (
        "TensorFlow and Keras: momentum * buffer + lr * step.",
        "Equal until the learning rate changes.",
    ),
    "momentum on the gradient": (
        "A classic slip: momentum first, then the division.",
        "Old gradients are divided by the new size.",
    ),
}


class TestRMSprop(OptimizerParity):
    numpy, torch = ours.RMSprop, theirs.RMSprop
    configs = [
        {},
        {"lr": 1e-3, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
        {"lr": 1e-3, "alpha": 0.8, "momentum": 0.9},
        {"lr": 1e-3, "alpha": 0.9, "eps": 1e-2, "centered": True},
        {
            "lr": 1e-3,
            "alpha": 0.9,
            "eps": 1e-4,
            "momentum": 0.7,
            "centered": True,
            "weight_decay": 0.1,
            "maximize": True,
        },
    ]
    refusals = [
        Refusal({"alpha": -0.1}, says="Invalid alpha value: -0.1"),
        Refusal({"eps": -1e-8}, says="Invalid epsilon value: -1e-08"),
        Refusal({"momentum": -0.1}, says="Invalid momentum value: -0.1"),
    ]
    rewrites = {"parameter by parameter": PlainRMSprop}
    mistakes = {
        slip: Mistake(type(slip, (PlainRMSprop,), {"slip": slip}), *words)
        for slip, words in SLIPS.items()
    }
