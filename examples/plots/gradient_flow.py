"""How large gradients and steps are, layer by layer."""

from __future__ import annotations

import math
from typing import Any

import matplotlib

from examples.plots.style import GREY, Drawing, plain, sheet

MOMENTS = 4  # of the run, drawn from light to dark


def gradient_flow(monitor: Any, title: str = "Gradient flow") -> Drawing:
    """Gradient norms and update ratios of the weights from input to output, early to late.

    Gradients that shrink from right to left vanish on their way back, and those that grow explode.
    A ratio is that of the step to the weight it moves: about 1e-3 where the rate suits, which is
    the line. What is 0 has no place on the axis and leaves a gap.

    Args:
        monitor: a `Monitor` of either side; of its parameters those called `weight`.
    """
    names = [name for name in monitor.grad_norm if name.endswith("weight")]
    steps = len(monitor.steps)
    moments = sorted({round(i * (steps - 1) / (MOMENTS - 1)) for i in range(MOMENTS)})
    figure = sheet(title)
    panels: Any = figure.subplots(2, 1, sharex=True)
    shades = matplotlib.colormaps["cividis_r"]
    for k, i in enumerate(moments):
        color = shades(0.15 + 0.85 * k / max(len(moments) - 1, 1))
        for axes, norms in zip(panels, (monitor.grad_norm, monitor.update_ratio)):
            values = [norms[name][i] for name in names]
            values = [v if 0 < v < math.inf else math.nan for v in values]
            axes.plot(values, marker="o", ms=4, color=color, label=f"step {monitor.steps[i]}")
    above, below = panels
    below.axhline(1e-3, color=GREY, linewidth=0.8)
    below.annotate(
        "1e-3", (1, 1e-3), (3, 0), ("axes fraction", "data"), "offset points",
        va="center", fontsize=8, color=GREY,
    )  # fmt: skip
    for axes in panels:
        axes.set_yscale("log")
    above.legend(
        frameon=False, fontsize=8, ncols=len(moments), loc="lower right", bbox_to_anchor=(1, 1)
    )
    below.set_xticks(range(len(names)), [name.removesuffix(".weight") for name in names])
    plain(above, "", "", "norm of the gradient of each weight (a gap is 0)")
    plain(below, "layer, from input to output", "", "norm of the step / norm of the weight")
    return figure
