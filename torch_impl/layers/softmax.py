"""Scores to probabilities, and to their logarithms, along one axis.

Both take the maximum off first and keep their output for backward. `log_softmax` is one fused pass,
right where `log(softmax(x))` is -inf. Without `dim` the framework guesses an axis (0 for 0, 1 and 3
axes, else 1) and warns: always pass it. `dtype=torch.float32` casts half-precision scores before
the sum, which is the usual choice in attention.

CrossEntropyLoss is log_softmax and nll_loss in one, so a classifier has no softmax of its own:
a second one squashes the logits into [0, 1] and training crawls. Probabilities are asked for
where they are used, in `predict_proba`.
"""

import torch
from torch import Tensor
from torch.nn import LogSoftmax, Module, Softmax
from torch.nn.functional import log_softmax, softmax

__all__ = ["LogSoftmax", "Softmax", "log_softmax", "predict_proba", "softmax"]


def predict_proba(model: Module, x: Tensor) -> Tensor:
    """Class probabilities from a model that ends in logits: evaluation mode, nothing saved.

    `inference_mode` goes further than `no_grad`: its results can never enter a graph. Every module
    is left in the mode it was in.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            return softmax(model(x), dim=1)
    finally:
        for module, training in modes:
            module.training = training
