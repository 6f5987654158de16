"""Adam: plain, with amsgrad, coupled and decoupled decay, upwards."""

from typing import Any

import numpy as np

from numpy_impl.optimization import adam as ours
from parity_tests.harness import Mistake, OptimizerParity, Refusal
from torch_impl.optimization import adam as theirs


class PlainAdam(ours.Adam):
    """The formula parameter by parameter, nothing folded; subclasses slip."""

    slip = ""
    calls = 0

    def update(self, bundle: Any, group: Any) -> None:
        for p in bundle:
            self.update_one(p, group)

    def update_one(self, p: Any, group: Any) -> None:
        lr, eps, slip = group["lr"], group["eps"], self.slip
        decay, decoupled = group["weight_decay"], group["decoupled_weight_decay"]
        beta1, beta2 = group["betas"][::-1] if slip == "betas swapped" else group["betas"]
        new = slip == "moments of the new value"
        state = self.state[p]
        if not state:
            state["step"] = np.zeros((), np.float32)
            for name in ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * group["amsgrad"]:
                state[name] = np.zeros_like(p.data)
        state["step"] += 1
        self.calls += 1
        t = float(state["step"])
        t += slip == "t starts one late"
        if slip == "one step count for all parameters":
            t = float(self.calls)
        if slip == "decay not times lr" and decoupled:
            p.data *= 1 - decay
        elif slip == "L2 instead of decoupled":
            decoupled = False
        elif decoupled and slip != "decay after the step":
            p.data *= 1 - lr * decay
        if slip == "decay turned with maximize" and not decoupled:
            g = p.grad + decay * p.data
            g = -g if group["maximize"] else g
        else:
            g = -p.grad if group["maximize"] and slip != "maximize ignored" else p.grad
            if slip == "decoupled instead of L2" and not decoupled:
                p.data *= 1 - lr * decay
            elif not decoupled:
                g = g + decay * p.data
        keep1, keep2 = (1 - beta1, 1 - beta2) if new else (beta1, beta2)
        state["exp_avg"] = m = keep1 * state["exp_avg"] + (1 - keep1) * g
        state["exp_avg_sq"] = v = keep2 * state["exp_avg_sq"] + (1 - keep2) * g**2
        correction1, correction2 = 1 - beta1**t, 1 - beta2**t
        if slip == "no bias correction":
            correction1 = correction2 = 1
        if slip == "first moment not corrected":
            correction1 = 1
        if group["amsgrad"] and slip != "amsgrad ignored":
            if slip == "amsgrad's maximum of the corrected":
                largest = np.maximum(state["max_exp_avg_sq"], v / correction2)
                state["max_exp_avg_sq"] = largest
                v = largest * correction2
            else:
                state["max_exp_avg_sq"] = v = np.maximum(state["max_exp_avg_sq"], v)
        m_hat, v_hat = m / correction1, v / correction2
        if slip == "eps inside the root":
            size = np.sqrt(v_hat + eps)
        elif slip == "eps before bias correction":
            size = (np.sqrt(v) + eps) / np.sqrt(correction2)
        elif slip == "root forgotten":
            size = v_hat + eps
        elif slip == "eps left out":
            size = np.sqrt(v_hat) + 1e-300
        else:
            size = np.sqrt(v_hat) + eps
        p.data -= lr * m_hat / size
        if slip == "decay after the step" and decoupled:
            p.data *= 1 - lr * decay


SLIPS = {
    "betas swapped": (
        "A classic slip of positional arguments, (0.999, 0.9).",
        "The step follows a mean of a thousand gradients, scaled by the size of the last few.",
    ),
    "t starts one late": (
        "A classic slip: the step is counted before it is used, or from 0 on one side.",
        "The first steps are too small, by (1 - beta1) / (1 - beta1^2) at the first.",
    ),
    "one step count for all parameters": (
        "The guide's AdamOptimizer counts a step at every call, that is once a parameter.",
        "Bias correction ends too early, twice as early with two parameters.",
    ),
    "decay turned with maximize": (
        "A classic slip: the sign is turned after the decay is added.",
        "Going up, weights grow instead of decaying.",
    ),
    "maximize ignored": (
        "A classic slip: the option is taken and never used.",
        "Training goes the other way.",
    ),
    "decoupled instead of L2": (
        "Code that calls AdamW Adam; torch's Adam adds the decay to the gradient.",
        "Decay acts alike on all weights, where Adam's is divided by each gradient's size.",
    ),
    "no bias correction": (
        "Old from-scratch versions leave it out, mlx-rs and convnetjs among them.",
        "The first steps are too large by (1 - beta1) / sqrt(1 - beta2), about 3.",
    ),
    "first moment not corrected": (
        "A classic slip: only the second moment is corrected.",
        "The first steps are too small, ten times at the first.",
    ),
    "amsgrad ignored": (
        "A classic slip: the option is taken and never used; it shows once gradients shrink.",
        "The step grows again after rare large gradients.",
    ),
    "amsgrad's maximum of the corrected": (
        "The order of optax's amsgrad; torch takes the maximum before it corrects.",
        "Early maxima weigh too much and steps stay too small.",
    ),
    "eps inside the root": (
        "Written as sqrt(v + eps).",
        "Parameters with gradients below sqrt(eps) hardly move.",
    ),
    "eps before bias correction": (
        "Keras, and the paper's epsilon hat; torch adds eps after the correction.",
        "Early steps of tiny gradients are too small.",
    ),
    "eps left out": (
        "A classic slip while all gradients are large.",
        "Noise of 1e-12 makes steps as large as lr.",
    ),
    "moments of the new value": (
        "A classic slip: the weights of old and new exchanged, (1 - beta) * m + beta * g.",
        "The means follow the last gradient alone.",
    ),
    "root forgotten": (
        "A classic slip: m / (v + eps).",
        "Steps go with 1 / gradient: the flatter the loss, the wilder.",
    ),
}


class TestAdam(OptimizerParity):
    numpy, torch = ours.Adam, theirs.Adam
    configs = [
        {},
        {"lr": 0.1, "betas": (0.0, 0.9), "eps": 1e-3},
        {"lr": 0.1, "betas": (0.4, 0.6), "weight_decay": 0.1, "amsgrad": True},
        {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.1, "maximize": True},
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "amsgrad": True},
    ]
    refusals = [
        Refusal({"betas": (1.0, 0.9)}, says=r"index 0: 1.0 \(wanted 0 <= beta < 1\)"),
        Refusal({"betas": (0.9, -0.1)}, says="Invalid beta parameter at index 1: -0.1"),
        Refusal({"betas": (0, 0.9)}, says="floats"),
        Refusal({"eps": -1.0}, says="Invalid epsilon value: -1.0"),
    ]
    rewrites = {"parameter by parameter": PlainAdam}
    mistakes = {
        slip: Mistake(type(slip, (PlainAdam,), {"slip": slip}), *words)
        for slip, words in SLIPS.items()
    }
