"""Error of a difference by its step: truncation on one side, rounding on the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.plots.style import DARK, GREY, LIGHT, Drawing, plain, sheet


def step_sizes(sweep: Any, title: str = "Step size") -> Drawing:
    """Relative error of central and forward differences by step, with the slopes of theory.

    Args:
        sweep: a `StepSizeSweep` of either side.
    """
    figure = sheet(title, height=4.2)
    axes: Any = figure.subplots()
    eps = np.array(sweep.eps)
    rounding = np.finfo(float).eps / eps
    for name, slopes, color, order in (
        ("forward, (f(x+h) - f(x)) / h", sweep.forward, LIGHT, 1),
        ("central, (f(x+h) - f(x-h)) / 2h", sweep.central, DARK, 2),
    ):
        errors = np.array(sweep.errors(slopes))
        axes.plot(eps, np.where(errors > 0, errors, np.nan), "o-", ms=4, color=color, label=name)
        anchor = len(errors) // 4  # where truncation rules, and higher orders no longer do
        line = errors[anchor] * (eps / eps[anchor]) ** order
        shown = line > rounding
        axes.plot(eps[shown], line[shown], color=GREY, lw=0.8, zorder=0)
        text = "truncation ~ h" + ("^2" if order == 2 else "")
        _note(axes, eps[anchor - 1], line[anchor - 1], text, "right" if order == 1 else "left")
    axes.plot(eps, rounding, color=GREY, lw=0.8, linestyle=(0, (3, 2)), zorder=0)
    at = len(eps) * 3 // 4
    _note(axes, eps[at], rounding[at] / 20, "rounding ~ 1/h", "right")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=9, loc="upper center")
    best = f"the best central step is {sweep.best:.0e}"
    plain(axes, "step h", "relative error of the slope", best)
    return figure


def _note(axes: Any, x: float, y: float, text: str, side: str) -> None:
    away = 10 if side == "left" else -10
    axes.annotate(
        text, (x, y), (away, -8 * np.sign(away)), textcoords="offset points", fontsize=8,
        color=GREY, ha=side, va="center",
    )  # fmt: skip
