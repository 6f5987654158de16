"""Starts that draw nothing: one value everywhere, or the identity matrix."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from numpy_impl.module import Array, Parameter, as_float

__all__ = ["constant_", "eye_", "ones_", "zeros_"]

Filled = TypeVar("Filled", Parameter, Array)


def constant_(tensor: Filled, val: float) -> Filled:
    """Write `val` into every place; returns `tensor`.

    Biases start at 0, the scale of a norm at 1. A *weight* at one constant never learns more than
    one unit: all units of a layer then get the same gradient for ever.

    Shapes: any; an array may be a view with any strides.

    Raises:
        TypeError: `tensor` is no float Parameter or array, or `val` no number.
        RuntimeError: `val` is finite, but not in the dtype of `tensor`.
    """
    values, number = values_of(tensor), np.asarray(val)
    if number.ndim or number.dtype.kind not in "fiub":
        raise TypeError(f"val must be a number, got {val!r}")
    if np.isfinite(number) and abs(float(number)) > float(np.finfo(values.dtype).max):
        raise RuntimeError(f"val must be in the range of {values.dtype}, got {val!r}")
    values[...] = number
    return tensor


def ones_(tensor: Filled) -> Filled:
    """Write 1 into every place; returns `tensor`."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Filled) -> Filled:
    """Write 0 into every place; returns `tensor`."""
    return constant_(tensor, 0.0)


def eye_(tensor: Filled) -> Filled:
    """Write the identity matrix: a Linear then hands on as many of its inputs as it can.

    Shapes: (out, in); 1 where row and column number agree, 0 elsewhere.

    Raises:
        ValueError: `tensor` is not a matrix.
    """
    values = values_of(tensor)
    if values.ndim != 2:
        raise ValueError(f"eye_ wants 2 dimensions, got shape {values.shape}")
    values[...] = 0
    np.fill_diagonal(values, 1)
    return tensor


def values_of(tensor: Any) -> Array:
    """The array to write into: a Parameter's data, or the array itself.

    Raises:
        TypeError: it is neither, or its dtype is not float32 or float64.
        ValueError: the array cannot be written to.
    """
    if not isinstance(tensor, Parameter | np.ndarray):
        raise TypeError(f"tensor must be a Parameter or array, got {type(tensor).__name__}")
    values = as_float(tensor.data if isinstance(tensor, Parameter) else tensor, "tensor")
    if not values.flags.writeable:
        raise ValueError("tensor is read-only: an initializer writes in place")
    return values
