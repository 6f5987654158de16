"""Softmax and LogSoftmax: layers, pure functions, and the place where a classifier has them."""

import numpy as np
import pytest
import torch

import numpy_impl
from numpy_impl.layers import softmax as ours
from numpy_impl.layers.activation import sigmoid
from numpy_impl.layers.linear import linear_classifier
from parity_tests.harness import (
    FunctionParity,
    Mistake,
    ModuleParity,
    Refusal,
    arrays,
    as_functions,
    grid,
)
from parity_tests.harness.bridge import to_numpy, to_torch
from torch_impl.layers import softmax as theirs
from torch_impl.layers.linear import linear_classifier as torch_classifier

SHAPES = [
    *arrays("N C", N=[0, 1], C=[4]),
    *arrays("N C", N=[3], C=[0, 1, 48, 60]),
    *arrays("N C T", N=[7], C=[5], T=[2, 3]),
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


class ShiftedByOne(ours.Softmax):
    """Less the maximum of the whole batch."""

    @np.errstate(all="ignore")
    def forward(self, x):
        super().forward(x)
        e = np.exp(x - x.max(initial=-np.inf))
        return e / total(e, self.dim)


class OtherAxis(ours.Softmax):
    """Along the axis before."""

    def forward(self, x):
        self.dim = (self.dim % x.ndim + 1) % x.ndim
        return super().forward(x)


class LogOfFloored(ours.LogSoftmax):
    """log(p + 1e-9)."""

    def forward(self, x):
        return np.log(np.exp(super().forward(x)) + 1e-9)


class BySumOfLogs(ours.Softmax):
    """exp of the scores less their log-sum-exp, added up two by two."""

    def forward(self, x):
        y = super().forward(x)
        return np.exp(ours.log_softmax(x, self.dim)) if np.abs(x).max(initial=0) < 10 else y


def by_jacobian(dy, y, axis):
    """diag(y) - y y^T, made whole and applied with einsum."""
    y, dy = np.moveaxis(y, axis, -1), np.moveaxis(dy, axis, -1)
    jacobian = (
        np.einsum("...i,ij->...ij", y, np.eye(y.shape[-1])) - y[..., :, None] * y[..., None, :]
    )
    return np.moveaxis(np.einsum("...ij,...j->...i", jacobian, dy), -1, axis)


class ByLogAddExp(ours.LogSoftmax):
    """The log-sum-exp added up two by two."""

    def forward(self, x):
        super().forward(x)
        sums = np.logaddexp.reduce(x, axis=self.dim, keepdims=True) if x.shape[self.dim] else x
        return x - sums


class TestSoftmax(Unsure, ModuleParity):
    numpy, torch = ours.Softmax, theirs.Softmax
    configs = grid(dim=[0, -1, 1])
    inputs = SHAPES
    refusals = REFUSALS
    mistakes = {
        "backward y * dy": Mistake(
            backward(lambda dy, y, axis: y * dy),
            "A classic slip: y * sum(y * dy) is dropped; a cotangent of ones does not show it "
            "in tests that only look at the sum.",
            "Gradients no longer sum to 0, so all scores drift together.",
        ),
        "backward y * (1 - y) * dy": Mistake(
            backward(lambda dy, y, axis: y * (1 - y) * dy),
            "A classic slip of tutorials: the diagonal of the Jacobian, which is the sigmoid's "
            "derivative.",
            "How a class competes with the others is lost; it is right for one score alone.",
        ),
        "backward y - dy": Mistake(
            backward(lambda dy, y, axis: y - dy),
            "A classic slip: p - y, the gradient of cross-entropy, is taken for softmax's own.",
            "The gradient does not vanish where none comes in.",
        ),
        "backward less the mean of dy": Mistake(
            backward(lambda dy, y, axis: y * (dy - total(dy, axis) / max(dy.shape[axis], 1))),
            "A classic slip: the mean of dy for its mean under y.",
            "Right for equal probabilities only; wrong as soon as the network is sure.",
        ),
        "backward sums over everything": Mistake(
            backward(lambda dy, y, axis: y * (dy - (y * dy).sum())),
            "Written with `np.sum` without an axis, right for a single sample.",
            "Samples of a batch push each other's scores.",
        ),
        "backward with the sign turned": Mistake(
            backward(lambda dy, y, axis: y * (total(y * dy, axis) - dy)),
            "A classic slip: the two terms the wrong way round.",
            "Training climbs the loss.",
        ),
        "no shift": Mistake(
            Unshifted,
            "Written as `exp(x) / sum(exp(x))`.",
            "NaN for a score above 710, 89 in float32, and 0 / 0 where all are below -745.",
        ),
        "shifted by one maximum": Mistake(
            ShiftedByOne,
            "Written with `x.max()` without an axis, right for a single sample.",
            "Samples far below the largest score of the batch underflow to 0 / 0.",
        ),
        "sum over everything": Mistake(
            SumOverEverything,
            "Written with `np.sum` without an axis, right for a single sample.",
            "Probabilities sum to 1 over the batch: each is N times too small.",
        ),
        "the other axis": Mistake(
            OtherAxis,
            "A classic slip: axis 0, the batch, for axis 1, the classes.",
            "Samples compete instead of classes; a batch of one gives ones.",
        ),
    }
    rewrites = {"log-sum-exp": BySumOfLogs, "by the Jacobian": backward(by_jacobian)}


class TestLogSoftmax(Unsure, ModuleParity):
    numpy, torch = ours.LogSoftmax, theirs.LogSoftmax
    configs = grid(dim=[0, -1, 1])
    inputs = SHAPES
    refusals = REFUSALS
    mistakes = {
        "log of softmax": Mistake(
            LogOfSoftmax,
            "Written as `np.log(softmax(x))`.",
            "-inf where a probability underflows, then NaN in the gradient.",
        ),
        "logarithm of a floor": Mistake(
            LogOfFloored,
            "A common cure for log(0): `np.log(softmax(x) + 1e-9)`.",
            "No score is below -20.7, and small probabilities are off by as much as they are.",
        ),
        "backward (1 - p) * dy": Mistake(
            log_backward(lambda dy, y, axis: dy * (1 - np.exp(y))),
            "A classic slip: the diagonal of the Jacobian.",
            "Right where only one class gets a gradient, and there for that class only.",
        ),
        "backward dy - p": Mistake(
            log_backward(lambda dy, y, axis: dy - np.exp(y)),
            "A classic slip: the sum of dy is taken for 1, as it is behind a summed loss.",
            "Wrong as soon as the loss is a mean, or weighted.",
        ),
        "backward y for p": Mistake(
            log_backward(lambda dy, y, axis: dy - y * total(dy, axis)),
            "A classic slip: the saved output is a logarithm and is used as a probability.",
            "Gradients grow with how sure the network is against a class.",
        ),
    }
    rewrites = {"np.logaddexp": ByLogAddExp}


class TestSoftmaxFunction(Unsure, FunctionParity):
    numpy, torch, backward = ours.softmax, theirs.softmax, ours.softmax_backward
    configs = grid(dim=[0, -1])
    inputs = [*arrays(""), *arrays("N C", N=[5], C=[3])]
    mistakes = as_functions(TestSoftmax.mistakes, ours.softmax)
    refusals = [Refusal({"dim": None}, says="wants dim", torch=False)]


class TestLogSoftmaxFunction(Unsure, FunctionParity):
    numpy, torch, backward = ours.log_softmax, theirs.log_softmax, ours.log_softmax_backward
    configs = grid(dim=[0, -1])
    inputs = [*arrays(""), *arrays("N C", N=[5], C=[3])]
    mistakes = as_functions(TestLogSoftmax.mistakes, ours.log_softmax)
    refusals = [Refusal({"dim": None}, says="wants dim", torch=False)]


def probabilities(of):
    """predict_proba with something else than the softmax over classes: of(logits)."""
    return lambda model, x: of(model(x))


class TestPredictProba(FunctionParity):
    numpy, torch = ours.predict_proba, theirs.predict_proba
    inputs = arrays("N 2 3", N=[0, 1, 4])
    mistakes = {
        "over the batch": Mistake(
            probabilities(lambda logits: ours.softmax(logits, 0)),
            "A classic slip: axis 0, right for the scores of a single sample.",
            "Each class sums to 1 over the samples; a sample asked for alone has ones.",
        ),
        "a sigmoid a class": Mistake(
            probabilities(sigmoid),
            "Code that comes from yes-or-no outputs, where every one has its own sigmoid.",
            "The most likely class stays, but probabilities do not sum to 1.",
        ),
        "logits as they are": Mistake(
            probabilities(lambda logits: logits),
            "A model that ends in logits taken for one that ends in a softmax.",
            "The most likely class stays, but numbers below 0 and above 1 go for probabilities.",
        ),
        "softmax twice": Mistake(
            probabilities(lambda logits: ours.softmax(ours.softmax(logits, 1), 1)),
            "A softmax in the model, and another where it is asked.",
            "Nearly even: with many classes no probability is above e times another.",
        ),
        "scores over their sum": Mistake(
            probabilities(lambda logits: logits / logits.sum(axis=1, keepdims=True)),
            "A classic slip: normalised as counts are, without the exponential.",
            "Negative where scores differ in sign, and huge where they cancel.",
        ),
    }

    def call(self, inputs, config):
        numpy_impl.manual_seed(0)
        model = linear_classifier(6, 5).to(getattr(inputs[0], "dtype", np.float64))
        return type(self).numpy(model, *inputs)

    def call_torch(self, inputs, config):
        numpy_impl.manual_seed(0)
        model = torch_classifier(6, 5).to(inputs[0].dtype)
        state = linear_classifier(6, 5).state_dict()
        model.load_state_dict(to_torch(state))
        return theirs.predict_proba(model, *inputs)

    def beside_torch(self, settings, stand_in):
        return iter(())  # each side wants a model of its own


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
