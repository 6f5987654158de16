"""A generator whose numbers are given, so that both sides of an initializer draw the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from numpy_impl.random import Generator
from parity_tests.harness.inputs import Array


class Handed(Generator):
    """A generator of given numbers: the next normals and uniforms, in order."""

    def __init__(self, given: Mapping[str, Array]) -> None:
        super().__init__()
        self._next = {kind: _endless(given[kind]) for kind in ("normal", "uniform")}

    def normal(self, mean: float, std: float, shape: Any = (), dtype: Any = np.float32) -> Array:
        """The next normal numbers, times std, plus mean."""
        x = self._take("normal", shape).astype(dtype)
        x *= std
        x += mean
        return x

    def uniform(self, low: float, high: float, shape: Any = (), dtype: Any = np.float32) -> Array:
        """The next uniform numbers, stretched; no wrap at `high`, which is no smooth map."""
        x = self.rand(shape, dtype)
        x *= high - low
        x += low
        return x

    def rand(self, shape: Any = (), dtype: Any = np.float32) -> Array:
        """The next uniform numbers."""
        return self._take("uniform", shape).astype(dtype)

    def _take(self, kind: str, shape: tuple[int, ...]) -> Array:
        taken = np.array([next(self._next[kind]) for _ in range(math.prod(shape))])
        return taken.reshape(shape)


def _endless(numbers: Array) -> Iterator[Any]:
    while True:
        yield from numbers
