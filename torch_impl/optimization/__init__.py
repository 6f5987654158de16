"""Optimizers, learning-rate schedules and gradient clipping."""

from torch_impl.optimization import lr_scheduler
from torch_impl.optimization.adam import Adam
from torch_impl.optimization.adamw import AdamW, decay_groups
from torch_impl.optimization.clipping import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    clipped_step,
    get_total_norm,
)
from torch_impl.optimization.decay import (
    CosineAnnealingLR,
    ExponentialLR,
    InverseTimeLR,
    LinearLR,
    PolynomialLR,
    StepLR,
)
from torch_impl.optimization.optimizer import Optimizer
from torch_impl.optimization.rmsprop import RMSprop
from torch_impl.optimization.scheduler import LambdaLR, LRScheduler, SequentialLR
from torch_impl.optimization.sgd import SGD
from torch_impl.optimization.warmup import warmup_then

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
