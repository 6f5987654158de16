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


def fails(config):
    raise RuntimeError("out of memory")


def test_what_is_not_said_is_as_documented():
    """Where nothing succeeds nothing is modelled, and thirty trials take no time."""
    for side in SIDES:
        study = side.bayesian_search(fails, space(side))
        told_all = {"trials": 30, "initial": 10, "batch": 1, "kernel": "matern52", "seed": 0}
        assert told(study) == told(side.bayesian_search(fails, space(side), **told_all))
        assert len(study.trials) == 30
        assert study.settings == {"initial": 10, "batch": 1, "kernel": "matern52"}
        assert (study.direction, study.seed) == ("minimize", 0)


def test_a_search_is_counted_and_kept_and_workers_want_what_they_can_find(tmp_path, capsys):
    for side in SIDES:
        run = partial(side.bayesian_search, space=space(side), trials=4, initial=2)
        study = run(fails, progress=True, path=tmp_path / side.__name__)
        assert " 4/4 [" in capsys.readouterr().err
        assert told(side.Study.load(tmp_path / side.__name__)) == told(study)
        said = refused(partial(run, lambda config: 0.0, num_workers=2))
        assert "function at the top of a module" in str(said)


def test_the_kernel_that_was_asked_for_proposes():
    found = [
        told(side.bayesian_search(branin, square(side), 5, initial=4, kernel=kernel))
        for side in SIDES
        for kernel in ("rbf", "matern52")
    ]
    assert found[0] == found[2] and found[1] == found[3] and found[0] != found[1]


# ---- what a proposal is made of -----------------------------------------------------------------

FRAMES: tuple[Any, Any] = (
    (SIDES[0], ours, np.array, numpy_impl.Generator),
    (SIDES[1], theirs, functools.partial(torch.tensor, dtype=torch.float64), torch.Generator),
)


@pytest.mark.parametrize("losses", [[0.1] * 13, [0.1] * 11 + [math.inf], [0.5]])
def test_equal_losses_say_nothing_on_both_sides_alike(losses):
    """Their mean is often not quite what each of them is."""
    found = []
    for side, module, _, stream in FRAMES:
        configs = [{"x": float(i), "y": 1.0} for i in range(len(losses))]
        made = side.SearchSpace({"x": side.Uniform(0, 20), "y": side.Uniform(0, 2)})
        found.append(module.propose(made, configs, losses, generator=stream().manual_seed(1)))
    assert found[0] == found[1] and len(found[0]) == 1


def test_a_proposal_is_one_config_from_a_new_stream_unless_told():
    found = []
    for side, module, _, stream in FRAMES:
        made, configs = side.SearchSpace(square(side)), [{"x": 1.0, "y": 2.0}, {"x": 2.0, "y": 3.0}]
        for losses in (np.array([0.1, 0.7], np.float32), [math.inf, math.inf]):
            short = module.propose(made, configs, losses)
            full = [float(x) for x in losses]
            options = {"kernel": "matern52", "generator": stream()}
            assert short == module.propose(made, configs, full, 1, **options)
            found.append(short)
    assert found[:2] == found[2:]


def crowded(side):
    """A choice whose first and last values lie close to the ends, and a number."""
    return {"one": side.Choice(list(range(40))), "x": side.Uniform(0, 1)}


ENDS = [{"one": n, "x": n / 39} for n in range(40)]


@pytest.mark.parametrize(
    ("make", "configs", "losses"),
    [
        (space, *tried(SIDES[0], 3)),
        (crowded, ENDS[:1], [0.0]),
        (crowded, ENDS[::-1], [float(n // 35) for n in range(40)]),
        (lambda side: {"kind": side.Choice("abc")}, [{"kind": k} for k in "abc"], [1.0, 0.0, 2.0]),
        (lambda side: {"a": side.Choice("a"), "b": side.Choice("xy")},
         [{"a": "a", "b": b} for b in "xy"], [1.0, 0.0]),
    ],
)  # fmt: skip
def test_candidates_are_new_configs_the_same_on_both_sides(make, configs, losses):
    """Around the first of equally good ones; where all are known, one of them."""
    found = []
    for side, module, array, stream in FRAMES:
        made = side.SearchSpace(make(side))
        generator = stream().manual_seed(4)
        found.append(module._candidates(made, configs, array(losses), generator))
        for config in found[-1]:
            made.check(config)
    assert found[0] == found[1]
    names = [repr(config) for config in found[0]]
    assert len(set(names)) == len(names)
    assert len(names) == 1 or not set(names) & set(map(repr, configs))


def test_where_improvement_is_largest_the_first_of_equals_comes_first():
    hopeless = -math.inf
    for gains, count, wanted in (
        ([0.0, 2.0, 1.0, 3.0], 2, [3, 1]),
        ([0.0, 1.0, 1.0 + 5e-7, 1.0 + 2e-5], 3, [3, 1, 2]),
        ([-1e-6, 0.0], 1, [0]),
        ([hopeless, 0.0, hopeless], 3, [1, 0]),
        ([hopeless, hopeless], 2, [0]),
        ([0.5], 3, [0]),
    ):
        for _, module, array, _ in FRAMES:
            before = array(gains)
            assert module._largest(before, count) == wanted, gains
            assert before.tolist() == gains


class Everywhere:
    """A posterior with one mean and variance for all points."""

    def __init__(self, array, mean, variance):
        self.moments = array([mean, variance])

    def __call__(self, x):
        return self.moments

    def discard_saved(self):
        pass


def test_the_logarithm_of_no_improvement_is_minus_infinity():
    for _, module, array, _ in FRAMES:
        posterior = Everywhere(array, [0.0, 50.0], [1.0, 1e-4])
        some, none = module._log_improvement(posterior, None, 0.0).tolist()
        assert some == pytest.approx(-0.5 * math.log(2 * math.pi), rel=1e-12)
        assert none == -math.inf


def hills(side):
    return side.SearchSpace({
        "x": side.Uniform(0, 1),
        "kind": side.Choice(["a", "b"]),
        "rate": side.LogUniform(1e-3, 1.0),
        "n": side.Integer(1, 9),
    })  # fmt: skip


def climbed(side, module, array):
    """The model of some losses: space, posterior, the best of the losses, how to encode."""
    made = hills(side)
    grid = [(0.2, "a", 0.01), (0.7, "b", 0.1), (0.5, "a", 0.5), (0.9, "b", 0.002), (0.4, "b", 0.03)]
    configs = [{"x": x, "kind": k, "rate": r, "n": n} for n, (x, k, r) in enumerate(grid, 1)]
    y = array([0.3, -1.2, 1.1, 0.9, -0.6])
    features = made.encode(configs)
    options = {"dtype": np.float64} if side is SIDES[0] else {}
    process = module.GaussianProcess(features.shape[1], **options)
    if side is SIDES[1]:
        process = process.double()
    return made, process.fit(features, y), float(y.min())


STARTS = [
    {"x": x, "kind": "b", "rate": rate, "n": n}
    for x, rate, n in ((0.0, 1.0, 2), (1.0, 1.0, 7), (0.0, 0.001, 7))
]


def test_real_parameters_go_uphill_to_the_same_place():
    """From the ends of their ranges as well; the others stay."""
    ends = []
    for side, module, array, _ in FRAMES:
        made, posterior, best = climbed(side, module, array)
        ends.append([module._uphill(made, start, posterior, best) for start in STARTS])
        for start, end in zip(STARTS, ends[-1]):
            made.check(end)
            assert (end["kind"], end["n"]) == (start["kind"], start["n"])
            assert end["x"] != start["x"] and end["rate"] != start["rate"]
            gains = module._log_improvement(posterior, made.encode([start, end]), best)
            assert gains[1] > gains[0]
    assert ends[0] == ends[1]


def test_what_cannot_go_uphill_stays():
    for side, module, array, _ in FRAMES:
        made, posterior, best = climbed(side, module, array)
        assert module._uphill(made, STARTS[0], posterior, -1e6) == STARTS[0]
        chosen = side.SearchSpace({"kind": side.Choice(["a", "b"])})
        flat = Everywhere(array, [0.0], [1.0])
        assert module._uphill(chosen, {"kind": "a"}, flat, best) == {"kind": "a"}


def test_uphill_is_where_the_log_improvement_grows(monkeypatch):
    """The slope that the search is given is that of the value it is given."""
    measured = []

    def minimize(closure, parameters, **options):
        (angle,) = parameters
        closure()
        slopes, at, h = angle.grad.copy(), angle.data.copy(), 1e-5
        for i in range(at.size):
            around = []
            for step in (h, -h):
                angle.data[...] = at
                angle.data[i] += step
                around.append(closure())
            measured.append((slopes[i], (around[0] - around[1]) / (2 * h)))

    made, posterior, best = climbed(*FRAMES[0][:3])
    monkeypatch.setattr(ours, "minimize", minimize)
    for start in STARTS:
        ours._uphill(made, start, posterior, best)
    assert len(measured) == 2 * len(STARTS)
    for slope, difference in measured:
        assert slope == pytest.approx(difference, rel=1e-6, abs=1e-8) and slope != 0
