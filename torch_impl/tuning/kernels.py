"""How alike two points are: the covariance of the values that a random function has there.

`torch.cdist` does the distances, and its backward takes 0 for the slope where two points coincide;
`sqrt` of a sum of squares would give NaN there, for the whole of k(x, x). Beyond 25 rows cdist goes
over to a matrix product, |a|^2 + |b|^2 - 2ab: faster, and it cancels for points close together, so
that k(x, x) has entries above its diagonal and no Cholesky factor. Hence `compute_mode`. The
positive parameters are kept as logarithms, which an optimizer may move anywhere.
"""

import torch
from torch import Tensor, nn

__all__ = ["RBF", "Matern52"]


class _Stationary(nn.Module):
    """A covariance that depends on the distance, each input measured in its own lengthscale."""

    def __init__(self, num_inputs: int) -> None:
        if not isinstance(num_inputs, int) or num_inputs < 1:
            raise ValueError(f"num_inputs must be a whole number, at least 1, got {num_inputs!r}")
        super().__init__()
        self.log_lengthscale = nn.Parameter(torch.zeros(num_inputs))
        self.log_outputscale = nn.Parameter(torch.zeros(()))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """How many lengthscales apart: (N, D) and (M, D) give (N, M)."""
        for x in (a, b):  # one column would be broadcast to all
            if x.ndim != 2 or x.shape[1] != len(self.log_lengthscale):
                raise ValueError(
                    f"wanted points (N, {len(self.log_lengthscale)}), got {tuple(x.shape)}"
                )
        scale = self.log_lengthscale.neg().exp()
        return torch.cdist(a * scale, b * scale, compute_mode="donot_use_mm_for_euclid_dist")

    def extra_repr(self) -> str:
        """For printing."""
        return f"num_inputs={len(self.log_lengthscale)}"


class RBF(_Stationary):
    """Covariance that falls off as a bell: functions with every derivative.

    Rasmussen & Williams 2006, "Gaussian Processes for Machine Learning", eq. 5.1.

    Shapes: a (N, D); b (M, D); the covariance (N, M).
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The covariance of each row of a with each of b."""
        return self.log_outputscale.exp() * self.distance(a, b).square().mul(-0.5).exp()


class Matern52(_Stationary):
    """Covariance of functions with two derivatives, rougher than the bell's.

    Rasmussen & Williams 2006, eq. 4.17 with nu = 5/2; Snoek et al. 2012, arXiv:1206.2944.

    Shapes: a (N, D); b (M, D); the covariance (N, M).
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The covariance of each row of a with each of b."""
        r = 5**0.5 * self.distance(a, b)
        return self.log_outputscale.exp() * (1 + r + r.square() / 3) * r.neg().exp()
