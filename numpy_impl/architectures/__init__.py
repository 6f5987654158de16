"""Architectures: whole networks, with fit, predict and score."""

from numpy_impl.architectures.deep_mlp import DeepMLP
from numpy_impl.architectures.estimator import Estimator
from numpy_impl.architectures.residual import ResidualBlock, ResidualMLP

__all__ = ["DeepMLP", "Estimator", "ResidualBlock", "ResidualMLP"]
