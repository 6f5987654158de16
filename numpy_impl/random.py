"""Every random number of the NumPy side comes from here, so one seed fixes a whole run.

The raw stream is MT19937 (Matsumoto & Nishimura 1998), the engine of torch's CPU generator,
seeded the way torch seeds it: by the low 32 bits of the seed. What is built from whole words by
integer arithmetic therefore equals torch's draw bit for bit: `rand`, `bernoulli`, `randint`,
`randperm`. Normal draws come from NumPy's own method on the same engine: the same distribution,
other numbers than torch's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

Array = np.ndarray[Any, np.dtype[Any]]
Shape = int | tuple[int, ...]

DEFAULT_SEED = 67280421310721  # what a new torch.Generator starts from


class Generator:
    """A stream of random numbers with torch's seeds: `Generator().manual_seed(0)`.

    Draws take a shape and return a new array. float32 takes one 32-bit word a number and float64
    two, so the two dtypes see unrelated streams from one seed, as in torch.
    """

    def __init__(self) -> None:
        self.manual_seed(DEFAULT_SEED)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream anew from `seed`, -2**63 <= seed < 2**64; returns the generator."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError(f"seed must be between -2**63 and 2**64 - 1, got {seed}")
        self._seed = seed % 2**64
        self._engine = np.random.RandomState(self._seed & 0xFFFFFFFF)
        return self

    def initial_seed(self) -> int:
        """The seed that the stream was last started from."""
        return self._seed

    def get_state(self) -> dict[str, Any]:
        """Where the stream stands; `set_state` of it repeats the draws that follow."""
        return {"seed": self._seed, "engine": self._engine.get_state(legacy=False)}

    def set_state(self, state: dict[str, Any]) -> Generator:
        """Continue from what `get_state` returned."""
        self._engine.set_state(state["engine"])
        self._seed = state["seed"]
        return self

    def words(self, n: int) -> Array:
        """The next n raw words of the engine, uint32."""
        # bytes(0) would use up a word
        return np.frombuffer(self._engine.bytes(4 * n) if n else b"", dtype="<u4")

    def random64(self, n: int = 1) -> Array:
        """The next n 64-bit words, the first 32-bit word in the high half."""
        high, low = self.words(2 * n).reshape(n, 2).T.astype(np.uint64)
        return (high << np.uint64(32)) | low

    def rand(self, shape: Shape = (), dtype: DTypeLike = np.float32) -> Array:
        """Uniform numbers in [0, 1): the low 24 bits of a word, or 53 bits of a double word."""
        n = math.prod(shape) if isinstance(shape, tuple) else shape
        if np.dtype(dtype) == np.float32:
            unit = (self.words(n) & np.uint32(2**24 - 1)).astype(np.float32)
            unit *= 2.0**-24
        else:
            unit = (self.random64(n) & np.uint64(2**53 - 1)).astype(np.float64)
            unit *= 2.0**-53
        return unit.astype(dtype, copy=False).reshape(shape)

    def uniform(
        self, low: float, high: float, shape: Shape = (), dtype: DTypeLike = np.float32
    ) -> Array:
        """Uniform numbers in [low, high); one that rounding takes up to high becomes low."""
        x = self.rand(shape, dtype)
        x *= high - low
        x += low
        np.copyto(x, low, where=x == high)
        return x

    def normal(
        self, mean: float, std: float, shape: Shape = (), dtype: DTypeLike = np.float32
    ) -> Array:
        """Normal numbers with that mean and standard deviation."""
        x = np.asarray(self._engine.standard_normal(shape))
        x *= std
        x += mean
        return x.astype(dtype, copy=False)

    def bernoulli(self, p: float, shape: Shape = ()) -> Array:
        """True with probability p: a 53-bit uniform number below p."""
        return self.rand(shape, np.float64) < p

    def randint(self, low: int, high: int, shape: Shape = ()) -> Array:
        """Whole numbers in [low, high): a word modulo the span (a double word from 2**28 on)."""
        span = high - low
        if span <= 0:
            raise RuntimeError(f"randint wants low < high, got {low} and {high}")
        n = math.prod(shape) if isinstance(shape, tuple) else shape
        word = self.random64(n) if span >= 2**28 else self.words(n).astype(np.uint64)
        return (word % np.uint64(span)).astype(np.int64).reshape(shape) + low

    def randperm(self, n: int) -> Array:
        """The numbers 0 to n-1 in random order (Fisher & Yates, from the front), int64."""
        if n < 0:
            raise RuntimeError(f"n must be non-negative, got {n}")
        order = list(range(n))
        for i, word in enumerate(self.words(max(n - 1, 0)).tolist()):
            j = i + word % (n - i)
            order[i], order[j] = order[j], order[i]
        return np.array(order, dtype=np.int64)


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the generator that everything draws from when handed none."""
    return default_generator.manual_seed(seed)
