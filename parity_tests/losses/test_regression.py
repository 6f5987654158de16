"""MSELoss and L1Loss: criteria and pure functions; the share of variance explained."""

from typing import Any

import numpy as np
import pytest
import torch

from numpy_impl.losses import regression as ours
from parity_tests.harness import (
    LAYOUTS,
    FunctionParity,
    Mistake,
    ModuleParity,
    Refusal,
    arrays,
    grid,
)
from parity_tests.harness.bridge import to_numpy
from torch_impl.losses import regression as theirs

SHAPES = [*arrays(""), *arrays("N", N=[0, 1]), *arrays("N C T", N=[7], C=[5], T=[3])]
REDUCTIONS = grid(reduction=["none", "sum", "mean"])
X = np.zeros((3, 2))
REFUSALS = [
    # torch checks the reduction in forward, and broadcasts and promotes where it should not.
    Refusal({"reduction": "avg"}, says="'avg' is not a valid value", torch=False),
    Refusal({}, (X, np.zeros(2)), r"\(3, 2\), got \(2,\)", torch=False),
    Refusal({}, (X, X.astype(np.float32)), "float64 like the input, got float32", torch=False),
    Refusal({}, (X.astype(int), X.astype(int)), "int64"),
    Refusal({}, (X, None), "target must be a NumPy array", torch=False),  # AttributeError there
]


W = np.linspace(0.5, 2, 15).reshape(3, 5)
WEIGHTED = [*REDUCTIONS, *({"weight": W, **config} for config in REDUCTIONS)]
WEIGHT_REFUSALS = [
    Refusal({"reduction": "avg"}, says="'avg' is not a valid value"),
    Refusal({"weight": W[0]}, says=r"weight must have the input's shape, \(3, 5\), got \(5,\)"),
]


class Pairs:
    """A target beside the input, and both 0 in places.

    Equal numbers are made 0: one ulp more or less, with which the budget is measured, then leaves
    them equal, and the kink of the absolute value is met on both sides.
    """

    def make_inputs(self, rng, shape, regime, config):
        x, target = np.array(regime(rng, shape)), np.array(regime(rng, shape))
        apart = (x != target) & (rng.random(shape) < 0.8)
        return x * apart, target * apart


def scaled(base: Any, factor: Any) -> Any:
    """The loss times factor(shape), and its gradient too."""

    class Wrong(base):
        def forward(self, input, target):
            return super().forward(input, target) * np.asarray(factor(input.shape), input.dtype)

        def backward(self, dloss=1.0):
            shape = self._saved[-1].values[0].shape
            return super().backward(dloss) * factor(shape)

    return Wrong


class GradientOfHalf(ours.MSELoss):
    """The gradient of half the loss: the 2 forgotten."""

    def backward(self, dloss=1.0):
        return super().backward(dloss) / 2


class GradientOverSamples(ours.MSELoss):
    """The gradient divided by the batch size, the loss by the number of elements."""

    def backward(self, dloss=1.0):
        shape = self._saved[-1].values[0].shape
        dx = super().backward(dloss)
        return dx * np.prod(shape[1:]) if self.reduction == "mean" else dx


class SignWithoutZero(ours.L1Loss):
    """Gradient -1 where input and target are equal."""

    def backward(self, dloss=1.0):
        dloss, x, target = self.saved_for_backward(dloss)
        share = ours.spread(dloss, x.shape, x.dtype, self.reduction, max(x.size, 1))
        return np.where(x > target, share, -share)


class SquareRoot(ours.MSELoss):
    """Root mean squared error."""

    def forward(self, input, target):
        return np.sqrt(super().forward(input, target))


class TurnedGradient(ours.MSELoss):
    """The gradient of the target."""

    def backward(self, dloss=1.0):
        return -super().backward(dloss)


class SignAlone(ours.L1Loss):
    """The sign of the difference, also for a mean."""

    def backward(self, dloss=1.0):
        size = self._saved[-1].values[0].size
        return super().backward(dloss) * (size if self.reduction == "mean" else 1)


class Huber(ours.L1Loss):
    """Half the square up to a distance of 1."""

    def forward(self, input, target):
        super().forward(input, target)
        d = np.abs(input - target)
        losses = np.where(d < 1, d * d / 2, d - 0.5)
        return ours.reduce(losses, self.reduction, losses.size)

    def backward(self, dloss=1.0):
        dloss, x, target = self.saved_for_backward(dloss)
        share = ours.spread(dloss, x.shape, x.dtype, self.reduction, max(x.size, 1))
        return np.clip(x - target, -1, 1) * share


class Expanded(ours.MSELoss):
    """The square by einsum, last element first."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        if self.reduction == "none" or not input.size:
            return loss
        d = (input - target).ravel()[::-1]
        total = np.einsum("i,i->", d, d)
        return np.asarray(total / (d.size if self.reduction == "mean" else 1))


class ByCases(ours.L1Loss):
    """The difference, turned where it is negative."""

    def forward(self, input, target):
        super().forward(input, target)
        losses = np.where(input > target, input - target, target - input)
        return ours.reduce(losses, self.reduction, losses.size)


class TestMSELoss(Pairs, ModuleParity):
    numpy, torch = ours.MSELoss, theirs.MSELoss
    configs, inputs, refusals = REDUCTIONS, SHAPES, REFUSALS
    mistakes = {
        "half the square": Mistake(
            scaled(ours.MSELoss, lambda shape: 0.5),
            "Textbooks and scikit-learn's MLP put 1/2 before the square; torch does not.",
            "Loss and gradients are half of torch's: the same learning rate learns half as fast.",
        ),
        "gradient without the 2": Mistake(
            GradientOfHalf,
            "The guide's MLP prints mean((a - y)^2) and descends a - y; the 2 of the square is "
            "lost.",
            "The gradient is half of that of the loss, so a gradient check fails by a factor 2.",
        ),
        "gradient over samples, not elements": Mistake(
            GradientOverSamples,
            "The guide's DeepMLP divides its error by the batch size, its loss by all elements.",
            "Gradients are too large by the number of outputs, invisible with a single one.",
        ),
        "loss over samples, not elements": Mistake(
            scaled(ours.MSELoss, lambda shape: np.prod(shape[1:])),
            "Written as a sum over outputs and a mean over samples; torch's mean is over both.",
            "Loss and gradients are too large by the number of outputs.",
        ),
        "summed where a mean is wanted": Mistake(
            scaled(ours.MSELoss, lambda shape: np.prod(shape)),
            "numpy-ml's squared error is a sum.",
            "The step grows with the batch, and a learning rate that works for one size diverges "
            "for another.",
        ),
        "root of the mean": Mistake(
            SquareRoot,
            "A classic slip: the score that is reported, RMSE, is also trained on.",
            "Gradients no longer go with the loss: steps are too large near the minimum.",
        ),
        "gradient with its sign turned": Mistake(
            TurnedGradient,
            "A classic slip: target - output in backward, output - target in forward.",
            "Training climbs the loss.",
        ),
    }
    rewrites = {"expanded": Expanded}


class TestL1Loss(Pairs, ModuleParity):
    numpy, torch = ours.L1Loss, theirs.L1Loss
    configs, inputs = REDUCTIONS, SHAPES
    refusals = [*REFUSALS, Refusal({}, (X, X.astype(bool)), "got bool")]
    mistakes = {
        "gradient -1 where equal": Mistake(
            SignWithoutZero,
            "Written as `np.where(x > y, 1, -1)`; torch's sign of 0 is 0.",
            "What is right already is pushed away from it.",
        ),
        "loss over samples, not elements": Mistake(
            scaled(ours.L1Loss, lambda shape: np.prod(shape[1:])),
            "Written as a sum over outputs and a mean over samples; torch's mean is over both.",
            "Loss and gradients are too large by the number of outputs.",
        ),
        "gradient not of the mean": Mistake(
            SignAlone,
            "A classic slip: sign(x - y), undivided, beside a mean.",
            "Gradients are too large by the number of elements.",
        ),
        "smoothed at 0": Mistake(
            Huber,
            "Code that calls Huber's loss, or smooth L1, the mean absolute error.",
            "Differences below 1 count by half their square.",
        ),
    }
    rewrites = {"np.where": ByCases}


def weighted(loss, backward):
    """What people get wrong about a loss with a weight for every element."""

    def over_n(input, target, *, reduction="mean", weight=None):
        right = loss(input, target, reduction=reduction, weight=weight)
        return right if weight is None or reduction != "mean" else right * weight.mean()

    def over_n_backward(dloss, input, target, *, reduction="mean", weight=None):
        dx = backward(dloss, input, target, reduction=reduction, weight=weight)
        return dx if weight is None or reduction != "mean" else dx * weight.mean()

    def unweighted_backward(dloss, input, target, *, reduction="mean", weight=None):
        return backward(dloss, input, target, reduction=reduction)

    def shared_backward(dloss, input, target, *, reduction="mean", weight=None):
        return backward(dloss, input, target, reduction="sum", weight=weight)

    return {
        "weighted mean over n": Mistake(
            (over_n, over_n_backward),
            "Written as `np.mean(weight * loss)`; torch divides by the sum of the weights.",
            "Loss and gradients grow with the weights and not only with their ratio.",
        ),
        "gradient without weights": Mistake(
            (loss, unweighted_backward),
            "A classic slip: weights come into the loss and not into its backward.",
            "The weights change what is printed and not what is learnt.",
        ),
        "gradient not of the mean": Mistake(
            (loss, shared_backward),
            "A classic slip: the gradient of the sum beside the mean.",
            "Gradients are too large by the number of elements.",
        ),
    }


def weight_squared(input, target, *, reduction="mean", weight=None):
    heavier = None if weight is None else weight * weight
    if weight is None or reduction != "mean":
        return ours.mse_loss(input, target, reduction=reduction, weight=heavier)
    total = ours.mse_loss(input, target, reduction="sum", weight=heavier)
    return np.asarray(total / weight.sum())


def weight_squared_backward(dloss, input, target, *, reduction="mean", weight=None):
    if weight is None:
        return ours.mse_loss_backward(dloss, input, target, reduction=reduction)
    dx = ours.mse_loss_backward(dloss, input, target, reduction=reduction, weight=weight)
    return np.asarray(dx * weight)


class TestMseLossFunction(Pairs, FunctionParity):
    numpy, torch, backward = ours.mse_loss, theirs.mse_loss, ours.mse_loss_backward
    configs, inputs, refusals = WEIGHTED, arrays("N C", N=[3], C=[5]), WEIGHT_REFUSALS
    mistakes = {
        **weighted(ours.mse_loss, ours.mse_loss_backward),
        "weight inside the square": Mistake(
            (weight_squared, weight_squared_backward),
            "Written as the norm of weight * (x - y).",
            "Each difference counts by the square of its weight.",
        ),
    }


class TestL1LossFunction(Pairs, FunctionParity):
    numpy, torch, backward = ours.l1_loss, theirs.l1_loss, ours.l1_loss_backward
    configs, inputs, refusals = WEIGHTED, arrays("N C", N=[3], C=[5]), WEIGHT_REFUSALS
    mistakes = weighted(ours.l1_loss, ours.l1_loss_backward)


def explained(residual, total):
    """1 - residual / total as an array; NaN or -inf where nothing varies."""
    with np.errstate(all="ignore"):
        return np.asarray(1 - np.divide(residual, total))


def swapped(input, target):
    return ours.r2_score(target, input)


def mean_of_the_predictions(input, target):
    residual = np.square(target - input).sum()
    return explained(residual, np.square(target - input.mean(axis=0)).sum())


def one_mean(input, target):
    return explained(np.square(target - input).sum(), np.square(target - target.mean()).sum())


def averaged(input, target):
    scores = explained(np.square(target - input).sum(0), np.square(target - target.mean(0)).sum(0))
    return np.asarray(scores.mean())


def unbiased(input, target):
    residual = np.square(target - input).mean()
    total = np.square(target - target.mean(axis=0)).sum() * len(target) / target.size
    return explained(residual, np.divide(total, np.asarray(len(target) - 1, float)))


def correlation_squared(input, target):
    with np.errstate(all="ignore"):
        x, y = input - input.mean(axis=0), target - target.mean(axis=0)
        return np.asarray((x * y).sum() ** 2 / ((x * x).sum() * (y * y).sum()))


class TestR2Score(Pairs, FunctionParity):
    numpy, torch = ours.r2_score, theirs.r2_score
    mistakes = {
        "arguments swapped": Mistake(
            swapped,
            "scikit-learn's r2_score takes the truth first, a loss of torch the prediction.",
            "Measured against how much the predictions vary: a model that says the mean everywhere "
            "gets minus infinity.",
        ),
        "mean of the predictions": Mistake(
            mean_of_the_predictions,
            "A classic slip: the targets' distance to the mean of the wrong array.",
            "A model that is off by a constant is forgiven for it.",
        ),
        "one mean for all outputs": Mistake(
            one_mean,
            "Written with `target.mean()` without an axis, right for a single output.",
            "Outputs of different means seem explained by a model that knows nothing but these.",
        ),
        "outputs averaged": Mistake(
            averaged,
            "scikit-learn's default for several outputs is the mean of their scores; pooled is its "
            "variance_weighted.",
            "An output that hardly varies counts as much as the others, and can be -1e6.",
        ),
        "unbiased variance": Mistake(
            unbiased,
            "A mean of squares over `np.var(y, ddof=1)`.",
            "1 - R2 is too small by (n - 1) / n: a model that says the mean gets 1 / n.",
        ),
        "correlation squared": Mistake(
            correlation_squared,
            "The r^2 of a fitted line, scipy's linregress for one, taken for any model's.",
            "Never below 0: what is wrong by a factor, a constant or its sign is still perfect.",
        ),
    }
    layouts = {k: v for k, v in LAYOUTS.items() if k != "broadcast"}  # 1 - x/0: nothing varies
    inputs = [*arrays("N", N=[1, 9]), *arrays("N C", N=[7], C=[3])]


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool"])
def test_whole_targets_are_taken_in_the_dtype_of_the_input(name, dtype):
    x, target = np.array([0.5, 2.0], np.float32), np.array([1, 0]).astype(dtype)
    criterion, tensor = getattr(ours, name)(), torch.from_numpy(x).requires_grad_()
    if (name, dtype) == ("L1Loss", "bool"):  # refused on both sides, see TestL1Loss
        return
    expected = getattr(theirs, name)()(tensor, torch.from_numpy(target))
    expected.backward()
    loss = criterion(x, target)
    assert loss.dtype == np.float32 and loss == expected.item()
    np.testing.assert_array_equal(criterion.backward(), to_numpy(tensor.grad))


def test_a_float32_square_that_overflows_is_infinite_and_silent():
    criterion = ours.MSELoss()
    assert criterion(np.array([1e30], np.float32), np.array([0], np.float32)) == np.inf
    assert criterion.backward() == np.float32(2e30)


def test_a_gradient_for_the_loss_scales_the_gradient_of_the_input():
    x, target = np.array([1, 2], np.float32), np.array([0, 0], np.float32)
    criterion = ours.MSELoss(reduction="sum")
    criterion(x, target)
    np.testing.assert_array_equal(criterion.backward(3.0), [6, 12])
    unreduced = ours.MSELoss(reduction="none")
    unreduced(x, target)
    with pytest.raises(RuntimeError, match="shaped like its output"):
        unreduced.backward()


def test_r2_is_0_for_the_mean_and_1_for_the_truth():
    target = np.array([[1.0, 5], [2, 5], [6, 8]])
    assert ours.r2_score(target, target) == 1
    mean = np.broadcast_to(target.mean(axis=0), target.shape)
    assert ours.r2_score(mean, target) == 0
