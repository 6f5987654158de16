"""Hyperparameters: the values that each may take, and how they are spread.

The spreads are `torch.distributions`: a `TransformedDistribution` is a base and a transform, here
the logarithm of a learning rate and `ExpTransform`, and `icdf` and `cdf` come with it. They are
asked for one number in float64, the default dtype would keep seven digits of a seed's draw. The
framework's `exp` and the C library's differ in the last bit now and then, which is one reason to
round values to six digits: one seed then names one config wherever it is drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch import distributions as D

__all__ = ["Choice", "Integer", "LogUniform", "Uniform"]

Scalar = str | int | float | bool | None
NUMBERS = (int, float)
DIGITS = 6


@dataclass(frozen=True)
class Choice:
    """One of some values, each as likely.

    The values are what JSON has, so that a study can be saved: for a class or a function choose
    its name, and look it up in the objective.

    Raises:
        TypeError: a value is no string, number, truth value or None.
        ValueError: no values, one of them twice, or one not finite.
    """

    values: Sequence[Scalar]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        for value in self.values:
            if not isinstance(value, str | int | float | None):
                raise TypeError(
                    f"a Choice is between strings, numbers, truth values and None, got {value!r}"
                )
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"a Choice is between finite numbers, got {value!r}")
        if not self.values or len({(type(v), v) for v in self.values}) < len(self.values):
            raise ValueError(f"a Choice wants one or more different values, got {self.values}")

    @cached_property
    def distribution(self) -> D.Distribution:
        """The spread of the place among the values."""
        return _uniform(0, len(self.values))

    def icdf(self, u: float) -> Scalar:
        """The value at quantile u, 0 <= u < 1."""
        return self.values[min(int(_at(self.distribution.icdf, u)), len(self.values) - 1)]

    def cdf(self, value: Any) -> float:
        """A quantile whose value this is, the middle of them."""
        return _at(self.distribution.cdf, self.index(value) + 0.5)

    def index(self, value: Any) -> int:
        """Where the value stands; ValueError if nowhere."""
        kinds = [(type(known), known) for known in self.values]
        if (type(value), value) not in kinds:
            raise ValueError(f"wanted one of {list(self.values)}, got {value!r}")
        return kinds.index((type(value), value))

    def grid(self, points: int) -> list[Any]:
        """All values."""
        return list(self.values)


@dataclass(frozen=True)
class Uniform:
    """A number between low and high, evenly spread.

    Raises:
        ValueError: low and high are not finite, or low is not below high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def distribution(self) -> D.Distribution:
        """What torch calls it."""
        return _uniform(self.low, self.high)

    def icdf(self, u: float) -> float:
        """The value at quantile u, to 6 digits of the span."""
        decimals = DIGITS - math.floor(math.log10(self.high - self.low))
        return _clamped(round(_at(self.distribution.icdf, u), decimals), self)

    def cdf(self, value: Any) -> float:
        """The quantile of a value."""
        return _at(self.distribution.cdf, _inside(value, self))

    def grid(self, points: int) -> list[Any]:
        """So many values from low to high, evenly spread."""
        return [self.icdf(u) for u in _even(points)]


@dataclass(frozen=True)
class LogUniform:
    """A positive number, its logarithm evenly spread.

    Bergstra & Bengio 2012. The spread of learning rates and penalties: each decade is as likely.

    Raises:
        ValueError: not 0 < low < high < infinity.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check(self, positive=True)

    @cached_property
    def distribution(self) -> D.Distribution:
        """What torch makes of a spread and a transform."""
        logarithm = _uniform(math.log(self.low), math.log(self.high))
        return D.TransformedDistribution(logarithm, [D.ExpTransform()])

    def icdf(self, u: float) -> float:
        """The value at quantile u, to 6 significant digits."""
        return _clamped(float(f"{_at(self.distribution.icdf, u):.{DIGITS}g}"), self)

    def cdf(self, value: Any) -> float:
        """The quantile of a value."""
        return _at(self.distribution.cdf, _inside(value, self))

    def grid(self, points: int) -> list[Any]:
        """So many values from low to high, each the same multiple of the one before."""
        return [self.icdf(u) for u in _even(points)]


@dataclass(frozen=True)
class Integer:
    """A whole number from low to high, both included; log=True spreads its logarithm evenly.

    Raises:
        ValueError: low and high are not whole, low is above high, or below 1 with log.
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        if not all(isinstance(n, int) and not isinstance(n, bool) for n in (self.low, self.high)):
            raise ValueError(f"Integer wants whole numbers, got {self.low!r} and {self.high!r}")
        if self.low > self.high or (self.log and self.low < 1):
            bound = "1 <= low <= high" if self.log else "low <= high"
            raise ValueError(f"Integer wants {bound}, got {self.low} and {self.high}")

    @cached_property
    def distribution(self) -> D.Distribution:
        """The spread of the number before it is rounded."""
        low, high = self.low - 0.5, self.high + 0.5
        if not self.log:
            return _uniform(low, high)
        logarithm = _uniform(math.log(low), math.log(high))
        return D.TransformedDistribution(logarithm, [D.ExpTransform()])

    def icdf(self, u: float) -> int:
        """The value at quantile u."""
        return min(max(math.floor(_at(self.distribution.icdf, u) + 0.5), self.low), self.high)

    def cdf(self, value: Any) -> float:
        """The quantile at the middle of a value's share."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"wanted a whole number, got {value!r}")
        return _at(self.distribution.cdf, _inside(value, self))

    def grid(self, points: int) -> list[Any]:
        """All values, or so many from low to high if there are more."""
        if self.high - self.low < points:
            return list(range(self.low, self.high + 1))
        first, last = self.cdf(self.low), self.cdf(self.high)
        spread = (self.icdf(first + u * (last - first)) for u in _even(points))
        return list(dict.fromkeys(spread))


def _uniform(low: float, high: float) -> D.Uniform:
    ends = torch.tensor([low, high], dtype=torch.float64)
    return D.Uniform(ends[0], ends[1], validate_args=False)


def _at(function: Any, value: float) -> float:
    """One number through a distribution's function."""
    found: Tensor = function(torch.tensor(value, dtype=torch.float64))
    return float(found)


def _check(span: Any, positive: bool = False) -> None:
    name, low, high = type(span).__name__, span.low, span.high
    for end in (low, high):
        if not isinstance(end, int | float) or isinstance(end, bool) or not math.isfinite(end):
            raise ValueError(f"{name} wants finite numbers, got {low!r} and {high!r}")
    if not low < high or (positive and low <= 0):
        bound = "0 < low < high" if positive else "low < high"
        raise ValueError(f"{name} wants {bound}, got {low} and {high}")


def _inside(value: Any, span: Any) -> float:
    if type(value) not in NUMBERS or not span.low <= value <= span.high:
        raise ValueError(f"wanted a number from {span.low} to {span.high}, got {value!r}")
    return float(value)


def _clamped(value: float, span: Any) -> float:
    """Rounding may have led out of the span."""
    return min(max(value, float(span.low)), float(span.high))


def _even(points: int) -> list[float]:
    return torch.linspace(0, 1, points, dtype=torch.float64).tolist()
