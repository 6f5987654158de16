"""A random function seen at some points: how likely what was seen is, and what to expect elsewhere.

Rasmussen & Williams 2006, "Gaussian Processes for Machine Learning", algorithm 2.1. The likelihood
is that of `MultivariateNormal` with `scale_tril`, which does the triangular solve and the log
determinant and whose backward goes through the Cholesky factor; `covariance_matrix=` would factor
once more. Put the module in float64: kernel matrices are close to singular by nature. Give it
points in a unit cube and values of mean 0 and variance 1: its priors are made for those.
"""

import copy
import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from torch_impl.tuning.kernels import RBF, Matern52
from torch_impl.tuning.lbfgs import minimize

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


class GaussianProcess(nn.Module):
    """The log likelihood of values under a random function seen through noise.

    Rasmussen & Williams 2006, eq. 2.30.

    Args:
        num_inputs: D.
        kernel: "matern52" or "rbf", each with a lengthscale an input.

    Shapes: x (N, D); y (N,); the value ().

    Raises:
        torch.linalg.LinAlgError: the covariance has no Cholesky factor.
    """

    def __init__(self, num_inputs: int, kernel: Literal["matern52", "rbf"] = "matern52") -> None:
        if kernel not in KERNELS:
            raise ValueError(f'kernel must be "matern52" or "rbf", got {kernel!r}')
        super().__init__()
        self.kernel = KERNELS[kernel](num_inputs)
        self.mean = nn.Parameter(torch.zeros(()))
        self.log_noise = nn.Parameter(torch.full((), PRIORS["log_noise"][0]))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The log marginal likelihood of the values y at the points x."""
        return MultivariateNormal(self.mean.expand_as(y), scale_tril=self._factor(x, y)).log_prob(y)

    def fit(self, x: Tensor, y: Tensor) -> "Posterior":
        """Move the parameters to where value + log prior is largest; returns the posterior there.

        The priors (see PRIORS) keep what few points say nothing about near what is usual, and make
        the maximum a proper one; the search starts from their means, so nothing but x and y
        decides.
        """
        named = dict(self.named_parameters())
        with torch.no_grad():
            for name, p in named.items():
                p.fill_(PRIORS[name][0])
        priors = {k: Normal(x.new_tensor(at), x.new_tensor(std)) for k, (at, std) in PRIORS.items()}

        def loss() -> Tensor:
            self.zero_grad()
            value = -self(x, y) - sum(priors[name].log_prob(p).sum() for name, p in named.items())
            value.backward()
            return value

        minimize(loss, list(named.values()))
        return self.posterior(x, y)

    @torch.no_grad()
    def posterior(self, x: Tensor, y: Tensor) -> "Posterior":
        """What is known about the function from these values, the parameters held."""
        factor = self._factor(x, y)
        alpha = torch.cholesky_solve((y - self.mean).unsqueeze(-1), factor).squeeze(-1)
        return Posterior(self, x, factor, alpha)

    def noise(self) -> Tensor:
        """Its variance."""
        return self.log_noise.exp() + MIN_NOISE

    def _factor(self, x: Tensor, y: Tensor) -> Tensor:
        if y.ndim != 1 or x.shape[:1] != y.shape or not len(y):
            raise ValueError(
                f"wanted points (N, D) and values (N,), got {tuple(x.shape)} and {tuple(y.shape)}"
            )
        noise = self.noise().expand_as(y).diag_embed()
        return torch.linalg.cholesky(self.kernel(x, x) + noise)


class Posterior(nn.Module):
    """The mean and variance of the function at new points, given what was seen.

    Rasmussen & Williams 2006, eq. 2.25 and 2.26. The parameters are copied and held, what was seen
    is in buffers; autograd goes to the points alone. Made by `GaussianProcess.posterior`, `.fit`.

    Shapes: x_new (M, D); the result (2, M), mean and variance.
    """

    x: Tensor
    factor: Tensor
    alpha: Tensor

    def __init__(self, process: GaussianProcess, x: Tensor, factor: Tensor, alpha: Tensor) -> None:
        super().__init__()
        self.process = copy.deepcopy(process).requires_grad_(False)
        for name, seen in (("x", x), ("factor", factor), ("alpha", alpha)):
            self.register_buffer(name, seen, persistent=False)

    def forward(self, x_new: Tensor, observation_noise: bool = False) -> Tensor:
        """Mean and variance of the function, or of what would be observed."""
        k = self.process.kernel(x_new, self.x)  # (M, N)
        root = torch.linalg.solve_triangular(self.factor, k.mT, upper=False)  # (N, M)
        outputscale = self.process.kernel.log_outputscale.exp()
        variance = (outputscale - root.square().sum(dim=0)).clamp_min(1e-10 * outputscale)
        if observation_noise:
            variance = variance + self.process.noise()
        return torch.stack([self.process.mean + k @ self.alpha, variance])
