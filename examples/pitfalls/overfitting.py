"""Overfitting: a network that learns wrong labels by heart, and what keeps it from that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from examples.pitfalls.both_sides import VAL_LOSS, Array, Pair, Setting
from examples.pitfalls.figure import bars, curves
from examples.pitfalls.pitfall import Claim, Found, Pitfall, digits, fit
from parity_tests.harness.training_case import Data

FEW, MANY, NOISE = 200, 1200, 0.4
EPOCHS, BATCH, LEARNING_RATE = 60, 100, 0.02
TRAINED, TESTED, END_LOSS = "training accuracy", "validation accuracy", "validation loss at the end"
MORE = "six times the data"


class Overfitting(Pitfall):
    """200 digits, four labels in ten wrong, and 9,600 parameters."""

    name = "overfitting"
    title = f"{FEW} digits, {NOISE:.0%} of the labels wrong, one hidden layer of 128, Adam"
    look_for = (
        "On the left, the loss on digits with right labels falls for some ten epochs, while the "
        "network learns what digits have in common, and then rises, while it learns the wrong "
        "labels one by one. In the table, training accuracy tells it from learning: the wrong "
        "labels let an honest reader get only 60 % right. Every cure ends lower and reads more "
        "digits right (the bars), and six times the data does more than any of them."
    )

    def settings(self, quick: bool, seed: int) -> list[Setting]:
        few, many = noisy(FEW, seed), noisy(MANY, seed)

        def mlp(*hidden: int, dropout: float = 0.0) -> Callable[[Any], Any]:
            wide = [64, *hidden, 10]
            return lambda impl: impl.architectures.DeepMLP(wide, LEARNING_RATE, dropout=dropout)

        def train(
            options: Callable[[Any], Mapping[str, Any]] = lambda impl: {}, epochs: int = EPOCHS
        ) -> Callable[..., object]:
            return fit(epochs, BATCH, lambda impl: impl.optimization.Adam, options)

        def penalty(kind: str, *strengths: float) -> Callable[..., object]:
            return train(lambda impl: {"penalty": getattr(impl.regularization, kind)(*strengths)})

        early = train(lambda impl: {"early_stopping": impl.regularization.EarlyStopping(8)})
        more = train(epochs=EPOCHS // 6)
        found = [
            Setting("as it is", mlp(128), train(), few, _measure, "before"),
            Setting("L1 0.005", mlp(128), penalty("L1", 0.005), few, _measure),
            Setting("L2 0.02", mlp(128), penalty("L2", 0.02), few, _measure),
            Setting("elastic net", mlp(128), penalty("ElasticNet", 0.0015, 0.015), few, _measure),
            Setting("dropout 0.7", mlp(128, dropout=0.7), train(), few, _measure),
            Setting("early stopping", mlp(128), early, few, _measure),
            Setting("no hidden layer", mlp(), train(), few, _measure),
            Setting(MORE, mlp(128), more, many, _measure),
        ]
        return [found[0], found[5]] if quick else found

    def columns(self, pair: Pair) -> dict[str, str]:
        lowest = pair[VAL_LOSS].min()
        return {
            "training": f"{pair[f'{TRAINED} after'][0]:.1%}",
            "validation": f"{pair[f'{TESTED} after'][0]:.1%}",
            "validation loss": f"{lowest:.2f} -> {pair[f'{END_LOSS} after'][0]:.2f}",
        }

    def claims(self, found: Found) -> list[Claim]:
        broken, *cures = found.values()
        loss, accuracy = (float(broken[f"{k} after"][0]) for k in (END_LOSS, TESTED))
        most, rise = accuracy, loss / float(broken[VAL_LOSS].min())
        said = [
            Claim(f"{broken.name}: training accuracy", broken[f"{TRAINED} after"][0], above=0.85),
            Claim(f"{broken.name}: validation loss at the end / lowest", rise, above=1.2),
        ]
        for cure in cures:
            said += [
                Claim(f"{cure.name}: loss", cure[f"{END_LOSS} after"][0], below=loss - 0.1),
                Claim(f"{cure.name}: accuracy", cure[f"{TESTED} after"][0], above=accuracy + 0.02),
            ]
            most = max(most, float(cure[f"{TESTED} after"][0])) if cure.name != MORE else most
        if MORE in found:
            right = found[MORE][f"{TESTED} after"][0]
            said.append(Claim(f"{MORE}: accuracy, more than any other", right, above=most))
        return said

    def draw(self, figure: Figure, found: Found) -> None:
        left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
        curves(left, found, VAL_LOSS, smooth=1)
        left.set(title="loss on validation digits", xlabel="epoch")
        bars(right, found, f"{TESTED} after", "{:.0%}")
        right.set(title="validation digits read right at the end", xlim=(0, 1))


def noisy(n: int, seed: int) -> dict[str, Array]:
    """The first n digits, NOISE of them with another label than theirs."""
    found, rng = digits(n), np.random.RandomState(seed)
    wrong = rng.rand(n) < NOISE
    labels = found["y"].copy()
    labels[wrong] = (labels[wrong] + rng.randint(1, 10, wrong.sum())) % 10
    return found | {"y": labels}


def _measure(impl: Any, model: Any, data: Data) -> dict[str, Any]:
    """Accuracy on the labels trained on, wrong ones too, and loss and accuracy on right ones."""
    criterion = impl.losses.CrossEntropyLoss()
    loss, accuracy = impl.training.evaluate(
        model, [(data.x_val, data.y_val)], criterion, impl.training.accuracy
    )
    return {TRAINED: model.score(data.x, data.y), TESTED: accuracy, END_LOSS: loss}
