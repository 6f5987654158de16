"""Every random number of the NumPy side comes from here: the same seed, the same numbers as torch.

    numpy_impl.manual_seed(0)
    torch.manual_seed(0)

and both sides draw the same initial weights, shuffles and dropout masks, bit for bit.

Why seeds differ between libraries
----------------------------------
A seed is a promise within one library. What comes out of seed 0 hangs on five choices, and two
libraries rarely make the same ones:

1. The engine. torch on a CPU and `np.random.seed` run MT19937, `np.random.default_rng` PCG64,
   torch on a GPU and JAX counter-based ciphers.
2. How the seed fills the engine. torch and `RandomState` write the low 32 bits into the first
   word. `default_rng(0)` and even `np.random.MT19937(0)` hash the seed first: the same engine,
   another stream.
3. How words become numbers. torch takes 24 bits of one word for a float32 and 53 bits of two for
   a float64; `RandomState.rand` takes 53 other bits. So a float32 and a float64 model of one seed
   are unrelated: the dtype is part of the seed.
4. The distribution. torch makes normal numbers by Box and Muller's way (1958, Ann. Math. Stat.
   29:610-611), `RandomState.randn` by Marsaglia's polar one, `default_rng` by a ziggurat. Here
   they are computed as torch computes them, in three ways that depend on size and memory: see
   `Generator.normal_`.
5. The order of the draws. Weights before biases, a layer as it is constructed, a shuffle before
   the dropout of its epoch. One draw more (torch's loader throws a whole permutation away at the
   end of each epoch) and all that follows is other numbers.

What a mover should do
----------------------
Seed both sides once, build the same network in the same order, and nothing needs to be copied.
Where the weights stand already, copy them (`load_state_dict`) and hand masks and noise in. Compare
`get_rng_state()` now and then: equal bytes say that both sides drew equally much, and the first
place where they differ is where the sides part. A state carries over at any time, both ways:

    numpy_impl.set_rng_state(torch.get_rng_state())
    torch.set_rng_state(torch.from_numpy(numpy_impl.get_rng_state()))

What not to rely on
-------------------
- Other devices. A CUDA generator is another engine; seed 0 there has nothing to do with this.
- `torch.compile`, whose kernels draw by a cipher of their own, unless
  `torch._inductor.config.fallback_random = True`.
- Other versions. The stream, `rand` and `randperm` have stood for years and nobody promises them.
  `trunc_normal_` changed in torch 2.12, dropout in 2025, whole numbers between 2**28 and 2**32 in
  between.
- float16 and bfloat16: not drawn here.
- The last bit, everywhere: what is more than integer arithmetic rounds as processor and C library
  do. `Generator.exactness()` says what holds on this machine. `orthogonal_` has the same draws and
  another QR.
- The data. Two right float32 runs part where rounding gives one ReLU input another sign.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from numpy_impl.exact_arithmetic import CHUNK, fma, libm, log_sin_cos, machine, stretch
from numpy_impl.mt19937 import DEFAULT_SEED, MersenneTwister

__all__ = [
    "DEFAULT_SEED",
    "Generator",
    "Promise",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]

Array = np.ndarray[Any, np.dtype[Any]]
Shape = int | tuple[int, ...]

BLOCK = 16  # normal numbers are made by sixteens
LONG_PERMUTATION = (2**32 - 1) // 20  # from this length on a word modulo the rest is too uneven


class Promise(NamedTuple):
    """How near a draw is to torch's.

    ulps: units in the last place of the largest number that goes in or comes out; 0 is bit for
    bit.  rests_on: what has to be as it was found to be.
    """

    ulps: float
    rests_on: str


class Generator(MersenneTwister):
    """A stream of random numbers with torch's seeds: `Generator().manual_seed(0)`.

    Names and meanings are those of torch.Generator and of the draws it is handed to. A name with
    an underscore at its end fills an array in the order of its memory, as torch's do; the others
    take a shape and return a new array. Draws are float32 unless told; float32 takes one 32-bit
    word a number and float64 two, so the two see unrelated streams from one seed.
    """

    # ---- uniform numbers, and coins ---------------------------------------------------------

    def rand(self, shape: Shape = (), dtype: DTypeLike = np.float32) -> Array:
        """Uniform numbers in [0, 1): the low 24 bits of a word, or 53 bits of a double word.

        Raises:
            TypeError: the dtype is neither float32 nor float64.
        """
        unit = np.empty(_count(shape), dtype)
        if unit.dtype not in (np.float32, np.float64):
            raise TypeError(f"numbers are drawn in float32 and float64, got {unit.dtype}")
        for start in range(0, unit.size, CHUNK):
            part = unit[start : start + CHUNK]
            if unit.dtype == np.float32:
                bits = self.words(part.size)
                bits &= np.uint32(2**24 - 1)
                part[...] = bits.view(np.int32)
                part *= np.float32(2.0**-24)
            else:
                bits = self.random64(part.size)
                bits &= np.uint64(2**53 - 1)
                part[...] = bits.view(np.int64)
                part *= 2.0**-53
        return unit.reshape(shape)

    def uniform(
        self, low: float, high: float, shape: Shape = (), dtype: DTypeLike = np.float32
    ) -> Array:
        """Uniform numbers in [low, high)."""
        return self.uniform_(np.empty(shape, dtype), low, high)

    def uniform_(self, x: Array, low: float = 0.0, high: float = 1.0) -> Array:
        """Fill x uniformly: rand * (high - low) + low; what rounding takes to high becomes low."""
        return fill(x, stretch(self.rand((x.size,), x.dtype), low, high))

    def bernoulli(self, p: Any, shape: Shape | None = None) -> Array:
        """True with probability p: a uniform number below p.

        For a number p, of 53 bits; for an array of probabilities, each its own and no shape, of as
        many bits as their dtype draws.

        Raises:
            RuntimeError: p is not in [0, 1].
        """
        if np.ndim(p) and shape is not None:
            raise TypeError(f"an array of probabilities has its own shape, got {shape} beside it")
        return self.bernoulli_(np.empty(np.shape(p) if shape is None else shape, bool), p)

    def bernoulli_(self, x: Array, p: Any = 0.5) -> Array:
        """Fill x with ones, each with probability p, and zeros; p a number or an array."""
        if not np.all((np.asarray(p) >= 0) & (np.asarray(p) <= 1)):
            raise RuntimeError(f"bernoulli wants p in [0, 1], got {p}")
        if np.ndim(p):
            chances = np.broadcast_to(np.asarray(p), x.shape).transpose(memory_order(x))
            return fill(x, self.rand(chances.shape, chances.dtype) < chances)
        return fill(x, self._below(float(p), x.size))

    def _below(self, p: float, n: int) -> Array:
        """Whether k / 2**53 < p for the next n numbers k of 53 bits; their high 21 mostly tell."""
        high_limit, low_limit = divmod(math.ceil(p * 2.0**53), 2**32)
        words = self.words(2 * n)
        high = words[::2] & np.uint32(2**21 - 1)
        below = high < np.uint32(high_limit)
        (close,) = np.nonzero(high == np.uint32(high_limit))
        below[close] = words[2 * close + 1] < np.uint32(low_limit)
        return below

    # ---- normal numbers ---------------------------------------------------------------------

    def randn(self, shape: Shape = (), dtype: DTypeLike = np.float32) -> Array:
        """Normal numbers with mean 0 and standard deviation 1."""
        return self.normal(0.0, 1.0, shape, dtype)

    def normal(
        self, mean: float, std: float, shape: Shape = (), dtype: DTypeLike = np.float32
    ) -> Array:
        """Normal numbers with that mean and standard deviation."""
        return self.normal_(np.empty(shape, dtype), mean, std)

    def normal_(self, x: Array, mean: float = 0.0, std: float = 1.0) -> Array:
        """Fill x with normal numbers, two from two uniform ones (Box & Muller 1958):

            radius = sqrt(-2 log(1 - u)),  angle = 2 pi v
            z = radius * cos(angle)  and  radius * sin(angle);  x = z * std + mean

        Which u goes with which v, and in what precision, depends on x. 16 and more numbers without
        gaps: by blocks of 16, in the dtype of x, eight u before eight v; a rest that fills no block
        throws its uniform numbers away and draws 16 new ones for the last 16 places. Fewer, or an
        array with gaps or of another order: one pair after the other, v before u, in float64
        whatever the dtype; where only one number is wanted, the sine waits for the next such draw.

        Raises:
            RuntimeError: std is negative or NaN.
        """
        if not std >= 0:
            raise RuntimeError(f"normal_ wants std >= 0, got {std}")
        if x.size >= BLOCK and x.flags.c_contiguous:
            fill(x, fma(self._normal_blocks(x.size, x.dtype), std, mean, fused=True))
        elif x.size:
            fill(x, fma(self._normal_pairs(x.size), std, mean, fused=machine().fused))
        return x

    def _normal_blocks(self, n: int, dtype: np.dtype[Any]) -> Array:
        z, whole = self.rand((n,), dtype), n - n % BLOCK
        if n > whole:
            z = np.concatenate((z[:whole], self.rand((BLOCK,), dtype)))
        pairs = z.reshape(-1, 2, BLOCK // 2)
        for start in range(0, len(pairs), CHUNK // BLOCK):
            u, v = pairs[start : start + CHUNK // BLOCK].swapaxes(0, 1)
            log, sin, cos = log_sin_cos(1 - u, v)
            radius = np.sqrt(-2 * log)
            np.multiply(radius, cos, out=u)
            np.multiply(radius, sin, out=v)
        if n > whole:  # the last block lies over the one before
            z = np.concatenate((z[: n - BLOCK], z[-BLOCK:]))
        return z

    def _normal_pairs(self, n: int) -> Array:
        kept = [] if self.cached_normal is None else [self.cached_normal]
        pairs = (n - len(kept) + 1) // 2
        v, u = self.rand((pairs, 2), np.float64).T
        radius, angle = np.sqrt(-2 * libm("log1p")(-u)), 2 * math.pi * v
        made = np.stack((radius * libm("cos")(angle), radius * libm("sin")(angle)), axis=1)
        z = np.concatenate((kept, made.ravel()))
        self.cached_normal = float(z[n]) if n < len(z) else None
        return z[:n]

    # ---- other laws -------------------------------------------------------------------------

    def exponential(
        self, lambd: float = 1.0, shape: Shape = (), dtype: DTypeLike = np.float32
    ) -> Array:
        """Exponential numbers with mean 1 / lambd."""
        return self.exponential_(np.empty(shape, dtype), lambd)

    def exponential_(self, x: Array, lambd: float = 1.0) -> Array:
        """Fill x with -log(1 - u) / lambd, computed in float64.

        Raises:
            RuntimeError: lambd is not above 0.
        """
        if not lambd > 0:
            raise RuntimeError(f"exponential_ wants lambd > 0, got {lambd}")
        return fill(x, -1 / lambd * libm("log1p")(-self.rand((x.size,), np.float64)))

    @np.errstate(all="ignore")  # sums and rates beyond the largest number, in silence as in torch
    def multinomial(self, weights: Array, num_samples: int, replacement: bool = False) -> Array:
        """Categories drawn in proportion to their weights, int64.

        With replacement, where a uniform number falls among the summed weights. Without, the
        places of the largest weight / exponential number: the first arrival of as many processes
        (categories without weight come last, in an order that torch does not say).

        Shapes: weights (categories,) or (rows, categories), float; drawn (num_samples,) or (rows,
        num_samples).

        Raises:
            RuntimeError: weights that are negative, not finite, all zero or not float, of another
                shape, or fewer than num_samples without replacement.
        """
        weights = np.asarray(weights)
        if weights.ndim not in (1, 2) or weights.dtype not in (np.float32, np.float64):
            raise RuntimeError(
                f"multinomial wants 1 or 2 axes of float32 or float64, got {weights.dtype} "
                f"{weights.shape}"
            )
        if not (num_samples > 0 and (replacement or num_samples <= weights.shape[-1])):
            raise RuntimeError(
                f"num_samples must be positive, and without replacement at most "
                f"{weights.shape[-1]}, got {num_samples}"
            )
        if not (np.all((weights >= 0) & (weights < np.inf)) and np.all(weights.sum(-1) > 0)):
            raise RuntimeError("weights must be finite, not negative and not all 0")
        if not replacement or num_samples == 1:
            arrivals = self.exponential_(np.empty_like(weights))
            return np.argsort(-weights / arrivals, kind="stable")[..., :num_samples]
        edges = np.cumsum(weights, axis=-1)
        edges /= edges[..., -1:].copy()
        u = self.rand((*weights.shape[:-1], num_samples), np.float64)
        rows = zip(np.atleast_2d(edges).astype(np.float64), np.atleast_2d(u))
        return np.array([np.searchsorted(*row) for row in rows], np.int64).reshape(u.shape)

    # ---- whole numbers ----------------------------------------------------------------------

    def randint(self, low: int, high: int, shape: Shape = (), dtype: DTypeLike = np.int64) -> Array:
        """Whole numbers in [low, high): a word modulo the span (a double word from 2**28 on)."""
        return self.random_(np.empty(shape, dtype), low, high)

    def random_(self, x: Array, low: int | None = None, high: int | None = None) -> Array:
        """Fill x with whole numbers in [low, high); without bounds, with all that are not negative.

        Without any, a float takes every whole number that it can tell from the next, and int64 and
        float64 take a double word. With `low` alone the numbers go up to the largest.

        Raises:
            RuntimeError: there is nothing in [low, high), or the dtype has not got all of it.
        """
        is_float = x.dtype.kind == "f"
        largest = 2 ** (np.finfo(x.dtype).nmant + 1) if is_float else _largest(x.dtype)
        smallest = -largest if is_float else -largest - 1 if x.dtype.kind == "i" else 0
        if low is None and high is None:
            span = largest + 1
            words = self._words_for(x.size, double=x.dtype in (np.int64, np.float64))
            low = 0
        else:
            low = 0 if low is None else int(low)
            high = largest + 1 if high is None else int(high)
            if high <= low:
                raise RuntimeError(f"random_ wants low < high, got {low} and {high}")
            if not smallest <= low <= high - 1 <= largest:
                raise RuntimeError(f"{x.dtype} does not hold all of [{low}, {high})")
            span = high - low
            words = self._words_for(x.size, double=span >= 2**28)
        if span < 2**64:  # else all 64 bits, as they are
            words = words % np.uint64(span)
            words += np.uint64(low % 2**64)  # wraps as two's complement does
        return fill(x, words.view(np.int64))

    def _words_for(self, n: int, double: bool) -> Array:
        return self.random64(n) if double else self.words(n).astype(np.uint64)

    def randperm(self, n: int) -> Array:
        """The numbers 0 to n-1 in random order, int64.

        Fisher & Yates' shuffle from the front (Durstenfeld 1964, CACM 7:420): place i changes with
        place i + word % (n - i), for i up to n - 2.
        """
        if n < 0:
            raise RuntimeError(f"n must be non-negative, got {n}")
        if n >= LONG_PERMUTATION:
            return inside_out(self.random64(n))
        words = self.words(max(n - 1, 0))
        places = np.arange(max(n - 1, 0))
        return swapped(places + words % (n - places), n)

    def skip_randperm(self, n: int) -> None:
        """Move on by what a permutation of n takes."""
        self.words(2 * n if n >= LONG_PERMUTATION else max(n - 1, 0))

    # ---- what is promised -------------------------------------------------------------------

    @staticmethod
    def exactness() -> dict[str, Promise]:
        """How near each draw is to torch's on this machine, for float32 and float64 on a CPU."""
        here = machine()
        whole = Promise(0, "integer arithmetic: every machine")
        fused = f"x * (b - a) + a rounded {'once' if here.fused else 'twice'}"
        library = "the C library that Python and torch share"
        narrow = "Cephes' polynomials, fused" if here.polynomials else library
        close = here.known and (here.polynomials or here.libm)
        names = ("rand", "bernoulli", "dropout", "randint", "random_", "randperm")
        return dict.fromkeys(names, whole) | {
            "uniform": Promise(0 if here.known else 1, fused),
            "normal float32": Promise(0 if close else 12, f"{narrow}; {library} below 16 numbers"),
            "normal float64": Promise(0 if here.known else 3, library),
            "exponential": Promise(0 if here.known else 2, library),
            "multinomial": Promise(
                0 if here.known else math.inf, "sums and searches; without replacement, exponential"
            ),
            "trunc_normal_": Promise(0 if close else 12, "normal; torch 2.12 and later"),
            "orthogonal_": Promise(
                math.inf, "normal; QR by another library: eps times the draws' condition number"
            ),
        }


# ---- the order of memory -------------------------------------------------------------------------


def memory_order(x: Array) -> list[int]:
    """The axes of x from the slowest to the fastest in memory: torch's fills go this way.

    Sorted by torch's exchanges, because an axis of stride 0, which repeats the same memory, is
    neither before nor after another, and is passed over.
    """
    if x.flags.c_contiguous:
        return list(range(x.ndim))
    order = list(range(x.ndim))[::-1]  # the fastest first in here
    for last in range(1, x.ndim):
        at = last
        for other in reversed(range(last)):
            a, b = order[other], order[at]
            before, after = abs(x.strides[a]), abs(x.strides[b])
            if not (before and after):
                continue
            if (before, x.shape[a]) > (after, x.shape[b]):
                order[other], order[at] = b, a
                at = other
            elif before < after:
                break
    return order[::-1]


def fill(x: Array, numbers: Array) -> Array:
    """Write numbers into x in the order of its memory; returns x."""
    target = x.transpose(memory_order(x))
    with np.errstate(over="ignore"):  # beyond float32 lies infinity, as in torch
        target[...] = numbers.reshape(target.shape)
    return x


# ---- permutations --------------------------------------------------------------------------------


def swapped(partners: Array, n: int) -> Array:
    """The numbers below n after place i has changed with partners[i] >= i, for i = 0, 1, ...

    One after the other in effect, all at once in fact. Place i is left alone after its own change,
    so it ends with what lay at its partner j then: what an earlier place put there, if one had the
    same partner, else j itself. What place i put there is what it had just before its change: that
    of the last place that had i as its partner, and so on back to a place that was nobody's. These
    chains are followed by jumping to the end of the jump until nothing moves, in log(length) turns.
    """
    place = np.arange(n)
    partner = np.concatenate((partners, place[len(partners) :])).astype(np.int64)
    # By partner, then by place: those with the same partner stand side by side.
    key = partner * n + place
    key.sort()
    partner_of, place_of = np.divmod(key, n)
    with_next = partner_of[:-1] == partner_of[1:]
    source = place.copy()  # whose number lies at a place just before its change
    source[partner_of] = place_of  # of several the last stays
    while not np.array_equal(jump := source[source], source):
        source = jump
    result = partner.copy()
    result[place_of[1:][with_next]] = source[place_of[:-1][with_next]]
    return result


def inside_out(words: Array) -> Array:
    """The shuffle that needs no numbers to begin with: i goes to place z, what was there to i.

    z = word % (i + 1), for i = 0, 1, ... One step at a time: a length that asks for this fills
    gigabytes.
    """
    order = np.arange(len(words))
    order_of, z = order.data, words % np.arange(1, len(words) + 1, dtype=np.uint64)
    for i, place in enumerate(z.astype(np.int64).data):
        order_of[i] = order_of[place]
        order_of[place] = i
    return order


def _count(shape: Shape) -> int:
    return math.prod(shape) if isinstance(shape, tuple) else shape


def _largest(dtype: np.dtype[Any]) -> int:
    return 1 if dtype.kind == "b" else int(np.iinfo(dtype).max)


# ---- the generator that everything draws from when handed none -----------------------------------

default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Start the default generator from a seed; returns it."""
    return default_generator.manual_seed(int(seed))


def initial_seed() -> int:
    """The seed that the default generator was last started from."""
    return default_generator.initial_seed()


def seed() -> int:
    """Start the default generator from a seed that the operating system draws; returns it."""
    return default_generator.seed()


def get_rng_state() -> Array:
    """Where the default generator stands: 5056 bytes, which torch.set_rng_state takes too."""
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Go on from a state of `get_rng_state`, or of torch.get_rng_state."""
    default_generator.set_state(new_state)
