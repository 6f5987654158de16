"""How good a prediction is, in a number that people read. For regression see `r2_score`.

It returns a Python float, so on a GPU it is waited for: call it once an epoch, on everything, as
`evaluate` does, and not once a batch.
"""

from torch import Tensor

__all__ = ["accuracy"]


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
