"""Figures of what the debugging tools and the searches write down, one kind a file.

They read plain lists and dicts, so what NumPy watched and what torch watched are drawn alike, and
neither side needs matplotlib. Each function gives a `Figure`: `figure.savefig("curves.png")`.
"""

from examples.plots.activation_histograms import activation_histograms
from examples.plots.first_layer import first_layer
from examples.plots.gradient_flow import gradient_flow
from examples.plots.range_test import range_test
from examples.plots.step_sizes import step_sizes
from examples.plots.studies import convergence, parallel_coordinates, slices
from examples.plots.training_curves import training_curves

__all__ = [
    "activation_histograms",
    "convergence",
    "first_layer",
    "gradient_flow",
    "parallel_coordinates",
    "range_test",
    "slices",
    "step_sizes",
    "training_curves",
]
