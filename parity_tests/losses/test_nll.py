"""NLLLoss: criterion and pure functions; perplexity."""

from typing import Any

import numpy as np
import pytest
import torch

from numpy_impl.layers.softmax import log_softmax
from numpy_impl.losses import nll as ours
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
from torch_impl.losses import nll as theirs

SHAPES = [
    *arrays("C", C=[3]),
    *arrays("N C", N=[0, 1], C=[3]),
    *arrays("N C T S", N=[2], C=[3], T=[1], S=[4]),
    *arrays("N C T", N=[2], C=[3], T=[0]),
    *arrays("N C", N=[7], C=[3]),
]
CONFIGS: list[Config] = [
    {},
    {"reduction": "none"},
    {"reduction": "sum", "ignore_index": 1},
    {"ignore_index": 0},
    {"weight": (1.0,), "reduction": "none", "ignore_index": -1},
    {"weight": (1.0,), "reduction": "sum"},
    {"weight": (1.0,), "ignore_index": 2},
]


class Labelled:
    """Labels beside the scores, some of them ignored; class weights where a configuration has them.

    Of four samples or more the first two count and are unsure: where all are sure and right, every
    gradient is what rounding leaves of p - 1, with no digit that two right programs must share.
    """

    def make_inputs(self, rng, shape, regime, config):
        places = shape[:1] + shape[2:] if len(shape) > 1 else ()
        classes = shape[min(len(shape) - 1, 1)]
        ignored = config.get("ignore_index", -100)
        x, labels = np.array(regime(rng, shape)), np.asarray(rng.integers(0, classes, places))
        labels = np.where(rng.random(places) < 0.25, ignored, labels)
        if len(shape) > 1 and len(x) >= 4:
            x[:2] = rng.standard_normal(x[:2].shape)
            labels[:2] = np.setdiff1d(np.arange(classes), [ignored])[0] if classes > 1 else 0
        return x, labels

    def make_state(self, rng, key, like):
        return rng.uniform(0.2, 3.0, like.shape)


def sized(config, classes):
    """The configuration with a weight for every class."""
    if "weight" not in config:
        return config
    return config | {"weight": np.linspace(0.3, 2, classes)}


REFUSALS_OF_LABELS = [
    Refusal(
        {}, (np.zeros((4, 3)), np.array([0, 1, 2, 3])), "Target 3 is out of bounds: wanted 0 to 2"
    ),
    Refusal({}, (np.zeros((4, 3)), np.array([0, 1, 2, -1])), "Target -1 is out of bounds"),
    Refusal({"ignore_index": 0}, (np.zeros((4, 3)), np.array([0, 1, 2, -100])), "-100"),
    Refusal({}, (np.zeros((2, 3)), np.array([0, 1], np.int32)), "int64 or uint8, got int32"),
    Refusal({}, (np.zeros((2, 3)), np.array([True, False])), "got bool"),
    Refusal({}, (np.zeros((2, 3)), np.array([0.0, 1.0])), "got float64"),
    Refusal({}, (np.zeros((4, 3)), np.array([0, 1, 2])), r"shape \(4,\) .* got \(3,\)"),
    Refusal({}, (np.zeros((4, 3)), np.zeros((4, 1), int)), r"got \(4, 1\)"),
    Refusal({}, (np.zeros((2, 3, 4)), np.zeros((2, 5), int)), r"shape \(2, 4\) .* got \(2, 5\)"),
    Refusal({}, (np.zeros(3), np.zeros(2, int)), r"got \(2,\)"),
    Refusal({}, (np.array(1.0), np.array(0)), "class axis"),
    Refusal({}, (np.zeros((1, 3), int), np.array([0])), "int64"),
    Refusal({"ignore_index": 1.0}, says="must be an int, got float", torch=False),  # in forward
    Refusal({"ignore_index": True}, says="must be an int, got bool", torch=False),
    Refusal({"reduction": "avg"}, says="'avg' is not a valid value", torch=False),
    Refusal({"weight": [1.0, 2.0]}, says="weight is a buffer"),
]


def denominators(base: Any) -> dict[str, Any]:
    """Two classic denominators of the mean: the batch size, and the labels ignored or not."""

    class OverN(base):
        """The weighted sum divided by the number of labels that count."""

        def _factor(self, target):
            if self.reduction != "mean":
                return 1.0
            kept = target != self.ignore_index
            weight = np.ones(9) if self.weight is None else self.weight
            return weight[np.where(kept, target, 0)][kept].sum() / max(kept.sum(), 1)

        def forward(self, input, target):
            self.factor = self._factor(target)
            return np.asarray(super().forward(input, target) * self.factor)

        def backward(self, dloss=1.0):
            return super().backward(dloss) * self.factor

    class IgnoredCounted(OverN):
        """Ignored labels counted in the denominator."""

        def _factor(self, target):
            kept = (target != self.ignore_index).mean() if target.size else 1.0
            return kept if self.reduction == "mean" else 1.0

    return {
        "mean over N": Mistake(
            OverN,
            "Written as `np.mean(weight[y] * loss)`; torch divides by the sum of the weights.",
            "Loss and gradients are scaled by the mean weight of the batch, so by its labels.",
        ),
        "ignored labels in the denominator": Mistake(
            IgnoredCounted,
            "A mean over all positions, ignored or not; gradient accumulation over batches of "
            "unequal length had it too.",
            "The more padding, the smaller the gradient.",
        ),
    }


class UnweightedGradient(ours.NLLLoss):
    """The class weights left out of the gradient."""

    def backward(self, dloss=1.0):
        dx = super().backward(dloss)
        return np.sign(dx) * np.abs(dx).max(initial=0)


class IgnoredLearn(ours.NLLLoss):
    """The gradient that class 0 would have, at ignored labels."""

    def forward(self, input, target):
        self.ignored = np.asarray(target == self.ignore_index)
        return super().forward(input, target)

    def backward(self, dloss=1.0):
        dx = super().backward(dloss)
        size = np.abs(dx).max(initial=0)
        axis = min(dx.ndim - 1, 1)
        first = dx[0] if axis == 0 else dx[:, 0]
        value = np.where(self.ignored, -size, first)
        if axis:
            dx[:, 0] = value
        else:
            dx[0] = value
        return dx


class LogTaken(ours.NLLLoss):
    """The logarithm of what is handed in."""

    @np.errstate(all="ignore")
    def forward(self, input, target):
        return super().forward(np.log(input), target)


class TurnedSign(ours.NLLLoss):
    """The likelihood itself."""

    def forward(self, input, target):
        return np.asarray(-super().forward(input, target))

    def backward(self, dloss=1.0):
        return -super().backward(dloss)


class SummedLoss(ours.NLLLoss):
    """A sum where a mean is asked for."""

    def __init__(self, weight=None, *, ignore_index=-100, reduction="mean"):
        reduction = "sum" if reduction == "mean" else reduction
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction)


class ByOneHot(ours.NLLLoss):
    """The scores times one-hot targets, by einsum."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        if self.reduction != "sum" or self.weight is not None or input.ndim != 2:
            return loss
        kept = target != self.ignore_index
        hot = np.eye(input.shape[1])[np.where(kept, target, 0)] * kept[:, None]
        return np.asarray(-np.einsum("nc,nc->", input, hot), input.dtype)


class TestNLLLoss(Labelled, ModuleParity):
    numpy, torch = ours.NLLLoss, theirs.NLLLoss
    configs, inputs = CONFIGS, SHAPES
    refusals = [
        *REFUSALS_OF_LABELS,
        Refusal({}, (np.zeros((2, 3)), [0, 1]), "target must be a NumPy array, got list"),
    ]
    mistakes = {
        **denominators(ours.NLLLoss),
        "gradient without weights": Mistake(
            UnweightedGradient,
            "A classic slip: weights come into the loss and not into its backward.",
            "Rare classes are learnt as if they weighed no more than others.",
        ),
        "ignored labels get a gradient": Mistake(
            IgnoredLearn,
            "A classic slip: ignore_index masks the loss and not its gradient.",
            "Padding is learnt as if it were class 0.",
        ),
        "logarithm taken here": Mistake(
            LogTaken,
            "Probabilities are handed to a loss that wants log-probabilities, or the loss takes "
            "the logarithm itself.",
            "NaN from log-probabilities, which are negative; with probabilities another loss.",
        ),
        "sign turned": Mistake(
            TurnedSign,
            "A classic slip: the minus of the log-likelihood is forgotten.",
            "Training makes the right class unlikely.",
        ),
        "a sum for the mean": Mistake(
            SummedLoss,
            "A classic slip: the sum for the mean.",
            "The step grows with the batch.",
        ),
    }
    rewrites = {"one-hot": ByOneHot}

    def arguments(self, config):
        return sized(config, 3)


class ReadFromTheEnd(ours.NLLLoss):
    """-1 as NumPy reads an index."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options | {"ignore_index": -100})

    def forward(self, input, target):
        return super().forward(input, target % input.shape[1])


class TestNLLLossOfOneClass(Labelled, ModuleParity):
    """Where the only class is the last, an ignored label must not point behind it."""

    numpy, torch = ours.NLLLoss, theirs.NLLLoss
    configs = [{"ignore_index": -1}]
    inputs = arrays("N C", N=[7], C=[1])
    mistakes = {
        "ignored labels read from the end": Mistake(
            ReadFromTheEnd,
            "Written as `-log_p[range(n), y].mean()`: an index of -1 is NumPy's last class, and "
            "nothing is raised.",
            "Padding is learnt as if it were the last class.",
        ),
    }


class TestNllLossFunction(Labelled, FunctionParity):
    numpy, torch, backward = ours.nll_loss, theirs.nll_loss, ours.nll_loss_backward
    configs = [sized(c, 3) for c in (CONFIGS[0], CONFIGS[4], CONFIGS[6])]
    inputs = arrays("N C T", N=[4], C=[3], T=[2])
    mistakes = as_functions(TestNLLLoss.mistakes, ours.nll_loss)
    refusals = [
        Refusal({"reduction": "avg"}, says="'avg'"),
        Refusal({"weight": np.ones(2)}, says=r"\(3,\), one a class, got \(2,\)"),
        Refusal({"weight": np.ones(3, int)}, says="weight must be float32 or float64, got int64"),
    ]


def surprises(input, target, ignore_index):
    """A loss for every label, 0 for one that is ignored, and which of them count."""
    losses = ours.nll_loss(input, target, ignore_index=ignore_index, reduction="none")
    return losses, np.asarray(target != ignore_index)


@np.errstate(all="ignore")
def base_two(input, target, ignore_index=-100):
    return np.asarray(2 ** ours.nll_loss(input, target, ignore_index=ignore_index))


@np.errstate(all="ignore")
def mean_of_exponentials(input, target, ignore_index=-100):
    losses, kept = surprises(input, target, ignore_index)
    return np.exp(losses)[kept].mean()


@np.errstate(all="ignore")
def mean_of_means(input, target, ignore_index=-100):
    losses, kept = (np.atleast_1d(x) for x in surprises(input, target, ignore_index))
    rows = losses.reshape(len(losses), -1).sum(1), kept.reshape(len(kept), -1).sum(1)
    return np.exp(np.nanmean(rows[0] / rows[1])) if kept.any() else np.asarray(np.nan)


@np.errstate(all="ignore")
def padding_counted(input, target, ignore_index=-100):
    losses, _ = surprises(input, target, ignore_index)
    return np.asarray(np.exp(losses.mean()))


def the_loss_itself(input, target, ignore_index=-100):
    return ours.nll_loss(input, target, ignore_index=ignore_index)


class TestPerplexity(Labelled, FunctionParity):
    numpy, torch = ours.perplexity, theirs.perplexity
    configs = [{}, {"ignore_index": 1}]
    inputs = [*arrays("C", C=[4]), *arrays("N C T", N=[4], C=[3], T=[2])]
    mistakes = {
        "2 to the power of nats": Mistake(
            base_two,
            "Papers write 2^H with H in bits; the loss is in nats.",
            "Far too low: 20 where it is 75.",
        ),
        "mean of exponentials": Mistake(
            mean_of_exponentials,
            "A classic slip: exp of each loss, then the mean.",
            "One label that was thought impossible outweighs all others.",
        ),
        "mean of the sequences' means": Mistake(
            mean_of_means,
            "Written with a mean a sequence, or a batch, and a mean over these.",
            "Labels of short sequences count for more, so it depends on how the text was cut.",
        ),
        "padding counted": Mistake(
            padding_counted,
            "A classic slip: the sum of the losses over all positions, ignored or not.",
            "The more padding, the better the model looks.",
        ),
        "the loss itself": Mistake(
            the_loss_itself,
            "A classic slip: the exponential is forgotten.",
            "A number in nats is reported as a number of classes.",
        ),
    }

    def make_inputs(self, rng, shape, regime, config):
        scores, labels = super().make_inputs(rng, shape, regime, config)
        return log_softmax(scores, min(len(shape) - 1, 1)), labels


def criteria(name, **arguments):
    numpy, torch_ = {k: v for k, v in arguments.items()}, dict(arguments)
    if "weight" in arguments:
        torch_["weight"] = torch.from_numpy(arguments["weight"])
    return getattr(ours, name)(**numpy), getattr(theirs, name)(**torch_)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("target", [[-100, -100], [-100, 1], [1, 1]])
def test_batches_with_nothing_to_learn_from_end_as_in_torch(reduction, target):
    weight = np.array([1.0, 0.0])
    for arguments in ({"reduction": reduction}, {"reduction": reduction, "weight": weight}):
        a, b = criteria("NLLLoss", **arguments)
        x = np.log(np.array([[0.25, 0.75], [0.5, 0.5]]))
        tensor, target = torch.from_numpy(x).requires_grad_(), np.array(target)
        expected = b(tensor, torch.from_numpy(target))
        expected.backward(torch.ones_like(expected))
        loss = a(x, target)
        np.testing.assert_array_equal(loss, expected.detach())
        np.testing.assert_array_equal(a.backward(np.ones_like(loss)), to_numpy(tensor.grad))


def test_bytes_are_labels_and_one_label_may_come_in_an_axis_of_its_own():
    x = np.array([-1.0, -2.0, -3.0])
    assert ours.NLLLoss()(x, np.array([2], np.uint8)) == 3
    assert theirs.NLLLoss()(torch.from_numpy(x), torch.tensor([2], dtype=torch.uint8)) == 3


def test_weights_of_another_dtype_than_the_scores_are_refused():
    a, b = criteria("NLLLoss", weight=np.ones(3))
    x, target = np.zeros((2, 3), np.float32), np.array([0, 1])
    with pytest.raises(TypeError, match="weight must be float32 like the input, got float64"):
        a(x, target)
    with pytest.raises(RuntimeError):
        b(torch.from_numpy(x), torch.from_numpy(target))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_no_classes_at_all_end_as_in_torch(reduction):
    a, b = criteria("NLLLoss", reduction=reduction)
    tensor, target = torch.zeros(2, 0, requires_grad=True), np.array([-100, -100])
    expected = b(tensor, torch.from_numpy(target))
    loss = a(np.zeros((2, 0), np.float32), target)
    np.testing.assert_array_equal(loss, expected.detach(), strict=True)
    assert a.backward(np.ones_like(loss)).shape == (2, 0)


def test_backward_alone_is_that_of_the_loss_itself():
    a, b = criteria("NLLLoss")
    x, target = np.log([[0.25, 0.75], [0.5, 0.5]]), np.array([1, 0])
    tensor = torch.from_numpy(x).requires_grad_()
    b(tensor, torch.from_numpy(target)).backward()
    a(x, target)
    np.testing.assert_array_equal(a.backward(), to_numpy(tensor.grad))
