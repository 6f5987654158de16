"""Losses: what training makes small. Their pure functions are in nn.functional."""

from numpy_impl.losses.binary_cross_entropy import BCELoss, BCEWithLogitsLoss, positive_weight
from numpy_impl.losses.cross_entropy import CrossEntropyLoss, class_weights
from numpy_impl.losses.nll import NLLLoss, perplexity
from numpy_impl.losses.regression import L1Loss, MSELoss, r2_score

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
