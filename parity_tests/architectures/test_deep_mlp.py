"""DeepMLP: any depth, batch norm and dropout a layer, never an activation on the output."""

import numpy as np

from numpy_impl import nn
from numpy_impl.architectures import deep_mlp as ours
from numpy_impl.layers import ReLU, Sigmoid
from numpy_impl.normalization import BatchNorm1d
from parity_tests.harness import Mistake, ModuleParity, Refusal, arrays
from torch_impl.architectures import deep_mlp as theirs


class ActivationOnTheOutput(ours.DeepMLP):
    """The guide's: the hidden activation on the last layer too."""

    def __init__(self, layers, learning_rate=0.01, activation="relu", **options):
        super().__init__(layers, learning_rate, activation, **options)
        self.net.append(ReLU() if activation == "relu" else Sigmoid())


class BiasBeforeTheNorm(ours.DeepMLP):
    """Linear layers with a bias that batch norm subtracts again."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        for i, layer in enumerate(self.net):
            if isinstance(layer, nn.Linear) and layer.bias is None:
                self.net[i] = nn.Linear(layer.in_features, layer.out_features)
                self.net[i].bias.data.fill(0.5)  # as after some training


class NormAfterTheActivation(ours.DeepMLP):
    """Linear, activation, batch norm."""

    def order(self):
        layers = list(self.net)
        for i, layer in enumerate(self.net):
            if isinstance(layer, BatchNorm1d):
                layers[i], layers[i + 1] = layers[i + 1], layer
        return layers

    def forward(self, x):
        for layer in self.order():
            x = layer(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.order()):
            dy = layer.backward(dy)
        return dy


class ActivationPassedOver(ours.DeepMLP):
    """A backward that hands the gradient past every activation."""

    def backward(self, dy):
        for layer in reversed(list(self.net)):
            if isinstance(layer, ReLU):
                layer.discard_saved()
            else:
                dy = layer.backward(dy)
        return dy


class TestDeepMLP(ModuleParity):
    numpy, torch = ours.DeepMLP, theirs.DeepMLP
    configs = [
        {"layers": [5, 1], "task": "regression"},
        {"layers": [5, 4, 3], "activation": "tanh"},
        {"layers": [3, 6, 2], "activation": "sigmoid", "dropout": 0.5},
        {"layers": [4, 5, 6, 7, 2], "activation": "leaky_relu", "batch_norm": [True, False, True]},
        {
            "layers": [4, 6, 5, 3],
            "learning_rate": 0.125,
            "batch_norm": True,
            "dropout": [0.0, 0.3],
            "task": "regression",
        },
    ]
    inputs = arrays("N", N=[7])
    network = True
    regimes = {
        k: v for k, v in ModuleParity.regimes.items() if k in ("unit", "offset", "large", "zeros")
    }
    refusals = [
        Refusal({"layers": [4]}, says="two or more"),
        Refusal({"layers": [4, 0, 2]}, says="positive"),
        Refusal({"layers": [4, 2.5, 2]}, says="positive"),
        Refusal({"layers": [4, 1]}, says="at least 2 classes"),
        Refusal({"layers": [4, 2], "task": "ranking"}, says="ranking"),
        Refusal({"layers": [4, 5, 2], "activation": "swish"}, says="swish"),
        Refusal({"layers": [4, 5, 2], "dropout": 1.5}, says="1.5"),
        Refusal({"layers": [4, 5, 2], "dropout": [0.1, 0.2]}, says="dropout wants .*1 hidden"),
        Refusal({"layers": [4, 5, 2], "batch_norm": []}, says="batch_norm wants .*1 hidden"),
        Refusal({"layers": [4, 3]}, (np.zeros((2, 5)),), r"got \(2, 5\)"),
    ]
    mistakes = {
        "activation on the output": Mistake(
            ActivationOnTheOutput,
            "The guide's DeepMLP puts its activation on the last layer, too.",
            "Targets below 0 cannot be reached, and outputs can die.",
        ),
        "bias before the norm": Mistake(
            BiasBeforeTheNorm,
            "torch's Linear has a bias unless told otherwise.",
            "The norm subtracts it again: a parameter without any effect but on the running mean.",
        ),
        "norm after the activation": Mistake(
            NormAfterTheActivation,
            "A common order; Ioffe & Szegedy put the norm before the activation.",
            "The next layer gets centred inputs, and negative ones.",
        ),
        "activation's gradient left out": Mistake(
            ActivationPassedOver,
            "A classic slip: backward asks only the layers that have parameters.",
            "Gradients are those of a network without its non-linearities.",
        ),
    }

    def make_inputs(self, rng, shape, regime, config):
        return (regime(rng, (shape[0], config["layers"][0])),)
