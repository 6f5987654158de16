"""The own-code example: each class of the guide is diagnosed by its cause, each mended agrees."""

import pytest

from examples import own_code

SAID = {
    "mlp": ["max(reference, 0)", "n_out/2"],
    "residual": ["skip.weight (3, 4) of torch has no counterpart"],
    "adam": ["one step count"],
    "schedule": ["inverse-time decay"],
    "l2": ["= 2 * reference"],
    "dropout": ["division by zero at p = 1"],
    "batchnorm": ["momentum reversed", "running variance biased"],
}
"""What has to stand in the cause of each wrong class of a lesson, in order."""

LESSONS = {lesson.name: lesson for lesson in own_code.LESSONS}


def test_every_lesson_is_tried():
    assert LESSONS.keys() == SAID.keys()


@pytest.mark.parametrize("name", SAID)
def test_what_is_wrong_is_named_and_what_is_mended_agrees(name):
    wrong = [t for t in LESSONS[name].tries if t.wrong]
    right = [t for t in LESSONS[name].tries if not t.wrong]
    assert len(wrong) == len(SAID[name]) and right
    for attempt, cause in zip(wrong, SAID[name], strict=True):
        agrees, said = own_code.verdict(attempt)
        assert not agrees and cause in " ".join(said.split()), said
    for attempt in right:
        agrees, said = own_code.verdict(attempt)
        assert agrees, said


def test_batch_norm_is_told_all_that_is_wrong_with_it():
    _, second, _ = LESSONS["batchnorm"].tries
    said = " ".join(own_code.verdict(second)[1].split())
    for part in ("as if it started at the first batch", "gamma is one number", "no backward"):
        assert part in said


def test_gradient_checking_fails_before_and_passes_after():
    before, after = own_code.checks_itself().split("mended,")
    assert "e-01" in before and "e-01" not in after and "biases" in after


def test_only_the_lines_that_mend_are_shown():
    attempt = LESSONS["adam"].tries[-1]
    lines = own_code.difference(attempt.base, attempt.code).splitlines()
    assert "-        self.t += 1" in lines
    assert "+        self.t[key] = self.t.get(key, 0) + 1" in lines and len(lines) < 16


def test_the_command_shows_a_lesson_and_names_what_there_is(capsys):
    assert own_code.main(["adam", "--quick"]) == 0
    said = capsys.readouterr().out
    assert "1 of 1" in said and "why   :" in said and "PASS" in said and "note  :" not in said
    with pytest.raises(SystemExit, match="2"):
        own_code.main(["adamw"])
    assert "there is no lesson 'adamw'; there are mlp," in capsys.readouterr().err


def test_a_lesson_that_does_not_turn_out_as_it_says_fails(monkeypatch, capsys):
    adam = LESSONS["adam"]
    wrong = own_code.Lesson(adam.name, adam.title, [own_code.Try(adam.tries[0].call)])
    monkeypatch.setattr(own_code, "LESSONS", [wrong])
    assert own_code.main([]) == 1
    assert "NOT AS IT SHOULD BE" in capsys.readouterr().out
