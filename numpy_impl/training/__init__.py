"""Training: batches, one step, the loop around it, and what is written down on the way."""

from numpy_impl.training.checkpoint import load_checkpoint, save_checkpoint
from numpy_impl.training.data import DataLoader, TensorDataset, batches
from numpy_impl.training.history import History
from numpy_impl.training.interrupt import interrupt_between_steps
from numpy_impl.training.loop import evaluate, fit, predict
from numpy_impl.training.metrics import accuracy
from numpy_impl.training.non_finite import NonFiniteError, find_non_finite
from numpy_impl.training.step import train_step

__all__ = [
    "DataLoader",
    "History",
    "NonFiniteError",
    "TensorDataset",
    "accuracy",
    "batches",
    "evaluate",
    "find_non_finite",
    "fit",
    "interrupt_between_steps",
    "load_checkpoint",
    "predict",
    "save_checkpoint",
    "train_step",
]
