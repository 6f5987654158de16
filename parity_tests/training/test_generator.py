"""The generator: every draw beside torch's from one seed, and the state that each leaves behind."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

import numpy_impl
from numpy_impl.exact_arithmetic import machine
from numpy_impl.random import Generator, fill
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.bridge import same_stream, to_numpy
from parity_tests.harness.promised import far_from_promised

FLOATS = ["float32", "float64"]


class Draw(NamedTuple):
    """One way to fill an array, on both sides, and the name under which it is promised."""

    ours: Callable[[Generator, Any], Any]
    theirs: Callable[[torch.Tensor, torch.Generator], Any]
    promise: str


def uniform(low, high):
    return Draw(
        lambda g, x: g.uniform_(x, low, high),
        lambda t, g: t.uniform_(low, high, generator=g),
        "uniform",
    )


def normal(mean, std):
    return Draw(
        lambda g, x: g.normal_(x, mean, std),
        lambda t, g: t.normal_(mean, std, generator=g),
        "normal",
    )


FLOAT_DRAWS = {
    "rand": Draw(lambda g, x: g.uniform_(x), lambda t, g: t.uniform_(generator=g), "rand"),
    "symmetric": uniform(-0.3, 0.3),
    "uniform": uniform(-1.7, 0.9),
    "offset": uniform(1e4, 1e4 + 1),
    "one value": uniform(2.5, 2.5),
    "above zero": uniform(0.0, 3.7),
    "randn": normal(0, 1),
    "normal": normal(-3.0, 0.02),
    "wide": normal(0.7, 1e5),
    "constant": normal(1.25, 0.0),
    "exponential": Draw(
        lambda g, x: g.exponential_(x, 1.7),
        lambda t, g: t.exponential_(1.7, generator=g),
        "exponential",
    ),
    "coins": Draw(
        lambda g, x: g.bernoulli_(x, 0.3), lambda t, g: t.bernoulli_(0.3, generator=g), "bernoulli"
    ),
    "whole": Draw(lambda g, x: g.random_(x), lambda t, g: t.random_(generator=g), "random_"),
    "dice": Draw(
        lambda g, x: g.random_(x, -3, 4), lambda t, g: t.random_(-3, 4, generator=g), "randint"
    ),
}


class HashedSeed(Generator):
    """The engine filled from a hash of the seed."""

    def manual_seed(self, seed):
        super().manual_seed(seed)
        state: Any = np.random.MT19937(self.initial_seed()).state  # hashed by SeedSequence
        self._engine.set_state({**state, "has_gauss": 0, "gauss": 0.0})
        return self


class ManyBits(Generator):
    """float32 numbers cut down from float64 ones."""

    def rand(self, shape=(), dtype=np.float32):
        return super().rand(shape, np.float64).astype(dtype)


class HighBits(Generator):
    """The high 24 bits of a word."""

    def rand(self, shape=(), dtype=np.float32):
        if np.dtype(dtype) == np.float64:
            return super().rand(shape, dtype)
        return (self.randint(0, 2**32 >> 5, shape) / 2**27).astype(dtype)


class LowWordFirst(Generator):
    """A double word with its first word in the low half."""

    def random64(self, n=1):
        return self.words(2 * n).view("<u8").copy()


class RandomStatesDoubles(Generator):
    """53 bits as RandomState takes them: 27 of one word, 26 of the next."""

    def rand(self, shape=(), dtype=np.float32):
        if np.dtype(dtype) == np.float32:
            return super().rand(shape, dtype)
        return np.asarray(self._engine.random_sample(shape))


class TwoRoundings(Generator):
    """rand * (high - low), rounded, plus low, rounded again."""

    def uniform_(self, x, low=0.0, high=1.0):
        unit = self.rand((x.size,), x.dtype)
        return fill(x, unit * x.dtype.type(high - low) + x.dtype.type(low))


class SineFirst(Generator):
    """The two normal numbers of a pair the other way round."""

    def _normal_blocks(self, n, dtype):
        blocks = super()._normal_blocks(n, dtype)
        return blocks.reshape(-1, 2, 8)[:, ::-1].ravel() if n % 16 == 0 else blocks


class NoBlocks(Generator):
    """Pair after pair for every size."""

    def _normal_blocks(self, n, dtype):
        return self._normal_pairs(n).astype(dtype)


class NothingRedrawn(Generator):
    """The last numbers of a size that fills no block made from a block that is cut off."""

    def _normal_blocks(self, n, dtype):
        return super()._normal_blocks(n + -n % 16, dtype)[:n]


class SineForgotten(Generator):
    """The second number of a pair thrown away where one was asked for."""

    def _normal_pairs(self, n):
        z = super()._normal_pairs(n)
        self.cached_normal = None
        return z


class NumPysFunctions(Generator):
    """float32 normals by NumPy's own logarithm, sine and cosine."""

    def _normal_blocks(self, n, dtype):
        if dtype == np.float64 or n % 16:
            return super()._normal_blocks(n, dtype)
        u, v = self.rand((n,), dtype).reshape(-1, 2, 8).swapaxes(0, 1)
        radius, angle = np.sqrt(-2 * np.log(1 - u)), dtype.type(2 * np.pi) * v
        return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1).ravel()


class NarrowCoins(Generator):
    """Coins from float32 numbers."""

    def bernoulli_(self, x, p=0.5):
        return fill(x, self.rand((x.size,)) < p)


class FromTheBack(Generator):
    """Fisher and Yates' shuffle from the last place."""

    def randperm(self, n):
        return super().randperm(n)[::-1].copy()


class NoModulo(Generator):
    """A word scaled to the span instead of its remainder."""

    def random_(self, x, low=None, high=None):
        if low is None or high - low >= 2**28:
            return super().random_(x, low, high)
        words = self.words(x.size).astype(np.uint64)
        return fill(x, (words * np.uint64(high - low) >> np.uint64(32)).astype(np.int64) + low)


class RowByRow(Generator):
    """Arrays filled row by row, however they lie in memory."""

    def uniform_(self, x, low=0.0, high=1.0):
        x[...] = super().uniform_(np.empty(x.shape, x.dtype), low, high)
        return x


ROUNDED_OTHERWISE = {
    "two roundings": Mistake(
        TwoRoundings,
        "x * (b - a) + a in NumPy, where compiled code has one instruction for it.",
        "Four weights in ten are off by a unit in the last place.",
    ),
    "NumPy's logarithm and sines": Mistake(
        NumPysFunctions,
        "The formula of Box and Muller with np.log, np.cos and np.sin.",
        "One float32 normal in seven is off, by up to four units in the last place.",
    ),
}
"""What only shows where the bits of a machine are known to be these."""


class TestGenerator(RuleCase):
    """torch's CPU generator, its states and all its draws, to the bit where bits are promised."""

    numpy, torch = numpy_impl.Generator, torch.Generator
    mistakes = {
        "the seed hashed": Mistake(
            HashedSeed,
            "np.random.MT19937(seed) and default_rng(seed), which seed through SeedSequence.",
            "The same engine, another stream: no number agrees.",
        ),
        "float32 from 53 bits": Mistake(
            ManyBits,
            "float64 numbers rounded to float32, as RandomState has no others.",
            "Twice as many words are used up, and no number agrees.",
        ),
        "high bits of a word": Mistake(
            HighBits, "Libraries that shift right where torch masks.", "No float32 agrees."
        ),
        "low word first": Mistake(
            LowWordFirst,
            "Reading the stream as 64-bit numbers on a little-endian machine.",
            "float32 agrees; float64 and large whole numbers do not.",
        ),
        "RandomState's doubles": Mistake(
            RandomStatesDoubles,
            "np.random.seed(s); np.random.rand().",
            "float64 and what is made of it are other numbers from the same words.",
        ),
        "sine before cosine": Mistake(
            SineFirst, "Box and Muller's pair in the other order.", "Right numbers, wrong places."
        ),
        "no blocks": Mistake(
            NoBlocks,
            "The textbook's loop over pairs.",
            "Normals agree below 16 numbers and nowhere above.",
        ),
        "nothing redrawn at the end": Mistake(
            NothingRedrawn,
            "A block drawn and cut to size.",
            "The last 16 of a size that is no multiple of 16 differ, then all that follows.",
        ),
        "the sine forgotten": Mistake(
            SineForgotten,
            "No state beside the engine's.",
            "Parts at the first draw after an odd number of small normals.",
        ),
        "coins from float32": Mistake(
            NarrowCoins,
            "Dropout as rand(shape) < p in the model's dtype.",
            "Half as many words are used up: masks and all that follows differ.",
        ),
        "shuffled from the back": Mistake(
            FromTheBack, "Durstenfeld's loop as printed.", "Another permutation of the same words."
        ),
        "no remainder": Mistake(
            NoModulo,
            "Lemire's multiplication, which NumPy's Generator uses.",
            "Other whole numbers of the same words.",
        ),
        "row by row": Mistake(
            RowByRow,
            "x[...] = rand(x.shape) for a transposed x.",
            "The right numbers in the wrong places of the memory.",
        ),
    } | (ROUNDED_OTHERWISE if machine().fused and machine().known else {})

    def pair(self, rng):
        seed = int(rng.integers(2**40))
        return type(self).numpy().manual_seed(seed), torch.Generator().manual_seed(seed)

    def check_draws_of_all_kinds_and_the_states_they_leave(self, log, rng):
        for (name, draw), dtype in itertools.product(FLOAT_DRAWS.items(), FLOATS):
            ours, theirs = self.pair(rng)
            for n in (0, 1, 5, 1, 16, 37, 160):
                x, t = np.zeros(n, dtype), torch.zeros(n, dtype=getattr(torch, dtype))
                draw.ours(ours, x)
                draw.theirs(t, theirs)
                self.hold(log, f"{name} {dtype} {n}", x, to_numpy(t), draw.promise)
            log.require(same_stream(ours, theirs), f"{name} {dtype}: the states part")

    def check_parts_of_an_array_are_filled_in_the_order_of_memory(self, log, rng):
        for name, dtype in itertools.product(("uniform", "randn", "coins"), FLOATS):
            draw, (ours, theirs) = FLOAT_DRAWS[name], self.pair(rng)
            for part in (lambda x: x.T, lambda x: x[::2], lambda x: x[1:, 2::3].T):
                x, t = np.zeros((5, 8), dtype), torch.zeros(5, 8, dtype=getattr(torch, dtype))
                draw.ours(ours, part(x))
                draw.theirs(part(t), theirs)
                self.hold(log, f"part of {name} {dtype}", x, to_numpy(t), draw.promise)
            log.require(same_stream(ours, theirs), f"part of {name} {dtype}: the states part")

    def check_whole_numbers_permutations_and_categories(self, log, rng):
        weights = rng.random(9)
        ours, theirs = self.pair(rng)
        for n in (0, 1, 2, 17, 300):
            self.hold(log, f"randperm {n}", ours.randperm(n), torch.randperm(n, generator=theirs))
        for low, high in ((0, 6), (-5, 2**28), (-(2**62), 2**62)):
            wanted = torch.randint(low, high, (8,), generator=theirs)
            self.hold(log, f"randint {low}", ours.randint(low, high, (8,)), wanted)
        for again in (False, True):
            wanted = torch.multinomial(torch.from_numpy(weights), 5, again, generator=theirs)
            self.hold(log, f"multinomial {again}", ours.multinomial(weights, 5, again), wanted)
        log.require(same_stream(ours, theirs), "the states part")

    def check_a_stream_goes_on_from_torch_to_numpy_and_back(self, log, rng):
        alone = torch.Generator().manual_seed(9)
        ours, theirs = type(self).numpy(), torch.Generator().manual_seed(9)
        for n in (3, 700, 20, 1, 5):
            torch.rand(n, generator=alone)
            torch.rand(n, generator=theirs)
            wanted = torch.randn(n, generator=alone)
            self.hold(log, "from torch", ours.set_state(theirs.get_state()).randn(n), wanted)
            theirs.set_state(torch.from_numpy(ours.get_state()))
        log.require(torch.equal(alone.get_state(), theirs.get_state()), "to torch: states part")

    def hold(self, log, what, x, y, draws="normal"):
        text = far_from_promised(x, np.asarray(y), draws)
        log.require(not text, f"{what}: {text}, {x.ravel()[:2]}")
