"""Elementwise non-linearities: what lets a stack of linear maps be more than one linear map.

What autograd keeps: the output for relu, sigmoid and tanh, the input for leaky_relu. The gradient
at the kink is a convention, here 0 for relu and `negative_slope` for leaky_relu; a NaN lets relu's
gradient through. `inplace=True` overwrites the input and saves its memory, which is sound only
where nobody else needs that input (the output of a Linear, say), and raises in backward where a
layer before did.

relu and LeakyReLU(0) are no strangers to "dying": a unit whose input is negative for every sample
has gradient 0 for ever. He's initialisation (`kaiming_*`) and batch norm keep it rare.
"""

from torch.nn import Identity, LeakyReLU, Module, ReLU, Sigmoid, Tanh
from torch.nn.functional import leaky_relu, relu, sigmoid, tanh

__all__ = [
    "LeakyReLU",
    "ReLU",
    "Sigmoid",
    "Tanh",
    "leaky_relu",
    "make_activation",
    "relu",
    "sigmoid",
    "tanh",
]

_BY_NAME: dict[str, type[Module]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "identity": Identity,
}


def make_activation(name: str) -> Module:
    """The activation layer by the name that a network's argument gives it.

    The names are those `nn.init.calculate_gain` knows, but for "identity", which it calls
    "linear". Weights before relu or leaky_relu start by He's rule (kaiming_*, gain sqrt(2) for
    relu), before sigmoid, tanh or identity by Glorot's (xavier_*).
    """
    if name not in _BY_NAME:
        raise ValueError(f"activation must be one of {', '.join(_BY_NAME)}, got {name!r}")
    return _BY_NAME[name]()
