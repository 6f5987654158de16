"""Drop activations or whole channels while training, and the block of an MLP that does so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numpy_impl.layers.activation import ReLU
from numpy_impl.layers.container import Sequential
from numpy_impl.layers.linear import Linear
from numpy_impl.module import Array, Module, as_float
from numpy_impl.normalization.batch_norm import BatchNorm1d
from numpy_impl.random import Generator, default_generator, memory_order

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "dropout_mlp_block"]


class _Dropout(Module):
    """What the four have in common: when they drop, where masks come from, what backward reuses.

    Eval mode, p = 0 and an input without numbers hand x itself on; p = 1 gives zeros. None of these
    draws. From one seed the masks are torch's, bit for bit.
    """

    by_channel = False

    def __init__(
        self, p: float = 0.5, inplace: bool = False, generator: Generator | None = None
    ) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace, self.generator = p, inplace, generator

    def forward(self, x: Array, mask: Any = None) -> Array:
        """x, and in training what is left of it. A mask handed in keeps where it is not zero."""
        x = as_float(x)
        shape = self._mask_shape(x)
        if mask is not None:
            mask = np.asarray(mask) != 0
            if mask.shape != shape:
                raise ValueError(f"mask must have the shape {shape}, got {mask.shape}")
        if not self.training or self.p == 0 or x.size == 0:
            self.save_for_backward(x, None)
            return x
        if self.p == 1:  # nothing is kept, and there is no 1 / (1 - p)
            mask = np.zeros(shape, bool)
        elif mask is None:
            mask = self._drawn(x, shape)
        y = self._masked(x, mask)
        self.save_for_backward(y, mask)
        return y

    def backward(self, dy: Array) -> Array:
        """The gradient through the mask of that forward, not through a new one."""
        dy, mask = self.saved_for_backward(dy)
        return dy if mask is None else self._masked_gradient(dy, mask)

    def _mask_shape(self, x: Array) -> tuple[int, ...]:
        return x.shape

    def _drawn(self, x: Array, shape: tuple[int, ...]) -> Array:
        draw = (self.generator or default_generator).bernoulli
        if self.by_channel:
            return draw(1 - self.p, shape)
        order = memory_order(x)  # torch's mask lies in memory as its input does
        mask = draw(1 - self.p, tuple(shape[axis] for axis in order))
        return mask.transpose(np.argsort(order))

    def _masked(self, x: Array, mask: Array) -> Array:
        with np.errstate(all="ignore"):  # infinity * 0 is NaN in silence, as in torch
            y = np.asarray(x * mask)
            if self.p < 1:
                y *= x.dtype.type(1) / x.dtype.type(1 - self.p)  # rounded as torch rounds it
        return y

    def _masked_gradient(self, dy: Array, mask: Array) -> Array:
        return self._masked(dy, mask)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Zero each number with probability p while training, and scale up those that stay.

    Srivastava et al. 2014, JMLR 15:1929-1958 (first in Hinton et al. 2012, arXiv:1207.0580), in
    its inverted form, so that the mean is kept and eval mode has nothing to do:

        y  = x * mask / (1 - p),  mask = 1 with probability 1 - p, else 0
        dx = dy * mask / (1 - p)

    p is the share that is dropped, not the share that is kept. Eval mode and p = 0 hand x itself
    on; p = 1 gives zeros. Neither draws. From one seed the masks are torch's, bit for bit; they
    fill x in the order of its memory.

    Args:
        p: the probability of being dropped.
        inplace: taken for torch's sake; a caller's array is never overwritten here.
        generator: where masks are drawn; the global one by default.

    Shapes: x, y, dy, dx, mask any.

    Raises:
        ValueError: p is not in [0, 1], or the mask does not have x's shape.
        TypeError: x is not a float array.
    """


class Dropout1d(_Dropout):
    """Zero whole channels with probability p while training, and scale up those that stay.

    Tompson et al. 2015, arXiv:1411.4280 ("spatial dropout"): neighbours along L are so alike that
    dropping one hides nothing. All of a channel shares a mask:

        y  = x * mask / (1 - p),  mask (N, C, 1) = 1 with probability 1 - p, else 0
        dx = dy * mask / (1 - p)

    Shapes: x, y, dy, dx (N, C, L) or (C, L); mask (N, C, 1) or (C, 1).

    Raises:
        ValueError: as `Dropout`; x has other than 2 or 3 axes.
    """

    by_channel = True

    def _mask_shape(self, x: Array) -> tuple[int, ...]:
        if x.ndim not in (2, 3):
            raise ValueError(f"Dropout1d wants (N, C, L) or (C, L), got shape {x.shape}")
        return (*x.shape[:-1], 1)


class Dropout2d(_Dropout):
    """Zero whole feature maps with probability p while training, and scale up those that stay.

    Tompson et al. 2015, arXiv:1411.4280 ("spatial dropout"). All of a map shares a mask:

        y  = x * mask / (1 - p),  mask (N, C, 1, 1) = 1 with probability 1 - p, else 0
        dx = dy * mask / (1 - p)

    torch takes x of 3 axes for (N, C, L), warns and means to change that; here it is refused.

    Shapes: x, y, dy, dx (N, C, H, W); mask (N, C, 1, 1).

    Raises:
        ValueError: as `Dropout`; x has other than 4 axes.
    """

    by_channel = True

    def _mask_shape(self, x: Array) -> tuple[int, ...]:
        if x.ndim != 4:
            raise ValueError(
                f"Dropout2d wants (N, C, H, W), got shape {x.shape}; for (N, C, L) take Dropout1d"
            )
        return (*x.shape[:2], 1, 1)


class AlphaDropout(_Dropout):
    """Set numbers to where SELU saturates, with probability p, and keep mean and variance.

    Klambauer et al. 2017, arXiv:1706.02515, for networks that normalise themselves. Zero is no
    resting place of SELU, -alpha is; what that does to inputs of mean 0 and variance 1 is undone by
    one scale and one shift for all:

        y  = a * (x * mask - alpha * (1 - mask)) + b
        a  = 1 / sqrt((1 - p) * (1 + alpha^2 * p)),  b = a * alpha * p
        dx = a * dy * mask

    alpha = 1.758..., which is SELU's scale times its own alpha. p = 1 gives zeros.

    Shapes: x, y, dy, dx, mask any.

    Raises:
        ValueError: as `Dropout`.
    """

    ALPHA = 1.7580993408473766

    def _masked(self, x: Array, mask: Array) -> Array:
        y = self._masked_gradient(x, mask)
        if self.p < 1:
            kept, dropped = self._shifts(x.dtype.type)
            y += np.where(mask, kept, dropped)
        return y

    def _masked_gradient(self, dy: Array, mask: Array) -> Array:
        scale = dy.dtype.type(self._scale() if self.p < 1 else 0)
        with np.errstate(all="ignore"):
            return np.asarray(dy * np.where(mask, scale, dy.dtype.type(0)))

    def _scale(self) -> float:
        return 1 / math.sqrt((self.ALPHA * self.ALPHA * self.p + 1) * (1 - self.p))

    def _shifts(self, dtype: Any) -> tuple[Any, Any]:
        """b, and b - a * alpha, rounded as torch rounds them."""
        saturated = self.ALPHA * self._scale()
        b = dtype(saturated * self.p)
        return b, b - dtype(saturated)


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
