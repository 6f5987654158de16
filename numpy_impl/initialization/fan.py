"""Weights whose spread follows from the number of inputs and outputs: Glorot's and He's."""

from __future__ import annotations

import math
import warnings

from numpy_impl.initialization.constant import Filled, values_of
from numpy_impl.initialization.uniform_normal import normal_, uniform_
from numpy_impl.module import Array
from numpy_impl.random import Generator

__all__ = [
    "calculate_gain",
    "kaiming_normal_",
    "kaiming_uniform_",
    "xavier_normal_",
    "xavier_uniform_",
]

LINEAR = ("linear", *(f"conv{way}{n}d" for way in ("", "_transpose") for n in (1, 2, 3)), "sigmoid")
GAINS = {**dict.fromkeys(LINEAR, 1.0), "tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 3 / 4}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on the std of the weights that makes up for what a nonlinearity takes away.

        linear, conv*, sigmoid: 1    tanh: 5/3    relu: sqrt(2)    selu: 3/4
        leaky_relu: sqrt(2 / (1 + param^2)), param its negative slope, 0.01 if None

    sqrt(2) is exact for ReLU: it halves the mean square of a symmetric input. 5/3 and 3/4 are
    empirical, torch's.

    Raises:
        ValueError: the nonlinearity is none of these, or the slope no number.
    """
    if nonlinearity in GAINS:
        return GAINS[nonlinearity]
    if nonlinearity != "leaky_relu":
        known = ", ".join([*GAINS, "leaky_relu"])
        raise ValueError(f"nonlinearity must be one of {known}, got {nonlinearity!r}")
    slope = 0.01 if param is None else param
    if isinstance(slope, bool) or not isinstance(slope, int | float):
        raise ValueError(f"the negative slope must be a number, got {param!r}")
    return math.sqrt(2.0 / (1 + slope**2))


def xavier_uniform_(
    tensor: Filled, gain: float = 1.0, generator: Generator | None = None
) -> Filled:
    """Draw weights uniformly so that signals keep their size both forward and backward.

    Glorot & Bengio 2010 (AISTATS), eq. 16, times gain:

        U(-bound, bound),  bound = sqrt(3) * std,  std = gain * sqrt(2 / (fan_in + fan_out))

    Shapes: (out, in, *): fan_in is in, fan_out is out, each times the product of *.

    Raises:
        ValueError: fewer than 2 dimensions.
        RuntimeError: the gain is negative or NaN.
    """
    bound = math.sqrt(3.0) * _xavier_std(values_of(tensor), gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Filled, gain: float = 1.0, generator: Generator | None = None) -> Filled:
    """Draw weights from a normal distribution with the std of `xavier_uniform_`.

    Glorot & Bengio 2010 (AISTATS):  N(0, std^2),  std = gain * sqrt(2 / (fan_in + fan_out))

    Shapes: (out, in, *).

    Raises:
        ValueError: fewer than 2 dimensions.
        RuntimeError: the gain is negative or NaN.
    """
    return normal_(tensor, 0.0, _xavier_std(values_of(tensor), gain), generator)


def kaiming_uniform_(
    tensor: Filled,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Filled:
    """Draw weights uniformly so that signals keep their size through rectifiers.

    He et al. 2015, arXiv:1502.01852, eq. 10 and 14:

        U(-bound, bound),  bound = sqrt(3) * std,  std = gain / sqrt(fan)

    with gain = calculate_gain(nonlinearity, a). mode "fan_in" keeps the size forward, "fan_out"
    backward. `a` is the negative slope, not a bound.

    Shapes: (out, in, *): fan_in is in, fan_out is out, each times the product of *.

    Raises:
        ValueError: fewer than 2 dimensions, or an unknown mode or nonlinearity.
    Warns:
        UserWarning: there is nothing to fill.
    """
    values = values_of(tensor)
    if values.size == 0:
        warnings.warn(f"nothing to fill in shape {values.shape}", stacklevel=2)
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(values, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Filled,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Filled:
    """Draw weights from a normal distribution with the std of `kaiming_uniform_`.

    He et al. 2015, arXiv:1502.01852:  N(0, std^2),  std = gain / sqrt(fan). For ReLU that is the
    sqrt(2 / n) that "He initialization" usually means.

    Shapes: (out, in, *).

    Raises:
        ValueError: fewer than 2 dimensions, or an unknown mode or nonlinearity.
    Warns:
        UserWarning: there is nothing to fill.
    """
    values = values_of(tensor)
    if values.size == 0:
        warnings.warn(f"nothing to fill in shape {values.shape}", stacklevel=2)
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(values, a, mode, nonlinearity), generator)


def _xavier_std(values: Array, gain: float) -> float:
    fan_in, fan_out = _fans(values)
    return gain * math.sqrt(2.0 / (fan_in + fan_out))


def _kaiming_std(values: Array, a: float, mode: str, nonlinearity: str) -> float:
    modes = ("fan_in", "fan_out")
    if str(mode).lower() not in modes:
        raise ValueError(f"mode must be fan_in or fan_out, got {mode!r}")
    fan = _fans(values)[modes.index(mode.lower())]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _fans(values: Array) -> tuple[int, int]:
    if values.ndim < 2:
        raise ValueError(f"fan in and fan out want 2 or more dimensions, got shape {values.shape}")
    field = math.prod(values.shape[2:])
    return values.shape[1] * field, values.shape[0] * field
