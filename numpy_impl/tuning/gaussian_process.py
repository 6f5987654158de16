"""A random function seen at some points: how likely what was seen is, and what to expect elsewhere.

Rasmussen & Williams 2006, "Gaussian Processes for Machine Learning", algorithm 2.1. Give it points
in a unit cube and values of mean 0 and variance 1: its priors are made for those.
"""

from __future__ import annotations

import copy
import math
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from numpy_impl.module import Array, Module, Parameter, as_float, float_dtype
from numpy_impl.tuning.kernels import RBF, Matern52
from numpy_impl.tuning.lbfgs import minimize

__all__ = ["GaussianProcess", "Posterior"]

KERNELS = {"matern52": Matern52, "rbf": RBF}
PRIORS = {
    "mean": (0.0, 1.0),
    "log_noise": (math.log(1e-3), 1.5),
    "kernel.log_lengthscale": (math.log(0.5), 0.8),
    "kernel.log_outputscale": (0.0, 1.0),
}
"""Mean and standard deviation of the normal prior of each parameter, for `fit`."""
MIN_NOISE = 1e-4
"""Added to the noise: scores of trainings have more, and with less K is close to singular."""


class GaussianProcess(Module):
    """The log likelihood of values under a random function seen through noise.

    Rasmussen & Williams 2006, eq. 2.30 and 5.9. y = f(x) + noise with f ~ GP(mean, kernel):

        K     = kernel(x, x) + (exp(log_noise) + MIN_NOISE) * I = L L^T
        alpha = K^-1 (y - mean)
        value = -(y - mean)^T alpha / 2 - sum(log diag L) - n/2 log(2 pi)
        dK    = (alpha alpha^T - K^-1) / 2 * dvalue
        dy    = -alpha * dvalue,   dmean = sum(alpha) * dvalue
        dlog_noise = trace(dK) * exp(log_noise)

    The sum over diag L is half the log determinant: without it the likeliest function is the one
    that explains everything as noise.

    Args:
        num_inputs: D.
        kernel: "matern52" or "rbf", each with a lengthscale an input.

    Shapes: x, dx (N, D); y, dy (N,); the value ().

    Raises:
        numpy.linalg.LinAlgError: K has no Cholesky factor, the noise is too small for float32 say.
    """

    def __init__(
        self,
        num_inputs: int,
        kernel: Literal["matern52", "rbf"] = "matern52",
        dtype: DTypeLike = np.float32,
    ) -> None:
        if kernel not in KERNELS:
            raise ValueError(f'kernel must be "matern52" or "rbf", got {kernel!r}')
        self.kernel = KERNELS[kernel](num_inputs, dtype)
        self.mean = Parameter(np.zeros((), float_dtype(dtype)))
        self.log_noise = Parameter(np.full((), PRIORS["log_noise"][0], float_dtype(dtype)))

    def forward(self, x: Array, y: Array) -> Array:
        """The log marginal likelihood of the values y at the points x."""
        factor, alpha = self._solved(x, y)
        n = len(y)
        value = -0.5 * (y - self.mean.data) @ alpha - np.log(np.diag(factor)).sum()
        value = np.asarray(value - 0.5 * n * math.log(2 * math.pi))
        self.save_for_backward(value, factor, alpha)
        return value

    def backward(self, dy: Array) -> tuple[Array, Array]:
        """(dx, dy) for the gradient of the value, a number."""
        dvalue, factor, alpha = self.saved_for_backward(dy)
        root = np.linalg.solve(factor, np.eye(len(alpha), dtype=alpha.dtype))  # L^-1
        dk = 0.5 * dvalue * (np.outer(alpha, alpha) - root.T @ root)
        self.mean.add_grad(np.asarray(alpha.sum() * dvalue))
        self.log_noise.add_grad(np.asarray(np.trace(dk) * np.exp(self.log_noise.data)))
        da, db = self.kernel.backward(dk)
        return da + db, -alpha * dvalue  # x is on both sides of the kernel

    def fit(self, x: Array, y: Array) -> Posterior:
        """Move the parameters to where value + log prior is largest; returns the posterior there.

        The priors (see PRIORS) keep what few points say nothing about near what is usual, and make
        the maximum a proper one; the search starts from their means, so nothing but x and y
        decides.
        """
        state = {
            key: np.full_like(value, PRIORS[key][0]) for key, value in self.state_dict().items()
        }
        self.load_state_dict(state)
        named = dict(self.named_parameters())

        def loss() -> float:
            value = float(self(x, y))
            self.zero_grad()
            self.backward(np.asarray(-1.0))
            for name, (middle, spread) in PRIORS.items():
                p = named[name]
                z = (p.data - middle) / spread
                value -= 0.5 * float((z * z).sum())
                p.add_grad(z / spread)
            return -value

        minimize(loss, list(named.values()))
        return self.posterior(x, y)

    def posterior(self, x: Array, y: Array) -> Posterior:
        """What is known about the function from these values, the parameters held."""
        factor, alpha = self._solved(x, y)
        self.kernel.discard_saved()
        return Posterior(self, x, factor, alpha)

    def noise(self) -> Array:
        """Its variance."""
        return np.asarray(np.exp(self.log_noise.data) + self.log_noise.dtype.type(MIN_NOISE))

    def _solved(self, x: Array, y: Array) -> tuple[Array, Array]:
        """L and alpha."""
        as_float(y, "y", self.mean.dtype)
        if y.ndim != 1 or np.shape(x)[:1] != y.shape or not len(y):
            raise ValueError(
                f"wanted points (N, {self.kernel.num_inputs}) and values (N,), "
                f"got {np.shape(x)} and {y.shape}"
            )
        k = self.kernel(x, x)
        k[np.diag_indices(len(y))] += self.noise()
        factor = np.linalg.cholesky(k)
        half = np.linalg.solve(factor, y - self.mean.data)
        return factor, np.linalg.solve(factor.T, half)


class Posterior(Module):
    """The mean and variance of the function at new points, given what was seen.

    Rasmussen & Williams 2006, eq. 2.25 and 2.26. With k = kernel(x_new, x):

        mean      = prior mean + k alpha
        variance  = outputscale - sum((L^-1 k^T)^2)     (+ noise for an observation)
        dk        = dmean alpha^T - 2 * dvariance * (K^-1 k^T)^T

    The parameters are copied and held: backward gives the gradient of the points alone. Made by
    `GaussianProcess.posterior` and `.fit`.

    Shapes: x_new, dx (M, D); the result (2, M), mean and variance.
    """

    def __init__(self, process: GaussianProcess, x: Array, factor: Array, alpha: Array) -> None:
        self.process = copy.deepcopy(process).requires_grad_(False)
        self.x, self.factor, self.alpha = x, factor, alpha

    def forward(self, x_new: Array, observation_noise: bool = False) -> Array:
        """Mean and variance of the function, or of what would be observed."""
        k = self.process.kernel(x_new, self.x)  # (M, N)
        root = np.linalg.solve(self.factor, k.T)  # (N, M)
        outputscale = np.exp(self.process.kernel.log_outputscale.data)
        variance = outputscale - np.einsum("nm,nm->m", root, root)
        floor = 1e-10 * outputscale  # rounding may have taken it below
        kept = variance > floor
        variance = np.where(kept, variance, floor)
        if observation_noise:
            variance = variance + self.process.noise()
        y = np.stack([self.process.mean.data + k @ self.alpha, variance])
        self.save_for_backward(y, root, kept)
        return y

    def backward(self, dy: Array) -> Array:
        """The gradient of the points."""
        (dmean, dvariance), root, kept = self.saved_for_backward(dy)
        solved = np.linalg.solve(self.factor.T, root)  # K^-1 k^T
        dk = np.outer(dmean, self.alpha) - (2 * kept * dvariance * solved).T
        return self.process.kernel.backward(dk)[0]
