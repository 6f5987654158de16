"""The loss by learning rate."""

from __future__ import annotations

from typing import Any

from examples.plots.style import DARK, GREY, LIGHT, Drawing, plain, sheet


def range_test(found: Any, title: str = "Learning-rate range test") -> Drawing:
    """Loss and smoothed loss by rate, with the steepest descent and the suggestion marked.

    Args:
        found: a `RangeTest` of either side.
    """
    figure = sheet(title, height=4)
    axes: Any = figure.subplots()
    axes.plot(found.lr, found.loss, color=LIGHT, linewidth=1, label="each step")
    axes.plot(found.lr, found.smoothed, color=DARK, linewidth=2, label="smoothed")
    axes.set_xscale("log")
    low, high = min(found.smoothed), max(found.smoothed[0], min(found.smoothed) * 2)
    axes.set_ylim(min(low, min(found.loss)) * 0.9, high * 1.3)
    marks = (("falls fastest", found.steepest, "right"), ("lowest / 10", found.suggestion, "left"))
    for name, lr, side in marks:
        axes.axvline(lr, color=GREY, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
        axes.annotate(
            f"{name}\n{lr:.2g}",
            (lr, 0.92),
            (4 if side == "left" else -4, 0),
            ("data", "axes fraction"),
            "offset points",
            fontsize=8,
            color=GREY,
            ha=side,
            va="center",
        )
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    end = "diverged at the right end" if found.diverged else "did not diverge"
    plain(axes, "learning rate", "loss before the step", f"the loss {end}")
    return figure
