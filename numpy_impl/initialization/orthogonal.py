"""Weights that turn a vector without stretching it."""

from __future__ import annotations

import numpy as np

from numpy_impl.initialization.constant import Filled, values_of
from numpy_impl.random import Generator, default_generator

__all__ = ["orthogonal_"]


def orthogonal_(tensor: Filled, gain: float = 1, generator: Generator | None = None) -> Filled:
    """Draw a matrix with orthonormal rows or columns, whichever are fewer, times gain.

    Saxe et al. 2013, arXiv:1312.6120. Every such matrix is equally likely if the factor Q of a
    normal matrix is taken with a positive diagonal in R (Mezzadri 2007, arXiv:math-ph/0609050):

        Z = Q R,  weight = gain * Q * sign(diag(R))

    LAPACK's own signs depend on Z, which would favour some matrices. A wide matrix is drawn as the
    transpose of a tall one: its rows are orthonormal.

    Shapes: (out, *), with * taken as one axis.

    Raises:
        ValueError: fewer than 2 dimensions.
    """
    values = values_of(tensor)
    if values.ndim < 2:
        raise ValueError(f"orthogonal_ wants 2 or more dimensions, got shape {values.shape}")
    if values.size == 0:
        return tensor
    rows, columns = len(values), values.size // len(values)
    z = (generator or default_generator).normal(0, 1, (rows, columns), values.dtype)
    q, r = np.linalg.qr(z.T if rows < columns else z)
    q *= np.sign(np.diag(r))
    values[...] = (q.T if rows < columns else q).reshape(values.shape)
    values *= gain
    return tensor
