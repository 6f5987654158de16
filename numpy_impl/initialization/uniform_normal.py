"""Independent draws from one distribution for every place: uniform, or normal."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_impl.initialization.constant import Filled, values_of
from numpy_impl.random import Generator, default_generator

__all__ = ["normal_", "uniform_"]


def uniform_(
    tensor: Filled, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Filled:
    """Draw every number from the uniform distribution on [a, b); returns `tensor`.

        mean (a + b) / 2,  std (b - a) / sqrt(12)

    So a range of +-bound has std bound / sqrt(3): a std is not a bound.

    Shapes: any. A view that is not contiguous is filled in the order of its memory, as in torch.

    Raises:
        RuntimeError: a > b, or a, b or b - a is not finite in the dtype of `tensor`.
    """
    values = values_of(tensor)
    check_range(a, b, values.dtype)
    (generator or default_generator).uniform_(values, a, b)
    return tensor


def normal_(
    tensor: Filled, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Filled:
    """Draw every number from the normal distribution; returns `tensor`.

    Shapes: any. A view that is not contiguous is filled in the order of its memory and, as in
    torch, by other numbers than a contiguous one from the same seed (see `Generator.normal_`).

    Raises:
        RuntimeError: std is negative or NaN.
    """
    values = values_of(tensor)
    if not std >= 0:
        raise RuntimeError(f"normal_ wants std >= 0, got {std}")
    (generator or default_generator).normal_(values, mean, std)
    return tensor


def check_range(a: float, b: float, dtype: np.dtype[Any]) -> None:
    """Raise RuntimeError unless a <= b and both and their distance are finite in this dtype."""
    most = float(np.finfo(dtype).max)
    if not (-most <= a <= b <= most and b - a <= most):
        raise RuntimeError(f"a range wants a <= b, finite in {dtype}, got a={a} and b={b}")
