"""Layers that learn what to add to their input, rather than a new output.

`skip(x) + branch(x)` is all that the framework has to see: autograd adds the two gradients that
come back to x. Written `out += x`, as vision code often is, it saves an array but changes the
branch's output in place, which autograd refuses where that output was kept for backward (tanh,
sigmoid).
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import BatchNorm1d, Dropout, Identity, Linear

from torch_impl.architectures.estimator import Estimator
from torch_impl.initialization import init_weights
from torch_impl.layers import make_activation

__all__ = ["ResidualBlock", "ResidualMLP"]


class ResidualBlock(nn.Module):
    """Add what a small network makes of x to x itself.

    He et al. 2016, arXiv:1512.03385; with pre_activation He et al. 2016, arXiv:1603.05027:

        y  = activation(skip(x) + branch(x)),  branch: linear, norm, act, dropout, linear, norm
        y  = skip(x) + branch(x),              branch: norm, act, linear, norm, act, dropout, linear

    skip is the identity where the widths agree, else a Linear without bias, of x itself (some
    pre-activation code projects the normed and activated x instead).

    zero_init starts the branch's last layer at zero, so that the block begins as its skip: the
    weight of the last norm (Goyal et al. 2017, arXiv:1706.02677), or where the branch ends in a
    Linear, that (Zhang et al. 2019, arXiv:1901.09321).

    Shapes: x (N, in_features); y (N, out_features).

    Raises:
        ValueError: a size below 1, an unknown activation, a probability outside [0, 1].
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int,
        activation: str = "relu",
        *,
        pre_activation: bool = False,
        batch_norm: bool = False,
        dropout: float = 0.0,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        if min(in_features, hidden_features, out_features) < 1:
            raise ValueError(
                "in_features, hidden_features and out_features must be positive, got "
                f"{in_features}, {hidden_features}, {out_features}"
            )
        plain = not batch_norm  # a Linear before a norm has no bias

        def norm(features: int) -> list[nn.Module]:
            return [BatchNorm1d(features)] if batch_norm else []

        drop: list[nn.Module] = [Dropout(dropout)] if dropout else []
        branch: list[nn.Module]
        if pre_activation:
            branch = [*norm(in_features), make_activation(activation)]
            branch += [Linear(in_features, hidden_features, bias=plain)]
            branch += [*norm(hidden_features), make_activation(activation), *drop]
            branch += [Linear(hidden_features, out_features)]
        else:
            branch = [Linear(in_features, hidden_features, bias=plain)]
            branch += [*norm(hidden_features), make_activation(activation), *drop]
            branch += [Linear(hidden_features, out_features, bias=plain)]
            branch += norm(out_features)
        self.branch = nn.Sequential(*branch)
        self.skip: nn.Module = Identity()
        if in_features != out_features:
            self.skip = Linear(in_features, out_features, bias=False)
        self.activation = Identity() if pre_activation else make_activation(activation)
        init_weights(self, activation)
        if zero_init:
            for parameter in branch[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """activation(skip(x) + branch(x))."""
        return self.activation(self.skip(x) + self.branch(x))


class ResidualMLP(Estimator):
    """A linear map in, residual blocks, a linear map out: ResidualMLP([64, 128, 128, 10]).

    The inner widths are those between the blocks: [64, 128, 128, 96, 10] maps 64 to 128 features,
    has an identity block on 128 and a projected one from 128 to 96, and maps 96 to 10. A block's
    hidden width is its output's. After the first map comes a norm and an activation, or with
    pre_activation before the last one, so that no block's input or output goes without.

    Args:
        layers: the widths; three of them make a network with no block.
        learning_rate: for the optimizer that `fit` makes.
        activation, pre_activation, batch_norm, dropout, zero_init: see `ResidualBlock`.
        task: "classification", ending in logits, or "regression", ending in plain numbers.

    Shapes: x (N, layers[0]); y (N, layers[-1]).

    Raises:
        ValueError: as `Estimator` and `ResidualBlock`, or fewer than three widths.
    """

    def __init__(
        self,
        layers: Sequence[int],
        learning_rate: float = 0.01,
        activation: str = "relu",
        *,
        pre_activation: bool = False,
        batch_norm: bool = False,
        dropout: float = 0.0,
        zero_init: bool = False,
        task: Literal["classification", "regression"] = "classification",
    ) -> None:
        super().__init__(layers, learning_rate, task)
        if len(self.layers) < 3:
            raise ValueError(f"layers must be three or more widths, got {self.layers}")
        in_features, *widths, out_features = self.layers
        stem = Linear(in_features, widths[0], bias=pre_activation or not batch_norm)
        blocks = [
            ResidualBlock(
                fan_in,
                fan_out,
                fan_out,
                activation,
                pre_activation=pre_activation,
                batch_norm=batch_norm,
                dropout=dropout,
                zero_init=zero_init,
            )
            for fan_in, fan_out in zip(widths, widths[1:])
        ]
        joint: list[nn.Module] = [BatchNorm1d(widths[-1 if pre_activation else 0])]
        joint = [*joint[: int(batch_norm)], make_activation(activation)]
        head = Linear(widths[-1], out_features)
        inner = [*blocks, *joint] if pre_activation else [*joint, *blocks]
        init_weights(stem, activation)
        init_weights(head, activation)
        self.net = nn.Sequential(stem, *inner, head)
