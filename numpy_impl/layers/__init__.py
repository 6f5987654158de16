"""Layers: what a network is stacked from."""

from numpy_impl.layers.linear import Flatten, Identity, Linear, linear_classifier

__all__ = ["Flatten", "Identity", "Linear", "linear_classifier"]
