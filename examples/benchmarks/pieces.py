"""The pieces of a step on their own: batch norm, cross-entropy, Adam's update."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

import numpy_impl.nn
import numpy_impl.optim
from examples.benchmarks.timing import Step
from examples.benchmarks.work import Against, Work
from numpy_impl.module import Parameter


def forward_backward(
    layers: tuple[Any, Any], shape: tuple[int, ...], dtype: str
) -> dict[str, Step]:
    """A layer of shape[1] features in training, there and back, on both sides."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    ours = layers[0](shape[1]).to(dtype)
    rows, cotangent = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dy)
    theirs = layers[1](shape[1]).to(rows.dtype)

    def numpy_step() -> None:
        ours.zero_grad()
        ours(x)
        ours.backward(dy)

    def torch_step() -> None:
        theirs.zero_grad(set_to_none=True)
        rows.grad = None
        theirs(rows).backward(cotangent)

    return {"NumPy": numpy_step, "torch": torch_step}


def cross_entropy(rows: int, classes: int, dtype: str) -> dict[str, Step]:
    """The loss of logits and its gradient."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, classes)).astype(dtype), rng.integers(0, classes, rows)
    ours, theirs = numpy_impl.nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss()
    logits, labels = torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)

    def numpy_step() -> None:
        ours(x, y)
        ours.backward()

    def torch_step() -> None:
        logits.grad = None
        theirs(logits, labels).backward()

    return {"NumPy": numpy_step, "torch": torch_step}


def adam(parameters: int) -> dict[str, Step]:
    """One update of one float32 parameter by a gradient that all sides share."""
    rng = np.random.default_rng(0)
    start, grad = (rng.standard_normal(parameters, dtype=np.float32) for _ in range(2))
    p = Parameter(start)
    p.grad = grad
    sides: dict[str, Step] = {"NumPy": numpy_impl.optim.Adam([p]).step}
    kinds: dict[str, dict[str, Any]] = {
        "torch, fused": {"fused": True},
        "torch, default loop": {},
        "torch, foreach": {"foreach": True},
    }
    for name, options in kinds.items():
        q = torch.nn.Parameter(torch.tensor(start))
        q.grad = torch.from_numpy(grad)
        sides[name] = torch.optim.Adam([q], **options).step
    return sides


def _works() -> list[Work]:
    norms = [
        ("BatchNorm1d", (1024, 512), "float32", 1.8),
        ("BatchNorm1d", (4096, 1024), "float64", 1.5),
        ("BatchNorm2d", (32, 64, 28, 28), "float32", 1.2),
        ("BatchNorm2d", (32, 64, 28, 28), "float64", 1.2),
    ]
    works = [
        Work(
            f"{norm.lower()}-{dtype}",
            f"{norm} {'x'.join(map(str, shape))}, {dtype}",
            partial(
                forward_backward,
                (getattr(numpy_impl.nn, norm), getattr(torch.nn, norm)),
                shape,
                dtype,
            ),
            [Against("torch", goal)],
            quick=dtype == "float32",
        )
        for norm, shape, dtype, goal in norms
    ]
    losses = [
        (128, 10, "float32", 0.4),
        (4096, 10, "float32", 0.4),
        (4096, 10, "float64", 0.5),
        (1024, 1000, "float32", 0.8),
        (1024, 1000, "float64", 0.5),
    ]
    works += [
        Work(
            f"cross-entropy-{rows}x{classes}-{dtype}",
            f"softmax cross-entropy {rows}x{classes}, {dtype}",
            partial(cross_entropy, rows, classes, dtype),
            [Against("torch", goal)],
            quick=dtype == "float32",
        )
        for rows, classes, dtype, goal in losses
    ]
    works += [
        Work(
            f"adam-{millions}M",
            f"Adam's update of {millions}M parameters, float32",
            partial(adam, millions * 10**6),
            [
                Against("torch, fused", 3.0),
                Against("torch, default loop", 1.0),
                Against("torch, foreach"),
            ],
            quick=millions == 1,
        )
        for millions in (1, 10)
    ]
    return works


WORKS = _works()
