"""Training: batches, one step, the loop around it, and what is written down on the way."""

from torch_impl.training.checkpoint import load_checkpoint, save_checkpoint
from torch_impl.training.data import DataLoader, TensorDataset, batches
from torch_impl.training.history import History
from torch_impl.training.interrupt import interrupt_between_steps
from torch_impl.training.loop import evaluate, fit, predict
from torch_impl.training.metrics import accuracy
from torch_impl.training.non_finite import NonFiniteError, find_non_finite
from torch_impl.training.step import train_step

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
