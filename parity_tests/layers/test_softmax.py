"""Softmax and LogSoftmax: layers, pure functions, and the place where a classifier has them."""

import numpy as np
import pytest
import torch

import numpy_impl
from numpy_impl.layers import softmax as ours
from numpy_impl.layers.linear import linear_classifier
from parity_tests.harness import FunctionParity, ModuleParity, Refusal, arrays, grid
from parity_tests.harness.bridge import to_numpy, to_torch
from torch_impl.layers import softmax as theirs
from torch_impl.layers.linear import linear_classifier as torch_classifier

SHAPES = [
    *arrays("N C", N=[0, 1], C=[4]),
    *arrays("N C", N=[3], C=[0, 1, 48, 60]),
    *arrays("N C T", N=[7], C=[5], T=[3]),
]
REFUSALS = [
    Refusal({"dim": None}, says="wants dim", torch=False),  # torch guesses, with a warning
    Refusal({"dim": 2}, (np.ones((2, 3)),), r"\[-2, 1\], got 2"),
    Refusal({"dim": 1}, (np.array(1.0),), r"\[-1, 0\], got 1"),
    Refusal({"dim": 0}, (np.ones(3, np.int64),), "int64"),
]


class Unsure:
    """Some unsure distributions among all others, whichever the axis.

    Where all are sure every gradient is what rounding leaves of dy - dy, with no digit that two
    right programs must share; the budget is a share of the largest gradient.
    """

    def make_inputs(self, rng, shape, regime, config):
        x = np.array(regime(rng, shape))
        if x.size >= 15 and x.ndim > 1:
            x[0] = rng.standard_normal(x[0].shape)
            x[..., 0] = rng.standard_normal(x[..., 0].shape)
        return (x,)


def backward(formula):
    """Softmax with another backward: formula(dy, y, axis)."""

    class Wrong(ours.Softmax):
        def backward(self, dy):
            dy, y = self.saved_for_backward(dy)
            return formula(dy, y, self.dim)

    return Wrong


def log_backward(formula):
    """LogSoftmax with another backward: formula(dy, y, axis)."""

    class Wrong(ours.LogSoftmax):
        def backward(self, dy):
            dy, y = self.saved_for_backward(dy)
            return formula(dy, y, self.dim)

    return Wrong


def total(x, axis):
    return x.sum(axis=axis, keepdims=True)


class Unshifted(ours.Softmax):
    """exp of the bare scores, which overflows."""

    @np.errstate(all="ignore")
    def forward(self, x):
        super().forward(x)
        return np.exp(x) / total(np.exp(x), self.dim)


class SumOverEverything(ours.Softmax):
    """Probabilities that sum to 1 over the whole batch."""

    @np.errstate(all="ignore")
    def forward(self, x):
        y = super().forward(x)
        return y / y.sum()


class LogOfSoftmax(ours.LogSoftmax):
    """The logarithm taken after the exponential: -inf where a probability underflows."""

    @np.errstate(all="ignore")
    def forward(self, x):
        super().forward(x)
        return np.log(ours.softmax(x, self.dim))


class TestSoftmax(Unsure, ModuleParity):
    numpy, torch = ours.Softmax, theirs.Softmax
    configs = grid(dim=[0, -1, 1])
    inputs = SHAPES
    refusals = REFUSALS
    mistakes = {
        "backward y * dy": backward(lambda dy, y, axis: y * dy),
        "backward y * (1 - y) * dy": backward(lambda dy, y, axis: y * (1 - y) * dy),
        "backward y - dy": backward(lambda dy, y, axis: y - dy),
        "backward less the mean of dy": backward(
            lambda dy, y, axis: y * (dy - total(dy, axis) / max(dy.shape[axis], 1))
        ),
        "backward sums over everything": backward(lambda dy, y, axis: y * (dy - (y * dy).sum())),
        "no shift": Unshifted,
        "sum over everything": SumOverEverything,
    }


class TestLogSoftmax(Unsure, ModuleParity):
    numpy, torch = ours.LogSoftmax, theirs.LogSoftmax
    configs = grid(dim=[0, -1, 1])
    inputs = SHAPES
    refusals = REFUSALS
    mistakes = {
        "log of softmax": LogOfSoftmax,
        "backward (1 - p) * dy": log_backward(lambda dy, y, axis: dy * (1 - np.exp(y))),
        "backward dy - p": log_backward(lambda dy, y, axis: dy - np.exp(y)),
        "backward y for p": log_backward(lambda dy, y, axis: dy - y * total(dy, axis)),
    }


class TestSoftmaxFunction(Unsure, FunctionParity):
    numpy, torch, backward = ours.softmax, theirs.softmax, ours.softmax_backward
    configs = grid(dim=[0, -1])
    inputs = [*arrays(""), *arrays("N C", N=[5], C=[3])]
    refusals = [Refusal({"dim": None}, says="wants dim", torch=False)]


class TestLogSoftmaxFunction(Unsure, FunctionParity):
    numpy, torch, backward = ours.log_softmax, theirs.log_softmax, ours.log_softmax_backward
    configs = grid(dim=[0, -1])
    inputs = [*arrays(""), *arrays("N C", N=[5], C=[3])]
    refusals = [Refusal({"dim": None}, says="wants dim", torch=False)]


class TestPredictProba(FunctionParity):
    numpy, torch = ours.predict_proba, theirs.predict_proba
    inputs = arrays("N 2 3", N=[0, 1, 4])

    def call(self, inputs, config):
        numpy_impl.manual_seed(0)
        model = linear_classifier(6, 5).to(getattr(inputs[0], "dtype", np.float64))
        return ours.predict_proba(model, *inputs)

    def call_torch(self, inputs, config):
        numpy_impl.manual_seed(0)
        model = torch_classifier(6, 5).to(inputs[0].dtype)
        state = linear_classifier(6, 5).state_dict()
        model.load_state_dict(to_torch(state))
        return theirs.predict_proba(model, *inputs)


@pytest.mark.parametrize("dim", [1.0, True, "a"])
def test_an_axis_is_a_whole_number(dim):
    with pytest.raises(TypeError, match=f"int, got {type(dim).__name__}"):
        ours.Softmax(dim)
    with pytest.raises(TypeError, match="int"):
        theirs.Softmax(dim)(torch.ones(2, 2))


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("values", [[np.inf, 0], [-np.inf, -np.inf], [-np.inf, 0], [np.nan, 0]])
def test_infinite_scores_give_what_torch_gives(name, values):
    x, dy = np.array(values, np.float32), np.array([1, 2], np.float32)
    layer, tensor = getattr(ours, name)(-1), torch.from_numpy(x).requires_grad_()
    expected = getattr(theirs, name)(-1)(tensor)
    expected.backward(torch.from_numpy(dy))
    np.testing.assert_array_equal(layer(x), expected.detach().numpy())
    np.testing.assert_array_equal(layer.backward(dy), to_numpy(tensor.grad))


def test_predict_proba_saves_nothing_and_leaves_every_mode_as_it_was():
    model = linear_classifier(6, 3).train()
    model[1].eval()
    ours.predict_proba(model, np.ones((2, 6), np.float32))
    assert [m.training for m in model.modules()] == [True, True, False]
    with pytest.raises(RuntimeError, match="no forward"):
        model.backward(np.ones((2, 3), np.float32))
