"""Layers: what a network is stacked from. Their pure functions are in nn.functional."""

from torch_impl.layers.activation import LeakyReLU, ReLU, Sigmoid, Tanh, make_activation
from torch_impl.layers.container import ModuleList, Sequential
from torch_impl.layers.linear import Flatten, Identity, Linear, linear_classifier
from torch_impl.layers.recurrent import RNN, RNNClassifier
from torch_impl.layers.softmax import LogSoftmax, Softmax, predict_proba

__all__ = [
    "Flatten",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "ModuleList",
    "RNN",
    "RNNClassifier",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "linear_classifier",
    "make_activation",
    "predict_proba",
]
