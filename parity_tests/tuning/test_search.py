"""Grid and random search: the same trials in the same order on both sides, and what they keep."""

import re
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch

import numpy_impl
import numpy_impl.tuning
import torch_impl.tuning
from numpy_impl.tuning import search as ours
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.refusal import refused
from parity_tests.tuning.objectives import bowl
from torch_impl.tuning import search as theirs

SIDES: tuple[Any, Any] = numpy_impl.tuning, torch_impl.tuning


def space(side):
    return {
        "lr": side.LogUniform(1e-4, 1.0),
        "width": side.Integer(18, 120, log=True),
        "kind": side.Choice(["a", "b"]),
        "depth": side.Conditional(side.Integer(1, 3), "kind", ["b"]),
    }


def told(study):
    return [(t.number, t.config, t.seed, t.budget, t.score, t.error) for t in study.trials]


def about(study):
    """What a study says of itself."""
    return study.search, study.direction, study.seed, study.settings, study.path


class SearchParity(RuleCase):
    """The same study from both sides; settings that are refused."""

    def run(self, **options):
        """The search on each side, with the bowl."""
        pairs = zip((type(self).numpy, type(self).torch), SIDES)
        return [search(bowl, space(side), **options, progress=False) for search, side in pairs]

    def check_both_sides_run_the_same_trials(self, log, rng):
        for options in self.options(rng):
            mine, other = self.run(**options)
            log.require(told(mine) == told(other), f"{options}: {told(mine)}, {told(other)}")
            log.require(mine.best.number == other.best.number, f"{options}: another winner")
            log.require(mine.table() == other.table(), f"{options}: another table")
            log.require(about(mine) == about(other), f"{about(mine)}, torch side {about(other)}")

    def options(self, rng):
        raise NotImplementedError

    def check_the_best_is_the_best(self, log, rng):
        for direction, pick in (("minimize", min), ("maximize", max)):
            mine, _ = self.run(direction=direction, seed=int(rng.integers(99)))
            scores = [t.score for t in mine.trials if t.score is not None]
            log.require(mine.best.score == pick(scores), f"{direction}: {mine.best}")

    def check_bad_settings_are_refused(self, log, rng):
        for options, words in self.refused_options:
            pairs = zip((type(self).numpy, type(self).torch), SIDES)
            said = [refused(partial(s, bowl, space(side), **options)) for s, side in pairs]
            log.require(said[0] == said[1] and words in str(said[0]), f"{options}: {said}")

    refused_options: tuple[tuple[dict, str], ...] = ()


def first_corner_only(objective, space, points=5, **options):
    """Each parameter varied alone, the others at their first value."""
    study = ours.grid_search(objective, space, points, **options)
    first = study.trials[0].config
    changed = [t for t in study.trials if sum(t.config[k] != first.get(k) for k in t.config) > 1]
    for t in changed:
        del study._trials[t.number]
    return study


def last_of_equals(objective, space, points=5, **options):
    """<= where the guide has <."""
    study = ours.grid_search(objective, space, points, **options)

    class Last(type(study)):  # type: ignore[misc]
        @property
        def best(self):
            scored = [t for t in self.trials[::-1] if t.score is not None]
            return min(scored, key=self.loss)

    study.__class__ = Last
    return study


class TestGridSearch(SearchParity):
    numpy, torch = ours.grid_search, theirs.grid_search
    refused_options = (
        ({"points": 1}, "at least 2, got 1"),
        ({"direction": "up"}, '"minimize" or "maximize", got \'up\''),
        ({"num_workers": -2}, "at least 0, got -2"),
    )
    mistakes = {
        "one parameter at a time": Mistake(
            first_corner_only,
            "Whoever tunes by hand changes one setting and keeps the best.",
            "What two parameters do together is never seen.",
        ),
        "the last of equals": Mistake(
            last_of_equals,
            "Whoever compares with <=.",
            "The winner depends on what came later, and changes when trials are added.",
        ),
    }

    def options(self, rng):
        return [{"points": 3}, {"points": 2, "seed": 5, "direction": "maximize"}]

    def check_the_guides_grid(self, log, rng):
        """Three rates, three widths, three batch sizes: 27 trials, the last running fastest."""
        searches: tuple[Any, Any] = type(self).numpy, theirs.grid_search
        for search, side in zip(searches, SIDES):
            guide = {
                "lr": side.Choice([0.001, 0.01, 0.1]),
                "width": side.Choice([32, 64, 128]),
                "batch_size": side.Choice([16, 32, 64]),
            }
            study = search(bowl, guide, progress=False)
            log.require(len(study.trials) == 27, f"{len(study.trials)} trials")
            second = {"lr": 0.001, "width": 32, "batch_size": 32}
            log.require(study.trials[1].config == second, f"{study.trials[1].config}")
            best = {"lr": 0.01, "width": 64, "batch_size": 16}  # the first of three equal ones
            log.require(study.best.config == best, f"best {study.best.config}")


def one_seed(objective, space, trials=20, *, seed=0, **options):
    """Every trial the same config."""
    study = ours.random_search(objective, space, trials, seed=seed, **options)
    for t in study.trials:
        study._trials[t.number] = ours.Trial(t.number, study.trials[0].config, seed, score=t.score)
    return study


def from_numpy(objective, space, trials=20, *, seed=0, **options):
    """Drawn with NumPy's own generator."""
    rng = np.random.default_rng(seed)

    class Drawn(numpy_impl.Generator):
        def rand(self, shape=(), dtype=np.float32):
            return rng.random(shape)

    with mock.patch.object(ours, "Generator", Drawn):
        return ours.random_search(objective, space, trials, seed=seed, **options)


class TestRandomSearch(SearchParity):
    numpy, torch = ours.random_search, theirs.random_search
    refused_options = (
        ({"trials": 0}, "trials must be a whole number, at least 1, got 0"),
        ({"trials": 2.5}, "got 2.5"),
        ({"direction": None}, "got None"),
    )
    mistakes = {
        "every trial the same": Mistake(
            one_seed,
            "Whoever seeds the generator inside the loop.",
            "Twenty trials of one config, and their spread is taken for the parameters' effect.",
        ),
        "drawn with NumPy's generator": Mistake(
            from_numpy,
            "The guide, and whoever has no generator of the framework's.",
            "One seed means other trials than in torch.",
        ),
    }

    def options(self, rng):
        return [{"trials": 25, "seed": int(rng.integers(2**40))}, {"trials": 3, "seed": 0}]

    def check_more_trials_begin_with_the_same(self, log, rng):
        for few, many in zip(self.run(trials=4, seed=2), self.run(trials=9, seed=2)):
            log.require(told(few) == told(many)[:4], "the first trials changed")


def test_the_bar_tells_the_best_so_far(capsys):
    for side in SIDES:
        side.random_search(bowl, space(side), 3, progress=True)
        shown = capsys.readouterr().err
        assert "3/3" in shown and re.search(r"best=\d", shown)
        side.random_search(bowl, space(side), 3, progress=False)
        assert capsys.readouterr().err == ""


def test_the_bar_counts_trials_from_those_there_are(monkeypatch):
    for side in (ours, theirs):
        made: list[dict] = []
        monkeypatch.setattr(side, "tqdm", lambda made=made, **o: made.append(o) or mock.MagicMock())
        study = mock.Mock(trials=[mock.Mock(score=None)] * 2)
        for progress, disable in ((None, None), (True, False), (False, True)):
            side.bar(study, 7, progress)
            wanted = {"total": 7, "initial": 2, "unit": "trial", "disable": disable}
            assert made.pop() == wanted


def test_a_grid_is_counted_and_may_be_shown_or_kept(tmp_path, capsys):
    for side in SIDES:
        path = tmp_path / side.__name__
        study = side.grid_search(bowl, space(side), 2, progress=True, path=path)
        assert f"/{len(study.trials)} [" in capsys.readouterr().err
        assert told(side.Study.load(path)) == told(study)


def test_numbers_of_trials_go_on_from_the_first():
    numbers = [
        [t.number for t in search.draw(side.SearchSpace(space(side)), 2, generator, first=3)]
        for search, side, generator in (
            (ours, SIDES[0], numpy_impl.Generator()),
            (theirs, SIDES[1], torch.Generator()),
        )
    ]
    assert numbers == [[3, 4], [3, 4]]


def test_the_least_count_will_do_and_workers_want_what_they_can_find():
    for side in SIDES:
        assert len(side.random_search(bowl, space(side), 1).trials) == 1
        for search in (side.random_search, side.grid_search):
            said = refused(partial(search, lambda config: 0.0, space(side), num_workers=2))
            assert "function at the top of a module" in str(said)


def test_a_study_goes_on_where_it_stopped(tmp_path):
    """Ctrl-C in the third trial; then the other side goes on, and runs only what is missing."""
    for first, second in (SIDES, SIDES[::-1]):
        path = tmp_path / first.__name__
        calls: list[dict] = []

        def pressed(config, calls=calls):
            calls.append(config)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return bowl(config)

        try:
            first.random_search(pressed, space(first), 5, seed=1, path=path)
        except KeyboardInterrupt:
            assert len(first.Study.load(path).trials) == 2
        study = second.random_search(pressed, space(second), 5, seed=1, path=path)
        assert len(calls) == 3 + 3
        assert told(study) == told(first.random_search(bowl, space(first), 5, seed=1))
