"""What mirrors torch.nn.functional: pure functions, each beside its backward where it has one.

`softmax(x)` goes with `softmax_backward(dy, y)`: the arguments say what must be remembered.
`from numpy_impl import functional as F` stands where `import torch.nn.functional as F` will.
"""

from numpy_impl.layers.activation import (
    leaky_relu,
    leaky_relu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from numpy_impl.layers.softmax import (
    log_softmax,
    log_softmax_backward,
    softmax,
    softmax_backward,
)
from numpy_impl.losses.binary_cross_entropy import (
    binary_cross_entropy,
    binary_cross_entropy_backward,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_backward,
)
from numpy_impl.losses.cross_entropy import cross_entropy, cross_entropy_backward
from numpy_impl.losses.nll import nll_loss, nll_loss_backward
from numpy_impl.losses.regression import l1_loss, l1_loss_backward, mse_loss, mse_loss_backward

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "l1_loss",
    "l1_loss_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_softmax",
    "log_softmax_backward",
    "mse_loss",
    "mse_loss_backward",
    "nll_loss",
    "nll_loss_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]
