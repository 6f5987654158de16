"""The figure of the test functions: how far from the least value each search is."""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.plots.style import DARK, LIGHT, Drawing, sheet

Array = np.ndarray[Any, np.dtype[Any]]
Runs = dict[str, dict[str, Array]]  # function, search -> (seeds, trials) distances

COLOURS = {"Bayesian search": DARK, "random search": LIGHT}


def draw(runs: Runs, initial: int) -> Drawing:
    """Medians over the seeds, and the middle half of them shaded."""
    seeds = len(next(iter(next(iter(runs.values())).values())))
    title = f"Bayesian beside random search: median of {seeds} seeds, the middle half shaded"
    figure = sheet(title, height=3.6)
    panels: Any = figure.subplots(1, len(runs), squeeze=False)
    for axes, (function, by_search) in zip(panels[0], runs.items()):
        for search, distances in by_search.items():
            trials = np.arange(1, distances.shape[1] + 1)
            low, middle, high = np.quantile(distances, [0.25, 0.5, 0.75], axis=0)
            axes.fill_between(trials, low, high, color=COLOURS[search], alpha=0.25, linewidth=0)
            axes.plot(trials, middle, color=COLOURS[search], linewidth=2, label=search)
        axes.axvline(initial, color="0.45", linewidth=0.8, linestyle=":")
        axes.set_yscale("log")
        axes.set_title(function, fontsize=10)
        axes.set_xlabel("trials")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    panels[0, 0].annotate(
        f"{initial} at random", (initial, 0.02), (-4, 0), textcoords="offset points",
        xycoords=("data", "axes fraction"), ha="right", fontsize=8, color="0.45",
    )  # fmt: skip
    panels[0, 0].set_ylabel("best score minus the least there is")
    panels[0, -1].legend(frameon=False, fontsize=9, loc="lower left")
    return figure
