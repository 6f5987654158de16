"""ReLU, LeakyReLU, Sigmoid, Tanh: layers and pure functions, and choosing one by name."""

import numpy as np
import pytest
import torch

from numpy_impl.layers import activation as ours
from parity_tests.harness import (
    FunctionParity,
    Mistake,
    ModuleParity,
    Refusal,
    arrays,
    as_functions,
    grid,
)
from parity_tests.harness.bridge import to_numpy
from torch_impl.layers import activation as theirs

SHAPES = [*arrays(""), *arrays("N C", N=[0, 1], C=[4]), *arrays("N C T", N=[7], C=[5], T=[3])]
INPLACE = Refusal({"inplace": True}, says="caller's array", torch=False)  # torch writes into x


class Saturating:
    """A few inputs near 0 among all others, so that the gradient has a scale of its own.

    Where y is within a few ulp of 1, 1 - y^2 has no digit left that two right tanh must share. The
    budget is a share of the largest gradient, so somewhere there must be one that is not such a
    remainder.
    """

    def make_inputs(self, rng, shape, regime, config):
        x = np.asarray(regime(rng, shape))
        if x.size > 20:
            x.flat[:6] = np.linspace(-0.7, 0.8, 6)
        return (x,)


class SlopeOneAtZero(ours.ReLU):
    """The gradient let through where the input is exactly 0."""

    def forward(self, x):
        y = super().forward(x)
        self._saved[-1] = self._saved[-1]._replace(values=(y + (x == 0),))
        return y


class DeadUnitsLearn(ours.ReLU):
    """The gradient passed on as if the layer were the identity."""

    def backward(self, dy):
        return self.saved_for_backward(dy)[0].copy()


class NegativesLetThrough(ours.ReLU):
    """The gradient stopped where it is negative, not where the input is."""

    def backward(self, dy):
        return np.maximum(self.saved_for_backward(dy)[0], 0)


class HalfAtZero(ours.ReLU):
    """The slope at 0 the mean of both sides."""

    def forward(self, x):
        y = super().forward(x)
        self.kink = x == 0
        return y

    def backward(self, dy):
        return super().backward(dy) + 0.5 * self.kink * dy


class SlopeForwardOnly(ours.LeakyReLU):
    """ReLU's gradient behind a leaky forward."""

    def backward(self, dy):
        dy, x = self.saved_for_backward(dy)
        return np.where(x > 0, dy, 0.0)


class SlopeSubtracted(ours.LeakyReLU):
    """The slope with its sign turned, as if the leak were |x|'s."""

    def __init__(self, negative_slope=0.01):
        super().__init__(-negative_slope)


class KerasSlope(ours.LeakyReLU):
    """Keras's default slope, 0.3."""

    def __init__(self, negative_slope=0.3):
        super().__init__(negative_slope)


class SlopeOneAtKink(ours.LeakyReLU):
    """The gradient at exactly 0 taken from the positive side."""

    def backward(self, dy):
        dy, x = self.saved_for_backward(dy)
        return np.where(x >= 0, dy, self.negative_slope * dy)


class SlopeOfInput(ours.Sigmoid):
    """s * (1 - s) written for the output but fed the input."""

    def backward(self, dy):
        dy, y = self.saved_for_backward(dy)
        with np.errstate(divide="ignore"):
            x = np.log(y) - np.log1p(-y)
        return dy * x * (1 - x)


class SigmoidTwice(ours.Sigmoid):
    """s(1 - s) with s the sigmoid of the output: the sigmoid taken once more."""

    def backward(self, dy):
        dy, y = self.saved_for_backward(dy)
        again = ours.sigmoid(y)
        return dy * again * (1 - again)


class HardSigmoid(ours.Sigmoid):
    """The piecewise linear stand-in, x / 6 + 1 / 2 between 0 and 1."""

    def forward(self, x):
        return np.clip(super().forward(x) * 0 + x / 6 + 0.5, 0, 1)


class OverflowingSigmoid(ours.Sigmoid):
    """exp(x) / (1 + exp(x)), which is inf / inf for a large input."""

    @np.errstate(all="ignore")
    def forward(self, x):
        y = super().forward(x)
        return y * 0 + np.exp(x) / (1 + np.exp(x))


class ClippedSigmoid(ours.Sigmoid):
    """The input clipped to +-10 to keep exp quiet."""

    def forward(self, x):
        return super().forward(np.clip(x, -10, 10))


class SlopeWithoutSquare(ours.Tanh):
    """1 - y for 1 - y^2."""

    def backward(self, dy):
        dy, y = self.saved_for_backward(dy)
        return dy * (1 - y)


class SlopeOfTheInput(ours.Tanh):
    """1 - x^2, fed the input where the output belongs."""

    def forward(self, x):
        self.input = x
        return super().forward(x)

    def backward(self, dy):
        dy, _ = self.saved_for_backward(dy)
        return dy * (1 - self.input**2)


class ByExponentials(ours.Tanh):
    """(exp(2x) - 1) / (exp(2x) + 1), which is inf / inf for a large input."""

    @np.errstate(all="ignore")
    def forward(self, x):
        super().forward(x)
        return (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)


class SigmoidForTanh(ours.Tanh):
    """2 s(x) - 1, which is tanh(x / 2)."""

    def forward(self, x):
        return super().forward(x / 2)

    def backward(self, dy):
        return super().backward(dy) / 2


class WhereReLU(ours.ReLU):
    """Chosen element by element."""

    def forward(self, x):
        super().forward(x)
        return np.where(x > 0, x, np.zeros((), x.dtype))

    def backward(self, dy):
        dy, y = self.saved_for_backward(dy)
        return np.where(y > 0, dy, np.zeros((), dy.dtype))


class WhereLeakyReLU(ours.LeakyReLU):
    """Chosen element by element."""

    def forward(self, x):
        super().forward(x)
        return np.where(x > 0, x, x * self.negative_slope)


class HalvedSigmoid(ours.Sigmoid):
    """By tanh of half the input."""

    def forward(self, x):
        y = super().forward(x)
        return np.where(np.abs(x) < 1, (1 + np.tanh(x / 2)) / 2, y)


class TanhOfSigmoid(ours.Tanh):
    """By the exponential of -2|x|, which never overflows; sinh / cosh near 0."""

    def forward(self, x):
        super().forward(x)
        e = np.exp(-2 * np.abs(x))
        small = np.clip(x, -1, 1)
        return np.where(
            np.abs(x) < 1, np.sinh(small) / np.cosh(small), np.sign(x) * (1 - e) / (1 + e)
        )


class TestReLU(ModuleParity):
    numpy, torch = ours.ReLU, theirs.ReLU
    inputs = SHAPES
    refusals = [
        INPLACE,
        Refusal({}, (np.array([True]),), "bool"),
        Refusal({}, (np.ones(2, complex),)),
    ]
    mistakes = {
        "slope 1 at 0": Mistake(
            SlopeOneAtZero,
            "Written as `dy * (x >= 0)`, a convention that other frameworks have taken, too.",
            "Gradients differ only where an input is exactly 0: dead units and zero-padded "
            "features learn where torch's do not.",
        ),
        "slope 1/2 at 0": Mistake(
            HalfAtZero,
            "The symmetric subgradient, which JAX gives to max(x, 0) where both are equal.",
            "Half a gradient comes through where an input is exactly 0.",
        ),
        "dead units get a gradient": Mistake(
            DeadUnitsLearn,
            "A classic slip of hand-written backward passes: the mask is forgotten.",
            "The gradient is that of a linear layer, and training descends another function.",
        ),
        "gradient masked by its own sign": Mistake(
            NegativesLetThrough,
            "A classic slip: relu applied to the gradient (guided backpropagation without the "
            "mask).",
            "Negative gradients vanish, so weights can only ever be pushed one way.",
        ),
    }
    rewrites = {"np.where": WhereReLU}


class TestLeakyReLU(ModuleParity):
    numpy, torch = ours.LeakyReLU, theirs.LeakyReLU
    configs = [{"negative_slope": s} for s in (0.0, 0.3, 1.5, -0.5)] + [{}]
    inputs = SHAPES
    refusals = [
        INPLACE,
        Refusal({"negative_slope": np.inf}, says="finite", torch=False),  # torch gives NaN
        Refusal({}, (np.ones(3, np.int64),), "int64"),
    ]
    mistakes = {
        "slope 0.3": Mistake(
            KerasSlope,
            "Keras has 0.3 for a default where torch has 0.01.",
            "Negative inputs come out thirty times as large.",
        ),
        "slope 1 at 0": Mistake(
            SlopeOneAtKink,
            "Written as `np.where(x >= 0, ...)`; torch takes the negative side at 0.",
            "The gradient of an input of exactly 0 is 1 / negative_slope times torch's.",
        ),
        "slope in forward only": Mistake(
            SlopeForwardOnly,
            "A classic slip: the backward of ReLU is kept when the forward becomes leaky.",
            "Units with negative inputs stay dead, which the leak was to prevent.",
        ),
        "slope with its sign turned": Mistake(
            SlopeSubtracted,
            "A classic slip: `-negative_slope * x` for the negative part.",
            "Negative inputs come out positive, and their gradient points the wrong way.",
        ),
    }
    rewrites = {"np.where": WhereLeakyReLU}


class TestSigmoid(Saturating, ModuleParity):
    numpy, torch = ours.Sigmoid, theirs.Sigmoid
    inputs = SHAPES
    mistakes = {
        "derivative of the wrong variable": Mistake(
            SlopeOfInput,
            "A classic slip of tutorials: `sigmoid_derivative(x) = x * (1 - x)` is right for the "
            "output and is called with the input.",
            "Gradients grow without bound and change their sign beyond x = 1.",
        ),
        "derivative with the sigmoid taken twice": Mistake(
            SigmoidTwice,
            "A classic slip: a derivative that applies sigmoid itself is handed the output.",
            "The gradient hardly depends on the input: between 0.197 and 0.25 everywhere.",
        ),
        "exp overflows": Mistake(
            OverflowingSigmoid,
            "Written as `exp(x) / (1 + exp(x))`.",
            "NaN from inputs of about 710 on, 89 in float32, and from there in every weight.",
        ),
        "input clipped": Mistake(
            ClippedSigmoid,
            "A common cure for overflow warnings: `np.clip(x, -10, 10)` before exp.",
            "Outputs end at 4.5e-5, so a loss of the wrong certainty cannot be seen.",
        ),
        "hard sigmoid": Mistake(
            HardSigmoid,
            "A cheap form of the sigmoid that goes by its name in some code.",
            "Off by up to 0.08 in the middle, and flat from |x| = 3 on.",
        ),
    }
    rewrites = {"by halves": HalvedSigmoid}


class TestTanh(Saturating, ModuleParity):
    numpy, torch = ours.Tanh, theirs.Tanh
    inputs = SHAPES
    mistakes = {
        "1 - y for 1 - y^2": Mistake(
            SlopeWithoutSquare,
            "A classic slip: the square is forgotten.",
            "The gradient of negative outputs is up to twice, of positive ones less than it is.",
        ),
        "derivative of the wrong variable": Mistake(
            SlopeOfTheInput,
            "A classic slip: `1 - x**2` is called with the input, as the sigmoid's is.",
            "Gradients change their sign beyond |x| = 1 and grow with the square.",
        ),
        "exp overflows": Mistake(
            ByExponentials,
            "Written by its definition, from exp(2x).",
            "NaN from inputs of about 355 on, 44 in float32.",
        ),
        "of half the input": Mistake(
            SigmoidForTanh,
            "A classic slip: `2 * sigmoid(x) - 1` is taken for tanh, and is tanh(x / 2).",
            "The slope at 0 is 1/2: signals shrink by half in every layer.",
        ),
    }
    rewrites = {"from the sigmoid": TanhOfSigmoid}


class TestReluFunction(FunctionParity):
    numpy, torch, backward = ours.relu, theirs.relu, ours.relu_backward
    inputs = SHAPES
    mistakes = as_functions(TestReLU.mistakes, ours.relu)


class TestLeakyReluFunction(FunctionParity):
    numpy, torch, backward = ours.leaky_relu, theirs.leaky_relu, ours.leaky_relu_backward
    configs = [{}, *grid(negative_slope=[-0.2, 0.1, 3.0])]  # the last one can overflow
    inputs = SHAPES
    mistakes = as_functions(TestLeakyReLU.mistakes, ours.leaky_relu)


class TestSigmoidFunction(Saturating, FunctionParity):
    numpy, torch, backward = ours.sigmoid, theirs.sigmoid, ours.sigmoid_backward
    inputs = SHAPES
    mistakes = as_functions(TestSigmoid.mistakes, ours.sigmoid)


class TestTanhFunction(Saturating, FunctionParity):
    numpy, torch, backward = ours.tanh, theirs.tanh, ours.tanh_backward
    inputs = SHAPES
    mistakes = as_functions(TestTanh.mistakes, ours.tanh)


def by_part_of_the_name(name):
    """ReLU for every name with relu in it."""
    return ours.ReLU() if "relu" in name else ours.make_activation(name)


def with_the_slope_of_keras(name):
    """A leak of 0.3."""
    return ours.LeakyReLU(0.3) if name == "leaky_relu" else ours.make_activation(name)


class TestMakeActivation(Saturating, ModuleParity):
    numpy, torch = ours.make_activation, theirs.make_activation
    configs = grid(name=["relu", "leaky_relu", "sigmoid", "tanh", "identity"])
    inputs = SHAPES
    aliases = True  # the identity hands on its very input
    mistakes = {
        "leaky_relu taken for relu": Mistake(
            by_part_of_the_name,
            "Written as `if 'relu' in name`, which is true of both.",
            "The leak that was asked for is not there, and units die as before.",
        ),
        "slope 0.3": Mistake(
            with_the_slope_of_keras,
            "Keras has 0.3 for a default where torch has 0.01.",
            "Negative inputs come out thirty times as large.",
        ),
    }
    refusals = [
        Refusal({"name": "selu"}, says="relu, leaky_relu, sigmoid, tanh, identity, got 'selu'")
    ]


@pytest.mark.parametrize("layer", [ours.ReLU, ours.Sigmoid, ours.Tanh])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_whole_numbers_are_taken_as_torch_takes_them_and_have_no_gradient(layer, dtype):
    x, twin = np.array([0, 1, 3]).astype(dtype), getattr(theirs, layer.__name__)()
    if layer is ours.ReLU and dtype == "bool":
        for side, numbers in ((layer(), x), (twin, torch.from_numpy(x))):
            with pytest.raises((TypeError, RuntimeError)):
                side(numbers)
        return
    y = layer()(x)
    expected = twin(torch.from_numpy(x)).numpy()
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y, expected, rtol=3e-7)
    both = layer()
    both(x)
    with pytest.raises(RuntimeError, match="no forward"):
        both.backward(y)


@pytest.mark.parametrize("name", ["ReLU", "LeakyReLU", "Sigmoid", "Tanh"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_infinite_or_nan_gradient_comes_out_where_torch_has_it(name, dtype):
    x = np.array([-np.inf, -2, -0.0, 0.0, 2, np.inf, np.nan], dtype)
    for cotangent in (np.inf, -np.inf, np.nan):
        layer, tensor = getattr(ours, name)(), torch.from_numpy(x).requires_grad_()
        dy = np.full_like(x, cotangent)
        layer(x)
        getattr(theirs, name)()(tensor).backward(torch.from_numpy(dy))
        np.testing.assert_array_equal(layer.backward(dy), to_numpy(tensor.grad))


@pytest.mark.parametrize("slope", [0.1, -0.2])
def test_the_sign_of_a_leaky_zero_is_torchs(slope):
    x = np.array([0.0, -0.0])
    y, twin = ours.leaky_relu(x, slope), theirs.leaky_relu(torch.from_numpy(x), slope)
    assert np.signbit(y).tolist() == torch.signbit(twin).tolist()
