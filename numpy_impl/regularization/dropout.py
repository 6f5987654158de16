"""Zero activations at random while training, and the block of an MLP that does so."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_impl.layers.activation import ReLU
from numpy_impl.layers.container import Sequential
from numpy_impl.layers.linear import Linear
from numpy_impl.module import Array, Module, as_float
from numpy_impl.normalization.batch_norm import BatchNorm1d
from numpy_impl.random import Generator, default_generator

__all__ = ["Dropout", "dropout_mlp_block"]


class Dropout(Module):
    """Zero each number with probability p while training, and scale up those that stay.

    Srivastava et al. 2014, JMLR 15:1929-1958 (first in Hinton et al. 2012, arXiv:1207.0580), in
    its inverted form, so that the mean is kept and eval mode has nothing to do:

        y  = x * mask / (1 - p),  mask = 1 with probability 1 - p, else 0
        dx = dy * mask / (1 - p)

    p is the share that is dropped, not the share that is kept. Eval mode and p = 0 hand x itself
    on; p = 1 gives zeros. Neither draws. From one seed the masks are torch's, bit for bit, for x
    in C order: torch fills in memory order, so a transposed x has another mask there than here.

    Args:
        p: the probability of being dropped.
        inplace: taken for torch's sake; a caller's array is never overwritten here.
        generator: where masks are drawn; the global one by default.

    Shapes: x, y, dy, dx any.

    Raises:
        ValueError: p is not in [0, 1], or the mask does not have x's shape.
        TypeError: x is not a float array.
    """

    def __init__(
        self, p: float = 0.5, inplace: bool = False, generator: Generator | None = None
    ) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace, self.generator = p, inplace, generator

    def forward(self, x: Array, mask: Any = None) -> Array:
        """x, and in training x * mask / (1 - p). A mask handed in keeps where it is not zero."""
        x = as_float(x)
        if mask is not None:
            mask = np.asarray(mask) != 0
            if mask.shape != x.shape:
                raise ValueError(f"mask must have the input's shape {x.shape}, got {mask.shape}")
        if not self.training or self.p == 0:
            self.save_for_backward(x, None)
            return x
        if self.p == 1:  # nothing is kept, and there is no 1 / (1 - p)
            mask = np.zeros(x.shape, bool)
        elif mask is None:
            mask = (self.generator or default_generator).bernoulli(1 - self.p, x.shape)
            mask = np.asarray(mask)
        y = self._masked(x, mask)
        self.save_for_backward(y, mask)
        return y

    def backward(self, dy: Array) -> Array:
        """The gradient through the mask of that forward, not through a new one."""
        dy, mask = self.saved_for_backward(dy)
        return dy if mask is None else self._masked(dy, mask)

    def _masked(self, x: Array, mask: Array) -> Array:
        with np.errstate(all="ignore"):  # infinity * 0 is NaN in silence, as in torch
            y = np.asarray(x * mask)
            if self.p < 1:
                y *= x.dtype.type(1) / x.dtype.type(1 - self.p)  # rounded as torch rounds it
        return y

    def extra_repr(self) -> str:
        """The arguments."""
        return f"p={self.p}, inplace={self.inplace}"


def dropout_mlp_block(
    in_features: int,
    out_features: int,
    p: float = 0.5,
    norm: bool = False,
    generator: Generator | None = None,
) -> Sequential:
    """One hidden layer that drops: Linear, BatchNorm1d if norm, ReLU, Dropout.

    Dropout comes last, on what the next Linear reads. Not in front of a batch norm: in training
    that would track the variance of dropped and scaled numbers, which eval mode does not see
    (Li et al. 2018, arXiv:1801.05134). Nor on the output: a dropped logit is a wrong one.

    Shapes: x (N, in_features); y (N, out_features).
    """
    layers: list[Module] = [Linear(in_features, out_features, bias=not norm, generator=generator)]
    if norm:  # its own bias does the work of the Linear's
        layers.append(BatchNorm1d(out_features))
    return Sequential(*layers, ReLU(), Dropout(p, generator=generator))
