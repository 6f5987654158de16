"""Exploding gradients: weights that enlarge what passes through them, layer after layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from examples.pitfalls.both_sides import (
    BROKE_DOWN,
    LOSS,
    NORM,
    VAL_METRIC,
    Pair,
    Setting,
)
from examples.pitfalls.figure import curves
from examples.pitfalls.pitfall import Claim, Found, Pitfall, digits, fit

DEPTH, WIDTH, TOO_LARGE = 10, 32, 1.5
LEARNING_RATE, LOW_RATE, BOUND = 0.1, 1e-3, 1.0


class Exploding(Pitfall):
    """Weights half as large again as He's, in ten layers: 1.5 to the 11th is 86."""

    name = "exploding"
    title = (
        f"{DEPTH} ReLU layers on digits, weights {TOO_LARGE} times He's, SGD at {LEARNING_RATE:g}"
    )
    look_for = (
        "On the left, the gradient's norm starts a hundred times too large, the first step throws "
        "the weights further out, and within a handful of steps the numbers leave the range of "
        "floats (the cross). Clipping and a lower rate leave the gradient as large as it is and "
        "bound the step instead, so they start high and come down; He's weights and batch norm "
        "take away the cause. On the right, the loss of the same runs: look at the first steps, "
        "for a training that explodes does so at once or never."
    )

    def settings(self, quick: bool, seed: int) -> list[Setting]:
        wide, data = [64, *[WIDTH] * DEPTH, 10], digits(640)

        def mlp(scale: float = TOO_LARGE, lr: float = LEARNING_RATE, **options: Any) -> Any:
            def make(impl: Any) -> Any:
                model = impl.architectures.DeepMLP(wide, lr, **options)
                for p in model.parameters():
                    if p.ndim > 1:
                        p.data *= scale
                return model

            return make

        def train(**options: Any) -> Callable[..., object]:
            return fit(1 if quick else 4, 32, options=lambda impl: options)

        found = [
            Setting("as it is", mlp(), train(), data, role="before"),
            Setting(f"clipped to {BOUND:g}", mlp(), train(clip_norm=BOUND), data),
            Setting("He's weights", mlp(scale=1.0), train(), data),
            Setting("batch norm", mlp(batch_norm=True), train(), data),
            Setting(f"rate {LOW_RATE:g}", mlp(lr=LOW_RATE), train(), data),
        ]
        return found[:3:2] if quick else found

    def columns(self, pair: Pair) -> dict[str, str]:
        end = float(pair[LOSS][-1]) if pair[BROKE_DOWN][0] else pair.last(LOSS, 8)
        accuracy = f"{pair.last(VAL_METRIC):.1%}" if len(pair[VAL_METRIC]) else "-"
        return {
            "gradient at start": f"{pair[NORM][0]:.3g}",
            "loss": f"{pair[LOSS][0]:.3g} -> {end:.3g}",
            "accuracy": accuracy,
        }

    def claims(self, found: Found) -> list[Claim]:
        broken, *cures = found.values()
        said = [
            Claim(f"{broken.name}: step of the first NaN", broken[BROKE_DOWN][0], 10, 0),
            Claim(f"{broken.name}: loss before it", float(broken[LOSS][-1]), above=1e9),
        ]
        for cure in cures:
            said.append(Claim(f"{cure.name}: loss at the end", cure.last(LOSS, 8), below=5))
        return said

    def draw(self, figure: Figure, found: Found) -> None:
        left, right = figure.subplots(1, 2)
        for axes, label, title in (
            (left, NORM, "gradient norm before clipping"),
            (right, LOSS, LOSS),
        ):
            curves(axes, found, label, smooth=1)
            axes.set(title=title, xlabel="step", xscale="log", yscale="log", ylim=(0.05, 1e6))
