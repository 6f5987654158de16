"""Regularization: keep a network from learning its training data by heart."""

from torch_impl.regularization.dropout import Dropout, dropout_mlp_block

__all__ = ["Dropout", "dropout_mlp_block"]
