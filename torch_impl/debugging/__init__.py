"""Debugging: whether gradients are right, and what a training does while it runs."""

from torch_impl.debugging.activations import ActivationMonitor
from torch_impl.debugging.monitor import Monitor

__all__ = ["ActivationMonitor", "Monitor"]
