"""Few connections into each unit, and those small."""

from __future__ import annotations

import math

from numpy_impl.initialization.constant import Filled, values_of
from numpy_impl.initialization.uniform_normal import normal_
from numpy_impl.random import Generator, default_generator

__all__ = ["sparse_"]


def sparse_(
    tensor: Filled, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Filled:
    """Draw a normal matrix and set the same number of places in every column to zero.

    Martens 2010 (ICML):  N(0, std^2), with ceil(sparsity * rows) zeros a column, at random rows.
    The paper fixes the number of inputs of a unit, which is a row of torch's (out, in) weight; to
    have that, hand in the transpose (a view: it is filled in place).

    As in torch 2.13 the rows come from the global generator even where one is handed in for the
    values.

    Shapes: (rows, columns).

    Raises:
        ValueError: not 2 dimensions, or a sparsity outside [0, 1] (torch takes those too: above 1
            as 1, below 0 by counting from the end of a slice).
        RuntimeError: std is negative or NaN.
    """
    values = values_of(tensor)
    if values.ndim != 2:
        raise ValueError(f"sparse_ wants 2 dimensions, got shape {values.shape}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity must be in [0, 1], got {sparsity}")
    rows, columns = values.shape
    zeros = math.ceil(sparsity * rows)
    normal_(values, 0.0, std, generator)
    for column in range(columns):
        values[default_generator.randperm(rows)[:zeros], column] = 0
    return tensor
