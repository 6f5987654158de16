"""A study to look at: how it went, what each parameter did, and the trials as lines."""

from __future__ import annotations

import math
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from examples.plots.style import Drawing, sheet

__all__ = ["convergence", "parallel_coordinates", "slices"]

COLOURS = "viridis_r"  # dark is good
BEST, FAINT, FAINTER = "#8F2D00", "0.5", "0.8"


def convergence(study: Any) -> Drawing:
    """Each trial's score, and the best so far; a cross at the top for a trial that failed.

    Of several budgets only the largest counts for the best.

    Raises:
        ValueError: no trial has a score; likewise below.
    """

    trials = _scored(study)
    figure = sheet("", 7, 3.5)
    axes = figure.subplots()
    most = max(t.budget or 0 for t in trials)
    full = [t for t in trials if (t.budget or 0) == most]
    small = [t for t in trials if (t.budget or 0) < most]
    for some, colour, label in ((small, FAINTER, "smaller budgets"), (full, FAINT, "trials")):
        if some:
            axes.plot([t.number for t in some], _scores(some), "o", color=colour,
                      markersize=4, label=label)  # fmt: skip
    bests: list[Any] = []
    for t in full:
        bests.append(t if not bests or study.loss(t) < study.loss(bests[-1]) else bests[-1])
    axes.step([t.number for t in full], _scores(bests), where="post", color=BEST,
              linewidth=2, label="best so far")  # fmt: skip
    failed = [t.number for t in study.trials if t.score is None]
    if failed:
        axes.plot(failed, [1.0] * len(failed), "x", color="black", label="failed", clip_on=False,
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_xlabel("trial")
    axes.set_ylabel("score")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def slices(study: Any) -> Drawing:
    """The scores against each parameter alone; later trials are darker, the best is ringed."""

    trials, names = _scored(study), list(study.space)
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure = sheet("", 2.6 * columns + 0.9, 2.6 * rows)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    late = Normalize(0, max(t.number for t in trials))
    for axes, name in zip(grid.flat, names):
        kind = study.space.dimensions[name]
        held = [t for t in trials if name in t.config]
        x = [_place(kind, t.config[name]) for t in held]
        y = _scores(held)
        dots = axes.scatter(x, y, c=[t.number for t in held], s=18, norm=late, cmap=COLOURS)
        if name in study.best.config:
            at = _place(kind, study.best.config[name])
            axes.plot(at, study.best.score, "o", color=BEST, markersize=9, fillstyle="none")
        axes.set_xlabel(name)
        if _is(kind, "Choice"):
            axes.set_xticks(range(len(kind.values)), [str(v) for v in kind.values])
            axes.set_xlim(-0.5, len(kind.values) - 0.5)
        elif _is(kind, "LogUniform"):
            axes.set_xscale("log")
        elif _is(kind, "Integer") and kind.log:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(ScalarFormatter())  # 64, not 2^6
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("score")
    figure.colorbar(dots, ax=grid, label="trial")
    return figure


def parallel_coordinates(study: Any) -> Drawing:
    """Each trial a line through its values to its score: good ones dark, the best in front.

    An axis runs over a parameter's quantiles, the last one over the scores, good ones at the top; a
    line is broken where a parameter does not exist.
    """

    trials = sorted(_scored(study), key=study.loss, reverse=True)
    names = list(study.space)
    figure = sheet("", max(1.5 * len(names) + 1.5, 5), 4)
    axes = figure.subplots()
    losses = [study.loss(t) for t in trials]
    rank = {loss: i / max(len(losses) - 1, 1) for i, loss in enumerate(losses)}  # 1 for the best
    for t in trials:
        dimensions = study.space.dimensions.items()
        heights = [d.cdf(t.config[n]) if n in t.config else math.nan for n, d in dimensions]
        best = t.number == study.best.number
        style: dict[str, Any] = {"color": colormaps[COLOURS](rank[study.loss(t)]), "alpha": 0.7}
        style |= {"color": BEST, "alpha": 1, "linewidth": 3} if best else {}
        axes.plot([*heights, rank[study.loss(t)]], marker="o", markersize=3, **style)
    ends = [study.space.dimensions[name] for name in names]
    for i, kind in enumerate(ends):
        values = kind.values if _is(kind, "Choice") else [kind.low, kind.high]
        for value in values:
            _beside(axes, i, kind.cdf(value), value)
    _beside(axes, len(names), 0, trials[0].score)
    _beside(axes, len(names), 1, trials[-1].score)
    for i in range(len(names) + 1):
        axes.axvline(i, color="0.85", zorder=0)
    axes.set_xticks(range(len(names) + 1), [*names, "score (rank)"])
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(names) + 0.6)
    axes.spines[:].set_visible(False)
    return figure


def _scored(study: Any) -> list[Any]:
    if not any(t.score is not None for t in study.trials):
        raise ValueError(f"nothing to draw: none of {len(study.trials)} trials has a score")
    return [t for t in study.trials if t.score is not None]


def _is(kind: Any, name: str) -> bool:
    return type(kind).__name__ == name  # of either side


def _place(kind: Any, value: Any) -> Any:
    return kind.index(value) if _is(kind, "Choice") else value


def _scores(trials: list[Any]) -> list[float]:
    return [t.score for t in trials if t.score is not None]


def _beside(axes: Axes, x: float, y: float, value: Any) -> None:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5}
    axes.annotate(text, (x, y), (5, 0), textcoords="offset points", va="center", fontsize=8,
                  bbox=box, zorder=5)  # fmt: skip
