"""Debugging: whether gradients are right, and what a training does while it runs."""

from torch_impl.debugging.activations import ActivationMonitor
from torch_impl.debugging.gradient_checking import (
    gradient_check,
    gradient_check_function,
    gradient_check_lists,
)
from torch_impl.debugging.gradient_report import GradientReport, TensorCheck
from torch_impl.debugging.monitor import Monitor
from torch_impl.debugging.step_size import StepSizeSweep, step_size_sweep

__all__ = [
    "ActivationMonitor",
    "GradientReport",
    "Monitor",
    "StepSizeSweep",
    "TensorCheck",
    "gradient_check",
    "gradient_check_function",
    "gradient_check_lists",
    "step_size_sweep",
]
