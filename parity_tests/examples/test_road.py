"""The road: every stage runs as a script and gives the numbers of the scratch code."""

import numpy as np
import pytest

from examples.road import __main__ as road
from examples.road.stages import FIRST, Budget, budget, run, stages

STAGES = {stage.number: stage for stage in stages()}


@pytest.fixture(scope="module")
def first():
    return run(STAGES[FIRST])


@pytest.fixture(scope="module")
def allowed(first):
    return budget(first)


def test_the_scratch_code_learns_the_digits(first):
    assert first.losses[-1] < 0.3 * first.losses[0]
    assert first.accuracy > 0.8


@pytest.mark.parametrize("number", [n for n in STAGES if n > FIRST])
def test_no_stage_changes_a_number(number, first, allowed):
    found = run(STAGES[number])
    assert allowed.worst(found.losses) <= 1
    assert (found.predicted == first.predicted).all()


def test_the_budget_is_far_below_what_any_stage_could_get_wrong(first, allowed):
    assert (allowed.allowed < 1e-9).all()
    assert allowed.worst(first.losses[:-1]) == np.inf
    shifted = [first.losses[0], *first.losses[:-1]]
    assert allowed.worst(shifted) > 1e6
    assert Budget(np.ones(2), np.full(2, 1e-3)).worst([1.0, 1.002]) == pytest.approx(2)


def test_the_guide_as_printed_is_told_what_differs():
    said = run(STAGES[0]).printed
    assert "n_out/2" in said and "one step count" in said.replace("\n", " ")


def test_each_stage_takes_one_piece_from_the_one_before():
    """Its own code shrinks from stage to stage, and each says what it is."""
    for number, stage in STAGES.items():
        assert stage.title.startswith(f"Stage {number}: ") and len(stage.says) > 80
        if number > FIRST:
            changed = stage.changes(STAGES[number - 1])
            assert any(line.startswith("+") for line in changed)
            assert len(changed) < 90, f"{stage.title} changes more than a piece"
    last = STAGES[max(STAGES)].text
    assert "\nclass " not in last and "numpy_impl" not in last


def test_the_command_prints_a_line_a_stage_and_knows_its_numbers(capsys, monkeypatch, first):
    monkeypatch.setattr(road, "run", lambda stage: first)
    monkeypatch.setattr(road, "budget", lambda found: Budget(np.array(found.losses), np.ones(192)))
    assert road.main(["2", "8"]) == 0
    out = capsys.readouterr().out
    assert out.count("192 steps") == 2 and "Every stage gives" in out
    assert road.main(["12"]) == 2
    assert "no stage 12" in capsys.readouterr().err
    worse = [loss + 2 for loss in first.losses]
    monkeypatch.setattr(road, "budget", lambda found: Budget(np.array(worse), np.ones(192)))
    assert road.main(["2"]) == 1
    assert "FAILS" in capsys.readouterr().out
