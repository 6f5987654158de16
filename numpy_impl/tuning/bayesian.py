"""Search that learns: a model of the scores says where the next trial is worth most."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from numpy_impl.module import Array, Parameter
from numpy_impl.random import Generator
from numpy_impl.tuning.acquisition import (
    expected_improvement,
    expected_improvement_backward,
)
from numpy_impl.tuning.gaussian_process import GaussianProcess, Posterior
from numpy_impl.tuning.lbfgs import minimize
from numpy_impl.tuning.search import bar, check_count, draw, finish
from numpy_impl.tuning.space import Config, SearchSpace
from numpy_impl.tuning.study import Direction, Study, Trial
from numpy_impl.tuning.trials import Objective, workers

__all__ = ["bayesian_search", "propose"]

FAR, NEAR, BEST = 256, 64, 3  # candidates from everywhere, around good ones, how many good ones
TIE = 1e-6  # log improvements this close are equal: rounding must not choose


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
    drawn = draw(space, trials, Generator().manual_seed(seed))  # seeds for all, configs for some
    with workers(objective, num_workers) as run, bar(study, trials, progress) as shown:
        done = finish(study, drawn[:initial], run, shown)
        while len(done) < trials:
            planned = drawn[len(done) : len(done) + batch]
            if not all(study.planned(t).finished for t in planned):
                generator = Generator().manual_seed(planned[0].seed)
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
    generator: Generator | None = None,
) -> list[Config]:
    """The configs worth trying next, given the losses of some; an infinite loss is a failure.

    Losses are standardised, a failure counts as the worst of those that did not fail, and a
    Gaussian process is fitted. The expected improvement is measured at configs drawn from
    everywhere and around the best ones; the real parameters of the best few go uphill from there:

        x = (1 - cos(angle)) / 2,   the angle free, so that x stays between 0 and 1
        dangle = dx * sin(angle) / 2

    For a whole batch, each proposal is believed to come out as predicted (the kriging believer of
    Ginsbourger et al. 2010) before the next is made. Choices and whole numbers are compared as the
    configs that they make (Garrido-Merchan & Hernandez-Lobato 2020, arXiv:1805.03463).

    Args:
        configs, losses: what was tried; less is better.
        batch: how many to propose.
        generator: of the draws; None takes a new one.
    """
    generator = Generator() if generator is None else generator
    y = np.array(losses, dtype=np.float64)
    known = y[np.isfinite(y)]
    if not len(known):
        return [space.sample(generator) for _ in range(batch)]
    y = np.where(np.isfinite(y), y, known.max()) - known.min()  # equal ones are 0, not almost
    y = (y - y.mean()) / (y.std() or 1.0)
    tried, proposed = list(configs), list[Config]()
    x = space.encode(tried)
    process = GaussianProcess(x.shape[1], kernel, np.float64)
    process.fit(x, y)
    for _ in range(batch):
        posterior = process.posterior(space.encode(tried), y)
        candidates = _candidates(space, tried, y, generator)
        gains = _log_improvement(posterior, space.encode(candidates), y.min())
        starts = [candidates[i] for i in _largest(gains, BEST)]
        better = [_uphill(space, config, posterior, y.min()) for config in starts]
        found = [c for c in [*better, *starts] if c not in tried] or starts
        gains = _log_improvement(posterior, space.encode(found), y.min())
        chosen = found[_largest(gains, 1)[0]]
        proposed.append(chosen)
        tried.append(chosen)
        y = np.append(y, posterior(space.encode([chosen]))[0])
        posterior.discard_saved()
    return proposed


def _candidates(
    space: SearchSpace, tried: Sequence[Config], y: Array, generator: Generator
) -> list[Config]:
    """Configs from everywhere, and the best ones with some coordinates moved or drawn anew."""
    width = len(space)
    u = [generator.rand((FAR, width), np.float64)]
    for i in np.argsort(y, kind="stable")[:BEST]:
        centre = space.quantiles(tried[i])
        move, step, anew = generator.rand((3, NEAR, width), np.float64)
        near = np.clip(centre + 0.2 * (step - 0.5), 0, 1 - 2.0**-53)
        u.append(np.where(move < 0.5, near, np.where(move < 0.6, anew, centre)))
    unique = {repr(config): config for config in map(space.decode, np.concatenate(u))}
    for config in tried:
        unique.pop(repr(config), None)
    return list(unique.values()) or [space.decode(u[0][0])]  # all there is has been tried


def _log_improvement(posterior: Posterior, x: Array, best: float) -> Array:
    """The logarithm of the expected improvement, -inf where it is less than numbers can be."""
    mean, variance = posterior(x)
    posterior.discard_saved()
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(expected_improvement(mean, variance, best), 0))


def _uphill(space: SearchSpace, config: Config, posterior: Posterior, best: float) -> Config:
    """The config with its real parameters where the expected improvement is largest nearby."""
    columns = space.continuous(config)
    x = space.encode([config])
    at = list(columns.values())
    angle = Parameter(np.arccos(1 - 2 * np.clip(x[0, at], 1e-3, 1 - 1e-3)))

    def loss() -> float:
        moved = x.copy()
        moved[0, at] = 0.5 * (1 - np.cos(angle.data))
        mean, variance = posterior(moved)
        gain = expected_improvement(mean, variance, best)
        dgain = -1 / np.maximum(gain, 1e-300)
        slopes = expected_improvement_backward(dgain, mean, variance, best)
        dx = posterior.backward(np.stack(slopes))
        angle.grad = 0.5 * dx[0, at] * np.sin(angle.data)
        return -float(np.log(np.maximum(gain[0], 1e-300)))

    if not at or not np.isfinite(_log_improvement(posterior, x, best)[0]):
        return config
    minimize(loss, [angle], max_iter=50)
    found = 0.5 * (1 - np.cos(angle.data))
    moved = {name: space.dimensions[name].icdf(u) for name, u in zip(columns, found.tolist())}
    return config | moved


def _largest(gains: Array, count: int) -> list[int]:
    """Where the largest are, the first of those that are equal but for rounding."""
    left, found = gains.copy(), list[int]()
    for _ in range(min(count, len(gains))):
        found.append(int(np.argmax(left >= left.max() - TIE)))
        left[found[-1]] = -np.inf
    return list(dict.fromkeys(found))
