"""BCELoss and BCEWithLogitsLoss: criteria and pure functions; the weight of the positives."""

from typing import Any

import numpy as np
import pytest
import torch

from numpy_impl.layers.activation import sigmoid
from numpy_impl.losses import binary_cross_entropy as ours
from parity_tests.harness import (
    FunctionParity,
    Mistake,
    ModuleParity,
    Refusal,
    arrays,
    as_functions,
)
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.inputs import Config
from torch_impl.losses import binary_cross_entropy as theirs

SHAPES = [
    *arrays(""),
    *arrays("N", N=[0, 1]),
    *arrays("N C", N=[7], C=[5]),
]
CONFIGS: list[Config] = [{}, {"reduction": "none"}, {"reduction": "sum"}]
X = np.full((4, 3), 0.5)
REFUSALS = [
    Refusal({}, (X, X[0]), r"\(4, 3\), got \(3,\)"),
    Refusal({}, (X[:, :1], X[:, 0]), r"\(4, 1\), got \(4,\)"),
    Refusal({}, (X, X.astype(int)), "got int64"),
    Refusal({}, (X, X > 0), "got bool"),
    Refusal({}, (X.astype(int), X), "int64"),
    Refusal({"reduction": "avg"}, says="'avg' is not a valid value", torch=False),  # in forward
    Refusal({"weight": [1.0]}, says="weight is a buffer"),
    *(
        Refusal({"weight": np.ones(shape)}, (X, X), "weight must broadcast", torch=False)
        for shape in ((5, 4, 3), (4,), (1, 4, 3))  # tested below: torch wants a tensor
    ),
]
WEIGHTED: list[Config] = [{"weight": (5,)}, {"weight": (7, 1), "reduction": "none"}]
LOGIT_WEIGHTED: list[Config] = [
    {},
    *WEIGHTED,
    {"pos_weight": (5,)},
    {"weight": (1,), "pos_weight": (7, 1)},
]


class Weighed(ModuleParity):
    """Weights given as shapes of ones, which `make_state` makes random."""

    def make_state(self, rng, key, like):
        return rng.uniform(0.2, 3.0, like.shape)

    def arguments(self, config):
        return weighed(config)


def weighed(config):
    return {k: np.ones(v) if isinstance(v, tuple) else v for k, v in config.items()}


class Chances:
    """Probabilities from the regime's numbers, tiny ones and near 1 in equal shares, and targets.

    What is near 1 has six decimals, or one ulp would change 1 - p by half and prove nothing; exact
    ones and zeros are among them. The budget moves every number by one ulp and leaves zeros alone;
    here ones must stay too, for above 1 is no probability and just below is another loss.
    """

    def make_inputs(self, rng, shape, regime, config):
        tiny = np.asarray(sigmoid(-np.abs(regime(rng, shape))))
        p = np.where(rng.random(shape) < 0.5, tiny, 1 - np.round(tiny, 6))
        return p, rng.random(shape).round(rng.integers(0, 4))

    def build_torch(self, config, dtype):
        class BCELoss(theirs.BCELoss):
            def forward(self, input, target):
                return super().forward(ones_stay(input), ones_stay(target))

        return BCELoss(**to_torch(weighed(config))).to(dtype)

    def call_torch(self, inputs, config):
        return theirs.binary_cross_entropy(*map(ones_stay, inputs), **config)


def ones_stay(x):
    near = (x > 1 - 5e-7) & (x < 1 + 5e-7)
    return x + torch.where(near, 1 - x, 0).detach()


class Scored:
    """Logits and targets, some of which are exactly 0 or 1."""

    def make_inputs(self, rng, shape, regime, config):
        return regime(rng, shape), rng.random(shape).round(rng.integers(0, 4))


class NoFloor(ours.BCELoss):
    """Logarithms as they are."""

    @np.errstate(all="ignore")
    def forward(self, input, target):
        super().forward(input, target)
        losses = -(target * np.log(input) + (1 - target) * np.log1p(-input))
        return ours.reduce(losses, self.reduction, losses.size)


class AddedEpsilon(ours.BCELoss):
    """Probabilities clipped to [1e-7, 1 - 1e-7], as Keras does."""

    def forward(self, input, target):
        super().forward(input, target)
        return ours.binary_cross_entropy(
            input.clip(1e-7, 1 - 1e-7), target, self.weight, reduction=self.reduction
        )


class GradientOfLogits(ours.BCELoss):
    """p - y, which is the gradient of the logits and not of the probabilities."""

    def backward(self, dloss=1.0):
        dloss, p, y, weight = self.saved_for_backward(dloss)
        share = ours.spread(dloss, p.shape, p.dtype, self.reduction, max(p.size, 1))
        return (p - y) * share


class NoCount(ours.BCEWithLogitsLoss):
    """The gradient of the sum beside the mean."""

    def backward(self, dloss=1.0):
        n = self._saved[-1].values[0].size if self.reduction == "mean" else 1
        return super().backward(dloss) * n


class ThroughSigmoid(ours.BCEWithLogitsLoss):
    """BCELoss of the sigmoid, which is flat where the sigmoid is 0 or 1."""

    @np.errstate(all="ignore")
    def forward(self, input, target):
        loss = super().forward(input, target)
        through = ours.binary_cross_entropy(sigmoid(input), target, reduction=self.reduction)
        return loss if self.pos_weight is not None or self.weight is not None else through


class WeightOnEverything(ours.BCEWithLogitsLoss):
    """pos_weight on the noes too."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        if self.pos_weight is None or self.weight is not None:
            return loss
        return ours.binary_cross_entropy_with_logits(
            input, target, self.pos_weight, reduction=self.reduction
        )


class EpsilonInLog(ours.BCELoss):
    """log(p + 1e-8)."""

    @np.errstate(all="ignore")
    def forward(self, input, target):
        super().forward(input, target)
        a, b = np.log(input + 1e-8), np.log(1 - input + 1e-8)
        losses = -(target * a + (1 - target) * b)
        return ours.reduce(losses, self.reduction, losses.size)


class OnesOnly(ours.BCELoss):
    """-y log(p)."""

    @np.errstate(all="ignore")
    def forward(self, input, target):
        super().forward(input, target)
        losses = -target * np.maximum(np.log(input), -100)
        return ours.reduce(losses, self.reduction, losses.size)

    def backward(self, dloss=1.0):
        dloss, p, y, weight = self.saved_for_backward(dloss)
        share = ours.spread(dloss, p.shape, p.dtype, self.reduction, max(p.size, 1))
        return -y / np.maximum(p, 1e-12) * share


class Bits(ours.BCELoss):
    """Logarithms to base 2."""

    def forward(self, input, target):
        return super().forward(input, target) / np.log(2)

    def backward(self, dloss=1.0):
        return super().backward(dloss) / np.log(2)


class ChosenLogs(ours.BCELoss):
    """Both logarithms held at -100 by choice, not by maximum."""

    @np.errstate(all="ignore")
    def forward(self, input, target):
        super().forward(input, target)
        a, b = np.log(input), np.log1p(-input)
        a, b = np.where(a > -100, a, -100.0), np.where(b > -100, b, -100.0)
        losses = -(target * a + b - target * b)
        return ours.reduce(losses, self.reduction, losses.size)


class SigmoidTwice(ours.BCEWithLogitsLoss):
    """Probabilities in the place of logits."""

    def forward(self, input, target):
        self.p = sigmoid(input)
        return super().forward(self.p, target)

    def backward(self, dloss=1.0):
        return super().backward(dloss) * self.p * (1 - self.p)


class OverSamples(ours.BCEWithLogitsLoss):
    """The sum over outputs."""

    def forward(self, input, target):
        self.outputs = np.prod(input.shape[1:]) if self.reduction == "mean" else 1
        return np.asarray(super().forward(input, target) * self.outputs)

    def backward(self, dloss=1.0):
        return super().backward(dloss) * self.outputs


class UnweightedGradient(ours.BCEWithLogitsLoss):
    """sigmoid(x) - y beside a weighted loss."""

    def backward(self, dloss=1.0):
        kept, self.pos_weight = self.pos_weight, None
        entry = self._saved[-1]
        values = tuple(None if v is kept else v for v in entry.values)
        self._saved[-1] = entry._replace(values=values)
        dx = super().backward(dloss)
        self.pos_weight = kept
        return dx


class ByLogAddExp(ours.BCEWithLogitsLoss):
    """log(1 + exp(x)) - x y."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        if self.weight is not None or np.abs(input).max(initial=0) > 20:
            return loss
        losses = np.logaddexp(0, input) - input * target
        return ours.reduce(losses, self.reduction, losses.size)


class TestBCELoss(Chances, ModuleParity):
    numpy, torch = ours.BCELoss, theirs.BCELoss
    configs, inputs, modes = CONFIGS, SHAPES, ("train",)
    refusals = [
        *REFUSALS,
        *(
            Refusal({}, (np.array([p]), np.ones(1)), "of input should be between 0 and 1")
            for p in (-0.1, 1.1, np.nan, np.inf)
        ),
        *(
            Refusal({}, (np.ones(1), np.array([y])), "of target should be between 0 and 1")
            for y in (-0.1, 1.1, np.nan)
        ),
        Refusal({}, (X, X.astype(np.float32)), "float64 like the input, got float32"),
    ]
    mistakes = {
        "no floor under the logarithm": Mistake(
            NoFloor,
            "Written as the formula stands; torch holds each logarithm at -100 or above.",
            "Infinity for a probability of exactly 0 or 1, and NaN in every weight after it.",
        ),
        "probabilities clipped": Mistake(
            AddedEpsilon,
            "Keras clips probabilities to [1e-7, 1 - 1e-7].",
            "A wrong certainty costs 16 where torch says 100, and its gradient ends there.",
        ),
        "epsilon in the logarithm": Mistake(
            EpsilonInLog,
            "A common cure for log(0): `np.log(p + 1e-8)`.",
            "Every loss is off by about 1e-8 / p, a wrong certainty costs 18 instead of 100.",
        ),
        "gradient p - y": Mistake(
            GradientOfLogits,
            "A classic slip: the gradient of the logits is taken for that of the probabilities.",
            "A sigmoid's own backward comes on top: gradients vanish where it is sure.",
        ),
        "only the ones counted": Mistake(
            OnesOnly,
            "A classic slip: -y log(p), cross-entropy's formula, for a single output.",
            "Saying 1 to everything costs nothing.",
        ),
        "base 2": Mistake(
            Bits,
            "Code that measures in bits, or writes log2 where log is meant.",
            "Loss and gradients are 1.44 times as large.",
        ),
    }
    rewrites = {"np.where": ChosenLogs}


class OverTheWeights(ours.BCELoss):
    """The mean as cross-entropy has it."""

    weight: Any

    def _share(self, shape):
        whole = self.reduction == "mean"
        return 1 / np.broadcast_to(self.weight, shape).mean() if whole else 1.0

    def forward(self, input, target):
        return np.asarray(super().forward(input, target) * self._share(input.shape), input.dtype)

    def backward(self, dloss=1.0):
        dp = super().backward(dloss)
        return np.asarray(dp * self._share(dp.shape), dp.dtype)


class WeightInForwardOnly(ours.BCELoss):
    """The gradient of the loss without its weight."""

    def backward(self, dloss=1.0):
        dloss, p, y, _ = self.saved_for_backward(dloss)
        return ours.binary_cross_entropy_backward(dloss, p, y, reduction=self.reduction)


class WeightOfTheOnes(ours.BCELoss):
    """-(w y log p + (1 - y) log(1 - p))."""

    weight: Any

    def forward(self, input, target):
        weight = np.asarray(np.where(target > 0.5, self.weight, 1), input.dtype)
        loss = ours.binary_cross_entropy(input, target, weight, reduction=self.reduction)
        self.save_for_backward(loss, input, target, weight)
        return loss


class TestBCELossWeighted(Chances, Weighed):
    numpy, torch = ours.BCELoss, theirs.BCELoss
    configs, inputs, modes = WEIGHTED, SHAPES[-1:], ("train",)
    mistakes = {
        "mean over the weights": Mistake(
            OverTheWeights,
            "The convention of CrossEntropyLoss, whose mean divides by the sum of the weights.",
            "Loss and gradients no longer grow with the weights, only with their ratio.",
        ),
        "weight in forward only": Mistake(
            WeightInForwardOnly,
            "A classic slip: the weight comes into the loss and not into its backward.",
            "The weight changes what is printed and not what is learnt.",
        ),
        "weight on the ones only": Mistake(
            WeightOfTheOnes,
            "pos_weight's meaning for a weight that stands before the whole loss.",
            "Zeros count as much as they did.",
        ),
    }


class TestBCEWithLogitsLoss(Scored, ModuleParity):
    numpy, torch = ours.BCEWithLogitsLoss, theirs.BCEWithLogitsLoss
    configs, inputs, modes = CONFIGS, SHAPES, ("train",)
    refusals = [
        *REFUSALS,  # torch promotes a float64 target
        Refusal({}, (X.astype(np.float32), X), "float32 like the input, got float64", torch=False),
        Refusal({"pos_weight": np.ones(4)}, (X, X), "pos_weight must broadcast", torch=False),
    ]
    mistakes = {
        "gradient not of the mean": Mistake(
            NoCount,
            "A classic slip: sigmoid(x) - y, undivided, beside a mean.",
            "Gradients are too large by the number of elements.",
        ),
        "through the sigmoid": Mistake(
            ThroughSigmoid,
            "Written as BCELoss(sigmoid(x)).",
            "Flat at a loss of 100 where the sigmoid is exactly 0 or 1: the worst mistakes are "
            "not learnt from.",
        ),
        "probabilities handed in": Mistake(
            SigmoidTwice,
            "A network that ends in a sigmoid, in front of the loss with logits.",
            "All logits lie between 0 and 1: the loss cannot fall below 0.31 for a one, 0.69 for "
            "a zero.",
        ),
        "over samples, not elements": Mistake(
            OverSamples,
            "Written as a sum over outputs and a mean over samples; torch's mean is over both.",
            "Loss and gradients are too large by the number of outputs.",
        ),
    }
    rewrites = {"np.logaddexp": ByLogAddExp}


class TestBCEWithLogitsLossWeighted(Scored, Weighed):
    numpy, torch = ours.BCEWithLogitsLoss, theirs.BCEWithLogitsLoss
    configs, inputs, modes = LOGIT_WEIGHTED, SHAPES[-1:], ("train",)
    mistakes = {
        "pos_weight on noes too": Mistake(
            WeightOnEverything,
            "A classic slip: the weight multiplies the whole loss of an output.",
            "The rare positives weigh no more than they did.",
        ),
        "pos_weight in forward only": Mistake(
            UnweightedGradient,
            "A classic slip: sigmoid(x) - y is kept for the gradient when the weight comes in.",
            "The weight changes what is printed and not what is learnt.",
        ),
    }


class TestBinaryCrossEntropyFunction(Chances, FunctionParity):
    numpy, torch = ours.binary_cross_entropy, theirs.binary_cross_entropy
    backward = ours.binary_cross_entropy_backward
    configs = [{}, {"weight": np.array([0.5, 2.0, 3.0]), "reduction": "none"}]
    inputs = arrays("N C", N=[5], C=[3])
    mistakes = as_functions(TestBCELoss.mistakes, ours.binary_cross_entropy)
    refusals = [  # an AttributeError in torch
        Refusal({"weight": [1.0]}, says="weight must be a NumPy array, got list", torch=False),
        Refusal({}, (np.array([1.1]), np.ones(1)), "of input should be between 0 and 1, got 1.1"),
        Refusal({}, (np.ones(1), np.array([1.1])), "of target should be between 0 and 1, got 1.1"),
    ]


class TestBinaryCrossEntropyWithLogitsFunction(Scored, FunctionParity):
    numpy, torch = ours.binary_cross_entropy_with_logits, theirs.binary_cross_entropy_with_logits
    backward = ours.binary_cross_entropy_with_logits_backward
    configs = [
        {"reduction": "none"},
        {"weight": np.array([0.5, 2.0, 3.0]), "pos_weight": np.array([[0.1], [2], [3], [1], [9]])},
    ]
    inputs = arrays("N C", N=[5], C=[3])
    mistakes = as_functions(
        {
            **TestBCEWithLogitsLoss.mistakes,
            "pos_weight in forward only": TestBCEWithLogitsLossWeighted.mistakes[
                "pos_weight in forward only"
            ],
        },
        ours.binary_cross_entropy_with_logits,
    )
    refusals = [
        Refusal({"weight": [1.0]}, says="weight must be a NumPy array, got list"),
        Refusal({"pos_weight": [1.0]}, says="pos_weight must be a NumPy array, got list"),
        Refusal({"weight": np.ones(2)}, says=r"weight must broadcast .* \(5, 3\), got \(2,\)"),
    ]


@np.errstate(all="ignore")
def upside_down(targets):
    yes = targets.sum(axis=0)
    return np.asarray(np.where(yes > 0, yes / (len(targets) - yes), 1), targets.dtype)


def all_over_yes(targets):
    yes = targets.sum(axis=0)
    return np.asarray(np.where(yes > 0, len(targets) / np.maximum(yes, 1), 1), targets.dtype)


def pooled(targets):
    yes = targets.sum()
    weight = (targets.size - yes) / yes if yes else 1.0
    return np.full(targets.shape[1:], weight, targets.dtype)


@np.errstate(all="ignore")
def divided_as_it_is(targets):
    yes = targets.sum(axis=0)
    return np.asarray((len(targets) - yes) / yes)


class TestPositiveWeight(FunctionParity):
    mistakes = {
        "upside down": Mistake(
            upside_down,
            "A classic slip: yeses over noes.",
            "The rare positives weigh even less than they did.",
        ),
        "all over yeses": Mistake(
            all_over_yes,
            "Written as n / n_yes, the inverse of their share.",
            "Positives weigh one more than they should: 2 where both are as frequent.",
        ),
        "one weight for all labels": Mistake(
            pooled,
            "A classic slip: sums without an axis.",
            "Rare labels are drowned by frequent ones, which the weight was to prevent.",
        ),
        "divided as it is": Mistake(
            divided_as_it_is,
            "Written as the formula stands.",
            "Infinity for a label without a yes, and NaN in the loss: infinity times 0.",
        ),
    }
    numpy, torch = ours.positive_weight, theirs.positive_weight
    regimes = {
        "half": lambda rng, shape: (rng.random(shape) < 0.5).astype(float),
        "few": lambda rng, shape: (rng.random(shape) < 0.1).astype(float),
        "none": lambda rng, shape: np.zeros(shape),
        "all": lambda rng, shape: np.ones(shape),
    }
    inputs = [*arrays("N", N=[6]), *arrays("N C", N=[7], C=[5])]
    refusals = [Refusal({}, ([0.0, 1.0],), "targets must be a NumPy array", torch=False)]


def test_a_wrong_certainty_costs_100_and_pulls_with_1e12():
    criterion = ours.BCELoss(reduction="none")
    assert criterion(np.array([0.0, 1.0]), np.array([1.0, 0.0])).tolist() == [100, 100]
    np.testing.assert_allclose(criterion.backward(np.ones(2)), [-1e12, 1e12])


@pytest.mark.parametrize("shape", [(5, 4, 3), (4,), (1, 4, 3)])
@pytest.mark.parametrize("name", ["BCELoss", "BCEWithLogitsLoss"])
def test_torch_refuses_weights_that_would_grow_the_loss_too(name, shape):
    with pytest.raises(RuntimeError):
        getattr(theirs, name)(weight=torch.ones(shape))(torch.from_numpy(X), torch.from_numpy(X))


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
@pytest.mark.parametrize("name", ["BCELoss", "BCEWithLogitsLoss"])
def test_weights_of_any_dtype_leave_a_float32_loss_float32(name, dtype):
    x = np.linspace(0.01, 0.99, 600, dtype=np.float32).reshape(200, 3)
    weight = np.array([1.1, 2.3, 3.7]).astype(dtype)
    criterion = getattr(ours, name)(weight, reduction="none")
    twin = getattr(theirs, name)(torch.from_numpy(weight), reduction="none")
    expected = twin(*[torch.from_numpy(x)] * 2)
    loss = criterion(x, x)
    rounded = getattr(ours, name)(weight.astype(np.float32), reduction="none")
    np.testing.assert_array_equal(loss, rounded(x, x), strict=True)
    np.testing.assert_array_equal(criterion.backward(x), rounded.backward(x), strict=True)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("pos_weight", [None, 3.0, 1.0])
def test_extreme_logits_end_as_in_torch(pos_weight):
    inf, nan = np.inf, np.nan
    x = np.array([inf, inf, -inf, -inf, nan, 1e4, -1e4, 0, 100, -100, 100], np.float32)
    y = np.array([0, 1, 0, 1, 0.5, 1, 1, nan, 0, 1, 1], np.float32)
    weight = None if pos_weight is None else np.float32(pos_weight)
    a = ours.BCEWithLogitsLoss(
        pos_weight=None if weight is None else np.asarray(weight), reduction="none"
    )
    b = theirs.BCEWithLogitsLoss(
        pos_weight=None if weight is None else torch.tensor(weight), reduction="none"
    )
    tensor = torch.from_numpy(x).requires_grad_()
    expected = b(tensor, torch.from_numpy(y))
    expected.backward(torch.ones_like(expected))
    np.testing.assert_allclose(a(x, y), expected.detach(), rtol=1e-6, atol=1e-40)
    np.testing.assert_allclose(
        a.backward(np.ones_like(x)), to_numpy(tensor.grad), rtol=1e-6, atol=1e-40
    )
