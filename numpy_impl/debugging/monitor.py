"""What each step does to each parameter, written down while a model trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from numpy_impl.module import Array, Module, RemovableHandle
from numpy_impl.optimization.clipping import get_total_norm
from numpy_impl.optimization.optimizer import Optimizer

__all__ = ["Monitor"]

TOO_LARGE, TOO_SMALL = 1e-2, 1e-4  # ten times off the rule of thumb


class Monitor:
    """Watch the steps of an optimizer: how large gradients, weights and updates are, by parameter.

        with Monitor(model, optimizer, criterion) as monitor:
            fit(model, batches, criterion, optimizer)
        print(monitor)

    For each parameter w, with g its gradient and dw what the step added to it:

        grad_norm    = ||g||           as the optimizer saw it, after clipping
        weight_norm  = ||w||           before the step
        update_ratio = ||dw|| / ||w||  momentum, decay and all that moves w included

    A rate suits where the ratios of the weights are about 1e-3 (Karpathy, CS231n, "Neural Networks
    Part 3"); biases that start at 0 tell little. It hooks into the optimizer, so any loop will do,
    and `fit` runs no other code for those who do not watch. A watched step copies the parameters
    once and takes three norms of each: for an MLP 784-256-256-10 in float32 a fifth of the step.

    Args:
        criterion: the loss, if its values are to be written down too (without penalties).
        every: watch the first of so many steps.
        live: called with one line of text for each step watched: `print`, `tqdm.write`.

    Attributes:
        steps: the numbers of the steps watched, from 1.
        lr: the rates of those steps, of the first parameter group.
        loss: the values of the criterion; NaN where none was seen. Empty without a criterion.
        grad_norm, weight_norm, update_ratio: a list by each parameter's name; NaN where a
            parameter had no gradient, infinity where one moved away from 0.

    Raises:
        ValueError: every is not a positive whole number, or the optimizer holds no parameter of
            the model.
        RuntimeError: it is watching already.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        criterion: Module | None = None,
        *,
        every: int = 1,
        live: Callable[[str], Any] | None = None,
    ) -> None:
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"every must be a positive whole number, got {every!r}")
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self._parameters = {k: p for k, p in model.named_parameters() if id(p) in held}
        if not self._parameters:
            raise ValueError("the optimizer holds none of the model's parameters")
        self.model, self.optimizer, self.criterion = model, optimizer, criterion
        self.every, self.live = every, live
        self.steps: list[int] = []
        self.lr: list[float] = []
        self.loss: list[float] = []
        self.grad_norm: dict[str, list[float]] = {name: [] for name in self._parameters}
        self.weight_norm: dict[str, list[float]] = {name: [] for name in self._parameters}
        self.update_ratio: dict[str, list[float]] = {name: [] for name in self._parameters}
        self._handles: list[RemovableHandle] = []
        self._taken = 0
        self._last_loss: Any = math.nan
        self._before: dict[str, Array] | None = None

    def __enter__(self) -> Self:
        if self._handles:
            raise RuntimeError("this Monitor is watching already")
        self._handles = [
            self.optimizer.register_step_pre_hook(self._begin),
            self.optimizer.register_step_post_hook(self._end),
        ]

        def see(module: Module, args: tuple[Any, ...], loss: Any) -> None:
            if module is self.criterion:  # a copy of it is not what is watched
                self._see_loss(loss)

        if self.criterion is not None:
            self._handles.append(self.criterion.register_forward_hook(see))
        return self

    def __exit__(self, *exc: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._before, self._last_loss = [], None, math.nan

    def total(self, norms: dict[str, list[float]]) -> list[float]:
        """The norm of all parameters together, by step: `monitor.total(monitor.grad_norm)`.

        Parameters without a gradient count as 0.
        """
        return [math.sqrt(sum(n * n for n in step if n == n)) for step in zip(*norms.values())]

    def __str__(self) -> str:
        """The last step watched as a table, with what is out of the ordinary in words."""
        if not self.steps:
            return "Monitor: no step was watched"
        width = max(map(len, self._parameters))
        lines = [self._line(), f"{'':{width}}  gradient    weight    update/weight"]
        for name in self._parameters:
            g, w = self.grad_norm[name][-1], self.weight_norm[name][-1]
            ratio = self.update_ratio[name][-1]
            told = _remark(g, w, ratio)
            lines.append(f"{name:{width}}  {g:<10.3g}  {w:<8.3g}  {ratio:<9.2g} {told}".rstrip())
        return "\n".join(lines)

    # ---- the hooks --------------------------------------------------------------------------

    def _see_loss(self, loss: Any) -> None:
        if self.model.training and not np.ndim(loss):  # validation is not what a step descends
            self._last_loss = loss

    def _begin(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._taken += 1
        self._before = None  # a step that raised may have left one
        if (self._taken - 1) % self.every == 0:
            self._before = {name: p.data.copy() for name, p in self._parameters.items()}

    def _end(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._before is None:
            return
        before, self._before = self._before, None
        self.steps.append(self._taken)
        self.lr.append(float(optimizer.param_groups[0]["lr"]))
        if self.criterion is not None:
            self.loss.append(float(self._last_loss))
            self._last_loss = math.nan
        with np.errstate(all="ignore"):
            for name, p in self._parameters.items():
                grad = math.nan if p.grad is None else _norm(p.grad)
                size, moved = _norm(before[name]), _norm(p.data - before[name])
                self.grad_norm[name].append(grad)
                self.weight_norm[name].append(size)
                self.update_ratio[name].append(_ratio(moved, size))
        if self.live is not None:
            self.live(self._line())

    def _line(self) -> str:
        """The last step watched in one line."""
        ratios = {k: r[-1] for k, r in self.update_ratio.items() if math.isfinite(r[-1])}
        words = [f"step {self.steps[-1]}"]
        words += [f"loss {self.loss[-1]:.4g}"] if self.loss else []
        words += [f"lr {self.lr[-1]:.3g}", f"gradient {self.total(self.grad_norm)[-1]:.3g}"]
        if ratios:
            low, high = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
            words.append(f"update/weight {ratios[low]:.1e} ({low}) to {ratios[high]:.1e} ({high})")
        return "  ".join(words)


def _norm(x: Array) -> float:
    return float(get_total_norm([x]))


def _ratio(moved: float, size: float) -> float:
    if size == 0:
        return math.inf if moved else 0.0
    return moved / size


def _remark(grad: float, weight: float, ratio: float) -> str:
    """What is out of the ordinary about a parameter's step."""
    if math.isnan(grad):
        return "no gradient"
    if not math.isfinite(grad):
        return "gradient not finite"
    if grad == 0:
        return "gradient exactly 0"
    if weight and ratio > TOO_LARGE:
        return "large step"
    return "small step" if ratio < TOO_SMALL else ""
