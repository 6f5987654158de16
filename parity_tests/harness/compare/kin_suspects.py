"""Suspicions that the code is another program of torch's: a neighbouring loss or activation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from parity_tests.harness.compare.locate import renamed
from parity_tests.harness.compare.reference import Change, Reference
from parity_tests.harness.compare.suspects import Suspect, changed
from parity_tests.harness.compare.trials import Trial

Array = np.ndarray[Any, np.dtype[Any]]
nn = torch.nn

ACTIVATIONS: list[Callable[[], nn.Module]] = [
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, lambda: nn.GELU("tanh"), nn.SiLU, nn.Mish,
    nn.Softplus, nn.Softsign, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Hardtanh, nn.Hardsigmoid,
    nn.Hardswish, nn.ReLU6, nn.Tanhshrink,
]  # fmt: skip
LOSSES: list[Callable[..., nn.Module]] = [
    nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCEWithLogitsLoss, nn.KLDivLoss,
    nn.SoftMarginLoss, nn.PoissonNLLLoss,
]  # fmt: skip


def kin(reference: Reference, trial: Trial) -> Iterator[Suspect]:
    """The neighbours of an activation or of a loss of two floating-point inputs."""
    module = reference.module
    floats = [x for k, x in trial.given.items() if k.startswith("input") and x.dtype.kind == "f"]
    if module is not None and type(module).__module__ == nn.ReLU.__module__ and len(floats) == 1:
        made = [make() for make in ACTIVATIONS]
    elif isinstance(module, nn.modules.loss._Loss) and len(floats) == 2:
        made = [make(reduction=module.reduction) for make in LOSSES]
    else:
        return
    for other in made:
        if type(other) is not type(module):
            name = repr(other).removesuffix("()")

            def forward(_: nn.Module, inputs: list[torch.Tensor], other: Any = other) -> Any:
                return other(*inputs)

            text = f"yours does what torch.nn.{name} does"
            yield changed(reference, f"torch.nn.{name}", text, Change(forward=forward), 1.3)


def exchanged(reference: Reference) -> Iterator[Suspect]:
    """Two parameters of one shape, each in the place of the other."""
    keys = reference.parameters
    pairs = [
        (a, b)
        for i, a in enumerate(keys)
        for b in keys[i + 1 :]
        if reference.state[a].shape == reference.state[b].shape
    ]
    for a, b in pairs[:12]:
        yield _exchange(reference, a, b)


def _exchange(reference: Reference, a: str, b: str) -> Suspect:
    labels = {
        f"{head} {x}": f"{head} {y}" for head in ("state", "gradient") for x, y in ((a, b), (b, a))
    }

    def run(trial: Trial, backward: bool = True) -> Mapping[str, Array]:
        given = {k: trial.given[labels.get(k, k)] for k in trial.given}
        other = replace(trial, given=given)
        found = reference.run(
            given, other.mode, other.seed, other.set_buffers, other.warm, backward=backward
        )
        return renamed(trial, {k: found[labels.get(k, k)] for k in found})

    return Suspect(
        f"{a} and {b} exchanged", f"yours uses {a} where {b} belongs, and {b} for {a}", run, 1.2
    )
