"""The recipe: start every Linear of a model as its activation wants it."""

from __future__ import annotations

from typing import TypeVar

from numpy_impl.initialization.constant import zeros_
from numpy_impl.initialization.fan import kaiming_normal_, xavier_normal_
from numpy_impl.layers.linear import Linear
from numpy_impl.module import Module
from numpy_impl.random import Generator

__all__ = ["init_weights"]

RECTIFIERS = {"relu": 0.0, "leaky_relu": 0.01}  # the negative slope of each
SYMMETRIC = ("sigmoid", "tanh", "identity")

AnyModule = TypeVar("AnyModule", bound=Module)


def init_weights(
    module: AnyModule, activation: str = "relu", generator: Generator | None = None
) -> AnyModule:
    """Give every Linear weights for this activation and a bias of zero; returns the module.

        relu, leaky_relu         std = sqrt(2 / (1 + slope^2) / in)   He et al. 2015
        sigmoid, tanh, identity  std = sqrt(2 / (in + out))           Glorot & Bengio 2010

    (arXiv:1502.01852, and AISTATS 2010.)

    Norms keep their ones and zeros. Glorot's own gain of 1 is used; `calculate_gain("tanh")`, 5/3,
    is for those who want the variance kept through the saturation as well. Where in = out, Glorot's
    std is the sqrt(1 / in) that scratch code often has.

    Call it once on the whole model, or on a part: it walks. `model.apply(init_weights)` ends the
    same way, but draws again for every level of nesting.

    Raises:
        ValueError: the activation is none of these.
    """
    if activation not in RECTIFIERS and activation not in SYMMETRIC:
        known = ", ".join((*RECTIFIERS, *SYMMETRIC))
        raise ValueError(f"activation must be one of {known}, got {activation!r}")
    for layer in module.modules():
        if not isinstance(layer, Linear):
            continue
        if activation in RECTIFIERS:
            kaiming_normal_(layer.weight, a=RECTIFIERS[activation], generator=generator)
        else:
            xavier_normal_(layer.weight, generator=generator)
        if layer.bias is not None:
            zeros_(layer.bias)
    return module
