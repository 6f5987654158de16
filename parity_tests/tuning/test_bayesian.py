"""Bayesian search: the same proposals on both sides, batch by batch, and better than chance."""

import functools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import numpy_impl
from numpy_impl.tuning import bayesian as ours
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.refusal import refused
from parity_tests.tuning.objectives import bowl
from parity_tests.tuning.test_search import SIDES, SearchParity, space, told
from torch_impl.tuning import bayesian as theirs


def branin(config):
    """Least at (-pi, 12.275), (pi, 2.275) and (9.42478, 2.475): 0.397887."""
    x, y = config["x"], config["y"]
    bent = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return bent * bent + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def square(side):
    return {"x": side.Uniform(-5, 10), "y": side.Uniform(0, 15)}


@functools.cache
def proposed_by_torch(kernel, batch, seed):
    """What the torch side proposes for what `tried` gives."""
    configs, losses = tried(SIDES[1], seed)
    stream = torch.Generator().manual_seed(seed)
    mixed = SIDES[1].SearchSpace(space(SIDES[1]))
    return theirs.propose(mixed, configs, losses, batch, kernel=kernel, generator=stream)


def tried(side, seed):
    """Trials of a mixed space; the third failed."""
    study = side.random_search(bowl, space(side), 9, seed=seed, progress=False)
    losses = [t.score if t.score is not None else math.inf for t in study.trials]
    return [t.config for t in study.trials], [*losses[:2], math.inf, *losses[3:]]


def maximizing(space, configs, losses, *args, **options):
    """The sign of the scores swapped."""
    turned = [-x if math.isfinite(x) else x for x in losses]
    return ours.propose(space, configs, turned, *args, **options)


def failures_left_out(space, configs, losses, *args, **options):
    kept = [(c, x) for c, x in zip(configs, losses) if math.isfinite(x)]
    return ours.propose(space, [c for c, _ in kept], [x for _, x in kept], *args, **options)


def nobody_believes(space, configs, losses, batch=1, **options):
    """A batch of the same config, proposed over and over."""
    return ours.propose(space, configs, losses, 1, **options) * batch


def greedy(space, configs, losses, *args, **options):
    """The predicted mean alone."""
    kept = ours.expected_improvement
    ours.expected_improvement = lambda mean, variance, best: np.exp(-mean)
    try:
        return ours.propose(space, configs, losses, *args, **options)
    finally:
        ours.expected_improvement = kept


class TestPropose(RuleCase):
    numpy, torch = ours.propose, theirs.propose
    mistakes = {
        "losses the other way round": Mistake(
            maximizing,
            "Whoever hands accuracies to something that minimises.",
            "Every trial is placed where the score is worst.",
        ),
        "failures left out": Mistake(
            failures_left_out,
            "Whoever drops NaN before the fit.",
            "The corner that crashes looks unexplored, and is proposed again and again.",
        ),
        "a batch proposed at once": Mistake(
            nobody_believes,
            "Whoever asks for the best point as many times as there are machines.",
            "All of them run the same trial.",
        ),
        "the mean alone": Mistake(
            greedy,
            "Whoever takes the model's best guess for the next trial.",
            "The search settles in the first good place and never looks elsewhere.",
        ),
    }

    def checks(self, settings):
        """In a quick run the first."""
        checks = super().checks(settings)
        return list(checks)[:1] if settings.quick else checks

    def check_both_sides_propose_the_same(self, log, rng):
        settings: list[Any] = [("matern52", 3, 2), ("rbf", 1, 5)]
        for kernel, batch, seed in settings:
            configs, losses = tried(SIDES[0], seed)
            stream = numpy_impl.Generator().manual_seed(seed)
            mixed = SIDES[0].SearchSpace(space(SIDES[0]))
            mine = type(self).numpy(mixed, configs, losses, batch, kernel=kernel, generator=stream)
            other = proposed_by_torch(kernel, batch, seed)
            log.require(mine == other, f"{kernel}: {mine}, torch side {other}")
            for config in mine:
                mixed.check(config)
            new = [repr(c) for c in [*configs, *mine]]
            log.require(len(set(new)) == len(new), f"proposed twice, or tried already: {mine}")

    def check_where_all_failed_it_draws(self, log, rng):
        configs, _ = tried(SIDES[0], 1)
        mixed = SIDES[0].SearchSpace(space(SIDES[0]))
        other = SIDES[1].SearchSpace(space(SIDES[1]))
        pairs: list[Any] = [
            (ours.propose, mixed, numpy_impl.Generator()),
            (theirs.propose, other, torch.Generator()),
        ]
        losses = [math.inf] * len(configs)
        found = [
            propose(s, configs, losses, 2, generator=g.manual_seed(8)) for propose, s, g in pairs
        ]
        log.require(found[0] == found[1] and len(found[0]) == 2, f"{found}")


def from_the_same_seed(objective, space, trials=30, *, seed=0, **options):
    """Every batch's candidates drawn from the search's seed."""
    kept = ours.propose

    def propose(*args, generator=None, **rest):
        return kept(*args, generator=ours.Generator().manual_seed(seed), **rest)

    ours.propose = propose
    try:
        return ours.bayesian_search(objective, space, trials, seed=seed, **options)
    finally:
        ours.propose = kept


class TestBayesianSearch(SearchParity):
    numpy, torch = ours.bayesian_search, theirs.bayesian_search
    refused_options = (
        ({"trials": 0}, "trials must be"),
        ({"initial": 0}, "initial must be a whole number, at least 1, got 0"),
        ({"batch": 1.0}, "batch must be a whole number, at least 1, got 1.0"),
        ({"kernel": "cubic"}, "got 'cubic'"),
    )
    mistakes = {
        "the same candidates every time": Mistake(
            from_the_same_seed,
            "Whoever seeds once more for each proposal, to make it reproducible.",
            "What lies between the candidates is never tried.",
        )
    }

    def checks(self, settings):
        """In a quick run only what is refused."""
        checks = super().checks(settings)
        return [c for c in checks if "refused" in c.name] if settings.quick else checks

    def options(self, rng):
        return [{"trials": 9, "initial": 5, "batch": 3, "seed": 6}]

    def check_the_best_is_the_best(self, log, rng):
        mine = type(self).numpy(branin, square(SIDES[0]), 8, initial=6, direction="maximize")
        log.require(mine.best.score == max(t.score or 0 for t in mine.trials), f"{mine.best}")
        random = SIDES[0].random_search(branin, square(SIDES[0]), 6, direction="maximize")
        log.require(told(mine)[:6] == told(random), "it does not begin as random search does")


def test_a_batch_depends_on_what_came_before_it_alone(tmp_path):
    """Stopped in the middle of a batch and gone on with, on the other side."""
    run = partial(SIDES[0].bayesian_search, space=space(SIDES[0]), initial=5, batch=3, seed=6)
    whole = run(bowl, trials=9)
    calls = []

    def pressed(config):
        calls.append(config)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return bowl(config)

    with pytest.raises(KeyboardInterrupt):
        run(pressed, trials=9, path=tmp_path / "study")
    resumed = SIDES[1].bayesian_search(
        bowl, space(SIDES[1]), 9, initial=5, batch=3, seed=6, path=tmp_path / "study"
    )
    assert told(resumed) == told(whole)
    assert told(run(bowl, trials=7)) == told(whole)[:7]


def test_it_finds_more_than_chance():
    """Branin, 28 trials, three seeds: the median of the distance to the least value there is."""
    found: dict[str, list[float]] = {"bayesian": [], "random": []}
    for seed in range(3):
        for name, search in (
            ("bayesian", SIDES[0].bayesian_search),
            ("random", SIDES[0].random_search),
        ):
            best = search(branin, square(SIDES[0]), 28, seed=seed).best.score
            found[name].append(best - 0.397887)
    assert np.median(found["bayesian"]) < 0.1 * np.median(found["random"])


def test_a_space_that_is_used_up_is_gone_through_and_tried_again():
    small = {"kind": SIDES[0].Choice(["a", "b", "c"])}
    study = SIDES[0].bayesian_search(lambda c: "abc".index(c["kind"]), small, 6, initial=1)
    assert {t.config["kind"] for t in study.trials[:3]} == {"a", "b", "c"}
    assert refused(lambda: study.best.config["kind"] == "a") is None
