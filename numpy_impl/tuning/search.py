"""The two searches that need no model: every combination, and draws at random."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from numpy_impl.random import Generator
from numpy_impl.tuning.space import SearchSpace
from numpy_impl.tuning.study import Direction, Study, Trial
from numpy_impl.tuning.trials import Objective, Run, workers

__all__ = ["grid_search", "random_search"]

SEEDS = 2**28


def grid_search(
    objective: Objective,
    space: Mapping[str, Any],
    points: int = 5,
    *,
    seed: int = 0,
    direction: Direction = "minimize",
    path: str | os.PathLike[str] | None = None,
    num_workers: int = 0,
    progress: bool | None = None,
) -> Study:
    """Try every combination of values: a Choice's, an Integer's, and `points` of what is real.

    All trials have one seed, so that what differs between two of them is their config alone.

    Args:
        objective: `objective(config) -> score`, where config is a dict; see `run_trial`.
        space: names and parameters.
        points: how many values of a real parameter, evenly spread from its low to its high; also
            the most of an Integer.
        seed: what the generator is seeded with before each trial.
        direction: whether "minimize" or "maximize" the score.
        path: the file that keeps the study; if it is there, the search goes on where it stopped.
        num_workers: processes that run trials; 0 runs them in this one. See `workers`.
        progress: whether to show a bar with the best so far; None where stderr is a terminal.

    Raises:
        ValueError: settings that make no search, or the path of another study.
        TypeError: an objective that worker processes cannot be sent.
    """
    space = SearchSpace(space)
    configs = space.grid(points)
    study = Study("grid_search", space, direction, seed, {"points": points}, path)
    planned = [Trial(number, config, seed) for number, config in enumerate(configs)]
    with workers(objective, num_workers) as run, bar(study, len(planned), progress) as shown:
        finish(study, planned, run, shown)
    return study


def random_search(
    objective: Objective,
    space: Mapping[str, Any],
    trials: int = 20,
    *,
    seed: int = 0,
    direction: Direction = "minimize",
    path: str | os.PathLike[str] | None = None,
    num_workers: int = 0,
    progress: bool | None = None,
) -> Study:
    """Try configs drawn at random, which finds more than a grid where few parameters matter.

    Bergstra & Bengio 2012, "Random search for hyper-parameter optimization". More trials under the
    same seed begin with the same ones, so a study may be prolonged.

    Args:
        objective, space, direction, path, num_workers, progress: see `grid_search`.
        trials: how many.
        seed: of the draws; each trial gets a seed of its own from it.

    Raises:
        ValueError, TypeError: see `grid_search`.
    """
    check_count("trials", trials)
    space = SearchSpace(space)
    study = Study("random_search", space, direction, seed, path=path)
    planned = draw(space, trials, Generator().manual_seed(seed))
    with workers(objective, num_workers) as run, bar(study, trials, progress) as shown:
        finish(study, planned, run, shown)
    return study


def draw(space: SearchSpace, trials: int, generator: Generator, first: int = 0) -> list[Trial]:
    """Trials with a seed and a config at random, in this order of draws."""
    planned = []
    for number in range(first, first + trials):
        seed = int(generator.randint(0, SEEDS))
        planned.append(Trial(number, space.sample(generator), seed))
    return planned


def finish(study: Study, planned: Sequence[Trial], run: Run, shown: tqdm[Any]) -> list[Trial]:
    """Run those of the trials that the study does not have; returns all of them, run."""
    for trial in run([t for t in planned if not study.planned(t).finished]):
        study.add(trial)
        shown.update()
        _tell(study, shown)
    return [study.planned(t) for t in planned]


def bar(study: Study, total: int, progress: bool | None) -> tqdm[Any]:
    """The progress of a study: trials run, of so many, and the best score."""
    disable = None if progress is None else not progress
    shown = tqdm(total=total, initial=len(study.trials), unit="trial", disable=disable)
    _tell(study, shown)
    return shown


def check_count(name: str, value: Any, least: int = 1) -> None:
    """ValueError if it is no whole number, or too small."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")


def _tell(study: Study, shown: tqdm[Any]) -> None:
    scored: Iterable[Trial] = (t for t in study.trials if t.score is not None)
    if any(scored):
        shown.set_postfix(best=study.best.score)
