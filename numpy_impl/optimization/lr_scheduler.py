"""All schedules under one roof, as torch.optim.lr_scheduler has them."""

from numpy_impl.optimization.decay import (
    CosineAnnealingLR,
    ExponentialLR,
    InverseTimeLR,
    LinearLR,
    PolynomialLR,
    StepLR,
)
from numpy_impl.optimization.scheduler import LambdaLR, LRScheduler, SequentialLR
from numpy_impl.optimization.warmup import warmup_then

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
