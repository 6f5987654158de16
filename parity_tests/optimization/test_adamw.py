"""AdamW, and the groups that it is used with."""

import numpy as np
import torch

from numpy_impl import nn
from numpy_impl.module import Parameter
from numpy_impl.optimization import adamw as ours
from parity_tests.harness import Mistake, OptimizerParity, RuleCase
from parity_tests.harness.bridge import to_torch
from parity_tests.optimization.test_adam import PlainAdam
from torch_impl.optimization import adamw as theirs


class PlainAdamW(ours.AdamW):
    """As in Adam's case: parameter by parameter, nothing folded."""

    slip = ""
    calls = 0
    update = PlainAdam.update
    update_one = PlainAdam.update_one


SLIPS = {
    "L2 instead of decoupled": (
        "Adam with weight_decay, in place of AdamW: what the paper was written against.",
        "Weights with large gradients hardly decay.",
    ),
    "decay not times lr": (
        "apex and early AdamW in TensorFlow Addons: p *= 1 - weight_decay.",
        "With lr = 1e-3 the decay is a thousand times as strong, and no schedule tames it.",
    ),
    "decay after the step": (
        "A classic slip of order; torch decays first.",
        "Off by lr * weight_decay times the step: it shows late, and only by comparison.",
    ),
    "no bias correction": (
        "Old from-scratch versions leave it out.",
        "The first steps are too large by (1 - beta1) / sqrt(1 - beta2), about 3.",
    ),
    "eps before bias correction": (
        "Keras, and the paper's epsilon hat; torch adds eps after the correction.",
        "Early steps of tiny gradients are too small.",
    ),
    "one step count for all parameters": (
        "The guide's AdamOptimizer counts a step at every call, that is once a parameter.",
        "Bias correction ends too early, from the second parameter on.",
    ),
}


class TestAdamW(OptimizerParity):
    numpy, torch = ours.AdamW, theirs.AdamW
    configs = [{}, {"lr": 0.1, "weight_decay": 0.3}, {"lr": 0.1, "amsgrad": True, "maximize": True}]
    rewrites = {"parameter by parameter": PlainAdamW}
    mistakes = {
        slip: Mistake(type(slip, (PlainAdamW,), {"slip": slip}), *words)
        for slip, words in SLIPS.items()
    }


class Norm(nn.Module):
    """Something with a scale and a shift."""

    def __init__(self):
        self.weight, self.bias = Parameter(np.ones(4, "f")), Parameter(np.zeros(4, "f"))


def decays_all(model, weight_decay=1e-2):
    return [{"params": list(model.parameters()), "weight_decay": weight_decay}]


def by_name(model, weight_decay=1e-2):
    """Only what is called bias is left out: the norm's scale decays."""
    named = [(k, p) for k, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for k, p in named if "bias" not in k], "weight_decay": weight_decay},
        {"params": [p for k, p in named if "bias" in k], "weight_decay": 0.0},
    ]


class TestDecayGroups(RuleCase):
    numpy, torch = staticmethod(ours.decay_groups), staticmethod(theirs.decay_groups)
    mistakes = {
        "everything decays": Mistake(
            decays_all,
            "torch itself, if model.parameters() is handed over as it is.",
            "Biases and the scales of norms are pulled to 0, for no gain.",
        ),
        "norms decay": Mistake(
            by_name,
            "Recipes that leave out whatever is called bias.",
            "The scales of norms, called weight, are pulled to 0.",
        ),
    }

    def models(self):
        a = nn.Sequential(nn.Linear(3, 4), Norm(), nn.Linear(4, 2, bias=False))
        b = torch.nn.Sequential(
            torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2, bias=False)
        )
        b.load_state_dict(to_torch(a.state_dict()))
        return a, b

    def check_the_groups_are_torchs(self, log, rng):
        for frozen in (False, True):
            a, b = self.models()
            if frozen:
                a[0].requires_grad_(False)
                b[0].requires_grad_(False)
            ours = type(self).numpy(a, 0.3)
            theirs = type(self).torch(b, 0.3)
            for x, y in zip(ours, theirs, strict=True):
                shapes = [p.shape for p in x["params"]], [tuple(p.shape) for p in y["params"]]
                log.require(shapes[0] == shapes[1], f"{shapes[0]}, torch {shapes[1]}")
                log.require(x["weight_decay"] == y["weight_decay"], "another decay")

    def check_a_step_of_adamw_shrinks_only_the_matrices(self, log, rng):
        a, b = self.models()
        optimizers = (
            ours.AdamW(type(self).numpy(a, 0.3), lr=0.1),
            theirs.AdamW(type(self).torch(b, 0.3), lr=0.1),
        )
        before = [p.data.copy() for p in a.parameters()]
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            p.grad, q.grad = np.zeros_like(p.data), torch.zeros_like(q)
        for optimizer in optimizers:
            optimizer.step()
        for old, p, q in zip(before, a.parameters(), b.parameters(), strict=True):
            same = np.allclose(p.data, q.detach().numpy(), rtol=1e-6, atol=0)
            log.require(same, f"{p.shape}: {p.data}, torch {q}")
            wanted = old * (1 - 0.1 * 0.3) if p.ndim > 1 else old
            log.require(
                np.allclose(p.data, wanted, rtol=1e-6, atol=0), f"{p.shape} decayed wrongly"
            )

    def check_the_default_is_adamws(self, log, rng):
        a, _ = self.models()
        log.require(type(self).numpy(a)[0]["weight_decay"] == 1e-2, "another default")


def test_what_adam_saved_decays_apart_once_adamw_has_loaded_it():
    from numpy_impl.optimization import Adam

    p, q = Parameter(np.ones(2)), torch.nn.Parameter(torch.ones(2))
    loaded = ours.AdamW([p]), theirs.AdamW([q])
    loaded[0].load_state_dict(Adam([p], weight_decay=0.1).state_dict())
    loaded[1].load_state_dict(torch.optim.Adam([q], weight_decay=0.1).state_dict())
    groups = [{k: v for k, v in o.param_groups[0].items() if k != "params"} for o in loaded]
    assert groups[0] == groups[1] and groups[0]["decoupled_weight_decay"] is True
