"""How the experiments are drawn: one colour a setting, NumPy broad and pale, PyTorch thin on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from examples.pitfalls.both_sides import BROKE_DOWN
from examples.pitfalls.pitfall import Found, Pitfall
from examples.plots.style import GREY, Drawing, sheet

# What goes wrong is red and brown, cures are not; apart to any eye (Okabe & Ito 2008, and grey).
WRONG = ("#D55E00", "#8C510A", "#E69F00", "#7F7F7F")
CURES = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#332288", "#999933", "#117733", "#882255")
OURS: dict[str, Any] = {"linewidth": 4.5, "alpha": 0.35, "solid_capstyle": "round"}
THEIRS: dict[str, Any] = {"linewidth": 1.1, "linestyle": (0, (4, 1.5))}
BEYOND: dict[str, Any] = {"linewidth": 1.1, "linestyle": (0, (1, 2)), "alpha": 0.7}


def drawn(pitfall: Pitfall, found: Found) -> Drawing:
    """An experiment's figure."""
    title = f"{pitfall.name.replace('-', ' ').capitalize()}: {pitfall.title}"
    figure = sheet(title, height=3.6)
    pitfall.draw(figure, found)
    for axes in figure.axes:
        _plain(axes)
    colours = colour(found)
    handles = [Line2D([], [], color=colours[name], linewidth=2.5, label=name) for name in found]
    handles.append(Line2D([], [], color=GREY, label="NumPy", **OURS))
    handles.append(Line2D([], [], color=GREY, label="PyTorch", **THEIRS))
    if any(pair.held < pair.steps for pair in found.values()):
        handles.append(Line2D([], [], color=GREY, label="NumPy, rounding decides", **BEYOND))
    columns = min(len(handles), 4 if len(handles) > 5 else 5)
    figure.legend(
        handles=handles, loc="outside lower left", ncols=columns, frameon=False, fontsize=8
    )
    return figure


def colour(found: Found) -> dict[str, str]:
    """A colour for each setting."""
    wrong, cures = iter(WRONG), iter(CURES)
    return {name: next(cures if pair.role == "after" else wrong) for name, pair in found.items()}


def curves(
    axes: Axes, found: Found, label: str, smooth: int = 5, only: Found | None = None
) -> None:
    """A curve of each setting (of `only` some) on both sides, each point a mean over `smooth`.

    Where rounding has grown until no two right programs agree, NumPy's goes on alone, dotted.
    """
    colours = colour(found)
    for name, pair in (found if only is None else only).items():
        ours, theirs = (_means(numbers[label], smooth) for numbers in (pair.ours, pair.theirs))
        x = np.arange(1, len(ours) + 1) + (len(pair[label]) - len(ours)) / 2
        n = len(ours) if pair.held == pair.steps else max(pair.held - smooth, 1)
        axes.plot(x[:n], ours[:n], color=colours[name], **OURS)
        axes.plot(x[:n], theirs[:n], color=colours[name], **THEIRS)
        axes.plot(x[n - 1 :], ours[n - 1 :], color=colours[name], **BEYOND)
        if pair[BROKE_DOWN][0]:
            axes.plot(x[-1], ours[-1], "x", color=colours[name], markeredgewidth=2)


def profiles(axes: Axes, found: Found, label: str) -> None:
    """Numbers kept as log10, one a layer, of each setting on both sides."""
    colours = colour(found)
    for name, pair in found.items():
        for numbers, style in ((pair.ours, OURS), (pair.theirs, THEIRS)):
            y = 10 ** numbers[label]
            axes.plot(np.arange(1, len(y) + 1), y, color=colours[name], **style)


def bars(axes: Axes, found: Found, label: str, text: str) -> None:
    """A number of each setting as a bar, PyTorch's as a dashed edge; `text` formats it."""
    colours = colour(found)
    for i, (name, pair) in enumerate(found.items()):
        ours, theirs = float(pair.ours[label][0]), float(pair.theirs[label][0])
        axes.barh(i, ours, color=colours[name], alpha=OURS["alpha"])
        axes.barh(i, theirs, fill=False, edgecolor=colours[name], linestyle="--", linewidth=1.1)
        at, beside = (ours, i), (4, 0)
        axes.annotate(
            text.format(ours), at, beside, textcoords="offset points", va="center", fontsize=8
        )
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()


def _means(y: np.ndarray, n: int) -> np.ndarray:
    """Running means over n entries; a curve that is shorter stays as it is."""
    return np.convolve(y, np.full(n, 1 / n), "valid") if len(y) >= 4 * n else y


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.set_title(axes.get_title(), fontsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(9)
