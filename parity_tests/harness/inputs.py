"""What the cases are fed: configurations, shapes, regimes of values, memory layouts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Config = dict[str, Any]


def grid(**choices: Sequence[Any]) -> list[Config]:
    """Every combination of the choices, as keyword arguments: grid(a=[1, 2], b=[True])."""
    return [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]


@dataclass(frozen=True)
class Shape:
    """A shape by names: each is a size of its own, or an argument of the configuration."""

    names: str
    sizes: Mapping[str, int]

    def of(self, config: Mapping[str, Any]) -> tuple[int, ...]:
        """The numbers, names looked up in the sizes, then in the configuration."""
        known = {**config, **self.sizes}
        return tuple(int(n) if n.isdigit() else known[n] for n in self.names.split())

    def __str__(self) -> str:
        sizes = ",".join(f"{k}={v}" for k, v in self.sizes.items())
        return f"{self.names.replace(' ', 'x') or 'scalar'}{f'({sizes})' if sizes else ''}"


def arrays(names: str, **sizes: Sequence[int]) -> list[Shape]:
    """Shapes for every combination of sizes: arrays("N num_features", N=[0, 2, 7])."""
    return [Shape(names, combination) for combination in grid(**sizes)]


Regime = Callable[[np.random.Generator, tuple[int, ...]], Array]

REGIMES: dict[str, Regime] = {
    "unit": lambda rng, shape: rng.standard_normal(shape),
    "tiny": lambda rng, shape: 3e-4 * rng.standard_normal(shape),
    "offset": lambda rng, shape: 1e4 + rng.standard_normal(shape),
    "large": lambda rng, shape: 30 * rng.standard_normal(shape),
    "huge": lambda rng, shape: 1e4 * rng.standard_normal(shape),
    "ties": lambda rng, shape: np.round(1.5 * rng.standard_normal(shape)),
    "zeros": lambda rng, shape: np.zeros(shape),
}


def _strided(x: Array) -> Array:
    wide = np.full(tuple(2 * n for n in x.shape), np.nan if x.dtype.kind == "f" else 0, x.dtype)
    view = np.asarray(wide[tuple(slice(None, None, 2) for _ in x.shape)])
    view[...] = x
    return view


def _negative(x: Array) -> Array:
    backwards = tuple(slice(None, None, -1) for _ in x.shape)
    return np.asarray(x[backwards].copy()[backwards])


def _readonly(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "F": lambda x: np.array(x, order="F"),
    "strided": _strided,
    "negative": _negative,
    "readonly": _readonly,
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape) if x.ndim else x,
}
"""Ways one array of numbers can lie in memory. "broadcast" repeats the first row instead."""


def dtype_of(given: Mapping[str, Array]) -> np.dtype[Any]:
    """The dtype that a run computes in: the first floating one among its named arrays."""
    return next((x.dtype for x in given.values() if x.dtype.kind == "f"), np.dtype(np.float64))


def same(a: Any, b: Any) -> bool:
    """Whether two arrays are equal number for number, NaN to NaN."""
    is_float = np.asarray(a).dtype.kind == "f"
    return np.array_equal(a, b, equal_nan=True) if is_float else np.array_equal(a, b)


def brief(value: Any) -> str:
    """A value in the name of a check, the same in every process: arrays by shape, code by name."""
    if isinstance(value, np.ndarray):
        return f"array{value.shape}"
    if isinstance(value, tuple | list):
        inside = ",".join(brief(v) for v in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}={brief(v)}" for k, v in value.items()) + "}"
    if type(value).__repr__ is object.__repr__:  # which would show an address
        return type(value).__name__ + brief(vars(value))
    return getattr(value, "__name__", None) or str(value).replace(" ", "")


def stacked(steps: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Each label's arrays along a first axis; NaN (or -1) where it was not there yet."""
    last = {k: x for found in steps for k, x in found.items()}
    blank = {k: np.full_like(x, np.nan if x.dtype.kind == "f" else -1) for k, x in last.items()}
    return {k: np.stack([found.get(k, blank[k]) for found in steps]) for k in last}
