"""uniform_ and normal_: the draws themselves."""

import math

import numpy as np
import pytest
import torch

import numpy_impl
from numpy_impl.initialization import uniform_normal as ours
from numpy_impl.random import default_generator
from parity_tests.harness import InitializerParity, Mistake, Refusal
from torch_impl.initialization import uniform_normal as theirs

MOST = float(np.finfo(np.float32).max)
SHAPES = ((3, 5), (7,), (), (0, 3), (4, 4), (3, 2, 5))


def bound_taken_as_std(tensor, a=0.0, b=1.0, generator=None):
    """The range stretched until its std is what was meant as its bound."""
    middle, half = (a + b) / 2, (b - a) / 2
    half *= math.sqrt(3)
    return ours.uniform_(tensor, middle - half, middle + half, generator)


def variance_taken_as_std(tensor, mean=0.0, std=1.0, generator=None):
    """N(mean, x) read as in papers, where x is the variance."""
    return ours.normal_(tensor, mean, math.sqrt(std), generator)


def around_zero(tensor, a=0.0, b=1.0, generator=None):
    """From -b to b."""
    return ours.uniform_(tensor, -abs(b), abs(b), generator)


def mean_left_out(tensor, mean=0.0, std=1.0, generator=None):
    """N(0, std)."""
    return ours.normal_(tensor, 0.0, std, generator)


def in_logical_order(tensor, a=0.0, b=1.0, generator=None):
    """A view filled row by row instead of in the order of its memory."""
    tensor[...] = (generator or default_generator).uniform(a, b, tensor.shape, tensor.dtype)
    return tensor


class TestUniform(InitializerParity):
    numpy, torch = ours.uniform_, theirs.uniform_
    configs = [
        {},
        {"a": -0.3, "b": 0.3},
        {"a": 2.0, "b": 2.0},
        {"a": 1e4, "b": 1e4 + 1},
        {"a": -1.0, "b": 4},
    ]
    shapes = SHAPES
    draws = "uniform"
    refusals = [
        Refusal({"a": 2.0}, says="a=2.0 and b=1.0"),
        Refusal({"a": np.nan}, says="finite"),
        Refusal({"b": np.inf}, says="finite"),
        Refusal({"a": -3e38, "b": 3e38}, (np.zeros(3, np.float32),), "finite in float32"),
        Refusal({"b": 1e39}, (np.zeros(3, np.float32),), "finite in float32"),
    ]
    mistakes = {
        "bound taken as std": Mistake(
            bound_taken_as_std,
            "A classic slip: the range is stretched by sqrt(3) once more.",
            "Weights are sqrt(3) times as large as asked.",
        ),
        "around 0": Mistake(
            around_zero,
            "NumPy code that draws from uniform(-b, b) whatever a is.",
            "The lower bound is not looked at.",
        ),
    }

    def law(self, config, shape):
        a, b = config.get("a", 0.0), config.get("b", 1.0)
        return (lambda x: min(max((x - a) / (b - a), 0.0), 1.0)) if a == -1 else None

    def test_order_of_memory_is_told_from_order_of_rows(self):
        from parity_tests.harness import Log, Settings

        wrong = type("Wrong", (type(self),), {"numpy": staticmethod(in_logical_order)})()
        check = next(c for c in wrong.checks(Settings()) if c.name == "views")
        log = Log()
        check.run(log)
        assert log.failures


@pytest.mark.parametrize("a, b", [(-MOST, 0.0), (0.0, MOST)])
def test_a_range_may_reach_to_the_largest_number(a, b):
    x, y = np.full(9, np.nan, np.float32), torch.full((9,), torch.nan)
    numpy_impl.manual_seed(1)
    torch.default_generator.manual_seed(1)
    np.testing.assert_array_equal(ours.uniform_(x, a, b), theirs.uniform_(y, a, b).numpy())


class TestNormal(InitializerParity):
    numpy, torch = ours.normal_, theirs.normal_
    configs = [{}, {"mean": -3.0, "std": 0.02}, {"std": 0}, {"mean": 1e4}]
    shapes = SHAPES
    draws = "normal"
    refusals = [
        Refusal({"std": -1.0}, says="std >= 0, got -1.0"),
        Refusal({"std": np.nan}, says="std >= 0, got nan"),
        Refusal({"std": -1.0}, (np.zeros((0, 3)),), "std >= 0"),
    ]
    mistakes = {
        "variance taken as std": Mistake(
            variance_taken_as_std,
            "Papers write N(mean, variance); functions take the std.",
            "With std=0.02 weights are seven times as large as asked.",
        ),
        "mean left out": Mistake(
            mean_left_out,
            "Written as `std * randn(...)`.",
            "Whatever was to start at 1, starts at 0.",
        ),
    }

    def law(self, config, shape):
        mean, std = config.get("mean", 0.0), config.get("std", 1.0)
        return (
            (lambda x: (1 + math.erf((x - mean) / std / math.sqrt(2))) / 2)
            if std and mean < 1e4
            else None
        )
