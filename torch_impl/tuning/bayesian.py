"""Search that learns: a model of the scores says where the next trial is worth most.

The acquisition is followed uphill by autograd through the posterior, whose parameters are frozen:
the only leaf is the point. It is the logarithm that is followed, as the improvement itself and its
slope underflow away from the best (Ament et al. 2023, arXiv:2310.20708).
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torch_impl.tuning.acquisition import expected_improvement
from torch_impl.tuning.gaussian_process import GaussianProcess, Posterior
from torch_impl.tuning.lbfgs import minimize
from torch_impl.tuning.search import bar, check_count, draw, finish
from torch_impl.tuning.space import Config, SearchSpace
from torch_impl.tuning.study import Direction, Study, Trial
from torch_impl.tuning.trials import Objective, workers

__all__ = ["bayesian_search", "propose"]

FAR, NEAR, BEST = 256, 64, 3
TIE = 1e-6


def bayesian_search(
    objective: Objective,
    space: Mapping[str, Any],
    trials: int = 30,
    *,
    initial: int = 10,
    batch: int = 1,
    kernel: Literal["matern52", "rbf"] = "matern52",
    seed: int = 0,
    direction: Direction = "minimize",
    path: str | os.PathLike[str] | None = None,
    num_workers: int = 0,
    progress: bool | None = None,
) -> Study:
    """Try what a Gaussian process, fitted to the scores so far, expects to improve most.

    Snoek et al. 2012, arXiv:1206.2944; Jones et al. 1998. The first `initial` trials are those of
    `random_search` with this seed; then come batches, each proposed from all the trials before it
    (see `propose`) and run at once. Proposals depend on those scores and on the seed alone, so
    num_workers changes none of them, and a study that was interrupted goes on as if it had not
    been. More processes than `batch` have nothing to do.

    Args:
        objective, space, direction, path, num_workers, progress: see `grid_search`.
        trials: how many, the initial ones included.
        initial: how many at random.
        batch: how many are proposed together.
        kernel: "matern52" or "rbf", see `GaussianProcess`.
        seed: of all draws.

    Raises:
        ValueError, TypeError: see `grid_search`.
    """
    for name, value in (("trials", trials), ("initial", initial), ("batch", batch)):
        check_count(name, value)
    if kernel not in ("matern52", "rbf"):
        raise ValueError(f'kernel must be "matern52" or "rbf", got {kernel!r}')
    space = SearchSpace(space)
    settings = {"initial": initial, "batch": batch, "kernel": kernel}
    study = Study("bayesian_search", space, direction, seed, settings, path)
    drawn = draw(space, trials, torch.Generator().manual_seed(seed))
    with workers(objective, num_workers) as run, bar(study, trials, progress) as shown:
        done = finish(study, drawn[:initial], run, shown)
        while len(done) < trials:
            planned = drawn[len(done) : len(done) + batch]
            if not all(study.planned(t).finished for t in planned):
                generator = torch.Generator().manual_seed(planned[0].seed)
                losses = [study.loss(t) for t in done]
                tried = [t.config for t in done]
                configs = propose(space, tried, losses, batch, kernel=kernel, generator=generator)
                planned = [Trial(t.number, c, t.seed) for t, c in zip(planned, configs)]
            done += finish(study, planned, run, shown)
    return study


def propose(
    space: SearchSpace,
    configs: Sequence[Config],
    losses: Sequence[float],
    batch: int = 1,
    *,
    kernel: Literal["matern52", "rbf"] = "matern52",
    generator: torch.Generator | None = None,
) -> list[Config]:
    """The configs worth trying next, given the losses of some; an infinite loss is a failure.

    A failure counts as the worst of those that did not fail. Within a batch each proposal is
    believed to come out as predicted before the next is made (Ginsbourger et al. 2010). Choices and
    whole numbers are compared as the configs that they make, only real parameters move uphill
    (Garrido-Merchan & Hernandez-Lobato 2020, arXiv:1805.03463).

    Args:
        configs, losses: what was tried; less is better.
        batch: how many to propose.
        generator: of the draws; None takes a new one.
    """
    generator = torch.Generator() if generator is None else generator
    y = torch.tensor(losses, dtype=torch.float64)
    known = y[y.isfinite()]
    if not len(known):
        return [space.sample(generator) for _ in range(batch)]
    y = torch.where(y.isfinite(), y, known.max()) - known.min()
    spread = float(y.std(correction=0))
    y = (y - y.mean()) / (spread or 1.0)
    tried, proposed = list(configs), list[Config]()
    x = space.encode(tried)
    process = GaussianProcess(x.shape[1], kernel).double()
    process.fit(x, y)
    for _ in range(batch):
        posterior, best = process.posterior(space.encode(tried), y), float(y.min())
        candidates = _candidates(space, tried, y, generator)
        gains = _log_improvement(posterior, space.encode(candidates), best)
        starts = [candidates[i] for i in _largest(gains, BEST)]
        better = [_uphill(space, config, posterior, best) for config in starts]
        found = [c for c in [*better, *starts] if c not in tried] or starts
        gains = _log_improvement(posterior, space.encode(found), best)
        chosen = found[_largest(gains, 1)[0]]
        proposed.append(chosen)
        tried.append(chosen)
        with torch.no_grad():
            y = torch.cat([y, posterior(space.encode([chosen]))[0]])
    return proposed


def _candidates(
    space: SearchSpace, tried: Sequence[Config], y: Tensor, generator: torch.Generator
) -> list[Config]:
    """Configs from everywhere, and the best ones with some coordinates moved or drawn anew."""
    width = len(space)
    u = [torch.rand(FAR, width, generator=generator, dtype=torch.float64)]
    for i in y.argsort(stable=True)[:BEST].tolist():
        centre = space.quantiles(tried[i])
        drawn = torch.rand(3, NEAR, width, generator=generator, dtype=torch.float64)
        move, step, anew = drawn
        near = (centre + 0.2 * (step - 0.5)).clamp(0, 1 - 2.0**-53)
        u.append(torch.where(move < 0.5, near, torch.where(move < 0.6, anew, centre)))
    unique = {repr(config): config for config in map(space.decode, torch.cat(u))}
    for config in tried:
        unique.pop(repr(config), None)
    return list(unique.values()) or [space.decode(u[0][0])]


@torch.no_grad()
def _log_improvement(posterior: Posterior, x: Tensor, best: float) -> Tensor:
    """The logarithm of the expected improvement, -inf where it is less than numbers can be."""
    mean, variance = posterior(x)
    return expected_improvement(mean, variance, best).clamp_min(0).log()


def _uphill(space: SearchSpace, config: Config, posterior: Posterior, best: float) -> Config:
    """The config with its real parameters where the expected improvement is largest nearby.

    x = (1 - cos(angle)) / 2 keeps a point in the cube and its faces within reach.
    """
    columns = space.continuous(config)
    x, at = space.encode([config]), list(columns.values())
    if not at or not _log_improvement(posterior, x, best).isfinite():
        return config
    angle = nn.Parameter(torch.arccos(1 - 2 * x[0, at].clamp(1e-3, 1 - 1e-3)))

    def loss() -> Tensor:
        angle.grad = None
        moved = x.clone()
        moved[0, at] = 0.5 * (1 - angle.cos())
        mean, variance = posterior(moved)
        gain = expected_improvement(mean, variance, best).clamp_min(1e-300)
        value = -gain.log().sum()
        value.backward()
        return value

    minimize(loss, [angle], max_iter=50)
    found = 0.5 * (1 - angle.detach().cos())
    moved = {name: space.dimensions[name].icdf(u) for name, u in zip(columns, found.tolist())}
    return config | moved


def _largest(gains: Tensor, count: int) -> list[int]:
    """Where the largest are, the first of those that are equal but for rounding."""
    left, found = gains.clone(), list[int]()
    for _ in range(min(count, len(gains))):
        found.append(int((left >= left.max() - TIE).int().argmax()))
        left[found[-1]] = -torch.inf
    return list(dict.fromkeys(found))
