"""What comes out of each layer, over time."""

from __future__ import annotations

import math
from typing import Any

import matplotlib
import numpy as np

from examples.plots.style import Drawing, plain, sheet

RIDGES = 8
COLUMNS = 4


def activation_histograms(activations: Any, title: str = "Activations") -> Drawing:
    """A panel a layer: its output's histogram at some forwards, the earliest at the back.

    An axis spans what all but a hundredth of the numbers span. Each ridge is scaled to its own
    largest bin; the share of saturated numbers or dead units at the last forward stands in the
    title where the layer has one.

    Args:
        activations: an `ActivationMonitor` of either side.
    """
    names = list(activations.histogram)
    columns = min(COLUMNS, max(len(names), 1))
    rows = math.ceil(len(names) / columns)
    figure = sheet(title, width=2.2 * columns + 0.6, height=2.0 * rows + 0.5)
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    shades = matplotlib.colormaps["cividis_r"]
    for axes, name in zip(panels, names):
        entries = activations.histogram[name]
        last = len(entries) - 1
        moments = sorted({round(i * last / (RIDGES - 1)) for i in range(RIDGES)})
        ends = []
        for k, i in enumerate(moments):
            held, low, high = entries[i]
            counts = np.asarray(held)
            if not counts.sum():
                continue
            height = 2.5 * counts / counts.max()
            edges = np.linspace(low, high, len(counts) + 1)
            ends += _middle(counts, edges)
            base = len(moments) - 1 - k  # the latest in front, at the bottom
            color = shades(0.15 + 0.85 * k / max(len(moments) - 1, 1))
            axes.stairs(base + height, edges, baseline=base, fill=True, color=color, zorder=k)
            axes.stairs(base + height, edges, baseline=base, color="white", lw=0.6, zorder=k)
        if ends:
            axes.set_xlim(min(ends), max(ends))
        back = len(moments) - 1
        axes.set_yticks([0, back], [activations.calls[last], activations.calls[0]])
        said = ""
        if name in activations.saturation:
            said = f", {activations.saturation[name][-1]:.0%} saturated"
        if name in activations.dead:
            said = f", {activations.dead[name][-1]:.0%} dead"
        plain(axes, "", "", f"layer {name}{said}")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    figure.supylabel("forward", fontsize=9)
    return figure


def _middle(counts: Any, edges: Any) -> list[float]:
    """Between which edges all but the outermost half percent on either side lie."""
    share = np.cumsum(counts) / counts.sum()
    first, last = np.searchsorted(share, [0.005, 0.995])
    return [float(edges[first]), float(edges[min(last + 1, len(counts))])]
