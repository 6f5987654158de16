"""Losses for numbers.

Both keep input and target for backward, and give a gradient to the target too if it requires one.
A target of another shape is broadcast with nothing but a UserWarning: predictions (N, 1) against
targets (N,) give N * N differences and a model that learns the mean. Make that warning an error in
any training script. A float64 target makes the loss float64, silently.

`size_average` and `reduce` were replaced by `reduction` in 2018; pass that by keyword.
"""

from torch import Tensor
from torch.nn import L1Loss, MSELoss
from torch.nn.functional import l1_loss, mse_loss

__all__ = ["L1Loss", "MSELoss", "l1_loss", "mse_loss", "r2_score"]


def r2_score(input: Tensor, target: Tensor) -> Tensor:
    """How much of the targets' variance a prediction explains: 1 all, 0 no more than their mean.

    The outputs are pooled. NaN or -inf where no target varies.
    """
    mean = target.mean(dim=0).expand_as(target)
    return 1 - mse_loss(input, target) / mse_loss(mean, target)
