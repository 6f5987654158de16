"""Normalization: keep the scale of what flows between layers."""

from torch_impl.normalization.batch_norm import (
    BatchNorm1d,
    BatchNorm2d,
    batch_norm_from_guide,
    linear_norm_relu,
)

__all__ = ["BatchNorm1d", "BatchNorm2d", "batch_norm_from_guide", "linear_norm_relu"]
