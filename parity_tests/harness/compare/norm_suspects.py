"""Suspicions of a normalisation: over other axes or groups, by another spread, eps elsewhere.

What is suspected is written out with torch's own mean and root, so that autograd gives its gradient
too, and the reference's weight and bias are applied to it as torch applies them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from parity_tests.harness.compare.reference import Change, Reference
from parity_tests.harness.compare.suspects import Suspect, changed
from parity_tests.harness.compare.trials import Trial

Axes = tuple[int, ...]
nn = torch.nn
BATCH, INSTANCE = nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm


@dataclass(frozen=True)
class _Spread:
    """How a row is centred and what it is divided by."""

    name: str
    text: str
    of: Callable[[torch.Tensor, Axes, float], torch.Tensor]
    centred: bool = True
    cost: float = 1.2


def _variance(d: torch.Tensor, axes: Axes, ddof: int = 0) -> torch.Tensor:
    n = int(np.prod([d.shape[a] for a in axes]))
    return (d * d).sum(axes, keepdim=True) / max(n - ddof, 1)


PLAIN = _Spread("", "", lambda d, axes, eps: (_variance(d, axes) + eps).sqrt())
SPREADS = [
    _Spread(
        "eps outside the root",
        "yours adds eps to the standard deviation, outside the root; the reference takes the root "
        "of the variance plus eps",
        lambda d, axes, eps: _variance(d, axes).sqrt() + eps,
    ),
    _Spread(
        "no eps",
        "yours adds no eps",
        lambda d, axes, eps: _variance(d, axes).sqrt(),
    ),
    _Spread(
        "ddof=1 and eps outside the root",
        "yours divides by the standard deviation with ddof=1 plus eps; the reference takes the "
        "root of the biased variance plus eps",
        lambda d, axes, eps: _variance(d, axes, 1).sqrt() + eps,
    ),
    _Spread(
        "divided by the variance",
        "yours divides by the variance, without the root",
        lambda d, axes, eps: _variance(d, axes) + eps,
    ),
    _Spread(
        "mean absolute deviation",
        "yours divides by the mean absolute deviation, not by the standard deviation",
        lambda d, axes, eps: d.abs().mean(axes, keepdim=True) + eps,
        cost=1.5,
    ),
    _Spread(
        "divided by the norm",
        "yours divides by the root of the sum of squares, not of their mean",
        lambda d, axes, eps: ((d * d).sum(axes, keepdim=True) + eps).sqrt(),
    ),
    _Spread(
        "only centred", "yours subtracts the mean and divides by nothing", lambda d, a, e: d * 0 + 1
    ),
]


def norms(reference: Reference, trial: Trial) -> Iterator[Suspect]:
    """Every way above, for the norms of torch; nothing for other modules."""
    module, x = reference.module, trial.given.get("input 0")
    known = nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, INSTANCE, BATCH
    if not isinstance(module, known) or x is None or trial.mode == "eval" or x.ndim < 2:
        return
    rows = isinstance(module, nn.RMSNorm)
    default, how = _default(module, x.ndim)
    for spread in SPREADS:
        yield _suspect(reference, spread.name, spread.text, default, spread, not rows, spread.cost)
    if rows:
        text = "yours subtracts the mean as well: a layer norm, where the reference divides only"
        yield _suspect(reference, "centred too", text, default, PLAIN, True, 1.2)
    elif not isinstance(module, BATCH):
        text = "yours does not subtract the mean, it divides only"
        yield _suspect(reference, "not centred", text, default, PLAIN, False, 1.2)
    for size in range(1, x.ndim + 1):
        for axes in itertools.combinations(range(x.ndim), size):
            if isinstance(default, int) or axes != default:
                text = f"yours normalises over {_named(axes)}; the reference normalises over {how}"
                yield _suspect(reference, f"over {_named(axes)}", text, axes, PLAIN, not rows, 1.1)
    if isinstance(module, nn.GroupNorm):
        n = module.num_groups
        text = (
            f"yours puts channels 0, {n}, {2 * n}, ... into one group, reshaped as (C/G, G); the "
            "reference puts neighbouring channels into one, (G, C/G)"
        )
        yield _suspect(reference, "groups interleaved", text, -module.num_groups, PLAIN, True, 1.1)


def _default(module: nn.Module, ndim: int) -> tuple[Axes | int, str]:
    """What a norm of torch goes over: axes, or a number of groups of channels."""
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        axes = tuple(range(ndim - len(module.normalized_shape), ndim))
        return axes, _named(axes)
    if isinstance(module, nn.GroupNorm):
        return module.num_groups, f"{module.num_groups} groups of channels, sample by sample"
    axes = tuple(range(2, ndim)) if isinstance(module, INSTANCE) else (0, *range(2, ndim))
    return axes, _named(axes)


def _named(axes: Axes) -> str:
    if len(axes) == 1:
        return f"axis {axes[0]}"
    return f"axes {', '.join(map(str, axes[:-1]))} and {axes[-1]}"


def _suspect(
    reference: Reference,
    name: str,
    text: str,
    over: Axes | int,
    spread: _Spread,
    centred: bool,
    cost: float,
) -> Suspect:
    def forward(module: nn.Module, inputs: list[torch.Tensor]) -> torch.Tensor:
        x = inputs[0]
        eps = getattr(module, "eps", None)
        eps = float(torch.finfo(x.dtype).eps if eps is None else eps)
        y = (
            _grouped(x, over, eps, spread, centred)
            if isinstance(over, int)
            else (_standard(x, over, eps, spread, centred))
        )
        trailing = isinstance(module, nn.LayerNorm | nn.RMSNorm)
        for key in ("weight", "bias"):
            p = getattr(module, key, None)
            if p is not None:
                p = p if trailing else p.reshape(-1, *[1] * (x.ndim - 2))
                y = y * p if key == "weight" else y + p
        return y

    return changed(reference, name, text, Change(forward=forward), cost)


def _standard(
    x: torch.Tensor, axes: Axes, eps: float, spread: _Spread, centred: bool
) -> torch.Tensor:
    d = x - x.mean(axes, keepdim=True) if centred else x
    return d / spread.of(d, axes, eps)


def _grouped(
    x: torch.Tensor, groups: int, eps: float, spread: _Spread, centred: bool
) -> torch.Tensor:
    """Over groups of channels: neighbours, or for a negative number every nth."""
    n, c, *rest = x.shape
    count = abs(groups)
    split = (n, count, c // count, *rest) if groups > 0 else (n, c // count, count, *rest)
    axes = tuple(a for a in range(1, len(split)) if a != (1 if groups > 0 else 2))
    return _standard(x.reshape(split), axes, eps, spread, centred).reshape(x.shape)
