"""How good a prediction is, in numbers that people read: share right, variance explained."""

from __future__ import annotations

import numpy as np

from numpy_impl.module import Array

__all__ = ["accuracy", "r2_score"]


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


def r2_score(output: Array, target: Array) -> float:
    """The share of the target's variance that the output explains, averaged over the columns.

        R^2 = 1 - sum (target - output)^2 / sum (target - mean target)^2

    1 is perfect, 0 what the mean alone would reach, below 0 is worse than the mean. A column
    whose targets are all equal counts 1 if they are met and 0 if not, as in scikit-learn.

    Shapes: output and target alike, (N,) or (N, D).

    Raises:
        ValueError: other shapes, or fewer than two rows.
    """
    output, target = np.asarray(output, np.float64), np.asarray(target, np.float64)
    if output.shape != target.shape or output.ndim not in (1, 2) or len(target) < 2:
        raise ValueError(
            "r2_score wants two arrays of one shape (N,) or (N, D) with 2 rows or more, "
            f"got {output.shape} and {target.shape}"
        )
    missed = np.square(target - output).sum(axis=0)
    spread = np.square(target - target.mean(axis=0)).sum(axis=0)
    unexplained = np.divide(missed, spread, out=(missed > 0) * 1.0, where=spread > 0)
    return float(1 - np.mean(unexplained))
