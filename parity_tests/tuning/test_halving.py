"""Successive halving and Hyperband: who is promoted, with how much budget, on both sides."""

from collections import Counter
from functools import partial
from typing import Any
from unittest import mock

import pytest

from numpy_impl.tuning import halving as ours
from parity_tests.harness import Mistake
from parity_tests.harness.refusal import refused
from parity_tests.tuning.objectives import learning_curve
from parity_tests.tuning.test_search import SIDES, SearchParity, space, told
from torch_impl.tuning import halving as theirs


def changed_climb(change):
    """The searches with another way of going from rung to rung."""

    def instead(search):
        def run(*args, **options):
            with mock.patch.object(ours, "_climb", partial(change, ours._climb)):
                return search(*args, **options)

        return run

    return instead


@changed_climb
def keeps_the_worst(climb, study, started, rungs, run, shown):
    loss, study.loss = study.loss, lambda t: -loss(t) if t.score is not None else loss(t)
    try:
        return climb(study, started, rungs, run, shown)
    finally:
        del study.loss


@changed_climb
def same_budget(climb, study, started, rungs, run, shown):
    return climb(study, started, [(n, rungs[-1][1]) for n, _ in rungs], run, shown)


@changed_climb
def nobody_dropped(climb, study, started, rungs, run, shown):
    return climb(study, started, [(rungs[0][0], budget) for _, budget in rungs], run, shown)


def common():
    return {
        "keeps the worst": (
            keeps_the_worst,
            "Whoever sorts losses with the order meant for accuracies.",
            "The budget goes to what is known to be bad.",
        ),
        "everyone is trained to the end": (
            same_budget,
            "Whoever passes max_budget on to every rung.",
            "Nothing is saved: it is random search, with some trials run twice.",
        ),
        "nobody is dropped": (
            nobody_dropped,
            "Whoever raises the budget and forgets to shorten the list.",
            "It costs more than training every config to the end at once.",
        ),
    }


class HalvingParity(SearchParity):
    """With an objective that takes a budget."""

    def run(self, **options):
        pairs = zip((type(self).numpy, type(self).torch), SIDES)
        return [search(learning_curve, space(side), **options, progress=False)
                for search, side in pairs]  # fmt: skip

    def check_the_best_is_the_best(self, log, rng):
        mine, _ = self.run(seed=1)
        most = max(t.budget or 0 for t in mine.trials)
        scores = [t.score for t in mine.trials if t.budget == most and t.score is not None]
        log.require(mine.best.score == min(scores), f"{mine.best}")


class TestSuccessiveHalving(HalvingParity):
    numpy, torch = ours.successive_halving, theirs.successive_halving
    refused_options = (
        ({"num_configs": 0}, "num_configs must be a whole number, at least 1, got 0"),
        ({"min_budget": 0}, "min_budget must be a whole number, at least 1, got 0"),
        ({"min_budget": 5, "max_budget": 4}, "max_budget must be a whole number, at least 5, got"),
        ({"eta": 1}, "eta must be a whole number, at least 2, got 1"),
    )
    mistakes = {k: Mistake(m(ours.successive_halving), w, e) for k, (m, w, e) in common().items()}

    def options(self, rng):
        return [{"seed": 1}, {"num_configs": 10, "min_budget": 2, "max_budget": 17, "eta": 2}]

    def check_a_config_keeps_its_seed_and_rises_among_the_best(self, log, rng):
        mine, _ = self.run(seed=3)
        rungs: dict[int, list] = {}
        for t in mine.trials:
            rungs.setdefault(t.budget or 0, []).append(t)
        budgets = sorted(rungs)
        for low, high in zip(budgets, budgets[1:]):
            below = {(repr(t.config), t.seed): t for t in rungs[low]}
            risen = [below.pop((repr(t.config), t.seed), None) for t in rungs[high]]
            log.require(None not in risen, f"budget {high}: a config that budget {low} did not see")
            worst = max(mine.loss(t) for t in risen if t)
            better = [t for t in below.values() if mine.loss(t) < worst]
            log.require(not better, f"budget {high}: {better} were better and left behind")

    def check_the_rungs_are_the_papers(self, log, rng):
        mine, _ = self.run(num_configs=81, min_budget=1, max_budget=27, seed=0)
        rungs = Counter(t.budget for t in mine.trials)
        failed = Counter(t.budget for t in mine.trials if t.error)
        log.require(dict(rungs) == {1: 81, 3: 27, 9: 9, 27: 3}, f"{rungs}, failed {failed}")

    def check_what_failed_is_out(self, log, rng):
        def fragile(config, budget):
            return float("nan") if config["kind"] == "a" else 1.0

        searches: tuple[Any, Any] = type(self).numpy, theirs.successive_halving
        for search, side in zip(searches, SIDES):
            study = search(fragile, space(side), 9, 1, 9, seed=2, progress=False)
            risen = [t for t in study.trials if t.budget != 1]
            log.require(bool(risen) and all(t.score == 1.0 for t in risen), f"{told(study)}")


def floating_brackets(objective, space, max_budget=27, *, eta=3, **options):
    """int(log(max_budget) / log(eta)): 4 for 243."""
    import math

    wrong = eta ** int(math.log(max_budget) / math.log(eta))
    return ours.hyperband(objective, space, wrong, eta=eta, **options)


class TestHyperband(HalvingParity):
    numpy, torch = ours.hyperband, theirs.hyperband
    refused_options = (
        ({"max_budget": 0}, "max_budget must be a whole number, at least 1, got 0"),
        ({"max_budget": 9.0}, "got 9.0"),
        ({"eta": True}, "got True"),
    )
    mistakes = {k: Mistake(m(ours.hyperband), w, e) for k, (m, w, e) in common().items()} | {
        "brackets by a floating logarithm": Mistake(
            floating_brackets,
            "Most versions, with int(log(R) / log(eta)) as the paper's formula suggests.",
            "Where R is a power of eta the most aggressive bracket may be missing.",
        )
    }

    def options(self, rng):
        return [{"max_budget": 9, "seed": 4}, {"max_budget": 10, "eta": 2}, {"max_budget": 1}]

    def check_the_brackets_are_the_papers(self, log, rng):
        """Table 1 of Li et al. 2018, for R = 81 and eta = 3."""
        if type(self).numpy is ours.hyperband:
            mine, _ = self.run(max_budget=81, seed=0)
            sizes = Counter(t.budget for t in mine.trials)
            paper = {1: 81, 3: 27 + 34, 9: 9 + 11 + 15, 27: 3 + 3 + 5 + 8, 81: 1 + 1 + 1 + 2 + 5}
            log.require(dict(sizes) == paper, f"{sizes}")
        budgets = {t.budget for t in self.run(max_budget=243)[0].trials}
        log.require(budgets == {1, 3, 9, 27, 81, 243}, f"budgets {budgets}")


def rate(config, budget):
    return config["lr"]


@pytest.mark.parametrize("name", ["successive_halving", "hyperband"])
def test_a_climb_is_counted_kept_and_gone_on_with(name, tmp_path, capsys):
    """Ctrl-C in the second rung; the other side goes on to what would have come of it."""
    for first, second in (SIDES, SIDES[::-1]):
        begin, go_on = (partial(getattr(side, name), space=space(side), max_budget=9, seed=3)
                        for side in (first, second))  # fmt: skip
        whole = begin(rate, progress=True)
        count = len(whole.trials)
        assert f" {count}/{count} [" in capsys.readouterr().err
        calls: list[int] = []

        def pressed(config, budget, calls=calls):
            calls.append(budget)
            if len(set(calls)) == 2:
                raise KeyboardInterrupt
            return rate(config, budget)

        path = tmp_path / first.__name__
        with pytest.raises(KeyboardInterrupt):
            begin(pressed, path=path)
        assert len(first.Study.load(path).trials) == len(calls) - 1
        assert told(go_on(rate, path=path)) == told(whole)
        said = refused(partial(begin, rate, path=tmp_path / "new", num_workers=-1))
        assert "num_workers must be a whole number" in str(said)
