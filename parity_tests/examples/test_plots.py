"""The figures are drawn from what either side wrote down, and show those numbers."""

from typing import Any

import numpy as np
import pytest

import numpy_impl.training
import torch_impl.training
from examples import plots
from examples.plots.style import sheet
from numpy_impl.debugging import RangeTest, StepSizeSweep
from parity_tests.debugging.test_monitor import given
from parity_tests.debugging.test_summaries import watched


def values(line: Any) -> list[float]:
    """The heights of a drawn line."""
    drawn: list[float] = line.get_ydata().tolist()
    return drawn


@pytest.fixture(scope="module", params=[numpy_impl, torch_impl], ids=lambda impl: impl.__name__)
def told(request):
    return watched(request.param, given(np.random.default_rng(0)))


def test_training_curves_show_the_history(told, tmp_path):
    figure = plots.training_curves(told["history"], "Title", "accuracy")
    figure.savefig(tmp_path / "curves.png")
    losses, metric, norms, rates = figure.axes
    training, validation = (values(line) for line in losses.lines)
    assert training == told["history"].train_loss and validation == told["history"].val_loss
    assert metric.get_title(loc="left") == "validation accuracy"
    assert values(norms.lines[0]) == told["history"].step_grad_norm
    assert values(rates.lines[0]) == told["history"].step_lr


def test_gradient_flow_shows_the_weights_from_input_to_output(told, tmp_path):
    monitor = told["monitor"]
    figure = plots.gradient_flow(monitor)
    figure.savefig(tmp_path / "flow.png")
    above, below = figure.axes
    names = ["net.0.weight", "net.2.weight", "net.4.weight"]
    first, last = (values(line) for line in (above.lines[0], above.lines[-1]))
    assert first == [monitor.grad_norm[name][0] for name in names]
    assert last == [monitor.grad_norm[name][-1] for name in names]
    assert [text.get_text() for text in below.get_xticklabels()] == ["net.0", "net.2", "net.4"]


def test_activation_histograms_have_a_panel_for_each_layer(told, tmp_path):
    figure = plots.activation_histograms(told["activations"])
    figure.savefig(tmp_path / "activations.png")
    shown = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    layers = [f"layer {name}" for name in told["activations"].histogram]
    assert [title.split(",")[0] for title in shown] == layers and "dead" in shown[1]


def test_first_layer_has_a_tile_for_each_unit(tmp_path):
    weight = np.arange(15.0).reshape(5, 3) - 7
    figure = plots.first_layer(weight, (1, 3))
    figure.savefig(tmp_path / "first.png")
    images: list[Any] = [image for axes in figure.axes for image in axes.images]
    tiles = [image.get_array() for image in images]
    assert [tile.ravel().tolist() for tile in tiles] == weight.tolist()
    with pytest.raises(ValueError, match=r"\(out, 4\), got \(5, 3\)"):
        plots.first_layer(weight, (2, 2))


def test_range_test_and_step_sizes_are_drawn(tmp_path):
    lr = [10.0**i for i in range(-5, 1)]
    found = RangeTest(lr, [2.0, 2.0, 1.5, 1.0, 0.5, 9.0], [2.0, 2.0, 1.8, 1.3, 1.0, 4.0], True)
    figure = plots.range_test(found)
    figure.savefig(tmp_path / "range.png")
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "the loss diverged at the right end"
    assert values(axes.lines[1]) == found.smoothed
    eps = [10.0**-i for i in range(1, 13)]
    slopes = [[1 + h**n + 1e-16 / h for h in eps] for n in (2, 1)]
    sweep = StepSizeSweep(1.0, eps, *slopes)
    figure = plots.step_sizes(sweep)
    figure.savefig(tmp_path / "steps.png")
    assert "1e-06" in figure.axes[0].get_title(loc="left")


def test_a_notebook_is_handed_the_picture_and_its_width():
    picture, said = sheet("Title", width=3, height=1)._repr_png_()
    assert picture.startswith(b"\x89PNG") and said == {"width": 300}
