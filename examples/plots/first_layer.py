"""The weights that read the image, as images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from examples.plots.style import Drawing, sheet


def first_layer(weight: Any, shape: tuple[int, int], title: str = "First layer") -> Drawing:
    """One tile a unit, in the shape of the image that its weights look at; one scale for all.

    Red adds, blue takes away, white does neither. Smooth shapes were learned; a tile like noise has
    not moved far from its draw, an empty one is a unit that nothing reaches.

    Args:
        weight: (out, in), with in = height * width.
        shape: (height, width).

    Raises:
        ValueError: the weights of a unit do not fill the shape.
    """
    weight = np.asarray(weight)
    if weight.ndim != 2 or weight.shape[1] != math.prod(shape):
        raise ValueError(f"wanted weights (out, {math.prod(shape)}), got {weight.shape}")
    columns = math.ceil(math.sqrt(2 * len(weight)))
    rows = math.ceil(len(weight) / columns)
    reach = float(np.abs(weight).max()) or 1.0
    figure = sheet(title, width=8, height=8 * rows / columns + 0.6)
    panels: Any = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, row in zip(panels.flat, weight):
        drawn = axes.imshow(row.reshape(shape), cmap="RdBu_r", vmin=-reach, vmax=reach)
    bar = figure.colorbar(drawn, ax=panels, shrink=0.8, aspect=30, pad=0.01)
    bar.ax.tick_params(labelsize=8)
    return figure
