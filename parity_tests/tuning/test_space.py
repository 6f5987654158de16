"""Search spaces: configs drawn, encoded and enumerated alike; conditions; Optuna's questions."""

from functools import partial
from typing import Any

import numpy as np
import torch

import numpy_impl
from numpy_impl.tuning import parameters as ours_p
from numpy_impl.tuning import space as ours
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.bridge import same_stream
from parity_tests.harness.refusal import refused
from torch_impl.tuning import parameters as theirs_p
from torch_impl.tuning import space as theirs


def parameters(p, space, wrap=None):
    """A learning rate, an optimizer with settings of its own, and settings of those."""
    conditional = wrap or space.Conditional
    return {
        "lr": p.LogUniform(1e-4, 1e-1),
        "optimizer": p.Choice(["sgd", "adam", "none"]),
        "momentum": conditional(p.Uniform(0, 0.99), "optimizer", ["sgd"]),
        "layers": conditional(p.Integer(1, 3), "optimizer", ["sgd", "adam"]),
        "width": conditional(p.Integer(16, 256, log=True), "layers", [2, 3]),
    }


class AlwaysThere(ours.SearchSpace):
    """Conditions looked at by nobody."""

    def active(self, name, config):
        return True


class FewerDraws(ours.SearchSpace):
    """A number drawn only for what exists."""

    def sample(self, generator):
        config: dict[str, Any] = {}
        for name, dimension in self.dimensions.items():
            if self.active(name, config):
                config[name] = dimension.icdf(float(generator.rand((), np.float64)))
        return config


class OrdinalChoice(ours.SearchSpace):
    """A Choice in one column, as its place."""

    def _features(self, config):
        return [d.cdf(config[n]) if n in config else 0.5 for n, d in self.dimensions.items()]


class GridOfEverything(ours.SearchSpace):
    """Combinations that differ only in what does not exist are kept apart."""

    def grid(self, points=5):
        configs = super().grid(points)
        return [c for c in configs for _ in range(2 if len(c) < len(self) else 1)]


class TestSearchSpace(RuleCase):
    numpy, torch = ours.SearchSpace, theirs.SearchSpace
    mistakes = {
        "conditions ignored": Mistake(
            AlwaysThere,
            "Whoever puts every parameter of every optimizer into one flat space.",
            "Trials differ in numbers that nothing reads, and a model learns from them.",
        ),
        "draws only for what exists": Mistake(
            FewerDraws,
            "Whoever draws parameter by parameter.",
            "What one trial draws depends on those before it: no trial can be made by number.",
        ),
        "a choice as a number": Mistake(
            OrdinalChoice,
            "Whoever encodes categories as 0, 1, 2 for a model that measures distances.",
            "The model believes that adam lies between sgd and none.",
        ),
        "the grid counts what does not exist": Mistake(
            GridOfEverything,
            "Whoever takes the product first and drops inactive values afterwards.",
            "The same config is run several times.",
        ),
    }

    def pair(self):
        return (
            type(self).numpy(parameters(ours_p, ours)),
            theirs.SearchSpace(parameters(theirs_p, theirs)),
        )

    def check_one_stream_draws_the_same_configs(self, log, rng):
        mine, other = self.pair()
        seed = int(rng.integers(2**31))
        streams = numpy_impl.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
        for _ in range(60):
            config, same = mine.sample(streams[0]), other.sample(streams[1])
            log.require(config == same, f"{config}, torch side {same}")
            log.require(list(config) == list(same), "in another order")
            log.require(same_stream(*streams), "the streams part")
            for space in (mine, other):
                space.check(config)

    def check_features_and_quantiles_are_the_same(self, log, rng):
        mine, other = self.pair()
        configs = [mine.sample(numpy_impl.Generator().manual_seed(i)) for i in range(20)]
        features = mine.encode(configs), other.encode(configs).numpy()
        log.require(features[0].shape == (20, 7), f"shape {features[0].shape}")
        log.require(np.allclose(*features, rtol=1e-13, atol=1e-15), "features differ")
        log.require(((features[0] >= 0) & (features[0] <= 1)).all(), "features outside [0, 1]")
        for config in configs:
            u = mine.quantiles(config), other.quantiles(config).numpy()
            log.require(np.allclose(*u, rtol=1e-13), f"{config}: quantiles {u}")
            log.require(mine.decode(u[0]) == config, f"{config} became {mine.decode(u[0])}")
            log.require(mine.continuous(config) == other.continuous(config), f"{config}")
        empty = mine.encode([{"lr": 0.1, "optimizer": "none"}])[0]
        log.require(np.allclose(empty, [1, 0, 0, 1, 0.5, 0.5, 0.5]), f"{empty}")
        for p, side, space in ((ours_p, ours, mine), (theirs_p, theirs, other)):
            kind = p.Choice(["a", "b"])
            made = type(space)({"kind": kind, "inner": side.Conditional(kind, "kind", ["b"])})
            absent = made.encode([{"kind": "a"}])[0].tolist()
            log.require(absent == [1, 0, 0, 0], f"a choice that is not there: {absent}")

    def check_the_grid_has_every_config_once(self, log, rng):
        mine, other = self.pair()
        grid = mine.grid(3)
        log.require(grid == other.grid(3), "another grid on the torch side")
        # 3 rates x (sgd: 3 momenta x (1 + 2 x 3 widths) + adam: 1 + 2 x 3 widths + none: 1)
        log.require(len(grid) == 3 * (3 * 7 + 7 + 1), f"{len(grid)} configs")
        log.require(len({repr(c) for c in grid}) == len(grid), "a config stands there twice")
        log.require(grid[0] == {"lr": 1e-4, "optimizer": "sgd", "momentum": 0.0, "layers": 1},
                    f"first {grid[0]}")  # fmt: skip
        said = [refused(partial(space.grid, 1)) for space in (mine, other)]
        log.require(said[0] == said[1] and "at least 2, got 1" in str(said[0]), f"{said}")
        few = mine.grid(2), other.grid(2)
        log.require(few[0] == few[1] and len(few[0]) < len(grid), f"{len(few[0])} with two points")

    def check_a_description_makes_the_space_again(self, log, rng):
        mine, other = self.pair()
        log.require(mine.describe() == other.describe(), "described otherwise")
        for space in (mine, other):
            again = type(space).from_description(space.describe())
            log.require(again.describe() == space.describe(), f"{again.describe()}")
            log.require(dict(again) == dict(space), "other parameters")
            bads: tuple[Any, ...] = ({"lr": {"type": "os.system"}}, {"lr": {}}, [], {"lr": 3})
            for bad in bads:
                said = refused(partial(type(space).from_description, bad))
                log.require("not the description" in str(said), f"{bad}: {said}")

    def check_what_is_no_space_or_config_is_refused(self, log, rng):
        for p, side, make in (
            (ours_p, ours, type(self).numpy),
            (theirs_p, theirs, theirs.SearchSpace),
        ):
            lr, inner = p.Uniform(0, 1), partial(side.Conditional, p.Uniform(0, 1))
            wrong: list[tuple[Any, str]] = [
                ({}, "at least one parameter"),
                ({"lr": 0.1}, "'lr': 0.1"),
                ({1: lr}, "1: Uniform"),
                ({"b": inner("a", [1])}, "'b' depends on 'a', which must be a Choice or Integer"),
                ({"b": inner("a", [1])}, "before it, got None"),
                ({"a": lr, "b": inner("a", [1])}, "got Uniform"),
                ({"a": p.Choice(["x"]), "b": inner("a", ["y"])}, "wanted one of ['x'], got 'y'"),
                ({"a": p.Choice(["x"]), "b": inner("a", [])}, "exists for no value of 'a'"),
            ]
            for given, words in wrong:
                said = refused(partial(make, given))
                log.require(words in str(said), f"{given}: {said}")
            space = make(parameters(p, side))
            configs: list[tuple[Any, str]] = [
                ({"lr": 0.01}, "wanted values for ['lr', 'optimizer'], got {'lr': 0.01}"),
                ({"lr": 0.01, "optimizer": "none", "layers": 1}, "wanted values for"),
                ({"lr": 1.0, "optimizer": "none"}, "lr: wanted a number from 0.0001 to 0.1"),
                ({"lr": 0.01, "optimizer": "lion"}, "optimizer: wanted one of"),
                ([], "a config is a dict"),
            ]
            for config, words in configs:
                said = refused(partial(space.check, config))
                log.require(words in str(said), f"{config}: {said}")
            for u in ([0.5] * 4, [0.5] * 6):
                at: Any = np.array(u) if side is ours else torch.tensor(u)
                said = refused(partial(space.decode, at))
                log.require("argument 2" in str(said), f"{len(u)} quantiles for 5: {said}")


class Asked:
    """What Optuna's trial is asked for, answered with the first or the lowest."""

    def __init__(self, *answers):
        self.asked, self.answers = [], dict(answers)

    def _answer(self, name, default, *rest):
        self.asked.append((name, *rest))
        return self.answers.get(name, default)

    def suggest_categorical(self, name, choices):
        return self._answer(name, choices[0], choices)

    def suggest_int(self, name, low, high, log):
        return self._answer(name, low, low, high, log)

    def suggest_float(self, name, low, high, log):
        return self._answer(name, low, low, high, log)


def test_optuna_is_asked_for_what_exists_and_nothing_else():
    space = theirs.SearchSpace(parameters(theirs_p, theirs))
    trial = Asked(("layers", 2))
    config = space.suggest(trial)
    space.check(config)
    assert trial.asked == [
        ("lr", 1e-4, 1e-1, True),
        ("optimizer", ["sgd", "adam", "none"]),
        ("momentum", 0, 0.99, False),
        ("layers", 1, 3, False),
        ("width", 16, 256, True),
    ]
    assert space.suggest(Asked(("optimizer", "none"))) == {"lr": 1e-4, "optimizer": "none"}


class AnyParent(ours.Conditional):
    """The values forgotten: it exists wherever the other one does."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "values", ("sgd", "adam"))


class TestConditional(RuleCase):
    numpy, torch = ours.Conditional, theirs.Conditional
    mistakes = {
        "exists for other values too": Mistake(
            AnyParent,
            "Whoever asks whether the other parameter is there, not what it is.",
            "adam is given a momentum that it does not take.",
        )
    }

    def check_it_exists_where_it_says(self, log, rng):
        p: dict[str, Any] = {
            "optimizer": ours_p.Choice(["sgd", "adam"]),
            "momentum": type(self).numpy(ours_p.Uniform(0, 1), "optimizer", ["sgd"]),
        }
        q: dict[str, Any] = {
            "optimizer": theirs_p.Choice(["sgd", "adam"]),
            "momentum": theirs.Conditional(theirs_p.Uniform(0, 1), "optimizer", ["sgd"]),
        }
        spaces = ours.SearchSpace(p), theirs.SearchSpace(q)
        for u in ([0.0, 0.5], [0.9, 0.5]):
            configs = spaces[0].decode(np.array(u)), spaces[1].decode(torch.tensor(u).double())
            log.require(configs[0] == configs[1], f"{configs}")
            there = "momentum" in configs[0]
            log.require(there == (configs[0]["optimizer"] == "sgd"), f"{configs[0]}")

    def check_what_it_wraps_is_a_parameter(self, log, rng):
        sides: tuple[Any, Any] = type(self).numpy, theirs.Conditional
        for side in sides:
            said = refused(partial(side, 3, "optimizer", ["sgd"]))
            log.require("wants a parameter, got 3" in str(said), f"{side}: {said}")
            log.require(side.__dataclass_params__.frozen, f"{side} can be changed")
