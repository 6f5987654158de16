"""The front door that mirrors torch.nn: `from numpy_impl import nn`."""

from numpy_impl.layers import *  # noqa: F403
from numpy_impl.module import (
    Module,
    ModuleList,
    Parameter,
    Sequential,
    is_grad_enabled,
    no_grad,
)

__all__ = [  # noqa: F405
    "Flatten",
    "Identity",
    "Linear",
    "Module",
    "ModuleList",
    "Parameter",
    "Sequential",
    "is_grad_enabled",
    "no_grad",
]
