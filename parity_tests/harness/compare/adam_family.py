"""Adam written out, with each of its parts as people get it wrong, alone and two at a time.

torch's own options cannot be turned into these: a moment left without its correction, one beta in
the place of the other, a decay that comes after the step or forgets the rate.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from parity_tests.harness.compare.scenario import Scenario

Array = np.ndarray[Any, np.dtype[Any]]

PARTS: dict[str, dict[str, str]] = {
    "mean": {
        "raw": "the first moment is not corrected for its start at zero",
        "sum": "the first moment takes the whole gradient, not (1-beta1) of it",
        "beta2": "the first moment takes (1-beta2) of the gradient, not (1-beta1)",
    },
    "square": {
        "raw": "the second moment is not corrected for its start at zero",
        "sum": "the second moment takes the whole square, not (1-beta2) of it",
        "beta1": "the second moment takes (1-beta1) of the square, not (1-beta2)",
        "belief": "the second moment is that of the gradient less its mean, as in AdaBelief",
        "unsquared": "the second moment takes |gradient|, not its square",
    },
    "root": {
        "inside": "eps stands inside the root",
        "hat": "eps is added before the second moment is corrected",
        "none": "there is no root: the step is divided by the second moment itself",
    },
    "decay": {
        "no rate": "the weight decay is not multiplied by lr",
        "after": "the weight decay comes after the step, not before it",
        "after, no rate": "the weight decay comes after the step and is not multiplied by lr",
        "twice": "the weight decay counts twice",
        "none": "there is no weight decay",
        "in the gradient": "the weight decay goes into the gradient, and through both moments",
        "decoupled": "the weight decay is applied to the parameter, past both moments",
    },
    "count": {
        "of steps": "the step count goes on for a parameter without a gradient",
        "of calls": "the step count is advanced once a parameter, not once a step",
    },
}


def members(kind: Any, options: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Name, words and parts of every wrong Adam, those with one part wrong first."""
    if kind not in (torch.optim.Adam, torch.optim.AdamW) or options.get("amsgrad"):
        return
    single = [
        (part, how, text)
        for part, ways in PARTS.items()
        for how, text in ways.items()
        if part != "decay"
        or options.get("weight_decay")
        and how != ("decoupled" if _decoupled(kind, options) else "in the gradient")
    ]
    for part, how, text in single:
        yield f"{part} {how}", text, {part: how}
    for (a, how_a, text_a), (b, how_b, text_b) in itertools.combinations(single, 2):
        if a != b:
            yield f"{a} {how_a}, {b} {how_b}", f"{text_a}; and {text_b}", {a: how_a, b: how_b}


def _decoupled(kind: Any, options: Mapping[str, Any]) -> bool:
    return kind is torch.optim.AdamW or bool(options.get("decoupled_weight_decay"))


def run(
    kind: Any, options: Mapping[str, Any], parts: Mapping[str, str], scenario: Scenario
) -> dict[str, Array]:
    """Parameters after every step, by torch's labels."""
    lr, (beta1, beta2), eps = float(options["lr"]), options["betas"], options["eps"]
    decay, sign = float(options.get("weight_decay", 0)), -1.0 if options.get("maximize") else 1.0
    usual = "decoupled" if _decoupled(kind, options) else "in the gradient"
    how = {"count": "", "mean": "", "square": "", "root": "", "decay": usual, **parts}
    if how["decay"] == "none":
        decay = 0.0
    if how["decay"] == "twice":
        decay, how["decay"] = 2 * decay, usual
    params = [np.array(p) for p in scenario.params]
    means, squares = ([np.zeros_like(p) for p in params] for _ in range(2))
    counts, calls = [0] * len(params), 0
    found: dict[str, Array] = {}
    for t, grads in enumerate(scenario.grads, 1):
        lr *= scenario.rates.get(t, 1.0)
        for i, given in enumerate(grads):
            if given is not None:
                p, g = params[i], sign * given
                counts[i] += 1
                calls += 1
                n = {"of steps": t, "of calls": calls}.get(how["count"], counts[i])
                if how["decay"] == "in the gradient":
                    g = g + decay * p
                elif how["decay"] == "decoupled":
                    p = p * (1 - lr * decay)
                elif how["decay"] == "no rate":
                    p = p * (1 - decay)
                share = {"sum": 1.0, "beta2": 1 - beta2}.get(how["mean"], 1 - beta1)
                means[i] = beta1 * means[i] + share * g
                share = {"sum": 1.0, "beta1": 1 - beta1}.get(how["square"], 1 - beta2)
                off = g - means[i] if how["square"] == "belief" else g
                taken = np.abs(g) if how["square"] == "unsquared" else off**2
                squares[i] = beta2 * squares[i] + share * taken
                m = means[i] if how["mean"] == "raw" else means[i] / (1 - beta1**n)
                scale = 1.0 if how["square"] == "raw" else 1 - beta2**n
                v = squares[i] / scale
                if how["root"] == "inside":
                    below = np.sqrt(v + eps)
                elif how["root"] == "hat":
                    below = (np.sqrt(squares[i]) + eps) / np.sqrt(scale)
                elif how["root"] == "none":
                    below = v + eps
                else:
                    below = np.sqrt(v) + eps
                p = p - lr * m / below
                if how["decay"].startswith("after"):
                    p = p * (1 - decay * (1.0 if "no rate" in how["decay"] else lr))
                params[i] = p
            found[f"step {t} parameter {i}"] = np.array(params[i])
    return found
