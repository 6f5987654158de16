"""trunc_normal_: both ways of drawing it."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from numpy_impl.initialization import trunc_normal as ours
from numpy_impl.initialization.uniform_normal import normal_
from parity_tests.harness import InitializerParity, Mistake, Refusal
from torch_impl.initialization import trunc_normal as theirs


def clipped(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """The tails piled up on the bounds instead of drawn again."""
    np.clip(normal_(tensor, mean, std, generator), a, b, out=tensor)
    return tensor


def bounds_in_std(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """a and b counted in std from the mean, as TensorFlow does."""
    return ours.trunc_normal_(tensor, mean, std, mean + a * std, mean + b * std, generator)


def rescaled(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """The std of the normal before it is cut made larger by what cutting takes away."""
    return ours.trunc_normal_(tensor, mean, std / 0.87962566103423978, a, b, generator)


class TestTruncNormal(InitializerParity):
    numpy, torch = ours.trunc_normal_, theirs.trunc_normal_
    configs = [
        {},
        {"std": 0.02},
        {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 1.5},  # 0.46 of the normal: drawn again
        {"a": -np.inf, "b": 1e300},  # infinity in float32
        {"a": 0.3, "b": 0.9},  # 0.2 of it: thinned, the mode at the edge
        {"mean": 3.0, "std": 0.5},  # a tail
        {"mean": 1.0, "std": 3.0, "a": 0.0, "b": 1.5},  # thinned around the mean
        {"a": 1.0, "b": 1.0},
    ]
    shapes = ((3, 5), (7,), (), (0, 3), (2, 3, 2))
    draws = "trunc_normal_"
    refusals = [
        Refusal({"std": 0.0}, says="std > 0, got 0.0"),
        Refusal({"std": -1.0}, says="std > 0", torch=False),  # torch then draws as for +1 at times
        Refusal({"a": 2.0, "b": -2.0}, says="a=2.0 and b=-2.0"),
        Refusal({"a": np.nan}, says="finite"),
    ]
    mistakes = {
        "clipped": Mistake(
            clipped,
            "Written as `np.clip(rng.normal(...), a, b)`.",
            "Five of a hundred weights lie exactly on a bound.",
        ),
        "bounds in std": Mistake(
            bounds_in_std,
            "TensorFlow counts its bounds in std; torch's a and b are numbers.",
            "With std=0.02 torch's default bounds are a hundred std away, and cut nothing.",
        ),
        "std kept by a larger scale": Mistake(
            rescaled,
            "Keras's variance scaling divides by 0.8796, so that the truncated numbers have the "
            "std that was asked for.",
            "Numbers are 1.14 times torch's.",
        ),
    }

    def law(self, config, shape):
        mean, std = config.get("mean", 0.0), config.get("std", 1.0)
        a, b = config.get("a", -2.0), config.get("b", 2.0)

        def below(x):
            return (1 + math.erf((x - mean) / std / math.sqrt(2))) / 2

        if a == b:
            return None
        return lambda x: min(max((below(x) - below(a)) / (below(b) - below(a)), 0.0), 1.0)


@pytest.mark.parametrize(
    ("mean", "std"), [(4.001, 1.0), (-4.001, 1.0), (3.001, 0.5), (-3.001, 0.5)]
)
def test_a_mean_far_outside_warns_on_both_sides(mean, std):
    with pytest.warns(UserWarning, match="more than 2 std from") as told:
        ours.trunc_normal_(np.zeros(3), mean, std)
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match="more than 2 std from"):
        theirs.trunc_normal_(torch.zeros(3), mean, std)


def test_a_share_of_just_0_3_is_thinned_and_one_above_is_drawn_again():
    """Only the first needs a range that is finite."""
    grid = -0.5244005127080407 + np.spacing(0.5) * np.arange(-50, 51)  # by the 0.3 quantile
    exact = next(b for b in grid.tolist() if (1 + math.erf(b / math.sqrt(2))) / 2 == 0.3)
    init: Any
    x: Any
    for init, x in ((ours.trunc_normal_, np.zeros(3)), (theirs.trunc_normal_, torch.zeros(3))):
        with pytest.raises(RuntimeError):
            init(x, a=-math.inf, b=exact)
        init(x, a=-math.inf, b=exact + 1e-9)


def test_a_number_on_a_bound_and_one_at_its_price_are_taken():
    case = TestTruncNormal()
    noise = {"normal": np.array([-2.0, 2.0, 0.5, 9.0]), "uniform": np.zeros(9)}
    assert case.fill(np.zeros(3), {}, noise, 0).tolist() == [-2, 2, 0.5]
    assert case.fill_torch(torch.zeros(3).double(), {}, noise, 0).tolist() == [-2, 2, 0.5]
    tail = {"a": 1.0, "b": 3.0}  # the density at 2 is exp(-1.5) of that at 1
    near = math.exp(-1.5) + np.spacing(0.2) * np.arange(-9, 10)
    price = next(u for u in near.tolist() if np.log(u) == math.log(u) == -1.5)
    noise["uniform"] = np.array([0.5, price, 0.0, 0.0])
    assert case.fill(np.zeros(1), tail, noise, 0).tolist() == [2]
    assert case.fill_torch(torch.zeros(1).double(), tail, noise, 0).tolist() == [2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_lies_outside_the_bounds(dtype):
    for a, b in ((-0.1, 0.7), (-2.0, 2.0), (1.5, 2.0)):
        x = ours.trunc_normal_(np.zeros(10_000, dtype), 0.0, 1.0, a, b)
        assert dtype(a) <= x.min() and x.max() <= dtype(b)
