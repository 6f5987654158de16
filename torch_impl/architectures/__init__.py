"""Architectures: whole networks, with fit, predict and score."""

from torch_impl.architectures.deep_mlp import DeepMLP
from torch_impl.architectures.estimator import Estimator
from torch_impl.architectures.residual import ResidualBlock, ResidualMLP

__all__ = ["DeepMLP", "Estimator", "ResidualBlock", "ResidualMLP"]
