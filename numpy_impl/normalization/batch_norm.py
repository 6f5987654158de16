"""Normalise each channel over the batch, for rows of features and for images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from numpy_impl.layers.activation import ReLU
from numpy_impl.layers.container import Sequential
from numpy_impl.layers.linear import Linear
from numpy_impl.module import FLOATS, Array, Module, Parameter, as_float, float_dtype
from numpy_impl.random import Generator

__all__ = ["BatchNorm1d", "BatchNorm2d", "batch_norm_from_guide", "linear_norm_relu"]

ROWS, LENGTH = 128, 16384  # numbers that are summed in the array's own dtype, then in float64
ONES = {dtype: np.ones(ROWS, dtype) for dtype in FLOATS}  # making them takes longer than a sum
BLOCK = 2**18  # bytes of each array that go through all passes together: they share one L2 cache


def _sums(x: Array) -> Array:
    """The sum of each channel of x (N, C, L), float64; products with ones, which BLAS does fast."""
    n, channels, length = x.shape
    if length != 1:
        return _dots(x, np.ones(length, x.dtype))
    rows, ones, whole = x[:, :, 0], ONES[x.dtype], n - n % ROWS
    total = (ones[: n - whole] @ rows[whole:]).astype(np.float64)
    if whole:
        pieces = ones @ rows[:whole].reshape(whole // ROWS, ROWS, channels)
        total += pieces.sum(axis=0, dtype=np.float64)
    return total


def _dots(x: Array, y: Array) -> Array:
    """The sum of x * y in each channel of x (N, C, L), float64."""
    n, channels, length = x.shape
    if length == 1 and n < ROWS:
        return _sums(x * y)
    total, whole = np.zeros(channels), n - n % ROWS
    if length == 1:
        x, y, more, and_more = x[:whole], y[:whole], x[whole:], y[whole:]
        x, y = x.reshape(whole // ROWS, ROWS, channels), y.reshape(-1, ROWS, channels)
        total += np.einsum("bnc,bnc->bc", x, y).sum(axis=0, dtype=np.float64)
        return total + _dots(more, and_more) if whole < n else total
    for i in range(0, length, LENGTH):
        piece = np.vecdot(x[..., i : i + LENGTH], y[..., i : i + LENGTH])
        total += piece.sum(axis=0, dtype=np.float64)
    return total


def _block(x: Array) -> int:
    """How many rows of x (N, C, L) make a block; many are a multiple of what `_sums` adds up."""
    rows = BLOCK // max(x[:1].nbytes, 1) or 1
    return rows - rows % ROWS if rows > ROWS else rows


def _blocks(rows: int, *arrays: Array) -> list[tuple[Array, ...]]:
    """Arrays (N, C, L), cut alike into blocks of so many rows."""
    if len(arrays[0]) <= rows:
        return [arrays]
    return [
        tuple([array[i : i + rows] for array in arrays]) for i in range(0, len(arrays[0]), rows)
    ]


def _spread(v: Array, x: Array, rows: int) -> Array:
    """One number a channel, in x's dtype, to go with a block of x; cut it to the block's rows.

    Where x is long they are written out, for a block or at least for a row: NumPy is faster in one
    long run than in many short ones.
    """
    n, channels, length = x.shape
    narrow = v.astype(x.dtype).reshape(1, channels, 1)
    if n < 4 * rows and (n < 4 or length == 1):
        return narrow
    wide = np.empty((rows if n >= 4 * rows else 1, channels, length), x.dtype)
    wide[...] = narrow
    return wide


class _BatchNorm(Module):
    """What BatchNorm1d and BatchNorm2d share: everything but the number of axes."""

    axes: dict[int, str]
    running_mean: Array
    running_var: Array
    num_batches_tracked: Array

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DTypeLike = np.float32,
        *,
        bias: bool = True,
    ) -> None:
        if num_features < 0:
            raise ValueError(f"num_features must not be negative, got {num_features}")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        dtype = float_dtype(dtype)
        self.weight = Parameter(np.ones(num_features, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype)) if affine and bias else None
        tracks = track_running_stats
        self.register_buffer("running_mean", np.zeros(num_features, dtype) if tracks else None)
        self.register_buffer("running_var", np.ones(num_features, dtype) if tracks else None)
        self.register_buffer("num_batches_tracked", np.array(0, np.int64) if tracks else None)

    def reset_running_stats(self) -> None:
        """Forget what was tracked: mean 0, variance 1, no batches."""
        for name, value in (("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)):
            if getattr(self, name) is not None:
                getattr(self, name)[...] = value

    def forward(self, x: Array) -> Array:
        """x normalised by the batch's statistics, or in eval mode by the tracked ones."""
        from_batch = self.training or self.running_mean is None
        x = self._checked(x, from_batch)
        shape, x = x.shape, x.reshape(len(x), self.num_features, math.prod(x.shape[2:]))
        n, block = max(len(x) * x.shape[2], 1), _block(x)  # numbers a channel, rows a block
        y, rest, square = np.empty(x.shape, x.dtype), np.zeros(x.shape[1]), np.zeros(x.shape[1])
        with np.errstate(all="ignore"):  # NaN and infinity go through in silence, as in torch
            mean = (_sums(x) / n).astype(x.dtype) if from_batch else self.running_mean.copy()
            middle = _spread(mean, x, block)
            for rows, z in _blocks(block, x, y):
                np.subtract(rows, middle[: len(rows)], out=z)
                if from_batch:
                    rest += _sums(z)
                    square += _dots(z, z)
            if from_batch:
                # what rounding the mean has left in z: without it an offset costs digits
                rest = np.where(np.isfinite(mean), rest / n, 0)
                var = np.maximum(square / n - rest**2, 0)
                self._track(x, mean + rest, var)
            else:
                var = self.running_var.astype(np.float64)
            rstd = 1 / np.sqrt(var + self.eps)
            a = rstd if self.weight is None else self.weight.data * rstd
            shift = -rest * a if self.bias is None else self.bias.data - rest * a
            a, shift = _spread(a, x, block), _spread(shift, x, block)
            for (z,) in _blocks(block, y):
                z *= a[: len(z)]
                z += shift[: len(z)]
        y = y.reshape(shape)
        self.save_for_backward(y, x, mean, rest, rstd, from_batch)
        return y

    def backward(self, dy: Array) -> Array | None:
        """The gradient of x; adds into weight.grad and bias.grad."""
        dy, x, mean, rest, rstd, from_batch = self.saved_for_backward(dy)
        shape, dy, n, block = dy.shape, dy.reshape(x.shape), max(len(x) * x.shape[2], 1), _block(x)
        dx, dbias, dot = np.empty(x.shape, x.dtype), np.zeros(len(mean)), np.zeros(len(mean))
        with np.errstate(all="ignore"):
            middle = _spread(mean, x, block)
            for rows, g, z in _blocks(block, x, dy, dx):
                np.subtract(rows, middle[: len(rows)], out=z)
                dbias += _sums(g)
                dot += _dots(g, z)
            dot -= rest * dbias  # of dy and x - mean
            if self.weight is not None:
                self.weight.add_grad((dot * rstd).astype(x.dtype))
            if self.bias is not None:
                self.bias.add_grad(dbias.astype(x.dtype))
            if not self.needs_input_grad:
                return None
            a = _spread(rstd if self.weight is None else self.weight.data * rstd, x, block)
            k = rstd**2 * dot / n
            slope, shift = _spread(k, x, block), _spread(dbias / n - k * rest, x, block)
            for g, z in _blocks(block, dy, dx):
                if from_batch:  # mean and var moved with x, so their paths come back too
                    z *= slope[: len(z)]
                    z += shift[: len(z)]
                    np.subtract(g, z, out=z)
                    z *= a[: len(z)]
                else:
                    np.multiply(g, a[: len(z)], out=z)
        return dx.reshape(shape)

    def _checked(self, x: Array, from_batch: bool) -> Array:
        name, held = type(self).__name__, [self.weight, self.running_mean]
        x = as_float(x, dtype=next((h.dtype for h in held if h is not None), None))
        if x.ndim not in self.axes:
            wanted = " or ".join(f"{n}D" for n in self.axes)
            raise ValueError(f"{name}: expected {wanted} input, got {x.ndim}D input {x.shape}")
        if x.shape[1] != self.num_features:
            wanted = " or ".join(self.axes.values()).replace("C", str(self.num_features))
            raise ValueError(f"{name} wants {wanted}, got {x.shape}")
        if from_batch and x.shape[0] * math.prod(x.shape[2:]) == 1:
            raise ValueError(
                f"{name}: Expected more than 1 value per channel when training, got {x.shape}"
            )
        if self.eps < 0 or from_batch and self.eps == 0:
            sign = "positive during training" if from_batch else "non-negative"
            raise ValueError(f"{name}: eps must be {sign}, got {self.eps}")
        if self.num_features == 0 and self.weight is not None:
            raise IndexError(f"{name} with affine=True wants 1+ features, got {x.shape}")
        return x

    def _track(self, x: Array, mean: Array, var: Array) -> None:
        if not (self.training and self.track_running_stats) or self.running_mean is None:
            return
        self.num_batches_tracked[()] += 1
        if x.size:
            n = x.shape[0] * x.shape[2]
            m = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)
            self.running_mean[...] = m * mean + (1 - m) * self.running_mean
            self.running_var[...] = m * n / (n - 1) * var + (1 - m) * self.running_var

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Normalise each feature over the batch, then scale and shift it.

    Ioffe & Szegedy 2015, arXiv:1502.03167. With <.> the mean over all axes but the channels':

        x_hat = (x - mean) * rstd,  rstd = 1 / sqrt(var + eps)
        y     = weight * x_hat + bias
        dx    = rstd * (dx_hat - <dx_hat> - x_hat * <x_hat * dx_hat>),  dx_hat = weight * dy
        dweight = sum of dy * x_hat,  dbias = sum of dy

    Training takes mean and var from the batch, var = <(x - mean)^2>, and tracks them for eval:

        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var  = (1 - momentum) * running_var  + momentum * var * n / (n - 1)

    The tracked variance is the unbiased one, n numbers a channel. momentum=None stands for
    1 / num_batches_tracked, the plain average of all batches. In eval mode mean and var are the
    tracked constants and dx = rstd * dx_hat; with track_running_stats=False they are the batch's.

    Shapes: x, y, dy, dx (N, C) or (N, C, L); every parameter and buffer (C,).

    Raises:
        ValueError: x has other axes or channels, a channel has one number to take a variance of,
            or eps is not positive.
        TypeError: x is not a float array of the parameters' dtype.
    """

    axes = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNorm2d(_BatchNorm):
    """Normalise each channel of images over the batch and all pixels, then scale and shift it.

    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.2. The formulas are BatchNorm1d's, with the
    mean over N, H and W: one mean and one variance a channel, shared by all its pixels.

    Shapes: x, y, dy, dx (N, C, H, W); every parameter and buffer (C,).

    Raises:
        ValueError, TypeError: as BatchNorm1d.
    """

    axes = {4: "(N, C, H, W)"}


def batch_norm_from_guide(
    num_features: int,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    gamma: Any = 1.0,
    beta: Any = 0.0,
    running_mean: Any = None,
    running_var: Any = None,
    batch_size: int | None = None,
    dtype: DTypeLike = np.float32,
) -> BatchNorm1d:
    """The BatchNorm1d that does what the guide's BatchNormalization with this state does.

    The one place where its convention is translated:

        momentum      its 0.9 is the share of the old value, here the share of the new: 1 - 0.9
        gamma, beta   one number for all features, here one for each
        running_var   tracked biased; None before its first batch, here mean 0 and variance 1

    As given, the state makes eval outputs equal. Training on, this layer mixes in unbiased
    variances; with batch_size=n the state is made one of those too, running_var * n / (n - 1),
    and the whole run agrees up to that factor.

    Raises:
        ValueError: momentum is outside [0, 1], only one of the statistics is given, or batch_size
            is below 2.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum must be between 0 and 1, got {momentum}")
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must come together, got only one")
    if batch_size is not None and batch_size < 2:
        raise ValueError(f"batch_size must be 2 or more, got {batch_size}")
    norm = BatchNorm1d(num_features, eps=epsilon, momentum=1 - momentum, dtype=dtype)
    state = norm.state_dict()
    state["weight"][...], state["bias"][...] = gamma, beta
    if running_mean is not None:
        state["running_mean"][...] = np.reshape(running_mean, num_features)
        state["running_var"][...] = np.reshape(running_var, num_features)
        if batch_size is not None:
            state["running_var"] *= batch_size / (batch_size - 1)
        state["num_batches_tracked"] += 1
    return norm


def linear_norm_relu(
    in_features: int, out_features: int, generator: Generator | None = None
) -> Sequential:
    """One hidden layer with batch norm: Linear, BatchNorm1d, ReLU.

    The Linear has no bias: the norm subtracts each feature's mean, and the bias with it, so its
    gradient would be zero and the norm's own bias does its work.

    Shapes: x (N, in_features); y (N, out_features).
    """
    return Sequential(
        Linear(in_features, out_features, bias=False, generator=generator),
        BatchNorm1d(out_features),
        ReLU(),
    )
