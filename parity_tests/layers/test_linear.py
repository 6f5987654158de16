"""Linear, Flatten, Identity, and the linear classifier made of them."""

import warnings

import numpy as np

from numpy_impl.layers import linear as ours
from parity_tests.harness import ModuleParity, Refusal, arrays, grid
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


class TestLinear(ModuleParity):
    numpy, torch = ours.Linear, theirs.Linear
    configs = grid(in_features=[1, 5], out_features=[1, 3], bias=[False, True])
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
    mistakes = {"bias gradient averaged": MeanBiasGradient, "bias left out": NoBias}


class TestLinearOfNothing(ModuleParity):
    """No features in, or none out: the shift alone, or nothing."""

    numpy, torch = ours.Linear, theirs.Linear
    configs = [{"in_features": 3, "out_features": 0}, {"in_features": 0, "out_features": 3}]
    inputs = arrays("N in_features", N=[0, 2])

    def build_torch(self, config, dtype):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors is a no-op")
            return super().build_torch(config, dtype)


class TestIdentity(ModuleParity):
    numpy, torch = ours.Identity, theirs.Identity
    inputs = [*arrays(""), *arrays("N C", N=[0, 3], C=[2])]
    aliases = True


class TestFlatten(ModuleParity):
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


class TestFlattenAll(ModuleParity):
    numpy, torch = ours.Flatten, theirs.Flatten
    configs = grid(start_dim=[0, -1])
    inputs = [*arrays(""), *arrays("N", N=[0, 3])]
    aliases = True


class TestLinearClassifier(ModuleParity):
    numpy, torch = ours.linear_classifier, theirs.linear_classifier
    configs = grid(in_features=[6], num_classes=[3])
    inputs = arrays("N 2 3", N=[1, 4])


def test_a_gradient_that_nobody_reads_is_not_made():
    layer, x = ours.Linear(3, 2), np.ones((4, 3), np.float32)
    layer.needs_input_grad = False
    layer(x)
    assert layer.backward(np.ones((4, 2), np.float32)) is None
    np.testing.assert_array_equal(layer.weight.grad, 4 * np.ones((2, 3)))
