"""Poor initialization: weights of zero, too large, too small, or right for another activation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from examples.pitfalls.both_sides import (
    GRADIENTS,
    LOSS,
    SPREADS,
    VAL_METRIC,
    Pair,
    Setting,
    by_layer,
)
from examples.pitfalls.figure import curves, profiles
from examples.pitfalls.pitfall import Claim, Found, Pitfall, digits, fit

DEPTH, WIDTH, LEARNING_RATE = 6, 32, 0.05
SMALL, LARGE = 0.01, 1.0
ZEROS, TOO_SMALL, TOO_LARGE = "tanh, zeros", f"tanh, std {SMALL:g}", f"tanh, std {LARGE:g}"
WRONG_RULE, XAVIER, HE = "ReLU, Xavier", "tanh, Xavier", "ReLU, He"


class Initialization(Pitfall):
    """What a layer hands on should spread as far as what it got, forward and backward."""

    name = "initialization"
    title = f"{DEPTH} hidden layers of {WIDTH} on digits, SGD at {LEARNING_RATE:g}"
    look_for = (
        "On the left, how far activations spread, layer by layer, before the first step: weights "
        "that are too small shrink it tenfold a layer, zeros have nothing to show (in the table "
        "only the last bias has a gradient), and weights that are too large drive every tanh to "
        "its ends. Xavier's rule holds tanh level and He's holds ReLU level; Xavier's under ReLU "
        "halves the variance in each layer, which six layers feel and thirty do not survive. On "
        "the right, level lines learn fast and the others late or not at all."
    )

    def settings(self, quick: bool, seed: int) -> list[Setting]:
        wide, data = [64, *[WIDTH] * DEPTH, 10], digits(320 if quick else 640)
        train = fit(2 if quick else 4, 16 if quick else 32)

        def mlp(activation: str, fill: Callable[[Any], Callable[[Any], Any]]) -> Any:
            def make(impl: Any) -> Any:
                model = impl.architectures.DeepMLP(wide, LEARNING_RATE, activation)
                for p in model.parameters():
                    if p.ndim > 1:
                        fill(impl.initialization)(p)
                return model

            return make

        def normal(std: float) -> Any:
            return lambda init: partial(init.normal_, std=std)

        def he(init: Any) -> Any:
            return partial(init.kaiming_normal_, nonlinearity="relu")

        def setting(name: str, activation: str, fill: Any, role: Any = "after") -> Setting:
            return Setting(name, mlp(activation, fill), train, data, by_layer, role)

        found = [
            setting(ZEROS, "tanh", lambda init: init.zeros_, "before"),
            setting(TOO_SMALL, "tanh", normal(SMALL), "before"),
            setting(TOO_LARGE, "tanh", normal(LARGE), "before"),
            setting(WRONG_RULE, "relu", lambda init: init.xavier_normal_, "before"),
            setting(XAVIER, "tanh", lambda init: init.xavier_normal_),
            setting(HE, "relu", he),
        ]
        return [found[i] for i in (0, 3, 5)] if quick else found

    def columns(self, pair: Pair) -> dict[str, str]:
        spread, gradient = pair[f"{SPREADS} before"], pair[f"{GRADIENTS} before"]
        return {
            "spread first, last": f"{10 ** spread[0]:.1g}, {10 ** spread[-1]:.1g}",
            "first gradient": f"{10 ** gradient[0]:.1e}",
            "loss": f"{pair[LOSS][0]:.2f} -> {pair.last(LOSS, 8):.2f}",
            "accuracy": f"{pair.last(VAL_METRIC):.1%}",
        }

    def claims(self, found: Found) -> list[Claim]:
        guess, said = np.log(10) - 0.05, []
        end = {name: pair.last(LOSS, 8) for name, pair in found.items()}
        for name, pair in found.items():
            if name == ZEROS:
                said.append(Claim(f"{name}: first gradient", _first_gradient(pair), below=1e-300))
            if name == TOO_SMALL:
                said.append(Claim(f"{name}: spread last / first", _kept(pair), below=1e-4))
            if name in (ZEROS, TOO_SMALL):
                said.append(Claim(f"{name}: loss at the end", end[name], above=guess))
            if name == TOO_LARGE:
                said.append(Claim(f"{name}: spread of the last tanh", _spread(pair), above=0.85))
                said.append(Claim(f"{name}: loss at the start", float(pair[LOSS][0]), above=4))
            if name == WRONG_RULE:
                said.append(Claim(f"{name}: spread last / first", _kept(pair), below=0.25))
            if pair.role == "after":
                worse = end[{XAVIER: TOO_LARGE, HE: WRONG_RULE}[name]] - 0.2
                said.append(Claim(f"{name}: spread last / first", _kept(pair), above=0.25))
                said.append(Claim(f"{name}: loss at the end", end[name], below=worse))
        return said

    def draw(self, figure: Figure, found: Found) -> None:
        left, right = figure.subplots(1, 2)
        profiles(left, found, f"{SPREADS} before")
        left.set(title="spread of activations, before training", xlabel="layer", yscale="log")
        curves(right, found, LOSS)
        right.set(title="loss", xlabel="step", yscale="log", ylim=(0.9, 12))
        right.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])


def _first_gradient(pair: Pair) -> float:
    return float(10 ** pair[f"{GRADIENTS} before"][0])


def _spread(pair: Pair) -> float:
    return float(10 ** pair[f"{SPREADS} before"][-1])


def _kept(pair: Pair) -> float:
    spread = pair[f"{SPREADS} before"]
    return float(10 ** (spread[-1] - spread[0]))
