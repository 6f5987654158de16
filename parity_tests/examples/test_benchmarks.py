"""How benchmarks are timed and told: turns, quartiles, lines. Nothing here asserts a time."""

import gc

import pytest

from examples.benchmarks import __main__ as command
from examples.benchmarks import table, timing
from examples.benchmarks.timing import Turn
from examples.benchmarks.work import Against, Work


def test_sides_take_turns_in_an_order_that_turns_round(monkeypatch):
    order = []
    monkeypatch.setattr(timing, "_steps_in", lambda step, seconds: 1)
    monkeypatch.setattr(timing, "_turn", lambda step, steps: order.append(step()))
    timing.interleave({"a": lambda: "a", "b": lambda: "b", "c": lambda: "c"}, rounds=3)
    assert "".join(order) == "abccbaabc"


def test_a_turn_averages_over_its_steps_and_warms_up_with_one():
    taken = []
    turn = timing._turn(lambda: taken.append(1), steps=4)
    assert len(taken) == 5
    assert turn.cpu > 0 and turn.wall > 0 and turn.faults >= 0


def test_every_round_times_every_side_and_the_collector_comes_back():
    turns = timing.interleave({"a": lambda: None, "b": lambda: None}, rounds=3, seconds=1e-4)
    assert {name: len(taken) for name, taken in turns.items()} == {"a": 3, "b": 3}
    assert gc.isenabled()


def test_the_collector_comes_back_after_a_step_that_raises():
    with pytest.raises(ZeroDivisionError):
        timing.interleave({"a": lambda: 1 / 0}, rounds=1)
    assert gc.isenabled()


def test_nothing_to_time_is_refused():
    with pytest.raises(ValueError, match="at least one round"):
        timing.interleave({"a": lambda: None}, rounds=0)


def test_ratios_are_taken_within_a_round():
    ours, theirs = [Turn(1, 8, 0), Turn(4, 8, 0)], [Turn(2, 4, 0), Turn(4, 2, 0)]
    assert timing.ratios(ours, theirs) == [0.5, 1.0]
    assert timing.ratios(ours, theirs, "wall") == [2.0, 4.0]


def test_quartiles_lie_between_the_values():
    assert timing.quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == (2.0, 3.0, 4.0)
    assert timing.quartiles([7.0]) == (7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="at least one"):
        timing.quartiles([])


def test_a_goal_is_met_by_the_median(monkeypatch):
    turns = {"NumPy": [Turn(1, 1, 2)] * 3, "torch": [Turn(2, 2, 5)] * 3}
    monkeypatch.setattr(table, "interleave", lambda sides, rounds, seconds: turns)
    work = Work("w", "the work", dict, [Against("torch", 0.6), Against("torch", 0.4)])
    met, missed = table.compare(work, 3, 0.01, "cpu")
    assert met["ratio"] == 0.5 and met["met"] and not missed["met"]
    assert met["theirs_faults"] == 5
    assert table.line(met, first=True).startswith("the work")
    assert table.line(met, first=True).endswith("0.60  yes")
    assert table.line(missed, first=False).split()[-2:] == ["0.40", "no"]


def test_work_whose_package_is_missing_is_left_out():
    assert table.missing(Work("w", "w", dict, [], needs="no_such_package")) == "no_such_package"
    assert table.missing(Work("w", "w", dict, [], needs="json")) is None
    assert table.missing(Work("w", "w", dict, [])) is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--rounds", "0"], "at least 1, got 0"), (["no-such-work"], "no work is called")],
)
def test_bad_arguments_are_refused_in_words(capsys, arguments, says):
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert says in capsys.readouterr().err
