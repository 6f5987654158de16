"""How good a prediction is, in a number that people read. For regression see `r2_score`."""

from __future__ import annotations

import numpy as np

from numpy_impl.module import Array

__all__ = ["accuracy"]


def accuracy(output: Array, target: Array) -> float:
    """The share of rows whose largest score stands at the labelled class.

    The first of equal scores counts. A row with a NaN is wrong: NaN has no place in an order.

    Shapes: output (N, C) scores of any scale; target (N,) whole numbers.

    Raises:
        ValueError: other shapes, or no rows.
    """
    output, target = np.asarray(output), np.asarray(target)
    if output.ndim != 2 or target.shape != output.shape[:1] or not len(target):
        raise ValueError(
            f"accuracy wants scores (N, C) and labels (N,), got {output.shape} and {target.shape}"
        )
    right = (output.argmax(axis=1) == target) & ~np.isnan(output).any(axis=1)
    return float(np.count_nonzero(right)) / len(target)
