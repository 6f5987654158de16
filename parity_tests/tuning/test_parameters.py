"""Parameters: one quantile names one value on both sides, to the last bit."""

import dataclasses
import math
from functools import partial

import numpy as np

from numpy_impl.tuning import parameters as ours
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.refusal import refused
from torch_impl.tuning import parameters as theirs

EDGES = [0.0, 0.25, 0.5, 0.75, 1 - 2.0**-53]


class ParameterParity(RuleCase):
    """Quantiles to values and back, values over a grid, refusals."""

    examples: tuple[dict, ...] = ()
    wrong_values: tuple[object, ...] = ()
    refused_arguments: tuple[tuple[dict, str], ...] = ()

    def pairs(self):
        return [(type(self).numpy(**e), type(self).torch(**e)) for e in self.examples]

    def check_one_quantile_names_one_value(self, log, rng):
        for mine, other in self.pairs():
            for u in [*EDGES, *rng.random(200).tolist()]:
                value, same = mine.icdf(u), other.icdf(u)
                equal = type(value) is type(same) and value == same
                log.require(equal, f"{mine}: {value!r} at {u}, torch side {same!r}")
                back = mine.cdf(value), other.cdf(value)
                log.require(math.isclose(*back, rel_tol=1e-13), f"{mine}: {value!r} at {back}")

    def check_a_value_is_what_its_quantile_names(self, log, rng):
        for mine, other in self.pairs():
            for value in mine.grid(7):
                log.require(mine.icdf(mine.cdf(value)) == value, f"{mine}: {value!r} comes back")
            log.require(mine.grid(7) == other.grid(7), f"{mine}: {mine.grid(7)}, {other.grid(7)}")

    def check_what_it_cannot_take_is_refused(self, log, rng):
        for mine, other in self.pairs()[:1]:
            for value in self.wrong_values:
                said = [refused(partial(p.cdf, value)) for p in (mine, other)]
                log.require(said[0] == said[1] and said[0] is not None, f"{value!r}: {said}")
        for arguments, words in self.refused_arguments:
            said = [refused(partial(p, **arguments)) for p in (type(self).numpy, type(self).torch)]
            log.require(said[0] == said[1] and words in str(said[0]), f"{arguments}: {said}")

    def check_it_is_a_value_itself(self, log, rng):
        for mine, other in self.pairs():
            log.require(dataclasses.asdict(mine) == dataclasses.asdict(other), f"{mine}, {other}")
            log.require(repr(mine) == repr(other), f"{mine}, torch side {other}")
            for one in (mine, other):
                log.require(len({one, dataclasses.replace(one)}) == 1, f"{one} has no hash")


class Rounded(ours.Choice):
    """round(u * (n - 1)): the ends get half a share."""

    def icdf(self, u):
        return self.values[round(u * (len(self.values) - 1))]


class TestChoice(ParameterParity):
    numpy, torch = ours.Choice, theirs.Choice
    examples = ({"values": ["sgd", "adam", "adamw"]}, {"values": [1, 1.5, True, None]})
    wrong_values = ("rmsprop", None, 1)
    refused_arguments = (
        ({"values": []}, "one or more different values"),
        ({"values": ["a", "a"]}, "different values"),
        ({"values": [np.tanh]}, "strings, numbers, truth values and None"),
        ({"values": [math.nan]}, "finite numbers, got nan"),
    )
    mistakes = {
        "rounded to a place": Mistake(
            Rounded,
            "Whoever scales a random number by n - 1 and rounds.",
            "The first and the last value are drawn half as often as the others.",
        )
    }

    def check_each_value_has_an_equal_share(self, log, rng):
        values = type(self).numpy(["a", "b", "c"])
        counts = [sum(values.icdf((i + 0.5) / 300) == v for i in range(300)) for v in "abc"]
        log.require(counts == [100, 100, 100], f"shares {counts}")

    def check_true_is_not_one(self, log, rng):
        for side in (type(self).numpy, theirs.Choice):
            values = side([1, True, 1.0])
            log.require([values.index(v) for v in (1, True, 1.0)] == [0, 1, 2], f"{values}")


class Unrounded(ours.Uniform):
    def icdf(self, u):
        return self.low + u * (self.high - self.low)


class TestUniform(ParameterParity):
    numpy, torch = ours.Uniform, theirs.Uniform
    examples = ({"low": -5, "high": 10}, {"low": 0.0, "high": 1e-3}, {"low": 1e4, "high": 10001.0})
    wrong_values = (11.0, -6, "1", None, True)
    refused_arguments = (
        ({"low": 1, "high": 1}, "low < high, got 1 and 1"),
        ({"low": 0, "high": math.inf}, "finite numbers, got 0 and inf"),
        ({"low": "0", "high": 1}, "finite numbers"),
    )
    mistakes = {
        "left with all its digits": Mistake(
            Unrounded,
            "Nearly everybody.",
            "Two programs that draw the same numbers try configs that differ in the last bit.",
        )
    }

    def check_values_have_few_digits(self, log, rng):
        value = type(self).numpy(0.0, 1.0).icdf(float(rng.random()))
        log.require(len(repr(value)) <= 8, f"{value!r}")


class DrawnEvenly(ours.LogUniform):
    """The guide's: uniform between the ends."""

    def icdf(self, u):
        return ours.Uniform(self.low, self.high).icdf(u)

    def cdf(self, value):
        return ours.Uniform(self.low, self.high).cdf(value)


class TestLogUniform(ParameterParity):
    numpy, torch = ours.LogUniform, theirs.LogUniform
    examples = ({"low": 1e-4, "high": 0.1}, {"low": 1, "high": 1e6})
    wrong_values = (1.0, 0, -1e-3, None)
    refused_arguments = (
        ({"low": 0, "high": 1}, "0 < low < high, got 0 and 1"),
        ({"low": 2, "high": 1}, "got 2 and 1"),
    )
    mistakes = {
        "drawn evenly": Mistake(
            DrawnEvenly,
            "The guide's random search, which draws learning rates from uniform(0.001, 0.1).",
            "Nine of ten rates lie in the top decade; small ones are hardly ever tried.",
        )
    }

    def check_each_decade_is_as_likely(self, log, rng):
        rates = [type(self).numpy(1e-4, 1e-1).icdf((i + 0.5) / 300) for i in range(300)]
        counts = [sum(10.0**k <= r < 10.0 ** (k + 1) for r in rates) for k in (-4, -3, -2)]
        log.require(counts == [100, 100, 100], f"by decade: {counts}")


class EndLeftOut(ours.Integer):
    """range(low, high)."""

    def icdf(self, u):
        return ours.Integer(self.low, max(self.high - 1, self.low), self.log).icdf(u)


class Truncated(ours.Integer):
    """int() of the logarithm's exponential, without the halves at the ends."""

    def icdf(self, u):
        if not self.log:
            return super().icdf(u)
        return int(math.exp(math.log(self.low) + u * math.log(self.high / self.low)))


class TestInteger(ParameterParity):
    numpy, torch = ours.Integer, theirs.Integer
    examples = (
        {"low": 1, "high": 5},
        {"low": 16, "high": 256, "log": True},
        {"low": -3, "high": 400},
        {"low": 4, "high": 4},
    )
    wrong_values = (0, 6, 2.0, True, None)
    refused_arguments = (
        ({"low": 2, "high": 1}, "low <= high, got 2 and 1"),
        ({"low": 0, "high": 4, "log": True}, "1 <= low <= high, got 0 and 4"),
        ({"low": 0.5, "high": 4}, "whole numbers, got 0.5 and 4"),
        ({"low": True, "high": 4}, "whole numbers"),
    )
    mistakes = {
        "high left out": Mistake(
            EndLeftOut,
            "Whoever draws with randint(low, high).",
            "The largest value is never tried.",
        ),
        "truncated": Mistake(
            Truncated,
            "Whoever writes int(exp(uniform(log low, log high))).",
            "The largest value is never drawn, and the smallest too often.",
        ),
    }

    def check_each_number_has_an_equal_share(self, log, rng):
        numbers = [type(self).numpy(1, 3).icdf((i + 0.5) / 300) for i in range(300)]
        counts = [numbers.count(n) for n in (1, 2, 3)]
        log.require(counts == [100, 100, 100], f"shares {counts}")


def test_the_last_quantile_names_the_last_value():
    for p in (ours, theirs):
        assert p.Choice(["a", "b", "c"]).icdf(1.0) == "c"


def test_a_grid_has_every_whole_number_as_long_as_there_are_no_more():
    for p in (ours, theirs):
        assert p.Integer(1, 5).grid(5) == [1, 2, 3, 4, 5]
        assert len(p.Integer(1, 6).grid(5)) == len(p.Integer(-3, 6).grid(5)) == 5
        assert p.Integer(1, 4, log=True).grid(5) == [1, 2, 3, 4]
