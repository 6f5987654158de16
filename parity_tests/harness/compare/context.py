"""What else is known where two tensors differ: sizes and options to name, tensors to add."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from parity_tests.harness.compare.locate import FROM_START
from parity_tests.harness.compare.own_code import OwnCode
from parity_tests.harness.compare.reference import Reference
from parity_tests.harness.compare.sample import Sample
from parity_tests.harness.compare.trials import Trial

Array = np.ndarray[Any, np.dtype[Any]]


def sizes(reference: Reference, code: OwnCode | None, trial: Trial) -> dict[str, float]:
    """What the lexicon may name in this trial: sizes of the first input, and all options."""
    found: dict[str, float] = {}
    x = trial.given.get("input 0")
    if x is not None:
        names = ["N", "C"] if x.ndim <= 2 else ["N", *(f"axis{i}" for i in range(1, x.ndim))]
        found |= {n: float(s) for n, s in zip(names, x.shape)}
        if x.ndim > 2:
            found["n_row"] = float(x.size / max(x.shape[0], 1))
            found["n_channel"] = float(x.size / max(x.shape[1], 1))
        found["n_input"] = float(x.size)
    y = trial.reference.get("forward output")
    if y is not None and x is not None and y.shape != x.shape and y.size > 1:
        found["n_output"] = float(y.size)
        found["n_out"] = float(y.shape[-1])
    target = trial.given.get("input 1")
    if target is not None and target.dtype.kind == "i" and target.ndim == 1:
        weight = reference.config().get("weight")
        tensor = getattr(reference.module, "weight", weight)
        if tensor is not None and hasattr(tensor, "numpy") and tensor.ndim == 1:
            found["sum_of_weights"] = float(tensor.detach().double().numpy()[target].sum())
    for name, value in {**reference.config(), **(code.kwargs if code else {})}.items():
        if isinstance(value, bool) or name in ("last_epoch", "device", "normalized_shape"):
            continue
        if isinstance(value, int | float) and value not in (0, 1) and math.isfinite(value):
            found.setdefault(name, float(value))
    config = reference.config()
    if {"embed_dim", "num_heads"} <= config.keys():
        found["head_dim"] = config["embed_dim"] / config["num_heads"]
    if {"num_channels", "num_groups"} <= config.keys() and x is not None:
        found["n_group"] = x[0].size / config["num_groups"]
    return {k: v for k, v in found.items() if v not in (0.0, 1.0)}


def known(reference: Reference, trial: Trial, label: str) -> dict[str, Array]:
    """Other tensors of the trial by the names a reader uses."""
    found: dict[str, Array] = {}
    inputs = {k: v for k, v in trial.given.items() if k.startswith("input")}
    for name, x in inputs.items():
        if x.dtype.kind == "f":
            found["input" if len(inputs) == 1 else name] = x
    if label.startswith(("gradient", "tap gradient")):
        dy = trial.given.get("cotangent")
        if dy is not None:
            found["dy"] = dy
        y = trial.reference.get("forward output")
        if y is not None:
            found["output"] = y
    for other, theirs in trial.reference.items():
        if other != label and other.startswith("forward") and label.startswith("forward"):
            found[f"the reference's {other}"] = theirs
        if other != label and other.startswith("gradient") and label.startswith("gradient"):
            found[f"the reference's {other}"] = theirs
    for key in reference.state:
        if f"state {key}" in trial.given and reference.state[key].dtype.kind == "f":
            found[key] = trial.given[f"state {key}"]
    first, target = trial.given.get("input 0"), trial.given.get("input 1")
    if first is None:
        return found
    x = first
    if target is not None and target.dtype.kind == "i" and target.ndim == 1:
        if x.ndim == 2 and len(target) == len(x) and target.max(initial=0) < x.shape[1]:
            found["class"] = np.eye(x.shape[1])[np.maximum(target, 0)]
    if x.dtype.kind == "f" and 1 <= x.ndim <= 4 and x.size:
        for axis in range(x.ndim):
            found[f"std of input over axis {axis}"] = x.std(axis, keepdims=True)
            found[f"mean of input over axis {axis}"] = x.mean(axis, keepdims=True)
        dy = found.get("dy")
        if dy is not None and dy.shape == x.shape:
            for axis in range(x.ndim):
                found[f"mean of dy over axis {axis}"] = dy.mean(axis, keepdims=True)
    return found


def sample(
    reference: Reference,
    code: OwnCode | None,
    trial: Trial,
    label: str,
    instead: Mapping[str, Array] | None = None,
) -> Sample:
    """The user's tensor beside the reference's, or beside what another run gave for it."""
    wanted = (instead or trial.reference)[label]
    key = label.removeprefix("buffer ")
    old = None
    if label.startswith("buffer"):
        key = key.removesuffix(FROM_START)
        held = reference.state if not trial.set_buffers else {key: trial.given.get(f"state {key}")}
        old = held.get(key)
    facts = known(reference, trial, label)
    facts.pop(key, None) if label.startswith("buffer") else None
    return Sample(
        trial.user.found[label],
        wanted,
        trial.allowed.get(label, 0.0),
        facts,
        sizes(reference, code, trial),
        old,
    )
