"""What the figures share: colours that are apart to any eye and in print, and quiet axes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LIGHT, DARK, GREY = "#56B4E9", "#8F2D00", "0.45"


class Drawing(Figure):
    """A figure that a notebook shows where a cell ends with it, with no window or backend."""

    def save(self, path: Path) -> None:
        """Write a PNG, as small as it goes."""
        self.savefig(path, format="png", pil_kwargs={"optimize": True})

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """What IPython asks for: the picture, and how wide to show it, sharp on any screen."""
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue(), {"width": round(100 * self.get_figwidth())}


def sheet(title: str = "", width: float = 8.0, height: float = 4.5) -> Drawing:
    """An empty figure with its headline at the left, made to be shown at half its pixels."""
    figure = Drawing(figsize=(width, height), dpi=200, layout="constrained")
    if title:
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
