"""What is searched: named hyperparameters, some of which exist only under a condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from numpy_impl.module import Array
from numpy_impl.random import Generator
from numpy_impl.tuning.parameters import Choice, Integer, LogUniform, Scalar, Uniform

__all__ = ["Conditional", "SearchSpace"]

Config = dict[str, Any]
Dimension = Choice | Uniform | LogUniform | Integer


@dataclass(frozen=True)
class Conditional:
    """A parameter that exists only where another one has certain values.

        {"optimizer": Choice(["sgd", "adam"]),
         "momentum": Conditional(Uniform(0, 0.99), on="optimizer", values=["sgd"])}

    Elsewhere its name is not in the config. The other one must be a Choice or Integer that stands
    before it, and may itself be conditional.
    """

    parameter: Dimension
    on: str
    values: Sequence[Scalar]

    def __post_init__(self) -> None:
        if not isinstance(self.parameter, Dimension):
            raise TypeError(f"Conditional wants a parameter, got {self.parameter!r}")
        object.__setattr__(self, "values", tuple(self.values))


class SearchSpace(Mapping[str, Any]):
    """Named parameters, in the order in which they are drawn.

    A config is a dict of plain values. Two kinds of coordinates lead to it: `u`, one quantile in
    [0, 1) a parameter, for drawing; and features, for a model of the scores: one number in [0, 1]
    for a numeric parameter, one column a value for a Choice (1 at its value), 0.5 and zeros where
    a conditional parameter does not exist.

    Raises:
        TypeError: a name is no string, or a parameter is none.
        ValueError: no parameters, or a condition that can never hold.
    """

    def __init__(self, parameters: Mapping[str, Dimension | Conditional]) -> None:
        self._parameters: dict[str, Dimension | Conditional] = dict(parameters)
        if not self._parameters:
            raise ValueError("a search space wants at least one parameter, got none")
        self.dimensions: dict[str, Dimension] = {}
        for name, held in self._parameters.items():
            if not isinstance(name, str) or not isinstance(held, Dimension | Conditional):
                raise TypeError(
                    "a search space is a mapping of names to Choice, Integer, Uniform, LogUniform "
                    f"or Conditional, got {name!r}: {held!r}"
                )
            if isinstance(held, Conditional):
                self._check_condition(name, held)
            self.dimensions[name] = held.parameter if isinstance(held, Conditional) else held

    def _check_condition(self, name: str, held: Conditional) -> None:
        other = self.dimensions.get(held.on)
        if not isinstance(other, Choice | Integer):
            raise ValueError(
                f"{name!r} depends on {held.on!r}, which must be a Choice or Integer before it, "
                f"got {other}"
            )
        for value in held.values:
            other.cdf(value)  # ValueError if it can never be so
        if not held.values:
            raise ValueError(f"{name!r} exists for no value of {held.on!r}")

    def __getitem__(self, name: str) -> Dimension | Conditional:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def active(self, name: str, config: Config) -> bool:
        """Whether the parameter exists, given those before it."""
        held = self._parameters[name]
        if not isinstance(held, Conditional):
            return True
        if held.on not in config:
            return False
        return any(type(v) is type(config[held.on]) and v == config[held.on] for v in held.values)

    def sample(self, generator: Generator) -> Config:
        """A config at random. Draws one float64 a parameter, also for those that do not exist."""
        return self.decode(generator.rand(len(self), np.float64))

    def decode(self, u: Array) -> Config:
        """The config at these quantiles. Shapes: u (P,)."""
        config: Config = {}
        for (name, dimension), at in zip(self.dimensions.items(), u.tolist(), strict=True):
            if self.active(name, config):
                config[name] = dimension.icdf(at)
        return config

    def quantiles(self, config: Config) -> Array:
        """Quantiles that lead to the config, 0.5 where a parameter does not exist."""
        found = [d.cdf(config[n]) if n in config else 0.5 for n, d in self.dimensions.items()]
        return np.array(found)

    def encode(self, configs: Sequence[Config]) -> Array:
        """The configs as features. Shapes: (N, features)."""
        return np.array([self._features(config) for config in configs]).reshape(len(configs), -1)

    def _features(self, config: Config) -> list[float]:
        row: list[float] = []
        for name, dimension in self.dimensions.items():
            if isinstance(dimension, Choice):
                chosen = dimension.index(config[name]) if name in config else -1
                row += [float(i == chosen) for i in range(len(dimension.values))]
            else:
                row.append(dimension.cdf(config[name]) if name in config else 0.5)
        return row

    def continuous(self, config: Config) -> dict[str, int]:
        """The real parameters that exist in the config, each with its column among features."""
        columns, at = {}, 0
        for name, dimension in self.dimensions.items():
            if isinstance(dimension, Uniform | LogUniform) and name in config:
                columns[name] = at
            at += len(dimension.values) if isinstance(dimension, Choice) else 1
        return columns

    def grid(self, points: int = 5) -> list[Config]:
        """Every combination, the last parameter running fastest.

        All values of a Choice, and of an Integer unless it has more than `points`; so many values
        of what is real.
        """
        if not isinstance(points, int) or points < 2:
            raise ValueError(f"points must be a whole number of at least 2, got {points!r}")
        configs: list[Config] = [{}]
        for name, dimension in self.dimensions.items():
            grown: list[Config] = []
            for config in configs:
                exists = self.active(name, config)
                values = dimension.grid(points)
                grown += [config | {name: v} for v in values] if exists else [config]
            configs = grown
        return configs

    def check(self, config: Any) -> None:
        """ValueError if this is no config of the space."""
        if not isinstance(config, dict):
            raise ValueError(f"a config is a dict, got {config!r}")
        wanted = [name for name in self if self.active(name, config)]
        if sorted(config) != sorted(wanted):
            raise ValueError(f"wanted values for {wanted}, got {config}")
        for name, value in config.items():
            try:
                self.dimensions[name].cdf(value)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{name}: {error}") from None

    def describe(self) -> dict[str, Any]:
        """The space in plain values, for a study's file."""
        return {name: _describe(held) for name, held in self._parameters.items()}

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> SearchSpace:
        """The space that `describe` told of; ValueError if it is none."""
        try:
            return cls({name: _described(entry) for name, entry in described.items()})
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not the description of a search space: {error}") from None


_KINDS: dict[str, Any] = {k.__name__: k for k in (Choice, Uniform, LogUniform, Integer)}


def _describe(held: Dimension | Conditional) -> dict[str, Any]:
    if isinstance(held, Conditional):
        inner = _describe(held.parameter)
        return {"type": "Conditional", "parameter": inner, "on": held.on, "values": held.values}
    return {"type": type(held).__name__, **asdict(held)}


def _described(entry: Mapping[str, Any]) -> Dimension | Conditional:
    arguments = {k: v for k, v in entry.items() if k != "type"}
    if entry["type"] == "Conditional":
        return Conditional(**arguments | {"parameter": _described(entry["parameter"])})
    made: Dimension = _KINDS[entry["type"]](**arguments)
    return made
