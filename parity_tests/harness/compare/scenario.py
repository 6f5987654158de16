"""What optimizers are run on: each scenario adds one thing to the plainest run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from parity_tests.harness.compare.locate import Nearby

Array = np.ndarray[Any, np.dtype[Any]]


SHAPES = (4, 3), (5,)


SCALES = (1.0, 1.0, 1e-7, 1e-7, 1e3, 1.0, 1e-2, 1e-9, 1.0)


IN_PLACE = "gradients written into the same array"


@dataclass(frozen=True)
class Scenario:
    """What an optimizer is fed: parameters, gradients of each step (None is missing), rates."""

    name: str
    params: tuple[Array, ...]
    grads: tuple[tuple[Array | None, ...], ...]
    rates: Mapping[int, float] = field(default_factory=dict)
    special: Mapping[int, str] = field(default_factory=dict)
    in_place: bool = False
    """Whether each gradient is written into the array of the one before."""

    def moved(self, near: Nearby) -> Scenario:
        """The same an ulp away."""
        params = near.moved({str(i): p for i, p in enumerate(self.params)})
        grads = tuple(
            tuple(None if g is None else near.moved({"g": g})["g"] for g in step)
            for step in self.grads
        )
        return replace(self, params=tuple(params.values()), grads=grads)


def scenarios(seed: int, steps: int) -> list[Scenario]:
    """Plain ones first."""

    def make(name: str, draw: int, count: int = 1, **options: Any) -> Scenario:
        rng = np.random.default_rng([seed, draw])
        shapes = SHAPES[:count]
        params = tuple(rng.standard_normal(s) + 0.3 for s in shapes)
        grads = [tuple(rng.standard_normal(s) for s in shapes) for _ in range(steps)]
        return Scenario(name, params, tuple(grads), **options)

    def with_grads(
        scenario: Scenario, change: Callable[[int, int, Any], Any], **options: Any
    ) -> Scenario:
        grads = tuple(
            tuple(change(t, i, g) for i, g in enumerate(step))
            for t, step in enumerate(scenario.grads, 1)
        )
        return replace(scenario, grads=grads, **options)

    plain = [
        make("one parameter", 0),
        make("one parameter, another draw", 1),
        make("one parameter, a third draw", 2),
    ]
    two = make("two parameters", 3, 2)
    sized = with_grads(
        make("gradients from 1e-9 to 1e3", 4), lambda t, i, g: g * SCALES[(t - 1) % len(SCALES)]
    )
    tiny = with_grads(make("gradients of 1e-8", 5), lambda t, i, g: g * 1e-8)
    zero = with_grads(
        make("a gradient of exact zeros", 6),
        lambda t, i, g: g * 0 if t == 3 else g,
        special={3: "the gradient is exactly 0 at this step"},
    )
    gone = with_grads(
        make("a missing gradient", 7, 2),
        lambda t, i, g: None if (t, i) == (3, 1) else g,
        special={
            3: "parameter 1 has no gradient at this step",
            4: "the step after parameter 1 had no gradient",
        },
    )
    rate = make(
        "a learning rate that changes",
        8,
        1,
        rates={5: 0.3},
        special={
            5: "the learning rate changed to 0.3 of what it was at this step",
            6: "the step after the learning rate changed",
        },
    )
    again = replace(plain[0], name=IN_PLACE, in_place=True)
    return [*plain, two, sized, tiny, zero, gone, rate, again]


Tweak = Callable[[torch.optim.Optimizer, int, list[torch.nn.Parameter]], None]


def run_torch(
    kind: Any,
    kwargs: Mapping[str, Any],
    scenario: Scenario,
    tweak: Tweak | None = None,
    delay: int = 0,
) -> dict[str, Array]:
    """Parameters after every step, in torch."""
    params = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in scenario.params]
    optimizer = kind(params, **kwargs)
    base = optimizer.param_groups[0]["lr"]
    found = {}
    for t in range(1, len(scenario.grads) + 1):
        grads = scenario.grads[max(t - 1 - delay, 0)]
        if t in scenario.rates:
            for group in optimizer.param_groups:
                group["lr"] = base * scenario.rates[t]
        for p, g in zip(params, grads):
            p.grad = None if g is None else torch.from_numpy(g.copy())
        if tweak is not None:
            tweak(optimizer, t, params)
        optimizer.step()
        for i, p in enumerate(params):
            for key, value in optimizer.state.get(p, {}).items():
                if isinstance(value, torch.Tensor) and value.shape == p.shape:
                    found[f"step {t} state {i} {key}"] = value.detach().numpy().copy()
            found[f"step {t} parameter {i}"] = p.detach().numpy().copy()
    return found
