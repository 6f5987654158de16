"""Hyperparameters: the values that each may take, and how they are spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Choice", "Integer", "LogUniform", "Uniform"]

Scalar = str | int | float | bool | None
NUMBERS = (int, float)
DIGITS = 6  # of a real value: enough for any hyperparameter, and short in a table


@dataclass(frozen=True)
class Choice:
    """One of some values, each as likely: icdf(u) = values[floor(u * n)].

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

    def icdf(self, u: float) -> Scalar:
        """The value at quantile u, 0 <= u < 1."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]

    def cdf(self, value: Any) -> float:
        """A quantile whose value this is, the middle of them."""
        return (self.index(value) + 0.5) / len(self.values)

    def index(self, value: Any) -> int:
        """Where the value stands; ValueError if nowhere."""
        for i, known in enumerate(self.values):
            if type(known) is type(value) and known == value:
                return i
        raise ValueError(f"wanted one of {list(self.values)}, got {value!r}")

    def grid(self, points: int) -> list[Any]:
        """All values."""
        return list(self.values)


@dataclass(frozen=True)
class Uniform:
    """A number between low and high, evenly spread: icdf(u) = low + u * (high - low).

    Raises:
        ValueError: low and high are not finite, or low is not below high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check(type(self).__name__, self.low, self.high)

    def icdf(self, u: float) -> float:
        """The value at quantile u, to 6 digits of the span."""
        span = self.high - self.low
        rounded = round(self.low + u * span, DIGITS - math.floor(math.log10(span)))
        return min(max(rounded, float(self.low)), float(self.high))

    def cdf(self, value: Any) -> float:
        """The quantile of a value."""
        return (_inside(value, self) - self.low) / (self.high - self.low)

    def grid(self, points: int) -> list[Any]:
        """So many values from low to high, evenly spread."""
        return [self.icdf(u) for u in _even(points)]


@dataclass(frozen=True)
class LogUniform:
    """A positive number, its logarithm evenly spread: icdf(u) = low * (high / low)^u.

    The spread of learning rates and penalties: each decade is as likely. Drawn uniformly instead,
    nine of ten numbers lie in the top decade (Bergstra & Bengio 2012).

    Raises:
        ValueError: not 0 < low < high < infinity.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check(type(self).__name__, self.low, self.high, positive=True)

    def icdf(self, u: float) -> float:
        """The value at quantile u, to 6 significant digits."""
        log = math.log(self.low)
        value = math.exp(log + u * (math.log(self.high) - log))
        return min(max(float(f"{value:.{DIGITS}g}"), float(self.low)), float(self.high))

    def cdf(self, value: Any) -> float:
        """The quantile of a value."""
        log = math.log(self.low)
        return (math.log(_inside(value, self)) - log) / (math.log(self.high) - log)

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

    def icdf(self, u: float) -> int:
        """The value at quantile u."""
        low, high = self._ends()
        real = low + u * (high - low)
        real = round(math.exp(real)) if self.log else math.floor(real + 0.5)
        return min(max(int(real), self.low), self.high)

    def cdf(self, value: Any) -> float:
        """The quantile at the middle of a value's share."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"wanted a whole number, got {value!r}")
        low, high = self._ends()
        real = float(_inside(value, self))
        return ((math.log(real) if self.log else real) - low) / (high - low)

    def grid(self, points: int) -> list[Any]:
        """All values, or so many from low to high if there are more."""
        if self.high - self.low < points:
            return list(range(self.low, self.high + 1))
        ends = self.cdf(self.low), self.cdf(self.high)
        spread = (self.icdf(ends[0] + u * (ends[1] - ends[0])) for u in _even(points))
        return list(dict.fromkeys(spread))

    def _ends(self) -> tuple[float, float]:
        ends = self.low - 0.5, self.high + 0.5
        return (math.log(ends[0]), math.log(ends[1])) if self.log else ends


def _check(name: str, low: float, high: float, positive: bool = False) -> None:
    for end in (low, high):
        if not isinstance(end, int | float) or isinstance(end, bool) or not math.isfinite(end):
            raise ValueError(f"{name} wants finite numbers, got {low!r} and {high!r}")
    if not low < high or (positive and low <= 0):
        bound = "0 < low < high" if positive else "low < high"
        raise ValueError(f"{name} wants {bound}, got {low} and {high}")


def _inside(value: Any, span: Any) -> float:
    if type(value) not in NUMBERS or not span.low <= value <= span.high:
        raise ValueError(f"wanted a number from {span.low} to {span.high}, got {value!r}")
    return value


def _even(points: int) -> list[float]:
    return [i / (points - 1) for i in range(points)]
