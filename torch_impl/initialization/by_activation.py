"""The recipe: start every Linear of a model as its activation wants it.

torch's own default, set in each layer's `reset_parameters` when it is built, knows nothing of the
activation that follows. Here one walk over `modules()` chooses by activation instead; a weight that
two layers share is then drawn once for each.
"""

from typing import TypeVar

import torch
from torch import nn

__all__ = ["init_weights"]

RECTIFIERS = {"relu": 0.0, "leaky_relu": 0.01}  # the negative slope of each
SYMMETRIC = ("sigmoid", "tanh", "identity")

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def init_weights(
    module: AnyModule, activation: str = "relu", generator: torch.Generator | None = None
) -> AnyModule:
    """Give every Linear weights for this activation and a bias of zero; returns the module.

    He et al. 2015, arXiv:1502.01852, for relu and leaky_relu; Glorot & Bengio 2010 for sigmoid,
    tanh and identity. Norms keep their ones and zeros.

    Raises:
        ValueError: the activation is none of these.
    """
    if activation not in RECTIFIERS and activation not in SYMMETRIC:
        known = ", ".join((*RECTIFIERS, *SYMMETRIC))
        raise ValueError(f"activation must be one of {known}, got {activation!r}")
    for layer in module.modules():
        if not isinstance(layer, nn.Linear):
            continue
        if activation in RECTIFIERS:
            nn.init.kaiming_normal_(layer.weight, a=RECTIFIERS[activation], generator=generator)
        else:
            nn.init.xavier_normal_(layer.weight, generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return module
