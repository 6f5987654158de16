"""The random stream: every draw, size and seed beside torch's, and the state after each."""

import copy
import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import numpy_impl
from numpy_impl import exact_arithmetic, random
from numpy_impl.mt19937 import STATE
from numpy_impl.random import DEFAULT_SEED, Generator, default_generator
from parity_tests.harness.bridge import same_stream
from parity_tests.training.test_generator import FLOAT_DRAWS, FLOATS

SEEDS = [0, 1, 7, 2**31, 2**32 - 1, 2**32 + 7, 2**63 + 12345, 2**64 - 1, -1, -987654321, -(2**63)]
SIZES = [*range(71), 4099]
PROMISES = Generator.exactness()


def generators(seed):
    return Generator().manual_seed(seed), torch.Generator().manual_seed(seed)


def promised(draw, dtype):
    name = f"normal {dtype}" if draw.promise == "normal" else draw.promise
    return PROMISES[name].ulps


def assert_promised(x, y, ulps, what=""):
    """Equal bits where bits are promised, zeros' signs included; else so many ulps."""
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype and x.shape == y.shape, what
    if ulps == 0:
        np.testing.assert_array_equal(x, y, what)
        np.testing.assert_array_equal(np.signbit(x), np.signbit(y), what)
    elif x.size:
        assert np.abs(x - y).max() <= ulps * np.spacing(np.abs(y).max()), what


# ---- draw for draw -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", FLOAT_DRAWS)
def test_every_draw_of_every_size_is_torchs_and_leaves_torchs_state(name, dtype):
    draw = FLOAT_DRAWS[name]
    for seed in SEEDS[:: 1 if name in ("randn", "rand") else 4]:
        ours, theirs = generators(seed)
        for n in SIZES:  # one stream through all sizes: cached halves of a pair go along
            x, t = np.full(n, np.nan, dtype), torch.empty(n, dtype=getattr(torch, dtype))
            assert draw.ours(ours, x) is x
            draw.theirs(t, theirs)
            assert_promised(x, t.numpy(), promised(draw, dtype), f"{seed}, {n}")
            assert same_stream(ours, theirs), f"{seed}, {n}: states part"


INTEGERS = ["uint8", "int8", "int16", "int32", "int64", "bool"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_whole_numbers_are_torchs_in_every_integer_dtype(dtype):
    ours, theirs = generators(5)
    for n in (0, 1, 2, 37, 700):
        x, t = np.zeros(n, dtype), torch.zeros(n, dtype=getattr(torch, dtype))
        np.testing.assert_array_equal(ours.random_(x), t.random_(generator=theirs).numpy())
        np.testing.assert_array_equal(
            ours.random_(x, high=2), t.random_(2, generator=theirs).numpy()
        )
        coins = t.bernoulli_(0.3, generator=theirs).numpy()
        np.testing.assert_array_equal(ours.bernoulli_(x, 0.3), coins)
        one = ours.random_(x, 1, 2), t.random_(1, 2, generator=theirs).numpy()
        np.testing.assert_array_equal(*one)
        if dtype != "bool":
            np.testing.assert_array_equal(
                ours.random_(x, 3), t.random_(3, None, generator=theirs).numpy()
            )
        assert same_stream(ours, theirs)


SPANS = [(0, 10), (-5, 1000), (0, 2**28 - 1), (0, 2**28), (-(2**40), 2**50), (0, 2**32),
         (-(2**63), 2**63 - 1), (2**62, 2**63 - 1)]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_whole_numbers_of_every_span_are_torchs(seed):
    ours, theirs = generators(seed)
    for (low, high), n in itertools.product(SPANS, (0, 1, 50)):
        expected = torch.randint(low, high, (n,), generator=theirs).numpy()
        np.testing.assert_array_equal(ours.randint(low, high, (n,)), expected)
    x, t = np.zeros(9, np.int64), torch.zeros(9, dtype=torch.int64)
    t.random_(-(2**63), None, generator=theirs)  # all 64 bits
    np.testing.assert_array_equal(ours.random_(x, low=-(2**63)), t.numpy())
    assert ours.randint(0, 9).shape == () and torch.randint(0, 9, (), generator=theirs) >= 0
    assert same_stream(ours, theirs)


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_permutations_of_every_length_are_torchs(seed):
    ours, theirs = generators(seed)
    for n in SIZES:
        expected = torch.randperm(n, generator=theirs)
        np.testing.assert_array_equal(ours.randperm(n), expected.numpy())
        assert ours.randperm(n).dtype == np.int64 and len(torch.randperm(n, generator=theirs)) == n
        ours.skip_randperm(n)
        torch.randperm(n, generator=theirs)
        assert same_stream(ours, theirs)


def test_swaps_done_at_once_are_swaps_done_one_by_one():
    rng = np.random.default_rng(0)
    for n in (0, 1, 2, 3, 10, 200):
        for partners in (
            rng.integers(np.arange(n), n) if n else np.array([], int),
            np.full(n, n - 1),  # one place that everybody changes with: the longest chain
            np.minimum(np.arange(n) + 1, n - 1),
            np.arange(n),
        ):
            slow = list(range(n))
            for i, j in enumerate(partners):
                slow[i], slow[j] = slow[j], slow[i]
            np.testing.assert_array_equal(random.swapped(partners, n), slow)


class Dealt(Generator):
    """Its words are given."""

    given: Any

    def words(self, n):
        assert n == len(self.given)
        return self.given.copy()


@pytest.mark.parametrize("p", [0.0, 2.0**-53, 0.3, 0.5, 1 - 2.0**-53, 1.0, 5e-17])
def test_a_coin_is_a_number_of_53_bits_below_the_probability(p):
    g, limit = Dealt(), math.ceil(p * 2**53)
    near = [k for k in range(limit - 3, limit + 4) if 0 <= k < 2**53]
    near += [k for d in (-(2**32), 2**32, -1 - 2**32) if 0 <= (k := limit + d) < 2**53]
    near += [0, 2**32 - 1, 2**32, 2**53 - 1]
    above = [0, 2**21, 2**32 - 2**21]  # bits that do not count
    dealt = [(k >> 32 | bits, k & (2**32 - 1), k) for k in near for bits in above]
    g.given = np.array([word for high, low, _ in dealt for word in (high, low)], np.uint32)
    expected = [k / 2**53 < p for _, _, k in dealt]
    np.testing.assert_array_equal(g.bernoulli(p, (len(dealt),)), expected)


def test_a_coin_with_a_probability_of_its_own_does_not_fall_on_it():
    g = Dealt()
    g.given = np.array([0, 2**23, 2**24 - 1], np.uint32)
    p = np.array([0.0, 0.5, 1.0], np.float32)
    np.testing.assert_array_equal(g.bernoulli(p), [False, False, True])


def test_a_long_permutation_is_the_inside_out_shuffle_of_double_words(monkeypatch):
    """torch takes this way from 214,748,364 on, where a word modulo what is left is uneven."""
    assert random.LONG_PERMUTATION == 214_748_364
    monkeypatch.setattr(random, "LONG_PERMUTATION", 50)
    for n in (50, 51, 128):
        g, again = Generator().manual_seed(n), Generator().manual_seed(n)
        order: list[int] = []
        for i, word in enumerate(again.random64(n).tolist()):
            z = word % (i + 1)
            order.append(i)
            order[i], order[z] = order[z], i
        np.testing.assert_array_equal(g.randperm(n), order)
        skipped = Generator().manual_seed(n)
        skipped.skip_randperm(n)
        np.testing.assert_array_equal(g.get_state(), again.get_state())
        np.testing.assert_array_equal(g.get_state(), skipped.get_state())
    g = Generator().manual_seed(0)
    np.testing.assert_array_equal(
        g.randperm(49), torch.randperm(49, generator=torch.Generator().manual_seed(0)).numpy()
    )


@pytest.mark.parametrize("dtype", FLOATS)
def test_coins_with_a_probability_each_are_torchs(dtype):
    ours, theirs = generators(2)
    p = np.random.default_rng(0).random((6, 7)).astype(dtype)
    p[0, :2] = 0, 1
    for chances in (p, p.T, p[:, ::2], p[:1]):
        coins = torch.bernoulli(torch.from_numpy(chances), generator=theirs).numpy()
        np.testing.assert_array_equal(ours.bernoulli(chances), coins.astype(bool))
        x, t = np.zeros((5, 6, 7)), torch.zeros(5, 6, 7, dtype=torch.float64)
        t.bernoulli_(torch.from_numpy(p), generator=theirs)
        np.testing.assert_array_equal(ours.bernoulli_(x, p), t.numpy())
        assert same_stream(ours, theirs)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("replacement", [False, True])
def test_categories_drawn_by_weight_are_torchs(replacement, dtype):
    rng = np.random.default_rng(1)
    for seed, shape in itertools.product(SEEDS[:6], [(1,), (7,), (40,), (3, 11), (5, 1)]):
        ours, theirs = generators(seed)
        weights = (rng.random(shape) * 3 + 1e-3).astype(dtype)
        for n in (1, 3, 11, 60):
            if not replacement and n > shape[-1]:
                continue
            expected = torch.multinomial(
                torch.from_numpy(weights), n, replacement, generator=theirs
            )
            found = ours.multinomial(weights, n, replacement)
            np.testing.assert_array_equal(found, expected.numpy())
            assert found.dtype == np.int64 and same_stream(ours, theirs)
    weights = np.array([0.0, 2.0, 0.0, 1.0, 0.0], dtype)
    for seed in range(20):
        ours, theirs = generators(seed)
        n = 9 if replacement else 2
        expected = torch.multinomial(torch.from_numpy(weights), n, replacement, generator=theirs)
        np.testing.assert_array_equal(ours.multinomial(weights, n, replacement), expected.numpy())
    nothing = torch.multinomial(torch.ones(0, 3), 2, replacement)
    found = Generator().multinomial(np.ones((0, 3), dtype), 2, replacement)
    assert found.shape == nothing.shape and found.dtype == np.int64
    transposed = np.asfortranarray(rng.random((4, 6)).astype(dtype))
    expected = torch.multinomial(torch.from_numpy(transposed), 4, replacement, generator=theirs)
    np.testing.assert_array_equal(ours.multinomial(transposed, 4, replacement), expected.numpy())
    assert same_stream(ours, theirs)


def test_categories_that_never_arrive_come_last_and_in_order():
    weights = np.zeros(70)
    weights[[40, 11]] = 1.0, 1e9
    found = Generator().manual_seed(0).multinomial(weights, 70)
    assert found[:2].tolist() == [11, 40] and (np.diff(found[2:]) > 0).all()


def test_arrivals_at_once_and_rates_beyond_the_largest_number_are_silent():
    class AtOnce(Generator):
        def exponential_(self, x, lambd=1.0):
            x[...] = 0, 0, 1e-30
            return x

    with np.errstate(all="raise"):
        found = AtOnce().multinomial(np.array([0, 1, 3e38], np.float32), 2)
        assert sorted(found.tolist()) in ([0, 1], [1, 2])
        ours, theirs = generators(1)
        vast = torch.tensor([1, 3e38, 3e38, 2])  # the sum is infinite
        np.testing.assert_array_equal(
            ours.multinomial(vast.numpy(), 12, True),
            torch.multinomial(vast, 12, True, generator=theirs).numpy(),
        )
        x = Generator().manual_seed(0).normal_(np.empty(3, np.float32), 0, 1e300)
    assert np.isinf(x).all()


# ---- memory --------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda x: x,
    "transposed": lambda x: x.T,
    "rows left out": lambda x: x[::2],
    "columns left out": lambda x: x[:, ::3],
    "a transposed part": lambda x: x[1:5, 2:].T,
    "one column": lambda x: x[:, 2:3],
    "a few numbers": lambda x: x[0, :15],
    "axes turned": lambda x: (
        x.reshape(2, 6, 7).transpose((1, 2, 0))
        if isinstance(x, np.ndarray)
        else x.reshape(2, 6, 7).permute(1, 2, 0)
    ),
    "channels last": lambda x: (
        x.reshape(2, 2, 3, 7).transpose((0, 3, 1, 2))
        if isinstance(x, np.ndarray)
        else x.reshape(2, 2, 3, 7).permute(0, 3, 1, 2)
    ),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["rand", "uniform", "randn", "normal", "exponential", "coins",
                                  "dice"])  # fmt: skip
def test_parts_of_an_array_are_filled_in_the_order_of_memory(name, dtype):
    draw = FLOAT_DRAWS[name]
    ours, theirs = generators(11)
    for part, cut in PARTS.items():
        whole = np.full((12, 7), 9, dtype)
        other = torch.from_numpy(whole.copy())
        draw.ours(ours, cut(whole))
        draw.theirs(cut(other), theirs)
        assert_promised(whole, other.numpy(), promised(draw, dtype), part)
        assert same_stream(ours, theirs), part


def test_the_order_of_memory_is_that_in_which_torch_makes_an_array_like_another():
    rng = np.random.default_rng(4)
    for _ in range(600):
        ndim = int(rng.integers(1, 6))
        base = torch.zeros(*rng.integers(1, 4, ndim).tolist())
        view = base.permute(*rng.permutation(ndim).tolist())
        if rng.random() < 0.5:  # axes that repeat the same memory
            view = view.expand([n if n > 1 or rng.random() < 0.5 else 3 for n in view.shape])
        if rng.random() < 0.3:
            view = view[::2]
        if rng.random() < 0.3:  # axes that overlap
            strides = rng.integers(0, 4, view.ndim).tolist()
            view = torch.zeros(99).as_strided(view.shape, strides)
        like = torch.empty_like(view)
        order = random.memory_order(view.numpy())
        size, places = 1, {}
        for axis in order[::-1]:
            places[axis] = size
            size *= like.shape[axis]
        wanted = [s for axis, s in enumerate(like.stride()) if like.shape[axis] > 1]
        found = [places[axis] for axis in range(ndim) if like.shape[axis] > 1]
        assert found == wanted, (view.shape, view.stride(), like.stride())


# ---- calls of every kind, one after the other ----------------------------------------------------


def calls(dtype):
    """A call on either side, and what is promised for what it gives."""
    wide = getattr(torch, dtype)
    weights = np.arange(1, 9).astype(dtype)
    found = [
        (
            lambda n, g, draw=draw: draw.ours(g, np.empty(n, dtype)),
            lambda n, g, draw=draw: draw.theirs(torch.empty(n, dtype=wide), g),
            promised(draw, dtype),
        )
        for draw in FLOAT_DRAWS.values()
    ]
    return [
        *found,
        (lambda n, g: g.randperm(n), lambda n, g: torch.randperm(n, generator=g), 0),
        (
            lambda n, g: g.multinomial(weights, 3),
            lambda n, g: torch.multinomial(torch.from_numpy(weights), 3, generator=g),
            0,
        ),
        (lambda n, g: g.random64(), lambda n, g: torch.empty(1, dtype=torch.int64).random_(
            -(2**63), None, generator=g), None),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", [0, -5, 2**63 + 1])
def test_calls_of_all_kinds_in_any_order_leave_torchs_state_each_time(seed):
    rng = np.random.default_rng(abs(seed))
    ours, theirs = generators(seed)
    kinds = calls("float32") + calls("float64")
    for _ in range(250):
        call, other, ulps = kinds[rng.integers(len(kinds))]
        n = int(rng.integers(0, 40))
        a, b = call(n, ours), other(n, theirs).numpy()
        if ulps is not None:
            assert_promised(a, b, ulps)
        np.testing.assert_array_equal(ours.get_state(), theirs.get_state().numpy())


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_stream_goes_on_from_torch_to_numpy_and_back(dtype):
    wide = getattr(torch, dtype)
    rng = np.random.default_rng(3)
    alone = torch.Generator().manual_seed(99)
    there = torch.Generator().manual_seed(99)
    here = Generator()
    for _ in range(40):  # an odd number of small normals leaves half a pair in the state
        kind, n = int(rng.integers(4)), int(rng.integers(1, 40))
        draw = [FLOAT_DRAWS[k] for k in ("randn", "rand", "coins", "normal")][kind]
        expected = draw.theirs(torch.empty(n, dtype=wide), alone).numpy()
        if rng.random() < 0.5:
            here.set_state(there.get_state())
            got = draw.ours(here, np.empty(n, dtype))
            there.set_state(torch.from_numpy(here.get_state()))
        else:
            got = draw.theirs(torch.empty(n, dtype=wide), there).numpy()
        assert_promised(got, expected, promised(draw, dtype))


def test_a_state_survives_the_trip_at_every_place_of_the_engine():
    ours, theirs = generators(8)
    for n in (0, 1, 622, 1, 1, 1, 623, 624, 625, 5000):  # 624 words make a new key necessary
        ours.words(n)
        torch.empty(n, dtype=torch.int32).random_(generator=theirs)
        state = theirs.get_state()
        np.testing.assert_array_equal(ours.get_state(), state.numpy())
        np.testing.assert_array_equal(Generator().set_state(state).get_state(), state.numpy())
        back = torch.Generator().set_state(torch.from_numpy(ours.get_state()))
        assert torch.equal(back.get_state(), state)


def test_the_number_of_threads_changes_nothing():
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            ours, theirs = generators(1)
            for draw, dtype in itertools.product(
                [FLOAT_DRAWS[k] for k in ("uniform", "randn", "coins", "exponential")], FLOATS
            ):
                t = draw.theirs(torch.empty(40_000, dtype=getattr(torch, dtype)), theirs)
                x = draw.ours(ours, np.empty(40_000, dtype))
                assert_promised(x, t.numpy(), promised(draw, dtype))
            assert same_stream(ours, theirs)
    finally:
        torch.set_num_threads(threads)


# ---- seeds and states ----------------------------------------------------------------------------


def test_seeds_report_themselves_as_torchs_do():
    g: Any = Generator()
    assert g.initial_seed() == DEFAULT_SEED == torch.Generator().initial_seed()
    for seed in SEEDS:
        ours, theirs = generators(seed)
        assert ours.initial_seed() == theirs.initial_seed() == seed % 2**64
    high, low = (Generator().manual_seed(s) for s in (7, 7 + 2**32))
    np.testing.assert_array_equal(high.rand(5), low.rand(5))
    assert g.manual_seed(np.int64(-3)).initial_seed() == 2**64 - 3
    drawn = {g.seed() for _ in range(3)}
    assert len(drawn) == 3 and all(0 <= s < 2**53 for s in drawn)
    again = Generator().manual_seed(g.initial_seed())
    np.testing.assert_array_equal(g.rand(3), again.rand(3))


@pytest.mark.parametrize("bad", [2**64, -(2**63) - 1, 1.5, "1", None, True])
def test_bad_seeds_are_refused_on_both_sides_and_change_nothing(bad):
    g = Generator().manual_seed(3)
    before = g.get_state()
    with pytest.raises((TypeError, ValueError), match="seed must be"):
        g.manual_seed(bad)
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        torch.Generator().manual_seed(bad)
    np.testing.assert_array_equal(g.get_state(), before)


def test_bad_states_are_refused_on_both_sides_and_change_nothing():
    g = Generator().manual_seed(3)
    before = g.get_state()
    fields = [("left", -1), ("left", 0), ("left", 625), ("next", 625), ("seeded", 0)]
    broken = [before.copy() for _ in fields]
    for state, (name, value) in zip(broken, fields):
        state.view(STATE)[name] = value
    for bad, error in (
        (before.astype(np.int64), TypeError),
        (before[:-1], RuntimeError),
        (before[None], RuntimeError),
        (np.zeros(5056, np.uint8), RuntimeError),
        *((state, RuntimeError) for state in broken),
    ):
        with pytest.raises(error, match="state"):
            g.set_state(bad)
        if bad.ndim == 1:
            with pytest.raises(error):
                torch.Generator().set_state(torch.from_numpy(bad))
        np.testing.assert_array_equal(g.get_state(), before)


def test_copies_of_a_generator_go_their_own_way_from_the_same_place():
    g = Generator().manual_seed(4)
    g.randn(3)  # half a pair is waiting
    copies = [g.clone_state(), copy.deepcopy(g), pickle.loads(pickle.dumps(g))]
    expected = g.randn(4)
    for other in copies:
        np.testing.assert_array_equal(other.randn(4), expected)
    clone = torch.Generator().manual_seed(4).clone_state()
    np.testing.assert_array_equal(
        Generator().set_state(clone.get_state()).rand(2), torch.rand(2, generator=clone).numpy()
    )


def test_the_default_generator_is_started_read_and_set_as_torchs():
    assert numpy_impl.manual_seed(3) is default_generator is numpy_impl.default_generator
    torch.default_generator.manual_seed(3)
    assert numpy_impl.initial_seed() == torch.initial_seed() == 3
    np.testing.assert_array_equal(numpy_impl.get_rng_state(), torch.get_rng_state().numpy())
    torch.randn(5)
    numpy_impl.set_rng_state(torch.get_rng_state())
    np.testing.assert_array_equal(default_generator.rand(4), torch.rand(4).numpy())
    torch.set_rng_state(torch.from_numpy(numpy_impl.get_rng_state()))
    assert torch.equal(torch.rand(3), torch.from_numpy(default_generator.rand(3)))
    assert numpy_impl.seed() == numpy_impl.initial_seed() < 2**53
    numpy_impl.manual_seed(0)


# ---- what is promised ----------------------------------------------------------------------------


def test_the_machine_is_taken_for_what_torch_takes_it_for():
    here = exact_arithmetic.machine()
    assert here.polynomials == (torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"))


def test_promises_cover_every_draw_and_say_what_they_rest_on():
    for draw, dtype in itertools.product(FLOAT_DRAWS.values(), FLOATS):
        assert promised(draw, dtype) >= 0
    assert all(promise.rests_on for promise in PROMISES.values())
    assert all(PROMISES[n].ulps == 0 for n in ("rand", "bernoulli", "dropout", "randperm"))


CEPHES, LIBRARY = "Cephes' polynomials, fused", "the C library that Python and torch share"
CLOSE, LOOSE = (0, 0, 0, 0, 0, 0), (1, 12, 3, 2, math.inf, 12)


@pytest.mark.parametrize(
    ("machine", "ulps", "rounded", "normal"),
    [
        (exact_arithmetic.Machine(True, True, True, True), CLOSE, "once", CEPHES),
        (exact_arithmetic.Machine(True, True, False, True), CLOSE, "once", CEPHES),
        (exact_arithmetic.Machine(True, False, True, True), CLOSE, "once", LIBRARY),
        (exact_arithmetic.Machine(False, False, True, True), CLOSE, "twice", LIBRARY),
        (exact_arithmetic.Machine(False, False, False, True), (0, 12, 0, 0, 0, 12), "twice",
         LIBRARY),
        (exact_arithmetic.Machine(True, True, True, False), LOOSE, "once", CEPHES),
    ],
)  # fmt: skip
def test_what_is_promised_goes_by_the_machine(machine, ulps, rounded, normal, monkeypatch):
    monkeypatch.setattr(random, "machine", lambda: machine)
    found = Generator.exactness()
    names = ("uniform", "normal float32", "normal float64", "exponential", "multinomial",
             "trunc_normal_")  # fmt: skip
    assert tuple(found[name].ulps for name in names) == ulps
    whole = ("rand", "bernoulli", "dropout", "randint", "random_", "randperm")
    assert {name: found[name] for name in whole} == dict.fromkeys(
        whole, (0, "integer arithmetic: every machine")
    )
    assert found.keys() == {*whole, *names, "orthogonal_"}
    assert found["orthogonal_"] == (
        math.inf,
        "normal; QR by another library: eps times the draws' condition number",
    )
    assert found["trunc_normal_"].rests_on == "normal; torch 2.12 and later"
    assert found["multinomial"].rests_on == ("sums and searches; without replacement, exponential")
    assert found["uniform"].rests_on == f"x * (b - a) + a rounded {rounded}"
    assert found["normal float32"].rests_on == f"{normal}; {LIBRARY} below 16 numbers"
    assert found["normal float64"].rests_on == found["exponential"].rests_on == LIBRARY


def test_what_is_not_said_is_what_torch_takes_for_it():
    ours, theirs = generators(21)
    for found, wanted in (
        (ours.rand(), torch.rand((), generator=theirs)),
        (ours.randn(), torch.randn((), generator=theirs)),
        (ours.rand(3), torch.rand(3, generator=theirs)),
        (ours.randn(20), torch.randn(20, generator=theirs)),
        (ours.randn(3, np.float64), torch.randn(3, generator=theirs, dtype=torch.float64)),
        (ours.normal(2.0, 3.0, 5), torch.empty(5).normal_(2.0, 3.0, generator=theirs)),
        (ours.exponential(2.5, 5), torch.empty(5).exponential_(2.5, generator=theirs)),
        (
            ours.uniform_(np.empty(5)),
            torch.empty(5, dtype=torch.float64).uniform_(generator=theirs),
        ),
        (ours.normal_(np.empty(5)), torch.empty(5, dtype=torch.float64).normal_(generator=theirs)),
        (
            ours.exponential_(np.empty(5)),
            torch.empty(5, dtype=torch.float64).exponential_(generator=theirs),
        ),
        (
            ours.bernoulli_(np.empty(50)),
            torch.empty(50, dtype=torch.float64).bernoulli_(generator=theirs),
        ),
        (ours.exponential(), torch.empty(()).exponential_(generator=theirs)),
        (ours.uniform(0.0, 1.0), torch.empty(()).uniform_(generator=theirs)),
        (ours.normal(0.0, 1.0), torch.empty(()).normal_(generator=theirs)),
        (ours.randint(0, 1000), torch.randint(0, 1000, (), generator=theirs)),
        (
            ours.multinomial(np.ones(9, np.float32), 5),
            torch.multinomial(torch.ones(9), 5, generator=theirs),
        ),
    ):
        assert_promised(
            found, wanted.numpy(), max(p.ulps for p in PROMISES.values() if p.ulps < 99)
        )
    assert ours.bernoulli(0.5).shape == () and ours.bernoulli(0.5).dtype == bool


@pytest.mark.parametrize("seed", [0, 1])
def test_where_bits_are_not_promised_the_stated_bound_holds(seed, monkeypatch):
    """The forms for machines that are not known, beside torch on this one."""
    unknown = exact_arithmetic.Machine(fused=False, polynomials=False, libm=False, known=False)
    for module in (exact_arithmetic, random):
        monkeypatch.setattr(module, "machine", lambda: unknown)
    monkeypatch.setattr(exact_arithmetic, "_c_library", lambda: None)
    plain = {name: lambda name=name: getattr(np, name) for name in ("log", "log1p", "sin", "cos")}
    for module in (exact_arithmetic, random):
        monkeypatch.setattr(module, "libm", lambda name: plain[name]())
    loose = Generator.exactness()
    for name, dtype in itertools.product(FLOAT_DRAWS, FLOATS):
        draw = FLOAT_DRAWS[name]
        ulps = loose[f"normal {dtype}" if draw.promise == "normal" else draw.promise].ulps
        for n in (5, 40_000):
            ours, theirs = generators(seed)
            t = draw.theirs(torch.empty(n, dtype=getattr(torch, dtype)), theirs)
            assert_promised(draw.ours(ours, np.empty(n, dtype)), t.numpy(), ulps, f"{name} {n}")


# ---- bad arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda g: g.randint(3, 3), "low < high"),
        (lambda g: g.random_(np.zeros(2), 3, 3), "low < high"),
        (lambda g: g.random_(np.zeros(2, np.int8), 0, 200), "does not hold"),
        (lambda g: g.random_(np.zeros(2, np.float32), 0, 2**30), "does not hold"),
        (lambda g: g.random_(np.zeros(2, np.int8), -129, 0), "does not hold"),
        (lambda g: g.random_(np.zeros(2, np.int8), 0, 129), "does not hold"),
        (lambda g: g.random_(np.zeros(2, np.uint8), -1, 9), "does not hold"),
        (lambda g: g.multinomial(np.array([[1.0, 1.0], [0.0, 0.0]]), 1), "not all 0"),
        (lambda g: g.randperm(-1), "non-negative"),
        (lambda g: g.normal_(np.zeros(3), 0, -1), "std >= 0"),
        (lambda g: g.normal_(np.zeros(3), 0, math.nan), "std >= 0"),
        (lambda g: g.exponential_(np.zeros(3), 0), "lambd > 0"),
        (lambda g: g.bernoulli(1.5, (2,)), "p in"),
        (lambda g: g.bernoulli(np.array([0.5, -0.1])), "p in"),
        (lambda g: g.multinomial(np.ones(3), 4), "at most 3"),
        (lambda g: g.multinomial(np.ones(3), 0, True), "positive"),
        (lambda g: g.multinomial(np.array([1.0, -1.0]), 1), "not negative"),
        (lambda g: g.multinomial(np.array([1.0, np.inf]), 1, True), "finite"),
        (lambda g: g.multinomial(np.zeros(3), 1), "not all 0"),
        (lambda g: g.multinomial(np.ones((2, 2, 2)), 1), "axes"),
        (lambda g: g.multinomial(np.ones(3, int), 1), "float"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_and_draw_nothing(call, says):
    g = Generator().manual_seed(0)
    before = g.get_state()
    with pytest.raises(RuntimeError, match=says):
        call(g)
    np.testing.assert_array_equal(g.get_state(), before)


@pytest.mark.parametrize("dtype", [np.float16, np.int64, bool, "longdouble"])
def test_numbers_are_drawn_in_two_precisions(dtype):
    g = Generator().manual_seed(0)
    before = g.get_state()
    for draw in (g.rand, g.randn):
        with pytest.raises(TypeError, match="in float32 and float64, got"):
            draw((20,), dtype)
    np.testing.assert_array_equal(g.get_state(), before)


def test_shapes_of_all_kinds():
    g = Generator().manual_seed(0)
    for shape in ((), (0,), (2, 0), (2, 3), 4):
        size = shape if isinstance(shape, tuple) else (shape,)
        for draw in (g.rand, g.randn):
            assert draw(shape).shape == size
        for x in (g.normal(0, 1, shape), g.uniform(0, 1, shape), g.exponential(1, shape)):
            assert x.shape == size
        assert g.bernoulli(0.5, shape).shape == g.randint(0, 3, shape).shape == size
    with pytest.raises(TypeError, match="own shape"):
        g.bernoulli(np.array([0.5]), (3,))
