"""sparse_: the same values and the same places of the zeros."""

import numpy as np

from numpy_impl.initialization import sparse as ours
from numpy_impl.random import default_generator
from parity_tests.harness import InitializerParity, Mistake, Refusal, grid
from torch_impl.initialization import sparse as theirs


def by_rows(tensor, sparsity, std=0.01, generator=None):
    """The number of zeros fixed in each row instead of each column."""
    return ours.sparse_(tensor.T, sparsity, std, generator).T


def rounded_down(tensor, sparsity, std=0.01, generator=None):
    """One zero too few where sparsity * rows is not whole."""
    rows = len(tensor)
    return ours.sparse_(tensor, int(sparsity * rows) / rows if rows else 0.0, std, generator)


def on_average(tensor, sparsity, std=0.01, generator=None):
    """Zeros that fall independently: the right number only on average."""
    ours.sparse_(tensor, 0.0, std, generator)
    tensor[default_generator.bernoulli(sparsity, tensor.shape)] = 0
    return tensor


class TestSparse(InitializerParity):
    numpy, torch = ours.sparse_, theirs.sparse_
    configs = grid(sparsity=[0.0, 0.1, 1, 0.5], std=[0.01, 2.0])
    shapes = ((3, 5), (6, 2), (1, 1), (11, 7), (0, 3), (3, 0))
    draws = "normal"
    refusals = [
        Refusal({"sparsity": 0.5}, (np.zeros(3),), r"2 dimensions, got shape \(3,\)"),
        Refusal({"sparsity": 0.5}, (np.zeros((2, 2, 2)),), "2 dimensions"),
        Refusal({"sparsity": np.nan}, says="sparsity"),
        Refusal({"sparsity": 1.5}, says=r"in \[0, 1\], got 1.5", torch=False),  # taken as 1
        Refusal({"sparsity": -0.5}, says="sparsity", torch=False),  # half of the rows stay
        Refusal({"sparsity": 0.5, "std": -1.0}, says="std >= 0"),
    ]
    mistakes = {
        "by rows": Mistake(
            by_rows,
            "Weights kept as (in, out) in a function that reads (out, in).",
            "Some units start without any input.",
        ),
        "rounded down": Mistake(
            rounded_down,
            "Written with int() for ceil().",
            "One zero too few in each column.",
        ),
        "on average": Mistake(
            on_average,
            "Written as `w[rng.random(w.shape) < sparsity] = 0`.",
            "Columns differ in how many inputs they have, and so in the size of their signals.",
        ),
    }


def test_every_column_has_as_many_zeros():
    weight = ours.sparse_(np.ones((30, 20)), 0.71)
    assert ((weight == 0).sum(axis=0) == 22).all()
