"""What every stage starts from: the same digits and the same first weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.datasets import load_splits

Array = np.ndarray[Any, np.dtype[Any]]

LAYERS = [64, 32, 10]


def digits() -> tuple[Array, Array, Array, Array]:
    """512 training digits as rows of 64 and their labels as rows of 10, and the test digits.

    Shapes: x (512, 64), y (512, 10), x_test (270, 64), labels (270,).
    """
    splits = load_splits()
    x, x_test = (
        images.reshape(-1, 64).astype(np.float64)
        for images in (splits.x_train[:512], splits.x_test)
    )
    return x, np.eye(10)[splits.y_train[:512]], x_test, splits.y_test


def first_weights() -> tuple[list[Array], list[Array]]:
    """Weights and biases as the guide draws them: He's, stored (in, out)."""
    rng = np.random.RandomState(0)
    pairs = list(zip(LAYERS, LAYERS[1:], strict=False))
    weights = [rng.randn(a, b) * np.sqrt(2.0 / a) for a, b in pairs]
    return weights, [np.zeros((1, b)) for _, b in pairs]
