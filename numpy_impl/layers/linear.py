"""A matrix product and a shift, and the two layers that only hand data on."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from numpy_impl.layers.container import Sequential
from numpy_impl.module import Array, Module, Parameter, as_float, float_dtype
from numpy_impl.random import Generator, default_generator

__all__ = ["Flatten", "Identity", "Linear", "linear_classifier"]


class Linear(Module):
    """Map each row by one matrix, then shift it.

        y  = x @ weight.T + bias
        dx = dy @ weight,  dweight = dy.T @ x,  dbias = sum of dy over all rows

    Weights start uniform in +-1/sqrt(in_features), biases too: torch's default, which is
    kaiming_uniform_ with a = sqrt(5) and not He's (He et al. 2015, arXiv:1502.01852, has
    sqrt(6 / in_features) for ReLU).

    Shapes: x, dx (*, in_features); y, dy (*, out_features); weight (out_features, in_features);
    bias (out_features,). Any number of leading axes, none included.

    Raises:
        ValueError: a negative size, or the last axis of x is not in_features.
        TypeError: x is not a float array of the parameters' dtype.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
        generator: Generator | None = None,
    ) -> None:
        if in_features < 0 or out_features < 0:
            raise ValueError(
                "in_features and out_features must not be negative, got "
                f"{in_features} and {out_features}"
            )
        self.in_features, self.out_features = in_features, out_features
        dtype, draw = float_dtype(dtype), (generator or default_generator).uniform
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        # The same number by kaiming_uniform_'s way to it, which may round to its neighbour.
        gain = math.sqrt(2 / (1 + math.sqrt(5) ** 2))
        reach = math.sqrt(3) * (gain / math.sqrt(in_features)) if in_features else 0.0
        self.weight = Parameter(draw(-reach, reach, (out_features, in_features), dtype))
        self.bias = Parameter(draw(-bound, bound, (out_features,), dtype)) if bias else None

    @np.errstate(all="ignore")  # what overflows becomes inf in silence, as in torch
    def forward(self, x: Array) -> Array:
        """x @ weight.T + bias."""
        x = as_float(x, dtype=self.weight.dtype)
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ValueError(f"Linear wants (*, {self.in_features}), got {x.shape}")
        y = np.dot(_rows(x), self.weight.data.T)
        if self.bias is not None:
            y += self.bias.data
        if x.ndim != 2:
            y = y.reshape(*x.shape[:-1], self.out_features)
        self.save_for_backward(y, x)
        return y

    @np.errstate(all="ignore")
    def backward(self, dy: Array) -> Array | None:
        """dy @ weight; adds into weight.grad and bias.grad."""
        dy, x = self.saved_for_backward(dy)
        rows = _rows(dy)
        if self.weight.requires_grad:
            self.weight.add_grad(np.dot(rows.T, _rows(x)))
        if self.bias is not None and self.bias.requires_grad:
            self.bias.add_grad(np.dot(_ones(len(rows), rows.dtype), rows))
        return np.dot(rows, self.weight.data).reshape(x.shape) if self.needs_input_grad else None

    def extra_repr(self) -> str:
        """The arguments."""
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


def _rows(x: Array) -> Array:
    # One product over all rows at once. np.dot because for a single row np.matmul leaves BLAS and
    # takes five times as long.
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


@functools.lru_cache(maxsize=8)
def _ones(n: int, dtype: np.dtype[Any]) -> Array:
    # ones @ x adds up columns faster than x.sum(axis=0); made anew they would take half of that.
    ones = np.ones(n, dtype)
    ones.flags.writeable = False
    return ones


class Identity(Module):
    """Hand x on as it is: a placeholder. Takes and ignores any arguments, as torch's does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs

    def forward(self, x: Array) -> Array:
        """The input."""
        x = _as_array(x)
        self.save_for_backward(x)
        return x

    def backward(self, dy: Array) -> Array:
        """The gradient."""
        return self.saved_for_backward(dy)[0]


class Flatten(Module):
    """Join the axes start_dim to end_dim into one; backward unfolds the gradient again.

    Shapes: x (N, *) to (N, product of *) by default; negative axes count from the end.

    Raises:
        IndexError: there is no such axis.
        ValueError: start_dim comes after end_dim.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Array) -> Array:
        """x with the axes joined; a view where memory allows."""
        x = _as_array(x)
        ndim = max(x.ndim, 1)  # as in torch, a scalar counts as one axis
        for dim in (self.start_dim, self.end_dim):
            if not -ndim <= dim < ndim:
                raise IndexError(f"Flatten wants axes in [{-ndim}, {ndim - 1}], got {dim}")
        start, end = self.start_dim % ndim, self.end_dim % ndim
        if start > end:
            raise ValueError(f"start_dim must not come after end_dim, got {start} and {end}")
        joined = math.prod(x.shape[start : end + 1])
        y = x.reshape(*x.shape[:start], joined, *x.shape[end + 1 :])
        self.save_for_backward(y, x.shape)
        return y

    def backward(self, dy: Array) -> Array:
        """The gradient in the input's shape."""
        dy, shape = self.saved_for_backward(dy)
        return dy.reshape(shape)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


def linear_classifier(in_features: int, num_classes: int) -> Sequential:
    """Multinomial logistic regression: flatten each sample, one Linear, logits out.

    No softmax at the end: CrossEntropyLoss takes logits and applies log-softmax itself.

    Shapes: x (N, *) with in_features numbers a sample; logits (N, num_classes).
    """
    return Sequential(Flatten(), Linear(in_features, num_classes))


def _as_array(x: Any) -> Array:
    if not isinstance(x, np.ndarray | np.generic):
        raise TypeError(f"input must be a NumPy array, got {type(x).__name__}")
    return np.asarray(x)
