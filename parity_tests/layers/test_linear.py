"""Linear, Flatten, Identity, and the linear classifier made of them."""

import warnings
from typing import Any

import numpy as np

from numpy_impl.layers import linear as ours
from numpy_impl.layers.activation import ReLU
from numpy_impl.layers.container import Sequential
from numpy_impl.layers.softmax import Softmax
from parity_tests.harness import Mistake, ModuleParity, Refusal, arrays, grid
from torch_impl.layers import linear as theirs


class MeanBiasGradient(ours.Linear):
    """The bias gradient averaged over the batch, as if the loss had not done that already."""

    def backward(self, dy):
        rows = max(len(dy.reshape(-1, self.out_features)), 1)
        bias = self.bias
        before = 0.0 if bias is None or bias.grad is None else bias.grad
        dx = super().backward(dy)
        if bias is not None and bias.grad is not None:
            bias.grad = np.asarray(before + (bias.grad - before) / rows)
        return dx


class NoBias(ours.Linear):
    """The shift forgotten in forward."""

    def forward(self, x):
        y = super().forward(x)
        return y if self.bias is None else y - self.bias.data


class InOut(ours.Linear):
    """x @ weight, which fits where the weight is square."""

    def forward(self, x):
        y = super().forward(x)
        square = self.in_features == self.out_features
        return y + x @ (self.weight.data - self.weight.data.T) if square else y


class GradientInOut(ours.Linear):
    """dx = dy @ weight.T, which fits where the weight is square."""

    def backward(self, dy):
        dx = super().backward(dy)
        return dy @ self.weight.data.T if self.in_features == self.out_features else dx


class Changing(ours.Linear):
    """A backward that changes the weight's gradient; `change` says how."""

    change: Any = None

    def backward(self, dy):
        rows = max(len(dy.reshape(-1, self.out_features)), 1)
        weight = self.weight
        before = np.zeros_like(weight.data) if weight.grad is None else weight.grad
        dx = super().backward(dy)
        weight.grad = type(self).change(before, weight.grad - before, rows)
        return dx


class Overwritten(Changing):
    """The gradient set, not added to: what an earlier use left is lost."""

    def forward(self, x):
        y = super().forward(x)
        self.weight.grad = np.ones_like(self.weight.data)
        return y

    change = staticmethod(lambda before, grad, rows: grad + 0 * before)


class MeanWeightGradient(Changing):
    """The weight's gradient averaged over the batch."""

    change = staticmethod(lambda before, grad, rows: before + grad / rows)


class TransposedGradient(Changing):
    """The weight's gradient in the layout (in, out), which fits where it is square."""

    change = staticmethod(
        lambda before, grad, rows: before + (grad.T if len(grad) == len(grad.T) else grad)
    )


class LastAxisOnly(ours.Linear):
    """The bias gradient summed over the batch, and not over time."""

    def backward(self, dy):
        dx = super().backward(dy)
        if dy.ndim > 2 and self.bias is not None:
            self.bias.grad = dy.sum(axis=0)[0]
        return dx


class ByEinsum(ours.Linear):
    """Every product an einsum."""

    def forward(self, x):
        super().forward(x)
        y = np.einsum("...i,oi->...o", x, self.weight.data)
        return y if self.bias is None else y + self.bias.data


class RowByRow(ours.Linear):
    """The weight's gradient as a sum of outer products, last row first."""

    def forward(self, x):
        self.rows = x.reshape(-1, self.in_features)
        return super().forward(x)

    def backward(self, dy):
        weight = self.weight
        before = 0.0 if weight.grad is None else weight.grad.copy()
        dx = super().backward(dy)
        grad = np.zeros_like(weight.data)
        for row, up in zip(self.rows[::-1], dy.reshape(-1, self.out_features)[::-1]):
            grad += np.outer(up, row)
        weight.grad = before + grad
        return dx


class TestLinear(ModuleParity):
    numpy, torch = ours.Linear, theirs.Linear
    configs = [
        *grid(in_features=[1], out_features=[1, 3], bias=[False, True]),
        *grid(in_features=[4], out_features=[4], bias=[False, True]),
        *grid(in_features=[5], out_features=[1, 3], bias=[False, True]),
    ]
    inputs = [
        *arrays("in_features"),
        *arrays("N in_features", N=[0, 1]),
        *arrays("N T in_features", N=[2], T=[3]),
        *arrays("N in_features", N=[7]),
    ]
    refusals = [
        Refusal({"in_features": -1, "out_features": 2}, says="negative"),
        Refusal(
            {"in_features": 5, "out_features": 2}, (np.zeros((2, 4)),), r"\(\*, 5\), got \(2, 4\)"
        ),
        Refusal({"in_features": 5, "out_features": 2}, (np.array(1.0),), r"got \(\)"),
    ]
    mistakes = {
        "bias gradient averaged": Mistake(
            MeanBiasGradient,
            "A classic slip: `db = dy.mean(axis=0)`, though the loss has divided by N already.",
            "Biases learn N times more slowly than they should.",
        ),
        "weight gradient averaged": Mistake(
            MeanWeightGradient,
            "A classic slip: `dW = dy.T @ x / N`, though the loss has divided by N already.",
            "Weights learn N times more slowly, and the more so the larger the batch.",
        ),
        "bias left out": Mistake(
            NoBias,
            "A classic slip: the parameter is made and never added.",
            "Every output is shifted by the bias; training hides it where a norm follows.",
        ),
        "weight kept as (in, out)": Mistake(
            InOut,
            "Keras and most NumPy tutorials keep (in, out); torch keeps (out, in).",
            "No error where the layer is square: outputs are those of the transposed weight.",
        ),
        "dx without the transpose": Mistake(
            GradientInOut,
            "A classic slip: `dx = dy @ W` in one layout, `dy @ W.T` in the other.",
            "No error where the layer is square: everything below learns from noise.",
        ),
        "weight gradient transposed": Mistake(
            TransposedGradient,
            "A classic slip: `x.T @ dy` for a weight that is kept as (out, in).",
            "No error where the layer is square: each weight gets another's gradient.",
        ),
        "gradient overwritten": Mistake(
            Overwritten,
            "NumPy layers with `self.dW = ...`, joelnet's among them; torch adds.",
            "A layer used twice, and gradients of several batches, keep only the last.",
        ),
    }
    rewrites = {"einsum": ByEinsum, "row by row": RowByRow}


class ByGuessedRows(ours.Linear):
    """Rows by reshape(-1, features)."""

    def forward(self, x):
        x.reshape(-1, self.in_features)
        return super().forward(x)

    def backward(self, dy):
        dy.reshape(-1, self.out_features)
        return super().backward(dy)


class TestLinearOfNothing(ModuleParity):
    """No features in, or none out: the shift alone, or nothing."""

    numpy, torch = ours.Linear, theirs.Linear
    mistakes = {
        "rows guessed": Mistake(
            ByGuessedRows,
            "Written as `x.reshape(-1, in_features)`.",
            "Of an array without numbers NumPy cannot guess the rows, and raises.",
        ),
    }
    configs = [{"in_features": 3, "out_features": 0}, {"in_features": 0, "out_features": 3}]
    inputs = arrays("N in_features", N=[0, 2])

    def build_torch(self, config, dtype):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors is a no-op")
            return super().build_torch(config, dtype)


class TestIdentity(ModuleParity):
    """Nobody gets it wrong, so it has no mistakes."""

    numpy, torch = ours.Identity, theirs.Identity
    inputs = [*arrays(""), *arrays("N C", N=[0, 3], C=[2])]
    aliases = True


class BatchToo(ours.Flatten):
    """From axis 0 on."""

    def __init__(self, start_dim=1, end_dim=-1):
        super().__init__(0, end_dim)


class ToTheEnd(ours.Flatten):
    """Up to the last axis."""

    def __init__(self, start_dim=1, end_dim=-1):
        super().__init__(start_dim, -1)


class ColumnByColumn(ours.Flatten):
    """The first of the joined axes runs fastest."""

    def forward(self, x):
        y = super().forward(x)
        return np.ascontiguousarray(x.reshape(y.shape, order="F"))

    def backward(self, dy):
        dx = super().backward(dy)
        return np.ascontiguousarray(dy.reshape(dx.shape, order="F"))


class SamplesMixed(ours.Flatten):
    """reshape(-1, N).T: the right shape, and pieces of every sample in each row."""

    def forward(self, x):
        y = super().forward(x)
        self.mixes = y.ndim == 2 and len(y) == len(x) > 0
        return x.reshape(-1, len(x)).T if self.mixes else y

    def backward(self, dy):
        dx = super().backward(dy)
        return dy.T.reshape(dx.shape) if self.mixes else dx


class GradientLeftFlat(ours.Flatten):
    """dy handed on as it is."""

    def backward(self, dy):
        super().backward(dy)
        return dy


class TestFlatten(ModuleParity):
    mistakes = {
        "the batch too": Mistake(
            BatchToo,
            "Written as `x.reshape(-1)` or `x.ravel()`, right for a single sample.",
            "The whole batch is one sample: the next layer raises, or learns one huge row.",
        ),
        "always to the end": Mistake(
            ToTheEnd,
            "Written as `x.reshape(*x.shape[:start_dim], -1)`; end_dim is taken and never used.",
            "Axes that were to stay, time or channels at the end, are gone.",
        ),
        "column by column": Mistake(
            ColumnByColumn,
            "MATLAB's order, `order='F'`, or weights trained on channels at the end.",
            "Features come in another order: nothing is wrong until weights are taken over.",
        ),
        "samples mixed": Mistake(
            SamplesMixed,
            "A classic slip: `x.reshape(-1, N).T` for `x.reshape(N, -1)`.",
            "No error, for the shape is right: every row has pieces of all samples.",
        ),
        "gradient left flat": Mistake(
            GradientLeftFlat,
            "A classic slip: backward hands dy on without the input's shape.",
            "The convolution or norm before it raises, or broadcasts.",
        ),
    }
    numpy, torch = ours.Flatten, theirs.Flatten
    configs = [
        {},
        {"start_dim": 0},
        {"start_dim": 1, "end_dim": 2},
        {"start_dim": -2, "end_dim": -1},
        {"start_dim": -3, "end_dim": -2},
        {"start_dim": 1, "end_dim": 1},
    ]
    inputs = [*arrays("N 3 4 5", N=[0, 1, 2]), *arrays("N 1 2", N=[3])]
    aliases = True
    refusals = [
        Refusal({"start_dim": 2}, (np.zeros((2, 3)),), r"axes in \[-2, 1\], got 2"),
        Refusal({"end_dim": -3}, (np.zeros((2, 3)),), r"axes in \[-2, 1\], got -3"),
        Refusal({}, (np.zeros(3),), r"axes in \[-1, 0\], got 1"),
        Refusal({"start_dim": 1, "end_dim": 0}, (np.zeros((2, 3)),), "start_dim .* 1 and 0"),
    ]


class AlwaysAMatrix(ours.Flatten):
    """reshape(len(x), -1)."""

    def forward(self, x):
        super().forward(x)
        y = x.reshape(len(x), -1)
        self._saved[-1] = self._saved[-1]._replace(shape=y.shape)
        return y


class TestFlattenAll(ModuleParity):
    numpy, torch = ours.Flatten, theirs.Flatten
    mistakes = {
        "always a matrix": Mistake(
            AlwaysAMatrix,
            "Written as `x.reshape(len(x), -1)`.",
            "A row of numbers becomes a column, and a scalar raises.",
        ),
    }
    configs = grid(start_dim=[0, -1])
    inputs = [*arrays(""), *arrays("N", N=[0, 3])]
    aliases = True


def ending_in(layer):
    """linear_classifier with one more layer."""
    return lambda *sizes, **more: Sequential(*ours.linear_classifier(*sizes, **more), layer())


class TestLinearClassifier(ModuleParity):
    numpy, torch = ours.linear_classifier, theirs.linear_classifier
    mistakes = {
        "softmax at the end": Mistake(
            ending_in(lambda: Softmax(1)),
            "Keras models end in a softmax; torch's CrossEntropyLoss takes logits.",
            "A softmax of probabilities: the loss hardly falls, and nothing warns.",
        ),
        "ReLU at the end": Mistake(
            ending_in(ReLU),
            "A classic slip: the activation goes behind every layer, the last one included.",
            "No logit is below 0, and a class whose logits are all 0 gets no gradient.",
        ),
    }
    configs = grid(in_features=[6], num_classes=[3])
    inputs = arrays("N 2 3", N=[1, 4])


def test_a_gradient_that_nobody_reads_is_not_made():
    layer, x = ours.Linear(3, 2), np.ones((4, 3), np.float32)
    layer.needs_input_grad = False
    layer(x)
    assert layer.backward(np.ones((4, 2), np.float32)) is None
    np.testing.assert_array_equal(layer.weight.grad, 4 * np.ones((2, 3)))
