"""CrossEntropyLoss: criterion and pure functions, labels and probabilities; class weights."""

import numpy as np
import pytest
import torch

from numpy_impl.layers.softmax import softmax, softmax_backward
from numpy_impl.losses import cross_entropy as ours
from numpy_impl.losses import nll
from numpy_impl.losses.nll import NLLLoss
from parity_tests.harness import (
    FunctionParity,
    Mistake,
    ModuleParity,
    Refusal,
    arrays,
    as_functions,
)
from parity_tests.harness.bridge import to_numpy
from parity_tests.harness.inputs import Config
from parity_tests.losses.test_nll import REFUSALS_OF_LABELS, SHAPES, Labelled, denominators, sized
from torch_impl.losses import cross_entropy as theirs

CONFIGS: list[Config] = [
    {},
    {"reduction": "none"},
    {"reduction": "sum", "ignore_index": 1},
    {"label_smoothing": 0.1},
    {"label_smoothing": 1.0, "reduction": "none", "ignore_index": 0},
    {"weight": (1.0,), "reduction": "none"},
    {"weight": (1.0,), "label_smoothing": 0.3, "reduction": "sum"},
    {"weight": (1.0,), "ignore_index": 2},
    {"weight": (1.0,), "label_smoothing": 0.2, "ignore_index": 2},
]
P = np.full((4, 3), 1 / 3)
REFUSALS = [
    *(r for r in REFUSALS_OF_LABELS if r.inputs is None or r.inputs[1].dtype.kind != "f"),
    Refusal({}, (P, np.zeros(4)), "int64 or uint8, got float64"),
    Refusal({}, (P, P[:3]), "int64 or uint8, got float64"),
    Refusal({}, (P, P.astype(int)), r"shape \(4,\) .* got \(4, 3\)"),
    Refusal({"ignore_index": 0}, (P, P), "ignore_index is for labels, got 0"),
    # torch promotes, checks smoothing in forward, and takes a negative one for 0.
    Refusal({}, (P, P.astype(np.float32)), "float64 like the input, got float32", torch=False),
    Refusal({"label_smoothing": 1.1}, says="between 0.0 and 1.0, got 1.1", torch=False),
    Refusal({"label_smoothing": -0.1}, says="got -0.1", torch=False),
    Refusal({"label_smoothing": np.nan}, says="got nan", torch=False),
]


def smoothed(amount):
    """CrossEntropyLoss with other label smoothing: amount(smoothing, C) each on other classes."""

    class Wrong(ours.CrossEntropyLoss):
        def __init__(self, weight=None, **options):
            s, classes = options.get("label_smoothing", 0.0), 3
            options["label_smoothing"] = amount(s, classes)
            super().__init__(weight, **options)

    return Wrong


def backwards(change):
    """CrossEntropyLoss whose gradient is changed: change(dx, logits, target, self)."""

    class Wrong(ours.CrossEntropyLoss):
        def forward(self, input, target):
            self.given = input, target
            return super().forward(input, target)

        def backward(self, dloss=1.0):
            return change(super().backward(dloss), *self.given, self)

    return Wrong


class Unshifted(ours.CrossEntropyLoss):
    """log(sum(exp(logits))) of the bare logits."""

    @np.errstate(all="ignore")
    def forward(self, input, target):
        loss = super().forward(input, target)
        bare = np.log(np.exp(input).sum(axis=min(input.ndim - 1, 1)))
        return np.asarray(loss + 0 * (bare.sum() if loss.ndim == 0 else bare))


class SoftmaxTwice(ours.CrossEntropyLoss):
    """Probabilities handed in where logits belong."""

    def forward(self, input, target):
        self.p = softmax(input, min(input.ndim - 1, 1))
        return super().forward(self.p, target)

    def backward(self, dloss=1.0):
        return softmax_backward(super().backward(dloss), self.p, min(self.p.ndim - 1, 1))


class FlooredLog(ours.CrossEntropyLoss):
    """Logits in whose distribution no probability is below 1e-9."""

    def forward(self, input, target):
        p = softmax(input, min(input.ndim - 1, 1))
        return super().forward(np.log(p + 1e-9), target)


class Hardened(ours.CrossEntropyLoss):
    """The most likely class of a soft target."""

    def forward(self, input, target):
        axis = min(input.ndim - 1, 1)
        if not target.size:
            return super().forward(input, target)
        largest = target.max(axis=axis, keepdims=True)
        return super().forward(input, (target == largest).astype(target.dtype))


class ByLogAddExp(ours.CrossEntropyLoss):
    """Logits less their own log-sum-exp, which changes no distribution."""

    def forward(self, input, target):
        axis = min(input.ndim - 1, 1)
        shift = np.logaddexp.reduce(input, axis=axis, keepdims=True) if input.size else 0
        small = np.abs(input).max(initial=0) < 10
        return super().forward(input - shift if small else input, target)


class UnweightedSmoothing(ours.CrossEntropyLoss):
    """Class weights that the smoothing term does not see."""

    def forward(self, input, target):
        weight, self.weight = self.weight, None
        if self.label_smoothing and weight is not None:
            return super().forward(input, target)
        self.weight = weight
        return super().forward(input, target)


class TestCrossEntropyLoss(Labelled, ModuleParity):
    numpy, torch = ours.CrossEntropyLoss, theirs.CrossEntropyLoss
    configs, inputs, refusals = CONFIGS, SHAPES, REFUSALS
    modes = ("train",)  # nothing in it looks at the mode
    mistakes = {
        **denominators(ours.CrossEntropyLoss),
        "smoothing over the other C - 1 classes": Mistake(
            smoothed(lambda s, c: min(s * c / (c - 1), 1)),
            "Written as s / (C - 1) on the wrong classes and 1 - s on the right one; Szegedy et "
            "al., and so torch, spread s over all C.",
            "The right class is held lower than asked, most with few classes.",
        ),
        "smoothing left out": Mistake(
            smoothed(lambda s, c: 0.0),
            "A classic slip: the option is taken and never used.",
            "The network grows as sure as without it.",
        ),
        "smoothing without class weights": Mistake(
            UnweightedSmoothing,
            "A classic slip: weights multiply the right class's term only.",
            "Rare classes lose the more to the smoothing the more they weigh.",
        ),
        "gradient not of the mean": Mistake(
            backwards(
                lambda dx, x, t, self: dx * max(t.size, 1) if self.reduction == "mean" else dx
            ),
            "A classic slip: p - y, undivided, beside a mean.",
            "Gradients are too large by the batch size, and the step grows with it.",
        ),
        "gradient of the softmax alone": Mistake(
            backwards(lambda dx, x, t, self: np.where(dx > 0, dx, 0)),
            "A classic slip: the 1 is never taken from the right class's probability.",
            "All classes are pushed down and none is pushed up.",
        ),
        "gradient with its sign turned": Mistake(
            backwards(lambda dx, x, t, self: -dx),
            "A classic slip: y - p for p - y.",
            "Training makes the right class unlikely.",
        ),
        "no shift": Mistake(
            Unshifted,
            "Written as log(sum(exp(x))).",
            "Infinity for a logit above 710, 89 in float32.",
        ),
        "softmax twice": Mistake(
            SoftmaxTwice,
            "A network that ends in a softmax, in front of the loss that wants logits.",
            "No warning: the loss cannot fall below 0.55 with three classes, and gradients are "
            "small.",
        ),
        "log of probabilities floored": Mistake(
            FlooredLog,
            "The common cure for log(0): `-np.log(p + 1e-9)` or a clip.",
            "A wrong certainty costs 21 at most, and what is worse is not learnt from.",
        ),
    }
    rewrites = {"np.logaddexp": ByLogAddExp}

    def arguments(self, config):
        return sized(config, 3)


class Distributed(Labelled):
    """Class probabilities for targets; some are exactly 0 or 1."""

    def make_inputs(self, rng, shape, regime, config):
        axis = min(len(shape) - 1, 1)
        p = rng.random(shape) * (rng.random(shape) < 0.7)
        total = p.sum(axis=axis, keepdims=True)
        return regime(rng, shape), p / np.where(total == 0, 1, total)


class TestCrossEntropyOfProbabilities(Distributed, ModuleParity):
    numpy, torch = ours.CrossEntropyLoss, theirs.CrossEntropyLoss
    configs = [
        {},
        {"reduction": "none", "label_smoothing": 0.1},
        {"reduction": "sum", "weight": (1.0,)},
        {"weight": (1.0,), "label_smoothing": 0.2},
    ]
    inputs, modes = SHAPES, ("train",)
    mistakes = {
        "smoothing left out": Mistake(
            smoothed(lambda s, c: 0.0),
            "A classic slip: smoothing is written for labels and not for probabilities.",
            "Soft targets are learnt as they stand.",
        ),
        "labels made of them": Mistake(
            Hardened,
            "A classic slip: argmax of the target, which is right for one-hot rows only.",
            "How sure the target is, of mixup or of a teacher, is lost.",
        ),
    }
    arguments = TestCrossEntropyLoss.arguments


class TestCrossEntropyFunction(Labelled, FunctionParity):
    numpy, torch = ours.cross_entropy, theirs.cross_entropy
    backward = ours.cross_entropy_backward
    configs = [sized(c, 3) for c in (CONFIGS[0], CONFIGS[1], CONFIGS[8])]
    inputs = [*arrays("N C", N=[4], C=[3]), *arrays("N C T", N=[4], C=[3], T=[2])]
    refusals = [
        Refusal({"reduction": "avg"}, says="'avg'"),
        Refusal({"label_smoothing": 2.0}, says="got 2.0"),
        Refusal({"weight": np.ones(2)}, says=r"\(3,\), one a class, got \(2,\)"),
    ]
    mistakes = as_functions(TestCrossEntropyLoss.mistakes, ours.cross_entropy)


class TestCrossEntropyOfManyClasses(Labelled, FunctionParity):
    """Enough classes that the class axis is no longer laid out first."""

    numpy, torch = ours.cross_entropy, theirs.cross_entropy
    backward = ours.cross_entropy_backward
    configs = [{}, {"label_smoothing": 0.1}]
    inputs = [*arrays("N C", N=[5], C=[1, 130]), *arrays("N C T", N=[4], C=[60], T=[2])]
    mistakes = {
        name: TestCrossEntropyFunction.mistakes[name]
        for name in ("no shift", "log of probabilities floored", "softmax twice")
    }


def in_a_criterion(weights):
    """The criterion that holds weights(labels, n)."""
    return lambda labels, n: ours.CrossEntropyLoss(weights(labels, n))


def balanced(labels, n):
    """The same of torch."""
    return theirs.CrossEntropyLoss(theirs.class_weights(torch.tensor(labels), n))


def of_the_counts(formula):
    """The criterion that holds formula(counts)."""

    @np.errstate(all="ignore")
    def weights(labels, n):
        counts = np.bincount(np.ravel(labels), minlength=n).astype(np.float32)
        return np.asarray(formula(counts), np.float32)

    return in_a_criterion(weights)


class TestClassWeights(ModuleParity):
    """As they are used: a criterion that holds them."""

    numpy = staticmethod(in_a_criterion(ours.class_weights))
    torch = staticmethod(balanced)
    covers = (ours.class_weights,)
    configs = [{"labels": (0, 2, 2, 2, 0, 4), "n": 5}, {"labels": (1, 0, 0), "n": 2}]
    inputs, modes = arrays("N n", N=[6]), ("train",)
    state_as_built = True
    mistakes = {
        "the counts themselves": Mistake(
            of_the_counts(lambda c: c / c.sum()),
            "A classic slip: how frequent a class is, not the inverse.",
            "The frequent classes weigh still more, and the rare ones are not learnt at all.",
        ),
        "a share of the inverse counts": Mistake(
            of_the_counts(lambda c: np.where(c, 1 / c, 0) / np.where(c, 1 / c, 0).sum()),
            "Inverse counts that are made to sum to 1.",
            "The same loss under a mean; under a sum, or beside another term, far too small.",
        ),
        "a class without labels divided by": Mistake(
            of_the_counts(lambda c: c.sum() / (len(c) * c)),
            "Written as n / (C * counts), as the formula stands.",
            "A class that a split lacks weighs infinity, so the loss is that with label smoothing.",
        ),
        "its root": Mistake(
            of_the_counts(lambda c: np.where(c, np.sqrt(c.sum() / (len(c) * c)), 0)),
            "Word2vec's damping taken for balance.",
            "Classes are only half as much evened out as was asked for.",
        ),
    }

    def make_inputs(self, rng, shape, regime, config):
        return regime(rng, shape), rng.choice(config["labels"], shape[:1])


def test_class_weights_are_the_inverse_of_the_counts():
    labels = np.array([0, 2, 2, 2, 0, 2])
    expected = [6 / (3 * 2), 0, 6 / (3 * 4)]
    assert ours.class_weights(labels, 3).dtype == np.float32
    np.testing.assert_allclose(ours.class_weights(labels, 3, np.float64), expected, rtol=1e-15)
    weights = theirs.class_weights(torch.from_numpy(labels), 3, torch.float64)
    np.testing.assert_allclose(weights, expected, rtol=1e-15)
    np.testing.assert_allclose(ours.class_weights(labels, 4), [0.75, 0, 0.375, 0], rtol=1e-6)
    with pytest.raises(ValueError, match="labels must be below 2, got 2"):
        ours.class_weights(labels, 2)
    with pytest.raises(ValueError, match="labels must be below 2, got 2"):
        theirs.class_weights(torch.from_numpy(labels), 2)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("label", [0, 1, -100])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "logits",
    [
        [-1, -np.inf, -2],
        [np.inf, 0, 1],
        [np.nan, 0, 1],
        [-np.inf] * 3,
        [1e4, -1e4, 0],
        [3e38, -3e38, 0],
    ],
    ids=str,
)
def test_extreme_logits_end_as_in_torch(logits, weighted, smoothing, label, reduction):
    options = {"reduction": reduction, "label_smoothing": smoothing}
    weight = np.array([1, 0, 2], np.float32) if weighted else None
    x, target = np.array([logits, [0.5, -1, 2]], np.float32), np.array([label, 2])
    a = ours.CrossEntropyLoss(weight, **options)
    b = theirs.CrossEntropyLoss(None if weight is None else torch.from_numpy(weight), **options)
    tensor = torch.from_numpy(x).requires_grad_()
    expected = b(tensor, torch.from_numpy(target))
    expected.backward(torch.ones_like(expected))
    loss = a(x, target)
    assert loss.dtype == np.float32
    np.testing.assert_allclose(loss, expected.detach(), rtol=1e-6)
    np.testing.assert_allclose(
        a.backward(np.ones_like(loss)), to_numpy(tensor.grad), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("weight", [None, np.zeros(3)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("target", [[-100, -100], [0, 1]])
def test_batches_that_weigh_nothing_end_as_in_torch(weight, smoothing, target):
    a = ours.CrossEntropyLoss(weight, label_smoothing=smoothing)
    b = theirs.CrossEntropyLoss(
        None if weight is None else torch.from_numpy(weight), label_smoothing=smoothing
    )
    x, target = np.array([[0.25, 0.75, 1], [0.5, 0.5, 1]]), np.array(target)
    tensor = torch.from_numpy(x).requires_grad_()
    expected = b(tensor, torch.from_numpy(target))
    expected.backward()
    np.testing.assert_allclose(a(x, target), expected.detach(), rtol=1e-15)
    np.testing.assert_allclose(a.backward(), to_numpy(tensor.grad), rtol=1e-12, atol=1e-16)


def test_cross_entropy_is_nll_of_log_softmax():
    from numpy_impl.layers.softmax import LogSoftmax

    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    whole, layer, half = ours.CrossEntropyLoss(), LogSoftmax(1), nll.NLLLoss()
    np.testing.assert_allclose(whole(x, target), half(layer(x), target), rtol=1e-15)
    np.testing.assert_allclose(whole.backward(), layer.backward(half.backward()), atol=1e-16)


def test_a_sure_and_right_prediction_costs_nearly_nothing_but_not_exactly_nothing():
    x = np.array([[0.0, 30.0]])
    np.testing.assert_allclose(ours.CrossEntropyLoss()(x, np.array([1])), np.exp(-30), rtol=1e-2)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_without_classes_there_is_no_loss(reduction):
    """Scores (N, 0), which only labels that are ignored, or no probabilities, can go with."""
    x, ignored = np.zeros((3, 0)), np.full(3, -100)
    for criterion, name, target in (
        (ours.CrossEntropyLoss, "cross_entropy", ignored),
        (ours.CrossEntropyLoss, "cross_entropy", x),
        (NLLLoss, "nll_loss", ignored),
    ):
        function = getattr(torch.nn.functional, name)
        expected = function(torch.from_numpy(x), torch.from_numpy(target), reduction=reduction)
        made = criterion(reduction=reduction)
        np.testing.assert_array_equal(made(x, target), expected.numpy())
        assert made.backward(np.ones(expected.shape)).shape == (3, 0)
