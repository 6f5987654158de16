"""Layers that learn what to add to their input, rather than a new output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from numpy_impl.architectures.estimator import Estimator
from numpy_impl.initialization import init_weights, zeros_
from numpy_impl.layers import Identity, Linear, make_activation
from numpy_impl.layers.container import Sequential
from numpy_impl.module import Array, Module
from numpy_impl.normalization import BatchNorm1d
from numpy_impl.random import Generator
from numpy_impl.regularization import Dropout

__all__ = ["ResidualBlock", "ResidualMLP"]


class ResidualBlock(Module):
    """Add what a small network makes of x to x itself.

    He et al. 2016, arXiv:1512.03385; with pre_activation He et al. 2016, arXiv:1603.05027:

        y  = activation(skip(x) + branch(x)),  branch: linear, norm, act, dropout, linear, norm
        y  = skip(x) + branch(x),              branch: norm, act, linear, norm, act, dropout, linear
        ds = activation's backward of dy (ds = dy in the second)
        dx = skip's backward of ds + branch's backward of ds

    So through a chain of pre-activation blocks dy reaches every x unchanged, plus what the branches
    add. skip is the identity where the widths agree, else a Linear without bias, of x itself (some
    pre-activation code projects the normed and activated x instead).

    zero_init starts the branch's last layer at zero, so that the block begins as its skip: the
    weight of the last norm (Goyal et al. 2017, arXiv:1706.02677), or where the branch ends in a
    Linear, that (Zhang et al. 2019, arXiv:1901.09321).

    Shapes: x, dx (N, in_features); y, dy (N, out_features).

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
        dtype: DTypeLike = np.float32,
        generator: Generator | None = None,
    ) -> None:
        if min(in_features, hidden_features, out_features) < 1:
            raise ValueError(
                "in_features, hidden_features and out_features must be positive, got "
                f"{in_features}, {hidden_features}, {out_features}"
            )
        made: dict[str, Any] = {"dtype": dtype, "generator": generator}
        plain = not batch_norm  # a Linear before a norm has no bias

        def norm(features: int) -> list[Module]:
            return [BatchNorm1d(features, dtype=dtype)] if batch_norm else []

        drop: list[Module] = [Dropout(dropout)] if dropout else []
        branch: list[Module]
        if pre_activation:
            branch = [*norm(in_features), make_activation(activation)]
            branch += [Linear(in_features, hidden_features, bias=plain, **made)]
            branch += [*norm(hidden_features), make_activation(activation), *drop]
            branch += [Linear(hidden_features, out_features, **made)]
        else:
            branch = [Linear(in_features, hidden_features, bias=plain, **made)]
            branch += [*norm(hidden_features), make_activation(activation), *drop]
            branch += [Linear(hidden_features, out_features, bias=plain, **made)]
            branch += norm(out_features)
        self.branch = Sequential(*branch)
        self.skip: Module = Identity()
        if in_features != out_features:
            self.skip = Linear(in_features, out_features, bias=False, **made)
        self.activation = Identity() if pre_activation else make_activation(activation)
        init_weights(self, activation, generator)
        if zero_init:
            for parameter in branch[-1].parameters():
                zeros_(parameter)

    @np.errstate(all="ignore")  # what overflows becomes inf in silence, as in torch
    def forward(self, x: Array) -> Array:
        """activation(skip(x) + branch(x))."""
        return self.activation(self.skip(x) + self.branch(x))

    @np.errstate(all="ignore")
    def backward(self, dy: Array) -> Array | None:
        """The skip's gradient plus the branch's."""
        ds = self.activation.backward(dy)
        dx, dskip = self.branch.backward(ds), self.skip.backward(ds)
        return dx + dskip if self.needs_input_grad else None

    def discard_saved(self) -> None:
        """Drop what the last forward saved."""
        for part in (self.branch, self.skip, self.activation):
            part.discard_saved()

    @property
    def needs_input_grad(self) -> bool:
        """Whether backward goes all the way to the input."""
        return self.branch.needs_input_grad and self.skip.needs_input_grad

    @needs_input_grad.setter
    def needs_input_grad(self, needed: bool) -> None:
        self.branch.needs_input_grad = self.skip.needs_input_grad = needed


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

    Shapes: x, dx (N, layers[0]); y, dy (N, layers[-1]).

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
        dtype: DTypeLike = np.float32,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(layers, learning_rate, task)
        if len(self.layers) < 3:
            raise ValueError(f"layers must be three or more widths, got {self.layers}")
        made: dict[str, Any] = {"dtype": dtype, "generator": generator}
        in_features, *widths, out_features = self.layers
        stem = Linear(in_features, widths[0], bias=pre_activation or not batch_norm, **made)
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
                **made,
            )
            for fan_in, fan_out in zip(widths, widths[1:])
        ]
        joint: list[Module] = [BatchNorm1d(widths[-1 if pre_activation else 0], dtype=dtype)]
        joint = [*joint[: int(batch_norm)], make_activation(activation)]
        head = Linear(widths[-1], out_features, **made)
        inner = [*blocks, *joint] if pre_activation else [*joint, *blocks]
        init_weights(stem, activation, generator)
        init_weights(head, activation, generator)
        self.net = Sequential(stem, *inner, head)
