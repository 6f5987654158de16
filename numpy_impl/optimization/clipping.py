"""Bound the gradients between backward and step, all together by norm or each by value."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from numpy_impl.module import Array, Parameter
from numpy_impl.optimization.optimizer import Optimizer

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "clipped_step",
    "get_total_norm",
]


def get_total_norm(
    tensors: Array | Iterable[Array],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Array:
    """The norm of all arrays as if they were one long vector.

    It is the norm of their norms, (sum |g|^p)^(1/p); inf takes the largest |g|. Sums run in the
    arrays' own dtype, so float32 overflows to inf above 1e19, as in torch.

    Raises:
        RuntimeError: error_if_nonfinite and the norm is NaN or infinite, or an empty array has no
            such norm (inf, or below 0).
    """
    arrays = [tensors] if isinstance(tensors, np.ndarray) else list(tensors)
    p = float(norm_type)
    if not arrays:
        return np.zeros((), np.float32)
    with np.errstate(all="ignore"):
        total = _norm(np.stack([_norm(np.asarray(g), p) for g in arrays]), p)
    if error_if_nonfinite and not np.isfinite(total):
        raise RuntimeError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite "
            f"({total}), so it cannot be clipped"
        )
    return total


def clip_grads_with_norm_(
    parameters: Parameter | Iterable[Parameter], max_norm: float, total_norm: Array
) -> None:
    """Scale every gradient in place by min(1, max_norm / (total_norm + 1e-6)).

    An infinite norm makes finite gradients 0, a NaN norm makes all of them NaN.

    Raises:
        ValueError: max_norm is negative or NaN (torch then turns the gradients round).
    """
    grads = _grads(parameters)
    if not max_norm >= 0:
        raise ValueError(f"max_norm must be at least 0, got {max_norm}")
    with np.errstate(all="ignore"):
        scale = float(np.minimum(float(max_norm) / (np.asarray(total_norm) + 1e-6), 1.0))
        if scale != 1:
            for g in grads:
                g *= scale


def clip_grad_norm_(
    parameters: Parameter | Iterable[Parameter],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Array:
    """Scale all gradients together so that their norm is at most max_norm; returns the old norm.

    Pascanu et al. 2013, arXiv:1211.5063:

        norm = (sum over all gradients of |g|^norm_type)^(1 / norm_type)
        g   <- g * min(1, max_norm / (norm + 1e-6))

    One factor for all, so the direction stays (a factor per array would turn it). Parameters
    without a gradient are left out.

    Raises:
        RuntimeError: error_if_nonfinite and the norm is NaN or infinite; nothing is scaled then.
        ValueError: max_norm is negative or NaN.
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm must be at least 0, got {max_norm}")
    is_generator = isinstance(parameters, Iterator)
    parameters = _parameters(parameters)
    if is_generator and not parameters:
        warnings.warn("`parameters` is an empty generator: nothing is clipped", stacklevel=2)
    norm = get_total_norm(_grads(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def clip_grad_value_(parameters: Parameter | Iterable[Parameter], clip_value: float) -> None:
    """Bound every element of every gradient to [-clip_value, clip_value], in place.

    Raises:
        RuntimeError: no parameter has a gradient.
        ValueError: clip_value is negative or NaN (torch then makes every element the same).
    """
    grads = _grads(parameters)
    if not clip_value >= 0:
        raise ValueError(f"clip_value must be at least 0, got {clip_value}")
    if not grads:
        raise RuntimeError("clip_grad_value_ wants a gradient to clip, got parameters without")
    for g in grads:
        np.clip(g, -float(clip_value), float(clip_value), out=g)


def clipped_step(optimizer: Optimizer, max_norm: float, norm_type: float = 2.0) -> Array:
    """Clip the gradients of all the optimizer's groups together, then step; returns the old norm.

    Where clipping belongs: after backward, when the gradients are whole, and before step.

    Raises:
        RuntimeError: the norm is NaN or infinite; no parameter has moved then.
    """
    params = list(chain.from_iterable(group["params"] for group in optimizer.param_groups))
    norm = clip_grad_norm_(params, max_norm, norm_type, error_if_nonfinite=True)
    optimizer.step()
    return norm


def _norm(g: Array, p: float) -> Array:
    if not g.size and (p < 0 or math.isinf(p)):
        raise RuntimeError(f"an empty gradient, shape {g.shape}, has no norm of order {p}")
    if p == 2:
        flat = g.ravel()
        return np.asarray(np.sqrt(np.dot(flat, flat)))
    size = np.abs(g)
    if math.isinf(p):
        return np.asarray(size.max() if p > 0 else size.min())
    if p == 0:
        return np.asarray(np.count_nonzero(g), g.dtype)
    return np.asarray((size**p).sum() ** (1 / p))


def _parameters(parameters: Parameter | Iterable[Parameter]) -> list[Parameter]:
    found = [parameters] if isinstance(parameters, Parameter) else list(parameters)
    for p in found:
        if not isinstance(p, Parameter):
            raise TypeError(f"wanted Parameters whose gradients to clip, got {type(p).__name__}")
    return found


def _grads(parameters: Parameter | Iterable[Parameter]) -> list[Array]:
    return [p.grad for p in _parameters(parameters) if p.grad is not None]
