"""Regularization: keep a network from learning its training data by heart."""

from numpy_impl.regularization.dropout import (
    AlphaDropout,
    Dropout,
    Dropout1d,
    Dropout2d,
    dropout_mlp_block,
)
from numpy_impl.regularization.early_stopping import EarlyStopping
from numpy_impl.regularization.penalties import L1, L2, ElasticNet

__all__ = [
    "L1",
    "L2",
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "EarlyStopping",
    "ElasticNet",
    "dropout_mlp_block",
]
