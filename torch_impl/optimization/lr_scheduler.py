"""All schedules under one roof: torch.optim.lr_scheduler's, and those it lacks."""

from torch_impl.optimization.decay import (
    CosineAnnealingLR,
    ExponentialLR,
    InverseTimeLR,
    LinearLR,
    PolynomialLR,
    StepLR,
)
from torch_impl.optimization.scheduler import LambdaLR, LRScheduler, SequentialLR
from torch_impl.optimization.warmup import warmup_then

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "InverseTimeLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "PolynomialLR",
    "SequentialLR",
    "StepLR",
    "warmup_then",
]
