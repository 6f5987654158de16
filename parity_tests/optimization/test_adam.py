"""Adam: plain, with amsgrad, coupled and decoupled decay, upwards."""

from typing import Any

import numpy as np

from numpy_impl.optimization import adam as ours
from parity_tests.harness import OptimizerParity, Refusal
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
        state["exp_avg"] = m = beta1 * state["exp_avg"] + (1 - beta1) * g
        state["exp_avg_sq"] = v = beta2 * state["exp_avg_sq"] + (1 - beta2) * g**2
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
        elif slip == "eps left out":
            size = np.sqrt(v_hat) + 1e-300
        else:
            size = np.sqrt(v_hat) + eps
        p.data -= lr * m_hat / size
        if slip == "decay after the step" and decoupled:
            p.data *= 1 - lr * decay


SLIPS = [
    "betas swapped",
    "t starts one late",
    "one step count for all parameters",
    "decay turned with maximize",
    "maximize ignored",
    "decoupled instead of L2",
    "no bias correction",
    "first moment not corrected",
    "amsgrad ignored",
    "amsgrad's maximum of the corrected",
    "eps inside the root",
    "eps before bias correction",
    "eps left out",
]


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
        Refusal({"betas": (1.0, 0.9)}, says="Invalid beta parameter at index 0: 1.0"),
        Refusal({"betas": (0.9, -0.1)}, says="Invalid beta parameter at index 1: -0.1"),
        Refusal({"betas": (0, 0.9)}, says="floats"),
        Refusal({"eps": -1.0}, says="Invalid epsilon value: -1.0"),
    ]
    rewrites = {"parameter by parameter": PlainAdam}
    mistakes = {slip: type(slip, (PlainAdam,), {"slip": slip}) for slip in SLIPS}
