"""The digits example: both sides agree, a disagreement is noticed, bad options are refused."""

import numpy as np
import pytest

from examples import digits, digits_report
from examples.plots.style import Drawing

QUICK = ["--quick", "--epochs", "1", "--width", "16"]


def run(tmp_path, *options):
    return digits.main([*QUICK, "--out", str(tmp_path), *options])


def test_both_sides_agree_and_the_figure_is_drawn(tmp_path, capsys):
    assert run(tmp_path, "--residual", "--schedule", "warmup", "--clip", "1") == 0
    printed = capsys.readouterr().out
    assert "predictions equal: 200/200" in printed
    assert "the runs agree" in printed
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_float32_is_held_to_its_first_steps(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Drawing, "save", lambda *_: None)
    assert run(tmp_path, "--dtype", "float32", "--depth", "0", "--optimizer", "sgd") == 0
    assert "over the first 10 steps" in capsys.readouterr().out


def test_a_side_that_is_off_makes_the_exit_status_1(tmp_path, capsys, monkeypatch):
    right = digits.train

    def one_side_off(side, model, options, data):
        if side == "numpy_impl":
            next(model.parameters()).data[0] += 1e-6
        return right(side, model, options, data)

    monkeypatch.setattr(digits, "train", one_side_off)
    monkeypatch.setattr(Drawing, "save", lambda *_: None)
    assert run(tmp_path, "--depth", "0") == 1
    assert "DISAGREE" in capsys.readouterr().out


def test_training_that_breaks_down_says_where(tmp_path, capsys):
    assert run(tmp_path, "--optimizer", "sgd", "--lr", "1e200", "--no-norm") == 1
    assert "training broke down: epoch 1, step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--width", "0"], "--width: must be at least 1, got 0"),
        (["--depth", "two"], "--depth: wanted a whole number, got 'two'"),
        (["--dropout", "1.5"], "must be between 0 and 1"),
        (["--lr", "nan"], "--lr: must be at least 0, got nan"),
        (["--optimizer", "adagrad"], "invalid choice: 'adagrad'"),
        (["--batch-size", "1"], "--norm wants batches of at least 2"),
        (["--residual", "--depth", "0"], "at least one hidden layer"),
        (["--data", "no/such/directory"], "no directory"),
    ],
)
def test_bad_options_are_refused_in_words(tmp_path, capsys, options, says):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, *options)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


def test_gaps_are_taken_step_by_step():
    history = type("History", (), {"step_loss": [1.0, 2.0]})
    other = type("History", (), {"step_loss": [1.0, 2.5, 9.0]})
    assert np.array_equal(digits_report.loss_gaps(history, other), [0.0, 0.5])
