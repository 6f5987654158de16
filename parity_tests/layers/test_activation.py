"""ReLU, LeakyReLU, Sigmoid, Tanh: layers and pure functions, and choosing one by name."""

import numpy as np
import pytest
import torch

from numpy_impl.layers import activation as ours
from parity_tests.harness import FunctionParity, ModuleParity, Refusal, arrays, grid
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


class TestReLU(ModuleParity):
    numpy, torch = ours.ReLU, theirs.ReLU
    inputs = SHAPES
    refusals = [
        INPLACE,
        Refusal({}, (np.array([True]),), "bool"),
        Refusal({}, (np.ones(2, complex),)),
    ]
    mistakes = {"slope 1 at 0": SlopeOneAtZero, "dead units get a gradient": DeadUnitsLearn}


class TestLeakyReLU(ModuleParity):
    numpy, torch = ours.LeakyReLU, theirs.LeakyReLU
    configs = [{"negative_slope": s} for s in (0.0, 0.3, 1.5, -0.5)] + [{}]
    inputs = SHAPES
    refusals = [
        INPLACE,
        Refusal({"negative_slope": np.inf}, says="finite", torch=False),  # torch gives NaN
        Refusal({}, (np.ones(3, np.int64),), "int64"),
    ]
    mistakes = {"slope 0.3": KerasSlope, "slope 1 at 0": SlopeOneAtKink}


class TestSigmoid(Saturating, ModuleParity):
    numpy, torch = ours.Sigmoid, theirs.Sigmoid
    inputs = SHAPES
    mistakes = {
        "derivative of the wrong variable": SlopeOfInput,
        "exp overflows": OverflowingSigmoid,
        "input clipped": ClippedSigmoid,
    }


class TestTanh(Saturating, ModuleParity):
    numpy, torch = ours.Tanh, theirs.Tanh
    inputs = SHAPES
    mistakes = {"1 - y for 1 - y^2": SlopeWithoutSquare}


class TestReluFunction(FunctionParity):
    numpy, torch, backward = ours.relu, theirs.relu, ours.relu_backward
    inputs = SHAPES


class TestLeakyReluFunction(FunctionParity):
    numpy, torch, backward = ours.leaky_relu, theirs.leaky_relu, ours.leaky_relu_backward
    configs = grid(negative_slope=[-0.2, 0.1])
    inputs = SHAPES


class TestSigmoidFunction(Saturating, FunctionParity):
    numpy, torch, backward = ours.sigmoid, theirs.sigmoid, ours.sigmoid_backward
    inputs = SHAPES


class TestTanhFunction(Saturating, FunctionParity):
    numpy, torch, backward = ours.tanh, theirs.tanh, ours.tanh_backward
    inputs = SHAPES


class TestMakeActivation(Saturating, ModuleParity):
    numpy, torch = ours.make_activation, theirs.make_activation
    configs = grid(name=["relu", "leaky_relu", "sigmoid", "tanh", "identity"])
    inputs = SHAPES
    aliases = True  # the identity hands on its very input
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
