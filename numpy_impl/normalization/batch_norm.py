"""Normalise each channel over the batch, for rows of features and for images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from numpy_impl.layers.activation import ReLU
from numpy_impl.layers.linear import Linear
from numpy_impl.module import Array, Module, Parameter, Sequential, as_float, float_dtype
from numpy_impl.random import Generator

__all__ = ["BatchNorm1d", "BatchNorm2d", "batch_norm_from_guide", "linear_norm_relu"]

BLOCK = 131072  # numbers a block: few enough for the cache, enough to hide a call's overhead
ROWS = 128  # and at most so many rows, beyond which float32 sums go on in float64


class _Walk:
    """The way through x (N, C, *), as a matrix in blocks of rows, and the sums on that way.

    (N, C) stays as it is, and a block gives a sum for each column. (N, C, *) becomes (N*C, L), and
    each row, one channel of one sample, gives a sum. Either way the sums fill a table (groups, C).
    """

    def __init__(self, x: Array) -> None:
        rows, channels, length = x.shape[0], x.shape[1], math.prod(x.shape[2:])
        self.count, self.by_column = rows * length, length == 1
        self.matrix = (rows, channels) if self.by_column else (rows * channels, length)
        step = max(1, BLOCK // max(self.matrix[1], 1))
        self.step = min(step, ROWS) if self.by_column else step
        starts = range(0, self.matrix[0], self.step)
        self.blocks = [slice(i, min(i + self.step, self.matrix[0])) for i in starts]
        sizes = [b.stop - b.start for b in self.blocks] if self.by_column else [length] * rows
        self.sizes = np.maximum(sizes, 1.0)[:, None]  # of the groups
        self.shape = len(sizes), channels
        self.ones = np.ones(self.step if self.by_column else length, x.dtype)

    def __iter__(self) -> Iterator[tuple[slice, Any]]:
        """Each block, and where its sums and coefficients stand in a table."""
        return iter(zip(self.blocks, range(len(self.blocks)) if self.by_column else self.blocks))

    def table(self, values: Any, dtype: DTypeLike) -> Array:
        """Values a channel, or a group and channel, to be indexed by block."""
        table = np.empty(self.shape, dtype)
        table[...] = values
        return table if self.by_column else table.reshape(-1, 1)

    def sum(self, x: Array) -> Array:
        """The sums of a block; a product with ones is much faster than x.sum(axis)."""
        return self.ones[: len(x)] @ x if self.by_column else (x @ self.ones)[:, None]

    def dot(self, x: Array, y: Array) -> Array:
        """The sums of x * y in a block, without an array of the products."""
        return np.einsum("nc,nc->c", x, y) if self.by_column else np.vecdot(x, y)[:, None]


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
        walk = _Walk(x)
        rows = x.reshape(walk.matrix)
        y = np.empty(walk.matrix, x.dtype)
        with np.errstate(all="ignore"):  # NaN and infinity go through in silence, as in torch
            if from_batch:
                pivot, mean, rest, var = _moments(walk, rows, y)
                self._track(walk.count, mean + rest, var)
            else:
                mean, rest = self.running_mean.copy(), np.zeros(self.num_features)
                var = self.running_var.astype(np.float64)
                pivot = walk.table(mean, x.dtype)
                for block, at in walk:
                    np.subtract(rows[block], pivot[at], out=y[block])
            rstd = 1 / np.sqrt(var + self.eps)
            a = rstd if self.weight is None else self.weight.data * rstd
            # y holds x - pivot, so what is left of the mean goes into the shift, in float64
            c = (pivot.reshape(walk.shape) - mean - rest) * a
            c += 0 if self.bias is None else self.bias.data
            a, c = walk.table(a, x.dtype), walk.table(c, x.dtype)
            for block, at in walk:
                scaled = y[block]
                scaled *= a[at]
                scaled += c[at]
        y = y.reshape(x.shape)
        self.save_for_backward(y, rows, walk, mean, rest, rstd, from_batch)
        return y

    def backward(self, dy: Array) -> Array | None:
        """The gradient of x; adds into weight.grad and bias.grad."""
        dy, x, walk, mean, rest, rstd, from_batch = self.saved_for_backward(dy)
        shape, dtype, dy = dy.shape, x.dtype, dy.reshape(walk.matrix)
        dx = np.empty(walk.matrix, dtype)
        sums, dots = walk.table(0, np.float64), walk.table(0, np.float64)
        with np.errstate(all="ignore"):
            pivot = walk.table(mean, dtype)
            for block, at in walk:
                centred = np.subtract(x[block], pivot[at], out=dx[block])
                sums[at] = walk.sum(dy[block])
                dots[at] = walk.dot(dy[block], centred)
            dbias = sums.reshape(walk.shape).sum(axis=0)
            dot = dots.reshape(walk.shape).sum(axis=0) - rest * dbias  # of dy and x - mean
            if self.bias is not None:
                self.bias.add_grad(dbias.astype(dtype))
            if self.weight is not None:
                self.weight.add_grad((dot * rstd).astype(dtype))
            if not self.needs_input_grad:
                return None
            a = walk.table(rstd if self.weight is None else self.weight.data * rstd, dtype)
            if from_batch:  # mean and var moved with x, so their paths come back too
                n = max(walk.count, 1)
                k = rstd**2 * dot / n
                shift = walk.table(dbias / n - k * rest, dtype)
                k = walk.table(k, dtype)
                scratch = np.empty((walk.step, walk.matrix[1]), dtype)
                for block, at in walk:  # dx = (dy - <dy> - (x - mean) * k) * a, subtractions first
                    grad, left = dx[block], scratch[: len(dy[block])]
                    np.subtract(dy[block], shift[at], out=left)
                    grad *= k[at]
                    np.subtract(left, grad, out=grad)
                    grad *= a[at]
            else:
                for block, at in walk:
                    np.multiply(dy[block], a[at], out=dx[block])
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

    def _track(self, count: int, mean: Array, var: Array) -> None:
        if not (self.training and self.track_running_stats) or self.running_mean is None:
            return
        self.num_batches_tracked += 1
        if count:
            m = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)
            self.running_mean[...] = m * mean + (1 - m) * self.running_mean
            self.running_var[...] = m * count / (count - 1) * var + (1 - m) * self.running_var

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


def _moments(walk: _Walk, x: Array, centred: Array) -> tuple[Array, Array, Array, Array]:
    """The pivots; the mean, what rounding it lost and the biased variance; leaves x - pivot.

    A group's pivot is its own mean as far as its dtype holds it, so nothing cancels at any offset;
    what the pivot missed is in s1. The groups are joined as Chan, Golub & LeVeque 1983 do.
    """
    pivot = walk.table(0, x.dtype)
    s1, s2 = walk.table(0, np.float64), walk.table(0, np.float64)
    for block, at in walk:
        size = len(x[block]) if walk.by_column else max(x.shape[1], 1)
        pivot[at] = walk.sum(x[block]) / size
        rest = np.subtract(x[block], pivot[at], out=centred[block])
        s1[at] = walk.sum(rest)
        s2[at] = walk.dot(rest, rest)
    pivots = pivot.reshape(walk.shape).astype(np.float64)
    missed, squares = s1.reshape(walk.shape) / walk.sizes, s2.reshape(walk.shape) / walk.sizes
    share = walk.sizes[:, 0] / max(walk.count, 1)  # of each group in the channel
    origin = pivots[:1].sum(axis=0)  # means are counted from the first pivot, or digits are lost
    means = pivots - origin + missed
    mean = share @ means
    var = share @ (squares - missed**2 + (means - mean) ** 2)
    rounded = (origin + mean).astype(x.dtype)
    rest = origin - rounded + mean
    if np.isnan(rounded).any():  # infinity - infinity: the mean is what the pivots say
        rounded = np.where(np.isnan(rounded), share @ pivots, rounded).astype(x.dtype)
        rest = np.nan_to_num(rest)
    return pivot, rounded, rest, np.maximum(var, 0)


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
