"""The loss of log-probabilities against class labels.

`NLLLoss` takes no logarithm itself: it picks, weighs and averages. Backward keeps the input (for
its shape), the labels and the total weight, and fills a zero tensor with -weight at the labels. The
mean divides by the total weight of the labels that count, not by the batch size, so averaging the
means of unequal batches is not the mean of all: sum with `reduction="sum"` and divide once.

`weight` is a buffer: it moves with `.to(device)` and stands in the state_dict.
"""

from torch import Tensor
from torch.nn import NLLLoss
from torch.nn.functional import nll_loss

__all__ = ["NLLLoss", "nll_loss", "perplexity"]


def perplexity(input: Tensor, target: Tensor, ignore_index: int = -100) -> Tensor:
    """exp of the mean NLLLoss: how many equally likely classes the model hesitates between."""
    return nll_loss(input, target, ignore_index=ignore_index).exp()
