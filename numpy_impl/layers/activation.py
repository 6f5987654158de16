"""Elementwise non-linearities: what lets a stack of linear maps be more than one linear map.

Each is a pair of pure functions, `relu(x)` and `relu_backward(dy, y)`, and a layer that calls them.
The backward's arguments say what must be remembered: the output where that is enough, else the
input. Infinities and NaNs travel in the numbers, as in torch, not in warnings.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numpy_impl.layers.linear import Identity
from numpy_impl.module import Array, Module, as_float

__all__ = [
    "LeakyReLU",
    "ReLU",
    "Sigmoid",
    "Tanh",
    "leaky_relu",
    "leaky_relu_backward",
    "make_activation",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "tanh",
    "tanh_backward",
]


def as_gradient(dy: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """dy as an array of the output's dtype; RuntimeError unless it has the output's shape."""
    dy = np.asarray(dy, dtype=dtype)
    if dy.shape != shape:
        raise RuntimeError(
            f"backward wants a gradient shaped like the output, {shape}, got {dy.shape}"
        )
    return dy


def _where(mask: Any, dy: Array) -> Array:
    # The bits of dy times 0 or 1. dy * mask takes as long but makes NaN of an infinite dy that is
    # masked out; np.where takes ten times as long once branches mispredict.
    bits = dy.view(np.int32 if dy.dtype == np.float32 else np.int64)
    return np.asarray(bits * mask).view(dy.dtype)


def _as_number(x: Any) -> Array:
    """A real array of any dtype, which is what torch lets relu, sigmoid and tanh take."""
    if not isinstance(x, np.ndarray | np.generic):
        raise TypeError(f"input must be a NumPy array, got {type(x).__name__}")
    return as_float(x) if x.dtype.kind not in "iub" else np.asarray(x)


def relu(input: Array) -> Array:
    """max(input, 0). Whole numbers stay whole; booleans are refused, as in torch."""
    x = _as_number(input)
    if x.dtype == bool:
        raise TypeError("relu wants numbers, got bool")
    # Against the number 0 NumPy takes its slow loop. The array of zeros is the output's own.
    y = np.zeros(x.shape, x.dtype)
    return np.maximum(y, x, out=y)


def relu_backward(dy: Array, y: Array) -> Array:
    """dy where y is not 0. A NaN lets the gradient through, as in torch."""
    return _where(y != 0, as_gradient(dy, y.shape, y.dtype))


@np.errstate(all="ignore")
def leaky_relu(input: Array, negative_slope: float = 0.01) -> Array:
    """input where it is above 0, else negative_slope * input."""
    x = as_float(input)
    return _sloped(x, x > 0, negative_slope)


@np.errstate(all="ignore")
def leaky_relu_backward(dy: Array, x: Array, negative_slope: float = 0.01) -> Array:
    """dy where x > 0, else negative_slope * dy."""
    return _sloped(as_gradient(dy, x.shape, x.dtype), x > 0, negative_slope)


def _sloped(z: Array, up: Any, slope: float) -> Array:
    # z times 1 where up, else times the slope. The factors are put together from the bits of the
    # two numbers, exactly and without a branch: np.where takes five times as long.
    bits = np.int32 if z.dtype == np.float32 else np.int64
    one, other = (int(number) for number in np.array([1, slope], z.dtype).view(bits))
    factors: Array = np.asarray(up).astype(bits)
    factors *= one ^ other
    factors ^= other
    y = factors.view(z.dtype)
    y *= z
    return y


@np.errstate(all="ignore")
def sigmoid(input: Array) -> Array:
    """1 / (1 + exp(-input)); whole numbers give float32.

    Careful as it stands: where exp overflows to infinity the quotient is 0, which is right.
    """
    x = _as_number(input)
    y = np.asarray(np.negative(x if x.dtype.kind == "f" else x.astype(np.float32)))
    np.exp(y, out=y)
    y += 1
    return np.divide(1, y, out=y)


@np.errstate(all="ignore")
def sigmoid_backward(dy: Array, y: Array) -> Array:
    """dy * y * (1 - y)."""
    dy = as_gradient(dy, y.shape, y.dtype)
    dx = np.asarray(1 - y)
    dx *= y
    dx *= dy
    return dx


def tanh(input: Array) -> Array:
    """The hyperbolic tangent; whole numbers give float32."""
    x = _as_number(input)
    return np.asarray(np.tanh(x if x.dtype.kind == "f" else x.astype(np.float32)))


@np.errstate(all="ignore")
def tanh_backward(dy: Array, y: Array) -> Array:
    """dy * (1 - y) * (1 + y): 1 - y^2 without the rounding of y^2, which is all there is near 1."""
    dy = as_gradient(dy, y.shape, y.dtype)
    dx = np.asarray(1 - y)
    dx *= 1 + y
    dx *= dy
    return dx


class ReLU(Module):
    """Pass what is positive and hold back the rest.

    Nair & Hinton 2010 (Rectified linear units improve restricted Boltzmann machines).

        y = max(x, 0),  dx = dy where x > 0, else 0

    The slope at 0 is 0 (torch and Keras; others take 1/2 or 1). NaN stays NaN and lets the
    gradient through. Whole numbers are taken, and have no gradient.
    Shapes: x, y, dy, dx (*).

    Raises:
        NotImplementedError: inplace=True. This side never writes into a caller's array, and the
            numbers are the same without.
        TypeError: x is not an array of numbers.
    """

    def __init__(self, inplace: bool = False) -> None:
        _refuse_inplace(inplace)
        self.inplace = inplace

    def forward(self, x: Array) -> Array:
        y = relu(x)
        if y.dtype.kind == "f":
            self.save_for_backward(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        return relu_backward(*self.saved_for_backward(dy))


class LeakyReLU(Module):
    """Pass what is positive and shrink the rest, so that no unit can die.

    Maas, Hannun & Ng 2013 (Rectifier nonlinearities improve neural network acoustic models).

        y = x where x > 0, else negative_slope * x
        dx = dy where x > 0, else negative_slope * dy

    The slope at 0 is negative_slope. The default is torch's 0.01; Keras has 0.3.
    Shapes: x, y, dy, dx (*).

    Raises:
        TypeError, ValueError: negative_slope is not a finite number.
        NotImplementedError: inplace=True, see ReLU.
        TypeError: x is not a float array.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        _refuse_inplace(inplace)
        if not math.isfinite(negative_slope):
            raise ValueError(f"negative_slope must be finite, got {negative_slope}")
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, x: Array) -> Array:
        y = leaky_relu(x, self.negative_slope)
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        dy, x = self.saved_for_backward(dy)
        return leaky_relu_backward(dy, x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Sigmoid(Module):
    """Squash each number into (0, 1).

        y = 1 / (1 + exp(-x)),  dx = dy * y * (1 - y)

    Whole numbers are taken, give float32, and have no gradient.
    Shapes: x, y, dy, dx (*).

    Raises:
        TypeError: x is not an array of numbers.
    """

    def forward(self, x: Array) -> Array:
        y = sigmoid(x)
        if x.dtype.kind == "f":
            self.save_for_backward(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        return sigmoid_backward(*self.saved_for_backward(dy))


class Tanh(Module):
    """Squash each number into (-1, 1), 0 to 0.

        y = tanh(x),  dx = dy * (1 - y^2)

    Whole numbers are taken, give float32, and have no gradient.
    Shapes: x, y, dy, dx (*).

    Raises:
        TypeError: x is not an array of numbers.
    """

    def forward(self, x: Array) -> Array:
        y = tanh(x)
        if x.dtype.kind == "f":
            self.save_for_backward(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        return tanh_backward(*self.saved_for_backward(dy))


_BY_NAME: dict[str, type[Module]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "identity": Identity,
}


def make_activation(name: str) -> Module:
    """The activation layer by the name that a network's argument gives it.

    The names are those `nn.init.calculate_gain` knows, but for "identity", which it calls
    "linear". Weights before relu or leaky_relu start by He's rule (kaiming_*, gain sqrt(2) for
    relu), before sigmoid, tanh or identity by Glorot's (xavier_*).

    Raises:
        ValueError: there is none of that name.
    """
    if name not in _BY_NAME:
        raise ValueError(f"activation must be one of {', '.join(_BY_NAME)}, got {name!r}")
    return _BY_NAME[name]()


def _refuse_inplace(inplace: bool) -> None:
    if inplace:
        raise NotImplementedError(
            "inplace=True would write into the caller's array; the numbers are the same without"
        )
