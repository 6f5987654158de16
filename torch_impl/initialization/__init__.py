"""Initialization: where the weights start."""

from torch_impl.initialization.by_activation import init_weights
from torch_impl.initialization.constant import constant_, eye_, ones_, zeros_
from torch_impl.initialization.fan import (
    calculate_gain,
    kaiming_normal_,
    kaiming_uniform_,
    xavier_normal_,
    xavier_uniform_,
)
from torch_impl.initialization.orthogonal import orthogonal_
from torch_impl.initialization.sparse import sparse_
from torch_impl.initialization.trunc_normal import trunc_normal_
from torch_impl.initialization.uniform_normal import normal_, uniform_

__all__ = [
    "calculate_gain",
    "constant_",
    "eye_",
    "init_weights",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]
