"""The figure of ``digits.py``: both loss curves, how far they are apart, the digits got wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import LogFormatter, MaxNLocator

from examples.datasets import Splits
from examples.plots.style import DARK, GREY, LIGHT, Drawing, sheet

Array = np.ndarray[Any, np.dtype[Any]]

SHOWN = 6


def draw(ours: Any, theirs: Any, data: Splits, dtype: str) -> Drawing:
    """Draw the two runs.

    Args:
        ours, theirs: runs, with `history`, `predicted` and `accuracy`.
    """
    figure = sheet(headline(ours, theirs, data))
    panels: Any = figure.subfigures(1, 2, width_ratios=[2.5, 1])
    left, right = panels
    top, bottom = left.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
    _losses(top, ours.history, theirs.history)
    _differences(bottom, ours.history, theirs.history, dtype)
    _mistakes(right, ours, theirs, data)
    return figure


def headline(ours: Any, theirs: Any, data: Splits) -> str:
    """What the figure shows, in one line."""
    same = int((ours.predicted == theirs.predicted).sum())
    n = len(data.y_test)
    gap = max(abs(a - b) for a, b in zip(ours.history.step_loss, theirs.history.step_loss))
    if ours.accuracy == theirs.accuracy and same == n:
        right = f"{ours.accuracy:.1%} right on both sides"
    else:
        right = f"{ours.accuracy:.1%} and {theirs.accuracy:.1%} right"
    return f"Trained twice: every step's loss the same to {gap:.0e}, test digits {right}"


def _losses(axes: Axes, ours: Any, theirs: Any) -> None:
    sides: list[tuple[str, Any, dict[str, Any]]] = [
        ("NumPy", ours, {"color": LIGHT, "linewidth": 5}),
        ("PyTorch", theirs, {"color": DARK, "linewidth": 1.3, "linestyle": (0, (4, 2))}),
    ]
    for kind, end in (("train_loss", "training"), ("val_loss", "validation")):
        for name, history, style in sides:
            losses = getattr(history, kind)
            label = name if kind == "train_loss" else None
            marker = "o" if len(losses) == 1 else None
            axes.plot(range(1, len(losses) + 1), losses, label=label, marker=marker, **style)
        higher = getattr(ours, kind)[-1] == max(ours.train_loss[-1], ours.val_loss[-1])
        side = "bottom" if higher else "top"  # the two may end close together
        _label(axes, ours.epochs, getattr(ours, kind)[-1], end, side=side)
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))  # 1.6, not 1.6 x 10^0
    axes.set_ylabel("loss", fontsize=9)
    axes.legend(frameon=False, fontsize=9, loc="upper right", ncols=2)
    _plain(axes)


def _differences(axes: Axes, ours: Any, theirs: Any, dtype: str) -> None:
    pairs = list(zip(ours.step_loss, theirs.step_loss))
    gaps = np.array([abs(a - b) for a, b in pairs])
    epochs = np.arange(1, len(gaps) + 1) / (ours.steps / ours.epochs)
    equal = gaps == 0  # has no place on a log axis
    axes.plot(epochs[~equal], gaps[~equal], ".", markersize=3, color="0.15", markeredgewidth=0)
    axes.set_yscale("log")
    eps = float(np.finfo(dtype).eps)
    axes.axhline(eps, color=GREY, linewidth=0.8)
    _label(axes, ours.epochs, eps, f"{dtype} epsilon", color=GREY)
    axes.set_ylim(min(eps / 1e3, gaps[~equal].min(initial=eps) / 2), max(eps, gaps.max()) * 10)
    axes.set_xlim(0, ours.epochs)
    axes.set_ylabel("difference", fontsize=9)
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(
        f"of each step's loss; no dot where equal to the last bit ({equal.sum():,} of "
        f"{len(gaps):,} steps)",
        fontsize=9,
        loc="left",
        color=GREY,
        pad=3,
    )
    _plain(axes)


def _mistakes(figure: SubFigure, ours: Any, theirs: Any, data: Splits) -> None:
    wrong = np.flatnonzero((ours.predicted != data.y_test) | (theirs.predicted != data.y_test))
    both = (ours.predicted == theirs.predicted)[wrong].all()
    who = "both sides read wrong" if both else "either side reads wrong"
    what = f"{SHOWN} of {len(wrong):,}" if len(wrong) > SHOWN else f"The {len(wrong)}"
    title = f"{what} test digits that\n{who}" if len(wrong) else "No test digit\nis read wrong"
    figure.suptitle(title, fontsize=9)
    for axes in figure.subplots(3, 2).flat:
        axes.set_axis_off()
    for axes, i in zip(figure.axes, wrong):
        axes.imshow(data.x_test[i], cmap="gray_r", vmin=0, vmax=1)
        read = sorted({int(ours.predicted[i]), int(theirs.predicted[i])})
        said = " or ".join(str(digit) for digit in read)
        axes.set_title(f"{data.y_test[i]}, read as {said}", fontsize=9, pad=3)


def _label(
    axes: Axes, x: float, y: float, text: str, color: str = "black", side: str = "center"
) -> None:
    """Write beside the end of a line what it is."""
    axes.annotate(
        text, (x, y), (6, 0), textcoords="offset points", va=side, fontsize=9, color=color
    )


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=8)
