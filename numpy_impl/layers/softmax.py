"""Scores to probabilities, and to their logarithms, along one axis."""

from __future__ import annotations

import math

import numpy as np

from numpy_impl.layers.activation import as_gradient
from numpy_impl.module import Array, Module, as_float, no_grad

__all__ = [
    "LogSoftmax",
    "Softmax",
    "log_softmax",
    "log_softmax_backward",
    "predict_proba",
    "softmax",
    "softmax_backward",
]

SHORT = 48  # below this length NumPy reduces a last axis faster when it is laid out first


def _split(shape: tuple[int, ...], dim: int) -> tuple[int, int, int]:
    shape = shape or (1,)  # as in torch, a scalar counts as one axis
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])


def fold(x: Array, dim: int) -> Array:
    """x as (before, n, after) with axis dim in the middle, for reductions along axis 1.

    A short last axis goes first: its n rows are then long runs of memory, and a maximum or a sum
    over them is five times as fast as over many short rows. That is a copy, (1, n, rows).
    """
    before, n, after = _split(x.shape, dim)
    if after == 1 and n < SHORT:
        return x.reshape(before, n).T.copy()[np.newaxis]
    return x.reshape(before, n, after)


def unfold(folded: Array, shape: tuple[int, ...], dim: int) -> Array:
    """The inverse of `fold`."""
    _, n, after = _split(shape, dim)
    return (folded[0].T if after == 1 and n < SHORT else folded).reshape(shape)


def shift(z: Array) -> Array:
    """A fresh array in C order: z less its maximum over axis 1, so that exp cannot overflow."""
    return np.subtract(z, z.max(axis=1, keepdims=True, initial=-np.inf), order="C")


@np.errstate(all="ignore")
def softmax(input: Array, dim: int | None = None) -> Array:
    """exp(input) / sum of exp(input) over axis dim."""
    x, dim = _checked(input, dim)
    e = shift(fold(x, dim))
    np.exp(e, out=e)
    e /= e.sum(axis=1, keepdims=True)
    return unfold(e, x.shape, dim)


@np.errstate(all="ignore")
def softmax_backward(dy: Array, y: Array, dim: int | None = None) -> Array:
    """y * (dy - sum of y * dy over axis dim)."""
    y, dim = _checked(y, dim)
    dy, p = fold(as_gradient(dy, y.shape, y.dtype), dim), fold(y, dim)
    if p.shape[2] == 1:  # BLAS sums up a long last axis without writing the products down
        dots = np.vecdot(p[..., 0], dy[..., 0])[:, np.newaxis, np.newaxis]
    else:
        dots = (p * dy).sum(axis=1, keepdims=True)
    dx: Array = np.subtract(dy, dots, order="C")
    dx *= p
    return unfold(dx, y.shape, dim)


@np.errstate(all="ignore")
def log_softmax(input: Array, dim: int | None = None) -> Array:
    """input - log(sum of exp(input) over axis dim)."""
    x, dim = _checked(input, dim)
    y = shift(fold(x, dim))
    y -= np.log(np.exp(y).sum(axis=1, keepdims=True))
    return unfold(y, x.shape, dim)


@np.errstate(all="ignore")
def log_softmax_backward(dy: Array, y: Array, dim: int | None = None) -> Array:
    """dy - exp(y) * sum of dy over axis dim."""
    y, dim = _checked(y, dim)
    dy = fold(as_gradient(dy, y.shape, y.dtype), dim)
    dx = np.exp(fold(y, dim))
    dx *= dy.sum(axis=1, keepdims=True)
    np.subtract(dy, dx, out=dx)
    return unfold(dx, y.shape, dim)


class Softmax(Module):
    """Turn scores along one axis into probabilities: positive, with sum 1.

    With the maximum taken off first, so that scores of 1e4 overflow nowhere:

        y  = exp(x - max x) / sum of exp(x - max x)
        dx = y * (dy - sum of y * dy)

    The second term is there because every score moves every probability: without it, dx for a
    cotangent of ones would be y and not 0. A classifier under CrossEntropyLoss ends in logits and
    has no Softmax: see `predict_proba`.
    Shapes: x, y, dy, dx (*); a scalar counts as one axis of length 1.

    Raises:
        ValueError: dim is None. torch then guesses an axis, and warns that it will stop to.
        IndexError: x has no such axis.
        TypeError: dim is not a whole number, or x is not a float array.
    """

    def __init__(self, dim: int | None = None) -> None:
        self.dim = _chosen(dim)

    def forward(self, x: Array) -> Array:
        """Probabilities."""
        y = softmax(x, self.dim)
        self.save_for_backward(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        """y * (dy - sum of y * dy)."""
        dy, y = self.saved_for_backward(dy)
        return softmax_backward(dy, y, self.dim)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """Turn scores along one axis into logarithms of probabilities, never by a log of a softmax.

    Where a probability underflows to 0 its logarithm is still right:

        y  = x - max x - log(sum of exp(x - max x))
        dx = dy - exp(y) * sum of dy

    Shapes: x, y, dy, dx (*); a scalar counts as one axis of length 1.

    Raises:
        ValueError: dim is None. torch then guesses an axis, and warns that it will stop to.
        IndexError: x has no such axis.
        TypeError: dim is not a whole number, or x is not a float array.
    """

    def __init__(self, dim: int | None = None) -> None:
        self.dim = _chosen(dim)

    def forward(self, x: Array) -> Array:
        """Logarithms of probabilities."""
        y = log_softmax(x, self.dim)
        self.save_for_backward(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy - exp(y) * sum of dy."""
        dy, y = self.saved_for_backward(dy)
        return log_softmax_backward(dy, y, self.dim)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"dim={self.dim}"


def predict_proba(model: Module, x: Array) -> Array:
    """Class probabilities from a model that ends in logits: evaluation mode, nothing saved.

    The place for the softmax that CrossEntropyLoss leaves out of the model. Every module is left
    in the mode it was in.

    Shapes: x (N, *), result (N, C).
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            return softmax(model(x), dim=1)
    finally:
        for module, training in modes:
            module.training = training


def _chosen(dim: int | None) -> int:
    if dim is None:
        raise ValueError("softmax wants dim, the axis whose probabilities sum to 1; got None")
    if isinstance(dim, bool) or not isinstance(dim, int | np.integer):
        raise TypeError(f"dim must be an int, got {type(dim).__name__}")
    return int(dim)


def _checked(x: Array, dim: int | None) -> tuple[Array, int]:
    x, dim = as_float(x), _chosen(dim)
    ndim = max(x.ndim, 1)  # as in torch, a scalar counts as one axis
    if not -ndim <= dim < ndim:
        raise IndexError(f"softmax wants an axis in [{-ndim}, {ndim - 1}], got {dim}")
    return x, dim % ndim
