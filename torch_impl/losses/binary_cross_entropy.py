"""Losses for yes-or-no targets, one decision an element: of probabilities and of logits.

`BCELoss` floors its logarithms at -100 and p * (1 - p) at 1e-12, so a saturated sigmoid before it
gives a finite loss and a useless gradient. `BCEWithLogitsLoss` works on the logits by way of
logsigmoid and has neither trouble; it is the one to use, and under autocast the only one allowed.
Targets are floats of the input's shape: labels need `.float()`, and often `unsqueeze(1)`.

`pos_weight` weighs the yeses alone, `weight` every element; both are buffers and broadcast.
"""

import torch
from torch import Tensor
from torch.nn import BCELoss, BCEWithLogitsLoss
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "positive_weight",
]


def positive_weight(targets: Tensor) -> Tensor:
    """The pos_weight under which, label by label, yes and no count the same: noes / yeses.

    A label without a yes gets 1. For BCEWithLogitsLoss(pos_weight=positive_weight(train_targets)).
    """
    yes = targets.sum(dim=0)
    return torch.where(yes > 0, (len(targets) - yes) / yes.clamp(min=1), 1.0)
