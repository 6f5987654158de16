"""The pitfalls: every effect is there on both sides, and what is not there is said."""

import numpy as np
import pytest

import numpy_impl
from examples.pitfalls import __main__ as command
from examples.pitfalls import both_sides
from examples.pitfalls.both_sides import LOSS, Setting, train_both
from examples.pitfalls.pitfall import Claim, Pitfall, digits, fit
from examples.pitfalls.report import report
from parity_tests.harness.budget import Deviation


def test_the_effect_is_there_and_both_sides_agree(tmp_path, capsys):
    name = "vanishing"  # of five that one command runs; each exits with 1 if it does not show
    assert command.main([name, "--quick", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "before" in printed and "after" in printed and "NumPy and torch agree" in printed
    assert "NOT" not in printed
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def linear(impl):
    return impl.architectures.DeepMLP([64, 10], 0.1)


class Small(Pitfall):
    """One linear model, one step; NumPy's side may be off."""

    name, title, look_for = "small", "one step", "Nothing."
    off = 0.0

    def settings(self, quick, seed):
        def train(impl, model, data, history):
            if impl is numpy_impl:
                next(model.parameters()).data[0] += self.off
            fit(1, 40)(impl, model, data, history)

        return [Setting("linear", linear, train, digits(40), role="before")]

    def columns(self, pair):
        return {"loss": f"{pair[LOSS][0]:.2f}"}

    def claims(self, found):
        return [Claim("the loss", found["linear"][LOSS][0], below=10)]


def test_a_side_that_is_off_is_noticed():
    small = Small()
    passed, text = report(small, small.run())
    assert passed and "NumPy and torch agree" in text
    small.off = 1e-9
    passed, text = report(small, small.run())
    assert not passed and "DISAGREE in" in text and "linear: loss" in text


def test_an_effect_that_is_not_there_is_said_with_its_numbers():
    class Hoped(Small):
        def claims(self, found):
            return [Claim("the loss", found["linear"][LOSS][0], below=0.5)]

    hoped = Hoped()
    passed, text = report(hoped, hoped.run())
    assert not passed and "NOT SHOWN: the loss: 2." in text and "wanted below 0.5" in text


def test_a_claim_holds_strictly_between_its_bounds_and_never_for_nan():
    assert Claim("x", 1.0, below=2, above=0.5).holds
    assert not Claim("x", 2.0, below=2).holds
    assert not Claim("x", 0.5, above=0.5).holds
    assert not Claim("x", float("nan"), below=2).holds
    assert str(Claim("x", 1.0, 2, 0.5)) == "x: 1, wanted below 2 and above 0.5"


def test_a_curve_is_held_until_rounding_reaches_a_share_of_it():
    truth, near = np.ones(4), np.array([1, 1 + 1e-9, 1 + 1e-3, 1])
    noise = [both_sides._moved(near, truth, curve=True)]
    assert noise[0][3] == noise[0][2]  # a difference goes on to all later steps
    assert both_sides._telling(truth, noise) == 2
    shorter = [both_sides._moved(near[:1], truth, curve=True)]  # it broke down after one step
    assert both_sides._telling(truth, shorter) == 1


def test_equal_infinities_are_not_apart():
    truth = np.array([-np.inf, 1.0])
    assert np.array_equal(both_sides._moved(truth.copy(), truth, curve=False), [0, 0])


def test_chance_is_looked_at_more_closely_and_a_mistake_is_not(monkeypatch):
    units = iter([3.0, 0.5, 3e3])
    looks = []

    def held(ours, theirs, moved):
        looks.append(len(moved))
        return [Deviation(LOSS, "float64", 0, 0, 0, next(units), (), 0, 0)], 3

    monkeypatch.setattr(both_sides, "_held", held)
    for _ in range(2):
        train_both(Setting("linear", linear, fit(1, 40), digits(40)), 0, 1, lambda: None)
    assert looks == [1, 1 + both_sides.CLOSER, 1]


def test_training_that_breaks_down_does_so_at_the_same_step_on_both_sides():
    def make(impl):
        return impl.architectures.DeepMLP([64, 8, 8, 10], 1e200)

    pair = train_both(Setting("wild", make, fit(3, 40), digits(40)), 0, 1, lambda: None)
    assert pair.ours["broke down at step"] == pair.theirs["broke down at step"] > 1
    assert not pair.disagreements


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["overfiting"], "no experiment is called 'overfiting'; there are vanishing, "),
        (["--seed", "-1"], "must be between 0 and 2^32 - 1, got -1"),
        (["--seed", "x"], "wanted a whole number, got 'x'"),
        (["--out", "/dev/null/figures"], "--out: "),
    ],
)
def test_bad_options_are_refused_in_words(capsys, arguments, says):
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err
