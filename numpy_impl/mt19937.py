"""The raw stream: 32-bit words of the Mersenne twister, seeded and saved the way torch does it.

MT19937 (Matsumoto & Nishimura 1998, ACM TOMACS 8:3-30) keeps 624 words and makes the next 624 of
them by shifts and exclusive ors. NumPy ships it as `RandomState`, whose stream is frozen for good
(NumPy Enhancement Proposal 19), and torch's CPU generator is the same engine from the same start:
so there is nothing to write but how a seed gets in and how a state gets out.
"""

from __future__ import annotations

import operator
import secrets
import sys
from typing import Any, TypeVar

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Self = TypeVar("Self", bound="MersenneTwister")

DEFAULT_SEED = 67280421310721  # what a new torch.Generator starts from
WORDS = 624

STATE: np.dtype[Any] = np.dtype(
    {
        # left: words until the next 624 are made; next: where in the key the next word is
        "names": ["seed", "left", "seeded", "next", "key", "normal", "normal_is_valid"],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", WORDS), "<f8", "<i4"],
        "offsets": [0, 8, 12, 16, 24, 5024, 5040],
        "itemsize": 5056,
    }
)
"""How the bytes of torch.get_rng_state() lie; those between and after the fields are zero."""


class MersenneTwister:
    """Words in the order in which torch's CPU generator gives them, from the same seed.

    Attributes:
        cached_normal: the second of two normal numbers that were made together, or None; torch
            counts it to the state.
    """

    cached_normal: float | None

    def __init__(self) -> None:
        self._engine = np.random.RandomState(0)
        self.manual_seed(DEFAULT_SEED)

    def manual_seed(self: Self, seed: int) -> Self:
        """Start the stream anew from `seed`, -2**63 <= seed < 2**64; returns the generator.

        A negative seed counts as seed + 2**64. Only the low 32 bits reach the engine: seeds that
        differ by a multiple of 2**32 give one stream, and `initial_seed` still tells them apart.

        Raises:
            TypeError: seed is not a whole number.
            ValueError: it is out of range.
        """
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise TypeError(f"seed must be a whole number, got {seed!r}")
        seed = operator.index(seed)
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"seed must be between -2**63 and 2**64 - 1, got {seed}")
        self._seed = seed % 2**64
        # Not default_rng or np.random.MT19937(seed), which scramble the seed first.
        self._engine.seed(self._seed & 0xFFFFFFFF)
        self._untouched = True
        self.cached_normal = None
        return self

    def initial_seed(self) -> int:
        """The seed that the stream was last started from, as a number of 64 bits."""
        return self._seed

    def seed(self) -> int:
        """Start anew from a seed of 53 bits that the operating system draws; returns it."""
        return self.manual_seed(secrets.randbits(53)).initial_seed()

    def get_state(self) -> Array:
        """Where the stream stands: the 5056 bytes of torch's state, uint8."""
        state = np.zeros(1, STATE)
        engine = self._engine.get_state(legacy=False)["state"]
        state["seed"], state["seeded"], state["key"] = self._seed, 1, engine["key"]
        # NumPy keeps one position; torch counts words left, and a new stream is at 0, not at 624.
        state["left"] = WORDS + 1 - engine["pos"]
        state["next"] = 0 if self._untouched else engine["pos"]
        if self.cached_normal is not None:
            state["normal"], state["normal_is_valid"] = self.cached_normal, 1
        return state.view(np.uint8)

    def set_state(self: Self, state: Any) -> Self:
        """Go on from what `get_state` returned, here or in torch; returns the generator.

        Takes whatever NumPy can read as an array, torch's own tensor too.

        Raises:
            TypeError: the state is not of uint8.
            RuntimeError: it is not 5056 bytes, or no state. Nothing has changed then.
        """
        given = np.asarray(state)
        if given.dtype != np.uint8:
            raise TypeError(f"a state is an array of uint8, got {given.dtype}")
        if given.shape != (STATE.itemsize,):
            raise RuntimeError(f"a state has {STATE.itemsize} bytes, got shape {given.shape}")
        read = np.ascontiguousarray(given).view(STATE)[0]
        left, following = int(read["left"]), int(read["next"])
        if not read["seeded"] or not 0 < left <= WORDS or following > WORDS:
            raise RuntimeError("invalid mt19937 state: the bytes are those of no generator")
        position = WORDS if left == 1 else following
        engine = {"key": read["key"], "pos": position}
        self._engine.set_state({"bit_generator": "MT19937", "state": engine})
        self._seed = int(read["seed"])
        self._untouched = left == 1 and following == 0
        self.cached_normal = float(read["normal"]) if read["normal_is_valid"] else None
        return self

    def clone_state(self: Self) -> Self:
        """A generator of its own at the same place of the stream."""
        return type(self)().set_state(self.get_state())

    def words(self, n: int) -> Array:
        """The next n words, uint32."""
        if n:
            self._untouched = False
        return self._engine.randint(0, 2**32, n, np.uint32)

    def random64(self, n: int = 1) -> Array:
        """The next n 64-bit words: a word for the high half, then one for the low half."""
        pairs = self.words(2 * n).view(np.uint64)
        if sys.byteorder == "little":  # which has the first of two words in the low half
            first = pairs << np.uint64(32)
            pairs >>= np.uint64(32)
            pairs |= first
        return pairs
