"""How good a prediction is, in numbers that people read: share right, variance explained.

Each returns a Python float, so on a GPU each waits for it: call them once an epoch, on everything,
as `evaluate` does, and not once a batch.
"""

import torch
from torch import Tensor

__all__ = ["accuracy", "r2_score"]


def accuracy(output: Tensor, target: Tensor) -> float:
    """The share of rows whose largest score stands at the labelled class.

    The first of equal scores counts. A row with a NaN is wrong: NaN has no place in an order.

    Shapes: output (N, C) scores of any scale; target (N,) whole numbers.

    Raises:
        ValueError: other shapes, or no rows.
    """
    if output.ndim != 2 or target.shape != output.shape[:1] or not len(target):
        raise ValueError(
            "accuracy wants scores (N, C) and labels (N,), "
            f"got {tuple(output.shape)} and {tuple(target.shape)}"
        )
    right = (output.argmax(dim=1) == target) & ~output.isnan().any(dim=1)
    return int(right.sum()) / len(target)


def r2_score(output: Tensor, target: Tensor) -> float:
    """The share of the target's variance that the output explains, averaged over the columns.

    1 is perfect, 0 what the mean alone would reach, below 0 is worse than the mean. A column
    whose targets are all equal counts 1 if they are met and 0 if not, as in scikit-learn.

    Shapes: output and target alike, (N,) or (N, D).

    Raises:
        ValueError: other shapes, or fewer than two rows.
    """
    if output.shape != target.shape or output.ndim not in (1, 2) or len(target) < 2:
        raise ValueError(
            "r2_score wants two tensors of one shape (N,) or (N, D) with 2 rows or more, "
            f"got {tuple(output.shape)} and {tuple(target.shape)}"
        )
    output, target = output.double(), target.double()
    missed = (target - output).square().sum(dim=0)
    spread = (target - target.mean(dim=0)).square().sum(dim=0)
    unexplained = torch.where(spread > 0, missed / spread, (missed > 0).double())
    return 1 - float(unexplained.mean())
