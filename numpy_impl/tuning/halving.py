"""Many configs with little training each, and more of it for those that do well."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy_impl.random import Generator
from numpy_impl.tuning.search import bar, check_count, draw, finish
from numpy_impl.tuning.space import SearchSpace
from numpy_impl.tuning.study import Direction, Study, Trial
from numpy_impl.tuning.trials import Objective, Run, workers

__all__ = ["hyperband", "successive_halving"]

Rungs = list[tuple[int, int]]


def successive_halving(
    objective: Objective,
    space: Mapping[str, Any],
    num_configs: int = 27,
    min_budget: int = 1,
    max_budget: int = 27,
    *,
    eta: int = 3,
    seed: int = 0,
    direction: Direction = "minimize",
    path: str | os.PathLike[str] | None = None,
    num_workers: int = 0,
    progress: bool | None = None,
) -> Study:
    """Give every config a small budget, the best 1/eta of them eta times as much, and so on.

    Jamieson & Talwalkar 2016, arXiv:1502.07943. In rung i, while the budget is at most max_budget,

        configs = num_configs // eta^i (at least 1),  budget = min_budget * eta^i

    A config has one seed in all its rungs: more budget goes on where less of it stopped. A trial
    that failed is out; of equal scores the first is kept.

    Args:
        objective: `objective(config, budget) -> score`, the budget a whole number: epochs, say.
        space, direction, path, num_workers, progress: see `grid_search`.
        num_configs: how many configs at the start, drawn as `random_search` draws them.
        min_budget, max_budget: of the first rung, and the most for one.
        eta: one in so many is promoted.
        seed: of the draws.

    Raises:
        ValueError, TypeError: see `grid_search`.
    """
    for name, value in (("num_configs", num_configs), ("min_budget", min_budget)):
        check_count(name, value)
    check_count("max_budget", max_budget, min_budget)
    check_count("eta", eta, 2)
    space = SearchSpace(space)
    settings = {"num_configs": num_configs, "min_budget": min_budget, "max_budget": max_budget}
    study = Study("successive_halving", space, direction, seed, settings | {"eta": eta}, path)
    rungs: Rungs = []
    while (budget := min_budget * eta ** len(rungs)) <= max_budget:
        rungs.append((max(num_configs // eta ** len(rungs), 1), budget))
    started = draw(space, num_configs, Generator().manual_seed(seed))
    total = sum(configs for configs, _ in rungs)
    with workers(objective, num_workers) as run, bar(study, total, progress) as shown:
        _climb(study, started, rungs, run, shown)
    return study


def hyperband(
    objective: Objective,
    space: Mapping[str, Any],
    max_budget: int = 27,
    *,
    eta: int = 3,
    seed: int = 0,
    direction: Direction = "minimize",
    path: str | os.PathLike[str] | None = None,
    num_workers: int = 0,
    progress: bool | None = None,
) -> Study:
    """Successive halving several times over, from many configs and little budget to few and much.

    Li et al. 2018, arXiv:1603.06560, algorithm 1. How early a bad config shows is not known, so
    bracket s = s_max, ..., 0 starts with budgets max_budget / eta^s, and all cost about the same:

        s_max   = the largest s with eta^s <= max_budget
        configs = ceil((s_max + 1) / (s + 1) * eta^s)
        rung i of bracket s: configs // eta^i, each with budget max_budget // eta^(s - i)

    s_max is counted in whole numbers: int(log(243) / log(3)) is 4.

    Args:
        objective: `objective(config, budget) -> score`, the budget a whole number up to max_budget.
        space, direction, path, num_workers, progress: see `grid_search`.
        eta, seed: see `successive_halving`.

    Raises:
        ValueError, TypeError: see `grid_search`.
    """
    check_count("max_budget", max_budget)
    check_count("eta", eta, 2)
    space = SearchSpace(space)
    settings = {"max_budget": max_budget, "eta": eta}
    study = Study("hyperband", space, direction, seed, settings, path)
    s_max = 0
    while eta ** (s_max + 1) <= max_budget:
        s_max += 1
    brackets: list[Rungs] = []
    for s in range(s_max, -1, -1):
        configs = -(-(s_max + 1) * eta**s // (s + 1))  # rounded up
        rungs = [(configs // eta**i, max_budget // eta ** (s - i)) for i in range(s + 1)]
        brackets.append(rungs)
    generator = Generator().manual_seed(seed)
    total = sum(configs for rungs in brackets for configs, _ in rungs)
    with workers(objective, num_workers) as run, bar(study, total, progress) as shown:
        first = 0
        for rungs in brackets:
            started = draw(space, rungs[0][0], generator, first)
            first = _climb(study, started, rungs, run, shown)
    return study


def _climb(study: Study, started: list[Trial], rungs: Rungs, run: Run, shown: Any) -> int:
    """Run the rungs one after the other; returns the number that the next trial may have."""
    number, kept = started[0].number, started
    for configs, budget in rungs:
        kept = sorted((t for t in kept if t.error is None), key=study.loss)[:configs]
        kept.sort(key=lambda t: t.number)
        planned = [Trial(number + i, t.config, t.seed, budget) for i, t in enumerate(kept)]
        number += len(planned)
        kept = finish(study, planned, run, shown)
    return number
