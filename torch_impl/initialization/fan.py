"""Weights whose spread follows from the number of inputs and outputs: Glorot's and He's.

The fans are read off a weight that is (out, in, *), as Linear and the convolutions keep it; scratch
code that stores (in, out) hands in `weight.T`. Transposed convolutions keep (in, out, *), so for
them fan_in and fan_out change places.

`kaiming_uniform_`'s defaults are not He's for ReLU by chance only: nonlinearity="leaky_relu" with
slope a=0 has the same gain sqrt(2). `Linear.reset_parameters` calls it with a=sqrt(5), which makes
the gain sqrt(1/3) and the bound 1/sqrt(in_features).

An in-place call on a zero-element weight warns and does nothing.
"""

from torch.nn.init import (
    calculate_gain,
    kaiming_normal_,
    kaiming_uniform_,
    xavier_normal_,
    xavier_uniform_,
)

__all__ = [
    "calculate_gain",
    "kaiming_normal_",
    "kaiming_uniform_",
    "xavier_normal_",
    "xavier_uniform_",
]
