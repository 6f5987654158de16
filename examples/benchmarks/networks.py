"""Whole training steps of small networks: forward, cross-entropy, backward, Adam's update."""

from __future__ import annotations

import itertools
import warnings
from functools import partial
from typing import Any

import numpy as np
import torch

import numpy_impl.nn
import numpy_impl.optim
from examples.benchmarks.timing import Step
from examples.benchmarks.work import Against, Work
from numpy_impl.random import Generator

Array = np.ndarray[Any, np.dtype[Any]]

MNIST = (784, 256, 256, 10)
SMALL = (64, 64, 32, 10)  # 6,570 parameters
EPOCH = 1280
LEARNING_RATE = 1e-4  # so that thousands of timed steps hardly change the network


def network(nn: Any, widths: tuple[int, ...]) -> Any:
    """Linear layers with ReLU between them, on the side whose front door is handed in."""
    layers = [
        layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())
    ]
    return nn.Sequential(*layers[:-1])


def samples(rows: int, widths: tuple[int, ...], dtype: str) -> tuple[Array, Array]:
    """Normal inputs and labels at random."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, widths[0])).astype(dtype)
    return x, rng.integers(0, widths[-1], rows)


def numpy_step(
    widths: tuple[int, ...], x: Array, y: Array, batch: int | None = None, update: bool = True
) -> Step:
    """One step on all of x, or with `batch` a shuffled epoch of steps."""
    model = network(numpy_impl.nn, widths).to(x.dtype)
    model.needs_input_grad = False  # as in torch, where x asks for no gradient
    optimizer = numpy_impl.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    criterion, generator = numpy_impl.nn.CrossEntropyLoss(), Generator()

    def step(x: Array = x, y: Array = y) -> None:
        optimizer.zero_grad()
        criterion(model(x), y)
        model.backward(criterion.backward())
        if update:
            optimizer.step()

    def epoch() -> None:
        order = generator.randperm(len(x))
        for start in range(0, len(x), batch or len(x)):
            rows = order[start : start + (batch or len(x))]
            step(x[rows], y[rows])

    return epoch if batch else step


def torch_step(
    widths: tuple[int, ...], x: Array, y: Array, fused: bool = False, batch: int | None = None
) -> Step:
    """As numpy_step, in torch eager; Adam is the default loop over tensors, or the fused kernel."""
    rows, labels = torch.from_numpy(x), torch.from_numpy(y)
    model = network(torch.nn, widths).to(rows.dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=fused)
    criterion, generator = torch.nn.CrossEntropyLoss(), torch.Generator()

    def step(x: torch.Tensor = rows, y: torch.Tensor = labels) -> None:
        optimizer.zero_grad(set_to_none=True)
        criterion(model(x), y).backward()
        optimizer.step()

    def epoch() -> None:
        order = torch.randperm(len(rows), generator=generator)
        for indices in order.split(batch or len(rows)):
            step(rows[indices], labels[indices])

    return epoch if batch else step


def products(widths: tuple[int, ...], x: Array) -> Step:
    """The matrix products of forward and backward alone, into arrays that are kept: the floor."""
    rng, dtype = np.random.default_rng(1), x.dtype
    values = [x] + [rng.standard_normal((len(x), width)).astype(dtype) for width in widths[1:]]
    weights = [rng.standard_normal((o, i)).astype(dtype) for i, o in itertools.pairwise(widths)]
    outputs, gradients = [np.empty_like(v) for v in values], [np.empty_like(w) for w in weights]

    def step() -> None:
        for i, weight in enumerate(weights):
            np.matmul(values[i], weight.T, out=outputs[i + 1])
        for i in reversed(range(len(weights))):
            np.matmul(values[i + 1].T, values[i], out=gradients[i])
            if i > 0:  # nobody asks for the gradient of x
                np.matmul(values[i + 1], weights[i], out=outputs[i])

    return step


def scikit_learn_epoch(x: Array, y: Array, batch: int) -> Step:
    """One `partial_fit` of the same network: a shuffled epoch."""
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        MNIST[1:-1], alpha=0.0, batch_size=batch, learning_rate_init=LEARNING_RATE, random_state=0
    )
    classes = np.arange(MNIST[-1])

    def epoch() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.partial_fit(x, y, classes=classes)

    return epoch


def _mnist(batch: int, dtype: str) -> dict[str, Step]:
    x, y = samples(batch, MNIST, dtype)
    return {
        "NumPy": numpy_step(MNIST, x, y),
        "torch, fused Adam": torch_step(MNIST, x, y, fused=True),
        "torch, default Adam": torch_step(MNIST, x, y),
        "NumPy, no update": numpy_step(MNIST, x, y, update=False),
        "own matrix products": products(MNIST, x),
    }


def small(batch: int, dtype: str) -> dict[str, Step]:
    """A network of 6,570 parameters, where calls cost more than arithmetic."""
    x, y = samples(batch, SMALL, dtype)
    return {
        "NumPy": numpy_step(SMALL, x, y),
        "torch, fused Adam": torch_step(SMALL, x, y, fused=True),
        "torch, default Adam": torch_step(SMALL, x, y),
    }


def _epoch(dtype: str) -> dict[str, Step]:
    x, y = samples(EPOCH, MNIST, dtype)
    return {
        "NumPy": numpy_step(MNIST, x, y, batch=128),
        "scikit-learn": scikit_learn_epoch(x, y, batch=128),
        "torch, default Adam": torch_step(MNIST, x, y, batch=128),
    }


def _works() -> list[Work]:
    steps = {  # the step against fused Adam; forward and backward against their products
        ("float32", 64): (0.95, 1.20),
        ("float32", 128): (0.95, 1.20),
        ("float32", 1024): (0.85, 1.06),
        ("float64", 64): (0.95, 1.20),
        ("float64", 128): (0.95, 1.20),
        ("float64", 1024): (0.95, 1.06),
    }
    works = [
        Work(
            f"mlp-{batch}-{dtype}",
            f"MLP 784-256-256-10 step, batch {batch}, {dtype}",
            partial(_mnist, batch, dtype),
            [
                Against("torch, fused Adam", step),
                Against("torch, default Adam"),
                Against("own matrix products", floor, ours="NumPy, no update"),
            ],
            quick=batch == 64,
        )
        for (dtype, batch), (step, floor) in steps.items()
    ]
    for dtype in ("float32", "float64"):
        works.append(
            Work(
                f"small-net-{dtype}",
                f"net of 6,570 parameters, batch 32, {dtype}",
                partial(small, 32, dtype),
                [Against("torch, fused Adam", 0.45), Against("torch, default Adam")],
                quick=dtype == "float32",
            )
        )
    works.append(
        Work(
            "scikit-learn",
            f"the MLP's epoch of {EPOCH} rows, batch 128, float32",
            partial(_epoch, "float32"),
            [Against("scikit-learn"), Against("torch, default Adam")],
            needs="sklearn",
        )
    )
    return works


WORKS = _works()
