"""Loss, metric, gradient norm and learning rate of a run."""

from __future__ import annotations

from typing import Any

from matplotlib.ticker import MaxNLocator

from examples.plots.style import DARK, LIGHT, Drawing, at_the_end, plain, sheet


def training_curves(history: Any, title: str = "Training", metric: str = "metric") -> Drawing:
    """Training and validation loss and the metric by epoch, gradient norm and rate by step.

    Args:
        history: a `History` of either side; what it does not hold is left out.
        metric: what `val_metric` is called.
    """
    figure = sheet(title)
    panels: Any = figure.subplots(2, 2)
    losses, metrics, norms, rates = panels.flat
    for name, values, color in (
        ("training", history.train_loss, LIGHT),
        ("validation", history.val_loss, DARK),
    ):
        if values:
            losses.plot(
                range(1, len(values) + 1), values, marker="o", ms=3, color=color, label=name
            )
    losses.legend(frameon=False, fontsize=9)
    losses.set_yscale("log")
    if history.val_metric:
        epochs = range(1, len(history.val_metric) + 1)
        metrics.plot(epochs, history.val_metric, marker="o", ms=3, color=DARK)
        at_the_end(metrics, len(history.val_metric), history.val_metric[-1],
                   f"{history.val_metric[-1]:.3g}")  # fmt: skip
    steps = range(1, len(history.step_grad_norm) + 1)
    norms.plot(steps, history.step_grad_norm, linewidth=0.8, color=LIGHT)
    norms.set_yscale("log")
    rates.plot(steps, history.step_lr, linewidth=1.5, color=DARK)
    rates.set_ylim(bottom=0)
    plain(losses, "epoch", "", "loss")
    plain(metrics, "epoch", "", f"validation {metric}")
    plain(norms, "step", "", "norm of all gradients, before clipping")
    plain(rates, "step", "", "learning rate")
    for axes in (losses, metrics):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
