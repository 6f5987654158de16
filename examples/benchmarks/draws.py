"""A million random numbers, from one seed on both sides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

import numpy_impl.nn
from examples.benchmarks.timing import Step
from examples.benchmarks.work import Against, Work

NUMBERS = 10**6
WIDE = {"float32": torch.float32, "float64": torch.float64}


def streams() -> tuple[numpy_impl.Generator, torch.Generator]:
    """A generator for each side."""
    return numpy_impl.Generator().manual_seed(0), torch.Generator().manual_seed(0)


def rand(dtype: str) -> dict[str, Step]:
    """Uniform numbers in [0, 1)."""
    ours, theirs = streams()
    return {
        "NumPy": lambda: ours.rand((NUMBERS,), dtype),
        "torch": lambda: torch.rand(NUMBERS, generator=theirs, dtype=WIDE[dtype]),
    }


def uniform(dtype: str) -> dict[str, Step]:
    """Uniform numbers between two others, neither of which is the other's negative."""
    ours, theirs = streams()
    return {
        "NumPy": lambda: ours.uniform(-0.2, 0.7, (NUMBERS,), dtype),
        "torch": lambda: torch.empty(NUMBERS, dtype=WIDE[dtype]).uniform_(
            -0.2, 0.7, generator=theirs
        ),
    }


def normal(dtype: str) -> dict[str, Step]:
    """Normal numbers with mean 0, as weights have them."""
    ours, theirs = streams()
    return {
        "NumPy": lambda: ours.normal(0.0, 0.05, (NUMBERS,), dtype),
        "torch": lambda: torch.empty(NUMBERS, dtype=WIDE[dtype]).normal_(
            0.0, 0.05, generator=theirs
        ),
    }


def coins() -> dict[str, Step]:
    """The mask of Dropout."""
    ours, theirs = streams()
    return {
        "NumPy": lambda: ours.bernoulli(0.7, (NUMBERS,)),
        "torch": lambda: torch.empty(NUMBERS).bernoulli_(0.7, generator=theirs),
    }


def permutation() -> dict[str, Step]:
    """A permutation, as a shuffling loader draws it."""
    ours, theirs = streams()
    return {
        "NumPy": lambda: ours.randperm(NUMBERS),
        "torch": lambda: torch.randperm(NUMBERS, generator=theirs),
    }


def dropout(dtype: str) -> dict[str, Step]:
    """A forward of Dropout(0.3) in training: the mask, and what it leaves of x."""
    x = np.ones((1000, NUMBERS // 1000), dtype)
    ours, theirs, rows = numpy_impl.nn.Dropout(0.3), torch.nn.Dropout(0.3), torch.from_numpy(x)

    def numpy_step() -> None:
        with numpy_impl.nn.no_grad():
            ours(x)

    return {"NumPy": numpy_step, "torch": lambda: theirs(rows)}


def _works() -> list[Work]:
    draws: list[tuple[str, str, Callable[[], dict[str, Step]], float]] = [
        ("rand-float32", "uniform numbers, float32", partial(rand, "float32"), 1.5),
        ("bernoulli", "coins, the mask of dropout", coins, 1.5),
        ("dropout", "Dropout forward, float32", partial(dropout, "float32"), 1.5),
        ("uniform-float32", "uniform from -0.2 to 0.7, float32", partial(uniform, "float32"), 6.0),
        ("normal-float32", "normal numbers, float32", partial(normal, "float32"), 8.0),
        ("normal-float64", "normal numbers, float64", partial(normal, "float64"), 4.0),
        ("randperm", "a permutation", permutation, 100.0),
    ]
    return [
        Work(name, f"{title}, 10^6", sides, [Against("torch", goal)], quick=name == "rand-float32")
        for name, title, sides, goal in draws
    ]


WORKS = _works()
