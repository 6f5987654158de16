"""Normal draws with the tails cut off."""

from __future__ import annotations

import math
import warnings

import numpy as np

from numpy_impl.initialization.constant import Filled, values_of
from numpy_impl.initialization.uniform_normal import check_range
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
    rng = generator or default_generator
    if _below((b - mean) / std) - _below((a - mean) / std) > 0.3:
        _redraw(rng, values, mean, std, a, b)
    else:
        check_range(a, b, values.dtype)
        _thin(rng, values, mean, std, a, b)
    return tensor


def _redraw(rng: Generator, x: Array, mean: float, std: float, a: float, b: float) -> None:
    """A whole array anew, of which the places outside take theirs, until none is left."""
    with np.errstate(over="ignore"):
        low, high = x.dtype.type(a), x.dtype.type(b)
    rng.normal_(x, mean, std)
    while (outside := (x < low) | (x > high)).any():
        np.copyto(x, rng.normal_(np.empty_like(x), mean, std), where=outside)


def _thin(rng: Generator, x: Array, mean: float, std: float, a: float, b: float) -> None:
    """Candidates for all places and a price for each, until every place has taken one."""
    mode = min(max(mean, a), b)  # where the density is largest on [a, b]
    log_peak = -0.5 * ((mode - mean) / std) ** 2
    pending = np.ones(x.shape, bool)
    candidates, price = np.empty_like(x), np.empty_like(x)
    while pending.any():
        np.copyto(x, rng.uniform_(candidates, a, b), where=pending)
        log_share = np.square((candidates - mean) / std) * -0.5 - log_peak
        with np.errstate(divide="ignore"):  # log(0) = -inf accepts
            pending &= np.log(rng.uniform_(price)) > log_share


def _below(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2
