"""The multilayer perceptron of any depth, in words its reader knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from numpy_impl.architectures.estimator import Estimator
from numpy_impl.initialization import init_weights
from numpy_impl.layers import Linear, make_activation
from numpy_impl.layers.container import Sequential
from numpy_impl.module import Module
from numpy_impl.normalization import BatchNorm1d
from numpy_impl.random import Generator
from numpy_impl.regularization import Dropout

__all__ = ["DeepMLP"]


class DeepMLP(Estimator):
    """Stack linear maps with an activation after each but the last: DeepMLP([64, 128, 10]).

    A hidden layer is Linear, batch norm (if wanted; the Linear then has no bias, which the norm
    would only subtract again), activation, dropout (if wanted). Weights start as the activation
    wants it, by He's rule for relu and Xavier's for sigmoid and tanh (see `init_weights`).

    Args:
        layers: the widths from input to output; two of them make a linear model.
        learning_rate: for the optimizer that `fit` makes.
        activation: "relu", "leaky_relu", "sigmoid", "tanh" or "identity".
        batch_norm: one answer for all hidden layers, or one for each.
        dropout: the probability of dropping a hidden unit, for all hidden layers or for each.
        task: "classification", ending in logits, or "regression", ending in plain numbers.

    Shapes: x, dx (N, layers[0]); y, dy (N, layers[-1]).

    Raises:
        ValueError: as `Estimator`; an activation that is unknown, a probability outside [0, 1],
            or a list that is not one entry a hidden layer.
    """

    def __init__(
        self,
        layers: Sequence[int],
        learning_rate: float = 0.01,
        activation: str = "relu",
        *,
        batch_norm: bool | Sequence[bool] = False,
        dropout: float | Sequence[float] = 0.0,
        task: Literal["classification", "regression"] = "classification",
        dtype: DTypeLike = np.float32,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(layers, learning_rate, task)
        hidden = len(self.layers) - 2
        norms = _each("batch_norm", batch_norm, hidden)
        drops = _each("dropout", dropout, hidden)
        made: dict[str, Any] = {"dtype": dtype, "generator": generator}
        net: list[Module] = []
        for fan_in, fan_out, norm, p in zip(self.layers, self.layers[1:-1], norms, drops):
            net.append(Linear(fan_in, fan_out, bias=not norm, **made))
            net += [BatchNorm1d(fan_out, dtype=dtype)] if norm else []
            net.append(make_activation(activation))
            net += [Dropout(p)] if p else []
        net.append(Linear(self.layers[-2], self.layers[-1], **made))
        self.net = init_weights(Sequential(*net), activation, generator)


def _each(name: str, choice: Any, layers: int) -> list[Any]:
    """The choice for each hidden layer."""
    choices = list(choice) if isinstance(choice, list | tuple) else [choice] * layers
    if len(choices) != layers:
        raise ValueError(f"{name} wants one entry for each of {layers} hidden layers, got {choice}")
    return choices
