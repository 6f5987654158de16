"""Many searches of the test functions, in processes.

They stand in a file of their own: what a package's __main__ defines, a spawned process cannot find.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from typing import Any

import numpy as np
from tqdm import tqdm

from examples.tuning.functions import LEAST, OBJECTIVES, space

INITIAL = 10  # trials at random before the first proposal
Array = np.ndarray[Any, np.dtype[Any]]
Task = tuple[str, str, str, int, int]  # side, search, function, trials, seed
Trials = list[tuple[Any, float]]  # config, score


def everywhere(tasks: Sequence[Task], workers: int) -> list[Trials]:
    """Every task's configs and scores, with a bar."""
    if not workers:
        return [search(task) for task in tqdm(tasks, unit="search", disable=None)]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        running = pool.map(search, tasks)
        return list(tqdm(running, total=len(tasks), unit="search", disable=None))


def search(task: Task) -> Trials:
    """One search of one function, on one side."""
    side, name, function, trials, seed = task
    tuning = import_module(f"{side}.tuning")
    extra = {"initial": INITIAL} if name == "bayesian_search" else {}
    run = getattr(tuning, name)
    study = run(
        OBJECTIVES[function], space(function, tuning), trials, seed=seed, progress=False, **extra
    )
    return [(t.config, t.score) for t in study.trials]


def distances(found: Sequence[Trials], function: str) -> Array:
    """How far the best score so far is from the least there is: (searches, trials)."""
    scores = np.array([[score for _, score in trials] for trials in found])
    return np.minimum.accumulate(scores, axis=1) - LEAST[function]
