"""Vanishing gradients: twenty sigmoid layers, and three ways out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from examples.pitfalls.both_sides import GRADIENTS, LOSS, VAL_METRIC, Pair, Setting, by_layer
from examples.pitfalls.figure import curves, profiles
from examples.pitfalls.pitfall import Claim, Found, Pitfall, digits, fit

DEPTH, QUICK_DEPTH, WIDTH, LEARNING_RATE = 20, 10, 32, 2e-3


class Vanishing(Pitfall):
    """A sigmoid's slope is at most 1/4, and twenty of them multiply."""

    name = "vanishing"
    title: ClassVar[str] = f"many sigmoid layers of {WIDTH} on digits, Adam at {LEARNING_RATE:g}"
    look_for = (
        "On the left, the gradient of plain sigmoids falls by a factor of 4 from layer to layer, "
        "before the first step, while each cure keeps the line level: ReLU by a slope of 1, batch "
        "norm by scaling each layer back up, the residual by a path that no sigmoid lies on. On "
        "the right, only the level lines learn; the plain network stays at ln 10 = 2.30, the loss "
        "of a guess. It trains with Adam, which rescales gradients, and that does not help: what "
        "has fallen below its eps cannot be scaled back."
    )

    def settings(self, quick: bool, seed: int) -> list[Setting]:
        depth, lr = QUICK_DEPTH if quick else DEPTH, LEARNING_RATE
        data = digits(320 if quick else 640)
        wide, blocks = [64, *[WIDTH] * depth, 10], [64, *[WIDTH] * (depth // 2 + 1), 10]
        train = fit(2 if quick else 4, 16 if quick else 32, lambda impl: impl.optimization.Adam)

        def mlp(activation: str, norm: bool = False) -> Callable[[Any], Any]:
            return lambda impl: impl.architectures.DeepMLP(wide, lr, activation, batch_norm=norm)

        def residual(impl: Any) -> Any:
            return impl.architectures.ResidualMLP(blocks, lr, "sigmoid", pre_activation=True)

        found = [
            Setting("sigmoid, Xavier", mlp("sigmoid"), train, data, by_layer, "before"),
            Setting("ReLU, He", mlp("relu"), train, data, by_layer),
            Setting("sigmoid, batch norm", mlp("sigmoid", norm=True), train, data, by_layer),
            Setting("sigmoid, residual", residual, train, data, by_layer),
        ]
        return found[:2] if quick else found

    def columns(self, pair: Pair) -> dict[str, str]:
        return {
            "gradient first/last": f"{_first_over_last(pair):.1e}",
            "loss": f"{pair[LOSS][0]:.2f} -> {pair.last(LOSS, 8):.2f}",
            "accuracy": f"{pair.last(VAL_METRIC):.1%}",
        }

    def claims(self, found: Found) -> list[Claim]:
        broken, *cures = found.values()
        depth, guess, plain = len(broken[f"{GRADIENTS} before"]) - 1, np.log(10), broken.name
        said = [
            Claim(f"{plain}: first gradient / last", _first_over_last(broken), 0.3**depth),
            Claim(f"{plain}: loss at the end", broken.last(LOSS, 8), above=guess - 0.05),
        ]
        for cure in cures:
            said.append(Claim(f"{cure.name}: first / last", _first_over_last(cure), above=0.05))
            said.append(Claim(f"{cure.name}: loss", cure.last(LOSS, 8), below=guess - 0.1))
        return said

    def draw(self, figure: Figure, found: Found) -> None:
        left, right = figure.subplots(1, 2)
        profiles(left, found, f"{GRADIENTS} before")
        left.set(title="gradient by layer, before training", xlabel="layer", ylabel="norm")
        left.set_yscale("log")
        curves(right, found, LOSS)
        right.set(title="loss", xlabel="step")


def _first_over_last(pair: Pair) -> float:
    log10 = pair[f"{GRADIENTS} before"]
    return float(10 ** (log10[0] - log10[-1]))
