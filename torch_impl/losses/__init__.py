"""Losses: what training makes small. Their pure functions are in nn.functional."""

from torch_impl.losses.binary_cross_entropy import BCELoss, BCEWithLogitsLoss, positive_weight
from torch_impl.losses.cross_entropy import CrossEntropyLoss, class_weights
from torch_impl.losses.nll import NLLLoss, perplexity
from torch_impl.losses.regression import L1Loss, MSELoss, r2_score

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "class_weights",
    "perplexity",
    "positive_weight",
    "r2_score",
]
