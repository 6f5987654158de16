"""The tuning example: both sides agree, the search is ahead, studies are drawn."""

import argparse

import numpy as np
import pytest

import numpy_impl.tuning
import torch_impl.tuning
from examples import plots
from examples.tuning import __main__ as command
from examples.tuning import functions, optuna_workers
from parity_tests.tuning.objectives import bowl, learning_curve

SIDES = numpy_impl.tuning, torch_impl.tuning


def test_both_sides_tune_the_digits_alike_and_figures_are_drawn(tmp_path, capsys):
    assert command.tune_digits(argparse.Namespace(quick=True, out=tmp_path))
    assert "5 of 5 trials have the same config" in capsys.readouterr().out
    for name in ("convergence", "slices", "parallel_coordinates"):
        assert (tmp_path / f"digits-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_functions_are_least_where_they_are_known_to_be():
    for x, y in ((-np.pi, 12.275), (np.pi, 2.275), (9.42478, 2.475)):
        assert abs(functions.branin({"x": x, "y": y}) - functions.LEAST["Branin"]) < 1e-6
    place = [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]
    value = functions.hartmann6({f"x{i}": x for i, x in enumerate(place)})
    assert abs(value - functions.LEAST["Hartmann-6"]) < 1e-5


def test_optuna_is_asked_for_in_words_where_it_is_not(monkeypatch, capsys):
    monkeypatch.setattr(optuna_workers, "imported", lambda: None)
    assert optuna_workers.main([]) == 2
    assert "pip install '.[optuna]'" in capsys.readouterr().err


# ---- figures of a study -------------------------------------------------------------------------


def space(side):
    return {
        "lr": side.LogUniform(1e-4, 1.0),
        "width": side.Integer(18, 22, log=True),
        "kind": side.Choice(["a", "b"]),
        "momentum": side.Conditional(side.Uniform(0, 1), "kind", ["b"]),
    }


def studies(side):
    """With failures; maximised; with budgets."""
    options = {"seed": 1, "progress": False}
    return [
        side.random_search(bowl, space(side), 12, **options),
        side.random_search(bowl, space(side), 12, direction="maximize", **options),
        side.successive_halving(learning_curve, space(side), 9, 1, 9, **options),
    ]


def drawn(figure):
    """Every line and dot of a figure's axes, their labels and scales."""
    for axes in figure.axes:
        numbers = [np.asarray(line.get_xydata(), float) for line in axes.get_lines()]
        numbers += [np.asarray(c.get_offsets(), float) for c in axes.collections]
        texts = [t.get_text() for t in axes.texts]
        yield numbers, [*texts, axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()]


@pytest.mark.parametrize("plot", [plots.convergence, plots.slices, plots.parallel_coordinates])
def test_studies_of_either_side_are_drawn_alike(plot):
    for mine, other in zip(*map(studies, SIDES)):
        for (numbers, texts), (same, words) in zip(drawn(plot(mine)), drawn(plot(other))):
            assert texts == words
            for a, b in zip(numbers, same, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12)
    empty = SIDES[0].Study("s", SIDES[0].SearchSpace(space(SIDES[0])))
    with pytest.raises(ValueError, match="none of 0 trials has a score"):
        plot(empty)


def test_the_best_so_far_never_gets_worse():
    for study, sign in zip(studies(SIDES[0]), (1, -1, 1)):
        lines = plots.convergence(study).axes[0].get_lines()
        y = next(
            np.asarray(line.get_ydata(), float)
            for line in lines
            if line.get_label() == "best so far"
        )
        assert (np.diff(sign * y) <= 0).all() and y[-1] == study.best.score


def test_failures_are_shown_and_what_does_not_exist_is_left_out():
    study = studies(SIDES[0])[0]
    failed = {t.number for t in study.trials if t.error}
    lines = plots.convergence(study).axes[0].get_lines()
    crosses = next(line for line in lines if line.get_label() == "failed")
    assert failed and set(np.asarray(crosses.get_xdata()).tolist()) == failed
    lines = plots.parallel_coordinates(study).axes[0].get_lines()
    heights = [np.asarray(line.get_ydata(), float) for line in lines]
    broken = [bool(np.isnan(y[3])) for y in heights if y.size == 5]
    worst_first = sorted((t for t in study.trials if t.score is not None), key=study.loss)[::-1]
    assert broken == ["momentum" not in t.config for t in worst_first]
    assert plots.slices(study).axes[0].get_xscale() == "log"
