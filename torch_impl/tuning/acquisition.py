"""How much better than the best so far a point may be expected to be.

The normal's distribution function is written with `torch.erfc`. `torch.special.ndtr`, on the CPU,
and `Normal(0, 1).cdf` are (1 + erf) / 2, which loses the left tail to rounding, and there lie all
points but the good ones; `torch.special.log_ndtr` keeps it, for the logarithm.
"""

import math

import torch
from torch import Tensor

__all__ = ["expected_improvement"]


def expected_improvement(mean: Tensor, variance: Tensor, best: float) -> Tensor:
    """The mean of max(best - f, 0) where f is normal: lower is better.

    Jones, Schonlau & Welch 1998, "Efficient global optimization", eq. 15; Snoek et al. 2012,
    arXiv:1206.2944, eq. 2.

    Shapes: mean, variance and the result any one shape; the variance above 0.
    """
    if mean.shape != variance.shape:
        raise ValueError(
            f"wanted one shape, got mean {tuple(mean.shape)}, variance {tuple(variance.shape)}"
        )
    std = variance.sqrt()
    z = (best - mean) / std
    pdf = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    cdf = 0.5 * torch.erfc(z * -math.sqrt(0.5))
    return std * (z * cdf + pdf)
