"""How much better than the best so far a point may be expected to be."""

from __future__ import annotations

import math

import numpy as np

from numpy_impl.module import Array, as_float

__all__ = ["expected_improvement", "expected_improvement_backward"]

_erfc = np.frompyfunc(math.erfc, 1, 1)  # NumPy has none; the C library's is right to the last bit


@np.errstate(all="ignore")
def expected_improvement(mean: Array, variance: Array, best: float) -> Array:
    """The mean of max(best - f, 0) where f is normal: lower is better.

    Jones, Schonlau & Welch 1998, "Efficient global optimization", eq. 15; Snoek et al. 2012,
    arXiv:1206.2944, eq. 2. With cdf and pdf those of the standard normal:

        std = sqrt(variance),  z = (best - mean) / std
        ei  = std * (z * cdf(z) + pdf(z))
        dmean = -cdf(z) * dy,  dvariance = pdf(z) / (2 * std) * dy

    In the derivatives all other terms cancel. cdf is erfc(-z / sqrt(2)) / 2; by 1 + erf it would be
    0 from z = -8.3 on, and z * cdf + pdf far too large long before.

    Shapes: mean, variance, ei any one shape; the variance above 0.
    """
    z, std = _standardised(mean, variance, best)
    return np.asarray(std * (z * _cdf(z) + _pdf(z)))


@np.errstate(all="ignore")
def expected_improvement_backward(
    dy: Array, mean: Array, variance: Array, best: float
) -> tuple[Array, Array]:
    """(dmean, dvariance)."""
    z, std = _standardised(mean, variance, best)
    dy = np.asarray(dy, z.dtype)
    if dy.shape != z.shape:
        raise RuntimeError(f"wanted a gradient of shape {z.shape}, got {dy.shape}")
    return np.asarray(-_cdf(z) * dy), np.asarray(_pdf(z) / (2 * std) * dy)


def _standardised(mean: Array, variance: Array, best: float) -> tuple[Array, Array]:
    mean = as_float(mean, "mean")
    variance = as_float(variance, "variance", mean.dtype)
    if mean.shape != variance.shape:
        raise ValueError(f"wanted one shape, got mean {mean.shape}, variance {variance.shape}")
    std = np.sqrt(variance)
    return (best - mean) / std, std


def _pdf(z: Array) -> Array:
    return np.exp(-0.5 * z * z) * z.dtype.type(1 / math.sqrt(2 * math.pi))


def _cdf(z: Array) -> Array:
    return np.asarray(_erfc(-z * z.dtype.type(math.sqrt(0.5))), dtype=z.dtype) * z.dtype.type(0.5)
