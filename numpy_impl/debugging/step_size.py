"""How good a central difference is at each step: truncation against rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from numpy_impl.debugging.gradient_checking import problem_of
from numpy_impl.losses.regression import Loss
from numpy_impl.module import Array, Module
from numpy_impl.random import Generator
from numpy_impl.training.non_finite import kept_streams

__all__ = ["StepSizeSweep", "step_size_sweep"]

STEPS = tuple(10 ** (-i / 2) for i in range(2, 25))  # 1e-1 to 1e-12, two a decade


@dataclass
class StepSizeSweep:
    """Slopes along one direction by step, and what backward says it is.

    `eps` the steps; `central` and `forward` the slopes (f(x+h) - f(x-h)) / 2h and
    (f(x+h) - f(x)) / h, one for each.
    """

    analytic: float
    eps: list[float] = field(default_factory=list)
    central: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)

    def errors(self, slopes: list[float]) -> list[float]:
        """Relative errors of slopes: `sweep.errors(sweep.central)`. 0 where both are 0."""
        return [
            abs(slope - self.analytic) / (max(abs(slope), abs(self.analytic)) or 1.0)
            for slope in slopes
        ]

    @property
    def best(self) -> float:
        """The step whose central difference comes nearest."""
        errors = self.errors(self.central)
        return self.eps[min(range(len(errors)), key=errors.__getitem__)]


def step_size_sweep(
    model: Module,
    inputs: Sequence[Array],
    target: Array | None = None,
    criterion: Loss | None = None,
    *,
    steps: Sequence[float] | None = None,
    generator: Generator | None = None,
) -> StepSizeSweep:
    """Measure one slope at many steps, along a random direction through all that can be checked.

    With h the step, M what bounds the third derivative and e the rounding of f:

        error of the central difference  ~  M h^2 / 6 + e / h
        error of the forward difference  ~  f'' h / 2 + 2 e / h

    so that the error falls with h until rounding takes over: the best step is near eps^(1/3) and
    the best error near eps^(2/3) for the one, eps^(1/2) both for the other. In float32 nothing
    below 1e-3 is to be had, so all of it runs in float64, on a copy. A gradient that is wrong shows
    as an error that does not fall at all. What is checked, and with which loss, is as in
    `gradient_check`.

    Args:
        steps: None takes 1e-1 to 1e-12, two a decade.

    Raises:
        ValueError: as `gradient_check`; a step that is not positive, or no step.
    """
    steps = STEPS if steps is None else steps
    if not len(steps) or not all(0 < h < math.inf for h in steps):
        raise ValueError(f"steps must be positive numbers, at least one, got {steps!r}")
    generator = generator or Generator()
    with kept_streams():
        problem = problem_of(model, inputs, target, criterion, generator)
        tensors, n = problem.tensors, sum(x.size for x in problem.tensors.values())
        start = {name: x.copy() for name, x in tensors.items()}
        v = {
            name: (2.0 * generator.randint(0, 2, x.shape) - 1) / math.sqrt(n)
            for name, x in tensors.items()
        }

        def at(h: float) -> float:
            for name, x in tensors.items():
                x[...] = start[name] + h * v[name]
            return problem.value()

        here = at(0.0)
        sweep = StepSizeSweep(float(sum(np.vdot(problem.gradients[k], v[k]) for k in tensors)))
        for h in map(float, steps):
            above, below = at(h), at(-h)
            sweep.eps.append(h)
            sweep.central.append((above - below) / (2 * h))
            sweep.forward.append((above - here) / h)
    return sweep
