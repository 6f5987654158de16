"""Optimizers, learning-rate schedules and gradient clipping."""

from numpy_impl.optimization import lr_scheduler
from numpy_impl.optimization.adam import Adam
from numpy_impl.optimization.adamw import AdamW, decay_groups
from numpy_impl.optimization.clipping import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    clipped_step,
    get_total_norm,
)
from numpy_impl.optimization.decay import (
    CosineAnnealingLR,
    ExponentialLR,
    InverseTimeLR,
    LinearLR,
    PolynomialLR,
    StepLR,
)
from numpy_impl.optimization.optimizer import Optimizer
from numpy_impl.optimization.rmsprop import RMSprop
from numpy_impl.optimization.scheduler import LambdaLR, LRScheduler, SequentialLR
from numpy_impl.optimization.sgd import SGD
from numpy_impl.optimization.warmup import warmup_then

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "ExponentialLR",
    "InverseTimeLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "Optimizer",
    "PolynomialLR",
    "RMSprop",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "clipped_step",
    "decay_groups",
    "get_total_norm",
    "lr_scheduler",
    "warmup_then",
]
