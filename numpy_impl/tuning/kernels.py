"""How alike two points are: the covariance of the values that a random function has there."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from numpy_impl.module import Array, Module, Parameter, as_float, float_dtype

__all__ = ["RBF", "Matern52"]


class _Stationary(Module):
    """k(a, b) = outputscale * shape(distance^2), each input measured in its own lengthscale.

        diff_d = (a_d - b_d) / lengthscale_d,   distance^2 = sum_d diff_d^2
        ddistance^2   = dk * slope,             slope = dk / ddistance^2
        da_d          = sum_b 2 * ddistance^2 * diff_d / lengthscale_d,   db with - and sum_a
        dlog_lengthscale_d = sum_ab -2 * ddistance^2 * diff_d^2
        dlog_outputscale   = sum_ab dk * k

    The slope is taken after distance^2: by the distance itself it would be 0/0 where two points
    coincide, and on the diagonal of k(x, x) they do.
    """

    def __init__(self, num_inputs: int, dtype: DTypeLike = np.float32) -> None:
        if not isinstance(num_inputs, int) or num_inputs < 1:
            raise ValueError(f"num_inputs must be a whole number, at least 1, got {num_inputs!r}")
        self.num_inputs = num_inputs
        self.log_lengthscale = Parameter(np.zeros(num_inputs, float_dtype(dtype)))
        self.log_outputscale = Parameter(np.zeros((), float_dtype(dtype)))

    def extra_repr(self) -> str:
        """For printing."""
        return f"num_inputs={self.num_inputs}"

    def shape(self, sq: Array) -> tuple[Array, Array]:
        """k and slope for outputscale 1 at these squared distances."""
        raise NotImplementedError

    @np.errstate(all="ignore")  # at distances beyond the dtype the covariance is 0, in silence
    def forward(self, a: Array, b: Array) -> Array:
        """The covariance of each row of a with each of b."""
        for name, x in (("a", a), ("b", b)):
            as_float(x, name, self.log_lengthscale.dtype)
            if x.ndim != 2 or x.shape[1] != self.num_inputs:
                raise ValueError(f"{name} must be (N, {self.num_inputs}), got {x.shape}")
        scale = np.exp(-self.log_lengthscale.data)
        diff = (a * scale)[:, None] - (b * scale)[None]  # (N, M, D)
        k, slope = self.shape(np.einsum("nmd,nmd->nm", diff, diff))
        outputscale = np.exp(self.log_outputscale.data)
        k *= outputscale
        slope *= outputscale
        self.save_for_backward(k, diff, slope, k.copy(), scale)
        return k

    @np.errstate(all="ignore")
    def backward(self, dy: Array) -> tuple[Array, Array]:
        """(da, db)."""
        dk, diff, slope, k, scale = self.saved_for_backward(dy)
        dsq = 2 * dk * slope
        self.log_outputscale.add_grad(np.asarray(np.vdot(dk, k)))
        self.log_lengthscale.add_grad(-np.einsum("nm,nmd,nmd->d", dsq, diff, diff))
        da = np.einsum("nm,nmd->nd", dsq, diff) * scale
        return da, -np.einsum("nm,nmd->md", dsq, diff) * scale


class RBF(_Stationary):
    """Covariance that falls off as a bell: functions with every derivative.

    Rasmussen & Williams 2006, "Gaussian Processes for Machine Learning", eq. 5.1 (a lengthscale
    for each input: automatic relevance determination).

        distance^2 = sum_d ((a_d - b_d) / lengthscale_d)^2
        k     = outputscale * exp(-distance^2 / 2)
        slope = -k / 2

    Shapes: a, da (N, D); b, db (M, D); k (N, M); log_lengthscale (D,); log_outputscale ().
    """

    def shape(self, sq: Array) -> tuple[Array, Array]:
        """exp(-sq/2) and its slope."""
        k = np.exp(-0.5 * sq)
        return k, -0.5 * k


class Matern52(_Stationary):
    """Covariance of functions with two derivatives, rougher than the bell's.

    Rasmussen & Williams 2006, eq. 4.17 with nu = 5/2; for hyperparameters Snoek et al. 2012,
    arXiv:1206.2944, who find the bell "unrealistically smooth".

        r     = sqrt(5) * distance
        k     = outputscale * (1 + r + r^2/3) * exp(-r)
        slope = -5/6 * outputscale * (1 + r) * exp(-r)

    Shapes: a, da (N, D); b, db (M, D); k (N, M); log_lengthscale (D,); log_outputscale ().
    """

    def shape(self, sq: Array) -> tuple[Array, Array]:
        """(1 + r + r^2/3) exp(-r) and its slope."""
        r = np.sqrt(5 * sq)
        decay = np.exp(-r)
        return (1 + r + r * r / 3) * decay, -5 / 6 * (1 + r) * decay
