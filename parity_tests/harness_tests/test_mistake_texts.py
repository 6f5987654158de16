"""Every technique has named mistakes, and each says who makes it and what it does."""

from pathlib import Path

from parity_tests.harness.discovery import cases_of
from parity_tests.harness.mistake import Mistake

ROOT = Path(__file__).resolve().parents[1]
APART = "harness_tests", "examples"
NEVER_WRONG = {"Identity"}
"""Techniques that nobody gets wrong."""


def declared():
    """Every case of the suite."""
    for path in sorted(ROOT.glob("*/test_*.py")):
        if path.parent.name not in APART:
            yield from cases_of(f"parity_tests.{path.parent.name}.{path.stem}")


def test_every_mistake_has_both_texts_and_each_is_a_sentence():
    found, counted = [], 0
    for case in declared():
        for name, given in case.mistakes.items():
            mistake, counted = Mistake.of(given), counted + 1
            for text in (mistake.who, mistake.effect):
                if not (text[:1].strip() and text.endswith(".") and len(text) > 15):
                    found.append(f"{case.__name__}, {name}: {text!r}")
    assert counted > 600
    assert not found, "\n".join(found)


def test_every_technique_has_a_mistake_but_those_that_nobody_gets_wrong():
    assert {case.technique() for case in declared() if not case.mistakes} == NEVER_WRONG
