"""Layers: what a network is stacked from. Their pure functions are in nn.functional."""

from numpy_impl.layers.activation import LeakyReLU, ReLU, Sigmoid, Tanh, make_activation
from numpy_impl.layers.container import ModuleList, Sequential
from numpy_impl.layers.linear import Flatten, Identity, Linear, linear_classifier
from numpy_impl.layers.recurrent import RNN, RNNClassifier
from numpy_impl.layers.softmax import LogSoftmax, Softmax, predict_proba

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
