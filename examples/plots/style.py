"""What the figures share: colours that are apart to any eye and in print, and quiet axes."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LIGHT, DARK, GREY = "#56B4E9", "#8F2D00", "0.45"


def sheet(title: str, width: float = 8.0, height: float = 4.5) -> Figure:
    """An empty figure with its headline at the left."""
    figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    return figure


def plain(axes: Axes, x_label: str = "", y_label: str = "", title: str = "") -> Axes:
    """Axes without a box, labels and title small."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=8)
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.set_title(title, fontsize=9, loc="left", color=GREY)
    return axes


def at_the_end(axes: Axes, x: float, y: float, text: str, color: Any = "black") -> None:
    """Write beside the end of a line what it is."""
    axes.annotate(
        text, (x, y), (5, 0), textcoords="offset points", va="center", fontsize=9, color=color
    )
