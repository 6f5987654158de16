"""Debugging: whether gradients are right, what a training does, and what to try before one.

Where a NaN or an infinity came from is `find_non_finite`, of the training chapter.
"""

from torch_impl.debugging.activations import ActivationMonitor
from torch_impl.debugging.gradient_checking import gradient_check
from torch_impl.debugging.gradient_report import GradientReport, TensorCheck
from torch_impl.debugging.hand_gradients import gradient_check_function, gradient_check_lists
from torch_impl.debugging.monitor import Monitor
from torch_impl.debugging.range_test import RangeTest, lr_range_test
from torch_impl.debugging.sanity import InitialLoss, Overfit, initial_loss, overfit_one_batch
from torch_impl.debugging.step_size import StepSizeSweep, step_size_sweep
from torch_impl.debugging.summaries import write_summaries
from torch_impl.training.non_finite import find_non_finite

__all__ = [
    "ActivationMonitor",
    "GradientReport",
    "InitialLoss",
    "Monitor",
    "Overfit",
    "RangeTest",
    "StepSizeSweep",
    "TensorCheck",
    "find_non_finite",
    "gradient_check",
    "gradient_check_function",
    "gradient_check_lists",
    "initial_loss",
    "lr_range_test",
    "overfit_one_batch",
    "step_size_sweep",
    "write_summaries",
]
