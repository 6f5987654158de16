"""The random stream: what is promised to equal torch's does, bit for bit."""

import numpy as np
import pytest
import torch

import numpy_impl
from numpy_impl.random import DEFAULT_SEED, Generator, default_generator

SEEDS = [0, 1, 7, 2**31, 2**32 - 1, 2**32 + 7, 2**63 + 12345, 2**64 - 1, -1, -(2**63)]


@pytest.fixture(params=SEEDS, ids=str)
def pair(request):
    theirs = torch.Generator()
    theirs.manual_seed(request.param)
    return Generator().manual_seed(request.param), theirs


def test_uniform_numbers_equal_torchs_in_both_dtypes(pair):
    ours, theirs = pair
    for n in (1, 5, 1000):
        np.testing.assert_array_equal(ours.rand((n,)), torch.rand(n, generator=theirs).numpy())
        expected = torch.rand(n, 2, generator=theirs, dtype=torch.float64).numpy()
        np.testing.assert_array_equal(ours.rand((n, 2), np.float64), expected)


def test_bernoulli_masks_equal_torchs(pair):
    ours, theirs = pair
    for p in (0.0, 0.1, 0.5, 1.0):
        expected = torch.empty(17, 3).bernoulli_(p, generator=theirs).numpy()
        np.testing.assert_array_equal(ours.bernoulli(p, (17, 3)), expected.astype(bool))


def test_whole_numbers_and_permutations_equal_torchs(pair):
    ours, theirs = pair
    for low, high in ((0, 10), (-5, 1000), (0, 2**28), (-(2**40), 2**50)):
        expected = torch.randint(low, high, (50,), generator=theirs).numpy()
        np.testing.assert_array_equal(ours.randint(low, high, (50,)), expected)
    for n in (0, 1, 2, 257):
        expected = torch.randperm(n, generator=theirs).numpy()
        np.testing.assert_array_equal(ours.randperm(n), expected)


def test_state_repeats_the_draws_and_seeds_report_themselves():
    g = Generator()
    assert g.initial_seed() == DEFAULT_SEED == torch.Generator().initial_seed()
    g.manual_seed(-1)
    assert g.initial_seed() == 2**64 - 1
    state = g.get_state()
    first = g.normal(0, 1, (5,)), g.rand((3,))
    again = Generator().set_state(state)
    second = again.normal(0, 1, (5,)), again.rand((3,))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    for bad in (2**64, -(2**63) - 1):
        with pytest.raises(RuntimeError, match="seed"):
            g.manual_seed(bad)
    assert numpy_impl.manual_seed(3) is default_generator
    with pytest.raises(RuntimeError, match="low < high"):
        g.randint(3, 3)
    with pytest.raises(RuntimeError, match="non-negative"):
        g.randperm(-1)


def test_draws_have_the_dtype_range_and_moments_asked_for():
    g = Generator().manual_seed(0)
    for dtype in (np.float32, np.float64):
        x = g.uniform(-2.0, 3.0, (4000,), dtype)
        assert x.dtype == dtype and x.min() >= -2 and x.max() < 3 and abs(x.mean() - 0.5) < 0.1
        x = g.normal(1.0, 2.0, (4000,), dtype)
        assert x.dtype == dtype and abs(x.mean() - 1) < 0.2 and abs(x.std() - 2) < 0.1
    for shape in ((), (0,), (2, 0), (2, 3)):
        assert g.rand(shape).shape == g.normal(0, 1, shape).shape == shape
