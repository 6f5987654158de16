"""The front door that mirrors torch.nn: `from numpy_impl import nn`."""

from numpy_impl import functional
from numpy_impl import initialization as init
from numpy_impl.layers.activation import LeakyReLU, ReLU, Sigmoid, Tanh
from numpy_impl.layers.container import ModuleList, Sequential
from numpy_impl.layers.linear import Flatten, Identity, Linear
from numpy_impl.layers.recurrent import RNN
from numpy_impl.layers.softmax import LogSoftmax, Softmax
from numpy_impl.losses.binary_cross_entropy import BCELoss, BCEWithLogitsLoss
from numpy_impl.losses.cross_entropy import CrossEntropyLoss
from numpy_impl.losses.nll import NLLLoss
from numpy_impl.losses.regression import L1Loss, MSELoss
from numpy_impl.module import (
    Module,
    Parameter,
    is_grad_enabled,
    no_grad,
)
from numpy_impl.normalization.batch_norm import BatchNorm1d, BatchNorm2d
from numpy_impl.optimization import clipping as utils
from numpy_impl.regularization.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d

__all__ = [
    "AlphaDropout",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Flatten",
    "Identity",
    "L1Loss",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "RNN",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "functional",
    "init",
    "is_grad_enabled",
    "no_grad",
    "utils",
]
