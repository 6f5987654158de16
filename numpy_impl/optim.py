"""The front door that mirrors torch.optim: `from numpy_impl import optim`."""

from numpy_impl.optimization import lr_scheduler
from numpy_impl.optimization.adam import Adam
from numpy_impl.optimization.adamw import AdamW
from numpy_impl.optimization.optimizer import Optimizer
from numpy_impl.optimization.rmsprop import RMSprop
from numpy_impl.optimization.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
