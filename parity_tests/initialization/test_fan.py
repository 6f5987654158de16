"""Xavier and Kaiming, and the gains in them."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from numpy_impl import Generator
from numpy_impl.initialization import fan as ours
from numpy_impl.initialization.uniform_normal import normal_, uniform_
from numpy_impl.layers import Linear
from parity_tests.harness import InitializerParity, Mistake, Refusal, RuleCase, grid
from parity_tests.harness.refusal import raises, refused, says
from torch_impl.initialization import fan as theirs

SHAPES = ((3, 5), (6, 2), (1, 1), (2, 3, 4, 5))
TOO_FLAT = [
    Refusal({}, (np.zeros(3),), r"2 or more dimensions, got shape \(3,\)"),
    Refusal({}, (np.zeros(()),), "dimensions"),
]
KAIMING = [
    {},
    *grid(mode=["fan_in", "FAN_OUT"], nonlinearity=["relu", "tanh"]),
    *grid(a=[0.2, math.sqrt(5), -1, 0]),
    {"a": 0.3, "mode": "fan_out", "nonlinearity": "leaky_relu"},
]
KAIMING_REFUSALS = [
    *TOO_FLAT,
    Refusal({"mode": "fan_avg"}, says="fan_in or fan_out, got 'fan_avg'"),
    Refusal({"nonlinearity": "gelu"}, says="one of linear, .*got 'gelu'"),
    Refusal({"a": "x"}, says="slope must be a number, got 'x'"),
    Refusal({"a": True}, says="slope must be a number, got True"),
    Refusal({"a": math.nan}, says="nan"),
]


def law_of(std, uniform):
    if uniform:
        bound = math.sqrt(3) * std
        return lambda x: min(max((x + bound) / (2 * bound), 0.0), 1.0)
    return lambda x: (1 + math.erf(x / std / math.sqrt(2))) / 2


def xavier_law(config, shape, uniform):
    return law_of(config.get("gain", 1.0) * math.sqrt(2 / sum(shape)), uniform)


def kaiming_law(config, shape, uniform):
    if config.get("nonlinearity", "leaky_relu") not in ("relu", "leaky_relu"):
        return None
    slope = 0 if config.get("nonlinearity") == "relu" else config.get("a", 0)
    fan = shape["fan_out fan_in".split().index(config.get("mode", "fan_in").lower())]
    return law_of(math.sqrt(2 / (1 + slope**2) / fan), uniform)


def std_as_bound(tensor, gain=1.0, generator=None):
    std = gain * math.sqrt(2 / (tensor.shape[0] + tensor.shape[1]))
    return uniform_(tensor, -std, std, generator)


def no_gain(tensor, gain=1.0, generator=None):
    return ours.xavier_normal_(tensor, 1.0, generator)


def no_field_uniform(tensor, gain=1.0, generator=None):
    bound = gain * math.sqrt(6 / (tensor.shape[0] + tensor.shape[1]))
    return uniform_(tensor, -bound, bound, generator)


def fans_swapped(fill):
    other = {"fan_in": "fan_out", "fan_out": "fan_in"}

    def wrong(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
        return fill(tensor, a, other[mode.lower()], nonlinearity, generator)

    return wrong


def gain_one(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    return ours.kaiming_normal_(tensor, 0, mode, "linear", generator)


def slope_ignored(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    return ours.kaiming_uniform_(tensor, 0, mode, nonlinearity, generator)


def bound_as_std(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    std = ours.calculate_gain(nonlinearity, a) / math.sqrt(np.prod(tensor.shape[1:]))
    return uniform_(tensor, -std, std, generator)


def averaged_fans(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    gain = ours.calculate_gain(nonlinearity, a)
    return normal_(tensor, 0, gain * math.sqrt(2 / sum(tensor.shape[:2])), generator)


def lecun(tensor, gain=1.0, generator=None):
    bound = gain * math.sqrt(3 / max(np.prod(tensor.shape[1:]), 1))
    return uniform_(tensor, -bound, bound, generator)


def gain_squared_uniform(tensor, gain=1.0, generator=None):
    return ours.xavier_uniform_(tensor, gain * gain, generator)


def variance_as_std(tensor, gain=1.0, generator=None):
    field = int(np.prod(tensor.shape[2:]))
    std = gain * 2 / (field * (tensor.shape[0] + tensor.shape[1]))
    return normal_(tensor, 0.0, std, generator)


def half_the_variance(tensor, gain=1.0, generator=None):
    return ours.xavier_normal_(tensor, gain / math.sqrt(2), generator)


def gain_squared_normal(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    gain = ours.calculate_gain(nonlinearity, a)
    ours.kaiming_normal_(tensor, a, mode, nonlinearity, generator)
    tensor *= gain
    return tensor


class TestXavierUniform(InitializerParity):
    numpy, torch = ours.xavier_uniform_, theirs.xavier_uniform_
    configs = grid(gain=[1.0, 5 / 3, 0])
    shapes = (*SHAPES, (0, 3))
    draws = "uniform"
    refusals = [
        *TOO_FLAT,
        Refusal({"gain": -1.0}, says="a <= b"),
        Refusal({"gain": math.nan}, says="nan"),
    ]
    mistakes = {
        "std used as bound": Mistake(
            std_as_bound,
            "A classic slip: uniform(-std, std), whose std is a sqrt(3)rd of that.",
            "Signals shrink by sqrt(3) in every layer.",
        ),
        "kernel size left out": Mistake(
            no_field_uniform,
            "A classic slip: fans of the first two axes, right for matrices only.",
            "Convolutions start sqrt(kernel size) too large.",
        ),
        "fan_in alone": Mistake(
            lecun,
            "LeCun's bound, sqrt(3 / fan_in), under Xavier's name.",
            "Gradients grow or shrink where layers widen or narrow.",
        ),
        "gain squared": Mistake(
            gain_squared_uniform,
            "A classic slip: the gain multiplies the variance.",
            "Off by the gain, 5/3 for tanh, in every layer.",
        ),
    }

    def law(self, config, shape):
        return xavier_law(config, shape, uniform=True) if config["gain"] else None


class TestXavierNormal(InitializerParity):
    numpy, torch = ours.xavier_normal_, theirs.xavier_normal_
    configs = grid(gain=[1.0, 5 / 3, 0])
    shapes = (*SHAPES, (3, 0))
    draws = "normal"
    refusals = [*TOO_FLAT, Refusal({"gain": -1.0}, says="std >= 0")]
    mistakes = {
        "gain left out": Mistake(
            no_gain,
            "A classic slip: the option is taken and never used.",
            "Signals shrink by the gain in every layer, 5/3 for tanh.",
        ),
        "variance used as std": Mistake(
            variance_as_std,
            "A classic slip: the root is forgotten, or the variance of a paper is handed to a "
            "function that wants the std.",
            "Weights start far too small: with 100 units ten times.",
        ),
        "2 left out": Mistake(
            half_the_variance,
            "A classic slip: 1 / (fan_in + fan_out) for the inverse of their mean.",
            "Signals shrink by sqrt(2) in every layer.",
        ),
    }

    def law(self, config, shape):
        return xavier_law(config, shape, uniform=False) if config["gain"] else None


class TestKaimingUniform(InitializerParity):
    numpy, torch = ours.kaiming_uniform_, theirs.kaiming_uniform_
    configs = KAIMING
    shapes = SHAPES
    draws = "uniform"
    refusals = KAIMING_REFUSALS
    mistakes = {
        "fans swapped": Mistake(
            fans_swapped(ours.kaiming_uniform_),
            "Weights kept as (in, out), as Keras and the guide have them, in a function that reads "
            "(out, in).",
            "Signals grow or shrink where layers widen or narrow.",
        ),
        "slope ignored": Mistake(
            slope_ignored,
            "A classic slip: the gain of ReLU for every leaky one.",
            "Signals grow by sqrt(1 + a^2) in every layer.",
        ),
        "std used as bound": Mistake(
            bound_as_std,
            "A classic slip: uniform(-std, std), whose std is a sqrt(3)rd of that.",
            "Signals shrink by sqrt(3) in every layer.",
        ),
    }

    def law(self, config, shape):
        return kaiming_law(config, shape, uniform=True)


class TestKaimingNormal(InitializerParity):
    numpy, torch = ours.kaiming_normal_, theirs.kaiming_normal_
    configs = KAIMING
    shapes = SHAPES
    draws = "normal"
    refusals = KAIMING_REFUSALS
    mistakes = {
        "fans swapped": Mistake(
            fans_swapped(ours.kaiming_normal_),
            "Weights kept as (in, out), as Keras and the guide have them, in a function that reads "
            "(out, in).",
            "Signals grow or shrink where layers widen or narrow.",
        ),
        "gain 1": Mistake(
            gain_one,
            "sqrt(1 / fan_in), LeCun's rule, under He's name.",
            "Behind ReLU signals shrink by sqrt(2) in every layer.",
        ),
        "Glorot's fan": Mistake(
            averaged_fans,
            "A classic slip: the mean of both fans, which is Xavier's.",
            "Signals grow or shrink where layers widen or narrow.",
        ),
        "gain squared": Mistake(
            gain_squared_normal,
            "A classic slip: 2 / sqrt(fan_in), the root around the fan alone.",
            "Signals grow by sqrt(2) in every layer.",
        ),
    }

    def law(self, config, shape):
        return kaiming_law(config, shape, uniform=False)


def gain(name, of):
    """calculate_gain with another gain for one nonlinearity: of(slope)."""

    def wrong(nonlinearity, param=None):
        right = ours.calculate_gain(nonlinearity, param)  # refuses what is to be refused
        return of(0.01 if param is None else param) if nonlinearity == name else right

    return wrong


class TestCalculateGain(RuleCase):
    numpy, torch = ours.calculate_gain, theirs.calculate_gain
    mistakes = {
        "tanh 1": Mistake(
            gain("tanh", lambda slope: 1.0),
            "Glorot's own initialization, derived for slope 1 at 0; torch makes up for the bends "
            "with 5/3.",
            "Signals shrink by 5/3 in every layer of tanh.",
        ),
        "slope left out": Mistake(
            gain("leaky_relu", lambda slope: math.sqrt(2)),
            "A classic slip: ReLU's gain for every leaky one.",
            "Signals grow by sqrt(1 + a^2) in every layer.",
        ),
        "slope not squared": Mistake(
            gain("leaky_relu", lambda slope: math.sqrt(2 / (1 + abs(slope)))),
            "A classic slip: sqrt(2 / (1 + a)).",
            "Signals shrink by sqrt((1 + a) / (1 + a^2)) in every layer: by 8 % for 0.3.",
        ),
        "relu 2": Mistake(
            gain("relu", lambda slope: 2.0),
            "He's 2 / fan_in is a variance; the gain multiplies a standard deviation.",
            "Signals grow by sqrt(2) in every layer.",
        ),
        "selu 1": Mistake(
            gain("selu", lambda slope: 1.0),
            "The paper's start, which torch gives under the name of linear; its selu is 3/4.",
            "Weights are 4/3 of torch's; the layers stay normalised.",
        ),
        "sigmoid 4": Mistake(
            gain("sigmoid", lambda slope: 4.0),
            "Deep learning's first tutorials: a sigmoid has a quarter of tanh's slope at 0.",
            "Weights are four times torch's, and more units start saturated.",
        ),
    }

    def check_gains_without_a_parameter(self, log, rng):
        convolutions = ("conv1d", "conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d")
        for name in ("linear", *convolutions, "sigmoid", "tanh", "relu", "selu"):
            self._equal(log, name, None, 0.2, "ignored")

    def check_leaky_relu(self, log, rng):
        self._equal(log, "leaky_relu", None, 0, 1, 0.2, -3.5)

    def _equal(self, log, name, *params):
        for param in params:
            ours_, theirs_ = type(self).numpy(name, param), type(self).torch(name, param)
            log.require(ours_ == theirs_, f"{name}, {param}: {ours_!r}, torch {theirs_!r}")

    def check_refusals(self, log, rng):
        for args in (("gelu",), ("ReLU",), (None,), ("leaky_relu", True), ("leaky_relu", "0.1")):
            for side in (type(self).numpy, type(self).torch):
                log.require(raises(side, *args, error=ValueError), f"{side} takes {args}")
            said = refused(partial(type(self).numpy, *args)) or ""
            what = "slope must be a number" if args[1:] else "one of linear, .*, leaky_relu"
            log.require(says(said, f"{what}, got {args[-1]!r}"), f"{args}: said {said!r}")


@pytest.mark.parametrize("name", ["kaiming_uniform_", "kaiming_normal_"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_kaiming_warns_that_there_is_nothing_to_fill(name, shape):
    with pytest.warns(UserWarning, match="nothing to fill") as caught:
        assert getattr(ours, name)(np.zeros(shape)).shape == shape
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="zero-element"):
        getattr(theirs, name)(torch.zeros(shape))


def test_xavier_with_no_fans_divides_by_zero_on_both_sides():
    with pytest.raises(ZeroDivisionError):
        ours.xavier_normal_(np.zeros((0, 0)))
    with pytest.raises(ZeroDivisionError):
        theirs.xavier_normal_(torch.zeros(0, 0))


def test_linear_starts_like_kaiming_with_a_slope_of_root_five():
    linear = Linear(7, 5, generator=Generator().manual_seed(1))
    weight = np.zeros((5, 7), np.float32)
    ours.kaiming_uniform_(weight, a=math.sqrt(5), generator=Generator().manual_seed(1))
    np.testing.assert_array_equal(weight, linear.weight.data)
