"""Exploding gradients: weights that enlarge what passes through them, by layers or by steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from examples.pitfalls.both_sides import (
    BROKE_DOWN,
    LOSS,
    NORM,
    VAL_METRIC,
    Array,
    Pair,
    Setting,
)
from examples.pitfalls.figure import curves
from examples.pitfalls.pitfall import Claim, Found, Pitfall, digits, fit
from parity_tests.harness.training_case import Data

DEPTH, WIDTH, TOO_LARGE = 10, 32, 1.5
LEARNING_RATE, LOW_RATE, BOUND = 0.1, 1e-3, 1.0
STEPS, SYMBOLS, RECURRENT_RATE, LOW_RECURRENT_RATE = 30, 4, 0.2, 0.01
DEEP, RECURRENT = "deep", "recurrence"


class Exploding(Pitfall):
    """Weights half as large again as they should be, in ten layers or thirty steps."""

    name = "exploding"
    title = f"weights {TOO_LARGE} times too large: {DEPTH} layers on digits, {STEPS} steps back"
    look_for = (
        "On the left, ten ReLU layers: the gradient's norm starts a hundred times too large, one "
        "step throws the weights further out, and within a handful of steps the numbers leave the "
        "range of floats (in the table, the step of the first NaN). On the right, a tanh "
        "recurrence that has to name at the end the symbol it saw thirty steps before, starting "
        "from an orthogonal matrix times 1.5: tanh keeps its numbers finite, so what explodes "
        "shows only as a loss that hardly leaves ln 4 = 1.39. Clipping and a lower rate "
        "leave the gradient as it is and bound the step, which cures both at once; He's weights "
        "and batch norm take away the cause."
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

        def recurrent(impl: Any) -> Any:
            return impl.layers.RNNClassifier(SYMBOLS, WIDTH, SYMBOLS, init_gain=TOO_LARGE)

        def setting(
            cure: str, lr: float = RECURRENT_RATE, role: Any = "after", **options: Any
        ) -> Any:
            train = fit_recurrence(lr, 2 if quick else 4, **options)
            return Setting(f"{RECURRENT}, {cure}", recurrent, train, recall(seed), role=role)

        found = [
            Setting(f"{DEEP}, as it is", mlp(), train(), data, role="before"),
            Setting(f"{DEEP}, clipped to {BOUND:g}", mlp(), train(clip_norm=BOUND), data),
            Setting(f"{DEEP}, He's weights", mlp(scale=1.0), train(), data),
            Setting(f"{DEEP}, batch norm", mlp(batch_norm=True), train(), data),
            Setting(f"{DEEP}, rate {LOW_RATE:g}", mlp(lr=LOW_RATE), train(), data),
            setting("as it is", role="before"),
            setting(f"clipped to {BOUND:g}", clip_norm=BOUND),
            setting(f"rate {LOW_RECURRENT_RATE:g}", lr=LOW_RECURRENT_RATE),
        ]
        return [found[i] for i in (0, 2, 5, 6)] if quick else found

    def columns(self, pair: Pair) -> dict[str, str]:
        end = float(pair[LOSS][-1]) if pair[BROKE_DOWN][0] else pair.last(LOSS, 8)
        accuracy = f"{pair.last(VAL_METRIC):.1%}" if len(pair[VAL_METRIC]) else "-"
        return {
            "gradient at start": f"{pair[NORM][0]:.3g}",
            "loss": f"{pair[LOSS][0]:.3g} -> {end:.3g}",
            "accuracy": accuracy,
        }

    def claims(self, found: Found) -> list[Claim]:
        deep, recurrent = _of(DEEP, found), _of(RECURRENT, found)
        broken, *cures = deep.values()
        said = [
            Claim(f"{broken.name}: step of the first NaN", broken[BROKE_DOWN][0], 10, 0),
            Claim(f"{broken.name}: loss before it", float(broken[LOSS][-1]), above=1e9),
        ]
        said += [Claim(f"{p.name}: loss at the end", p.last(LOSS, 8), below=5) for p in cures]
        broken, *cures = recurrent.values()
        stuck = 0.7 * np.log(SYMBOLS)
        said.append(Claim(f"{broken.name}: loss at the end", broken.last(LOSS, 8), above=stuck))
        said += [Claim(f"{p.name}: loss at the end", p.last(LOSS, 8), below=0.5) for p in cures]
        return said

    def draw(self, figure: Figure, found: Found) -> None:
        left, right = figure.subplots(1, 2)
        curves(left, found, NORM, smooth=1, only=_of(DEEP, found))
        left.set(title=f"{DEEP}: gradient norm before clipping", xlabel="step")
        left.set(xscale="log", yscale="log", ylim=(0.3, 1e6))
        left.xaxis.set_major_formatter("{x:g}")
        left.xaxis.set_minor_formatter(LogFormatter())  # 2 and 3 where steps are few
        curves(right, found, LOSS, only=_of(RECURRENT, found))
        right.set(title=f"{RECURRENT}: loss", xlabel="step")


def _of(kind: str, found: Found) -> dict[str, Pair]:
    return {name: pair for name, pair in found.items() if name.startswith(kind)}


def recall(seed: int) -> dict[str, Array]:
    """Sequences of noise whose first entry marks one of the symbols, and which one."""
    rng = np.random.RandomState(seed)
    y = rng.randint(0, SYMBOLS, 840)
    x = 0.1 * rng.randn(len(y), STEPS, SYMBOLS)
    x[np.arange(len(y)), 0, y] += 1
    return {"x": x[:640], "y": y[:640], "x_val": x[640:], "y_val": y[640:]}


def fit_recurrence(lr: float, epochs: int, **options: Any) -> Callable[..., object]:
    """`train` of a Setting: the plain loop, for a model that is no estimator."""

    def train(impl: Any, model: Any, data: Data, history: Any) -> object:
        loader = impl.training.batches(
            data.x, data.y, batch_size=32, shuffle=True, generator=data.generator
        )
        return impl.training.fit(
            model,
            loader,
            impl.losses.CrossEntropyLoss(),
            impl.optimization.SGD(model.parameters(), lr=lr),
            epochs=epochs,
            validation=[(data.x_val, data.y_val)],
            metric=impl.training.accuracy,
            history=history,
            progress=False,
            **options,
        )

    return train
