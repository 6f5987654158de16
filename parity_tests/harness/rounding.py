"""The torch reference as another rounding could have made it.

Moving what goes in by one ulp does not stir every rounding inside. There are places that round
alike an ulp away: with y near 1, 1 - y^2 is a multiple of eps for all of them, and the mean of a
column of equal numbers is exact or off by one unit whatever they are. What follows may magnify
that without bound, a norm by 1 / sqrt(eps), Adam by dividing a small gradient by its own size. So
where several layers or steps follow each other, each hands on its result with an error that its
own checks would allow: eps times the largest number in the array. Exact zeros stay, so that what
is switched off stays off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from parity_tests.harness.budget import Arrays, Run


def _error(like: torch.Tensor, size: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """eps times a size, or the smallest number, with random signs; 0 where `like` is 0."""
    info = torch.finfo(like.dtype)
    sign = torch.from_numpy(np.asarray(rng.integers(0, 2, tuple(like.shape), np.int8) * 2 - 1))
    return (info.eps * size).clamp_min(info.tiny * info.eps) * (sign * (like != 0))


def _off(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """x, each number off by eps times the largest finite one."""
    size = x.detach().abs()
    size = size[size.isfinite()]
    return x + _error(x.detach(), size.max(), rng) if size.numel() else x


@contextlib.contextmanager
def rounded_layers(rng: np.random.Generator) -> Iterator[None]:
    """Each torch layer's output, the gradient it gets, and what is saved, rounded otherwise.

    What is saved for backward is one unit in each number's last place off: two tanh differ by that,
    and then by much more in 1 - y^2.
    """

    def hook(module: torch.nn.Module, args: Any, y: Any) -> Any:
        if any(True for _ in module.children()) or not isinstance(y, torch.Tensor):
            return None
        if not y.is_floating_point() or not y.requires_grad:
            return None
        y = _off(y, rng)
        y.register_hook(lambda dy: _off(dy, rng))
        return y

    def pack(x: torch.Tensor) -> torch.Tensor:
        x = x.detach()
        return x + _error(x, x.abs(), rng) if x.is_floating_point() else x

    handle = register_module_forward_hook(hook)
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            yield
    finally:
        handle.remove()


@contextlib.contextmanager
def rounded_recurrences(rng: np.random.Generator) -> Iterator[None]:
    """Each step of a torch RNN taken by itself, its state and its gradient rounded otherwise.

    A whole sequence is one call, in which no hook sees the steps. Sequences read both ways or with
    dropout between layers are left as they are: taken by steps they would be other numbers.
    """
    forward = torch.nn.RNN.forward

    def by_steps(rnn: torch.nn.RNN, x: torch.Tensor, hx: torch.Tensor | None = None) -> Any:
        if rnn.bidirectional or rnn.dropout or x.ndim != 3:
            return forward(rnn, x, hx)
        axis, outputs = (1 if rnn.batch_first else 0), []
        for step in x.split(1, dim=axis):
            output, hx = forward(rnn, step, hx)
            hx = _off(hx, rng)
            if hx.requires_grad:
                hx.register_hook(lambda dh: _off(dh, rng))
            outputs.append(output)
        return torch.cat(outputs, dim=axis), hx

    torch.nn.RNN.forward = by_steps  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.nn.RNN.forward = forward  # type: ignore[method-assign]


@contextlib.contextmanager
def rounded_steps(rng: np.random.Generator) -> Iterator[None]:
    """Every torch optimizer's gradients before a step, and parameters after it, rounded otherwise.

    A parameter is put one unit in its own last place off: an update stores it with that error.
    """

    def parameters(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
        return (p for group in optimizer.param_groups for p in group["params"])

    @torch.no_grad()
    def before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for p in parameters(optimizer):
            if p.grad is not None:
                p.grad = _off(p.grad, rng)

    @torch.no_grad()
    def after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for p in parameters(optimizer):
            p += _error(p, p.abs(), rng)

    handles = register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def otherwise(case: Any, theirs: Run, seed: int = 0) -> Run | None:
    """The reference as it may round inside, for a case that is a `network`; None for others."""
    return partial(_rounded, theirs, np.random.default_rng(seed)) if case.network else None


def _rounded(theirs: Run, rng: np.random.Generator, given: Arrays) -> Arrays:
    with rounded_layers(rng):
        return theirs(given)
