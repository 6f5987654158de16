"""Normal draws with the tails cut off."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from numpy_impl.initialization.constant import Filled, values_of
from numpy_impl.initialization.uniform_normal import check_range, draw_into
from numpy_impl.module import Array
from numpy_impl.random import Generator, default_generator

__all__ = ["trunc_normal_"]


def trunc_normal_(
    tensor: Filled,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Filled:
    """Draw every number from the normal distribution, given that it falls in [a, b].

        density(x) = exp(-((x - mean) / std)^2 / 2) / c  on [a, b], 0 outside

    a and b are values, not multiples of std: with std = 0.02 the default +-2 cuts nothing off. What
    is left has a smaller std than `std` (0.88 of it when cut at two std).

    Both ways of drawing reject (von Neumann 1951), as torch does from 2.12 on. Where [a, b] holds
    more than 0.3 of the normal distribution, normal draws that fall outside are drawn again; else
    uniform draws x on [a, b] are kept when log(u) <= log density(x) - log max density.

    Shapes: any.

    Raises:
        ValueError: std is not above 0.
        RuntimeError: the range is empty, or holds at most 0.3 and is not finite.
    Warns:
        UserWarning: mean is more than 2 std outside [a, b].
    """
    values = values_of(tensor)
    if not std > 0:
        raise ValueError(f"trunc_normal_ wants std > 0, got {std}")
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            f"mean {mean} is more than 2 std from [{a}, {b}]: was a range in std meant?",
            stacklevel=2,
        )
    rng, dtype = generator or default_generator, values.dtype
    if _below((b - mean) / std) - _below((a - mean) / std) > 0.3:
        draw_into(values, lambda shape: _redrawn(rng, shape, dtype, mean, std, a, b))
    else:
        check_range(a, b, dtype)
        draw_into(values, lambda shape: _thinned(rng, shape, dtype, mean, std, a, b))
    return tensor


def _redrawn(
    rng: Generator,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    mean: float,
    std: float,
    a: float,
    b: float,
) -> Array:
    with np.errstate(over="ignore"):
        low, high = dtype.type(a), dtype.type(b)
    x = rng.normal(mean, std, shape, dtype)
    while (outside := (x < low) | (x > high)).any():
        x = np.where(outside, rng.normal(mean, std, shape, dtype), x)
    return x


def _thinned(
    rng: Generator,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    mean: float,
    std: float,
    a: float,
    b: float,
) -> Array:
    mode = min(max(mean, a), b)  # where the density is largest on [a, b]
    log_peak = -0.5 * ((mode - mean) / std) ** 2
    x = np.empty(shape, dtype)
    pending = np.ones(shape, bool)
    while pending.any():
        candidates = rng.uniform(a, b, shape, dtype)
        x = np.where(pending, candidates, x)
        log_share = np.square((candidates - mean) / std) * -0.5 - log_peak
        with np.errstate(divide="ignore"):  # log(0) = -inf accepts
            pending &= np.log(rng.rand(shape, dtype)) > log_share
    return x


def _below(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2
