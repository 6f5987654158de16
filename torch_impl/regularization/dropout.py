"""Drop activations or whole channels while training, and the block of an MLP that does so.

Srivastava et al. 2014, JMLR 15:1929-1958 (first in Hinton et al. 2012, arXiv:1207.0580). What
`Dropout` does out of sight:

- p is the share that is dropped, and what stays is divided by 1 - p at once, in training, so that
  eval mode is the identity and returns its very input. So does p = 0.
- Only `train()` and `eval()` switch it. `torch.no_grad()` does not, and `F.dropout(x)` drops
  wherever it is called unless handed `training=self.training`.
- Autograd keeps the mask, already scaled and as wide as the input.
- The mask comes from the global generator of the input's device, two words a number on a CPU and
  in the order of memory; none is drawn in eval mode, at p = 0 or at p = 1.
- `inplace=True` overwrites the input, which the layer before must not have kept.

`Dropout1d` and `Dropout2d` (Tompson et al. 2015, arXiv:1411.4280) draw one number a sample and
channel, in C order whatever the memory format. `Dropout2d` takes three axes for (N, C, L), warns,
and is to read them as (C, H, W) one day. `AlphaDropout` (Klambauer et al. 2017, arXiv:1706.02515)
goes with `SELU` and no other activation; autograd keeps its mask times the scale.
"""

from torch.nn import (
    AlphaDropout,
    BatchNorm1d,
    Dropout,
    Dropout1d,
    Dropout2d,
    Linear,
    Module,
    ReLU,
    Sequential,
)

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "dropout_mlp_block"]


def dropout_mlp_block(
    in_features: int, out_features: int, p: float = 0.5, norm: bool = False
) -> Sequential:
    """One hidden layer that drops: Linear, BatchNorm1d if norm, ReLU, Dropout.

    Dropout comes last, on what the next Linear reads. Not in front of a batch norm: in training
    that would track the variance of dropped and scaled numbers, which eval mode does not see
    (Li et al. 2018, arXiv:1801.05134). Nor on the output: a dropped logit is a wrong one.
    """
    layers: list[Module] = [Linear(in_features, out_features, bias=not norm)]
    if norm:  # its own bias does the work of the Linear's
        layers.append(BatchNorm1d(out_features))
    return Sequential(*layers, ReLU(), Dropout(p))
