"""A generator whose numbers are given, so that both sides of an initializer draw the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from numpy_impl.random import Generator, fill
from parity_tests.harness.inputs import Array


class Handed(Generator):
    """A generator of given numbers: the next normals and uniforms, in order."""

    def __init__(self, given: Mapping[str, Array]) -> None:
        super().__init__()
        self._next = {kind: _endless(given[kind]) for kind in ("normal", "uniform")}

    def normal_(self, x: Array, mean: float = 0.0, std: float = 1.0) -> Array:
        """The next normal numbers, times std, plus mean."""
        return fill(x, self._take("normal", (x.size,)).astype(x.dtype) * x.dtype.type(std) + mean)

    def uniform_(self, x: Array, low: float = 0.0, high: float = 1.0) -> Array:
        """The next uniform numbers, stretched; no wrap at `high`, which is no smooth map."""
        unit = self.rand((x.size,), x.dtype)
        unit *= high - low
        unit += low
        return fill(x, unit)

    def rand(self, shape: Any = (), dtype: Any = np.float32) -> Array:
        """The next uniform numbers."""
        return self._take("uniform", shape).astype(dtype)

    def _take(self, kind: str, shape: tuple[int, ...]) -> Array:
        taken = np.array([next(self._next[kind]) for _ in range(math.prod(shape))])
        return taken.reshape(shape)


def _endless(numbers: Array) -> Iterator[Any]:
    while True:
        yield from numbers
