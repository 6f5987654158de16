"""Every named mistake says who makes it and what it does: a name alone teaches nothing."""

from pathlib import Path

from parity_tests.harness.discovery import cases_of
from parity_tests.harness.mistake import Mistake

ROOT = Path(__file__).resolve().parents[1]
APART = "harness_tests", "examples"


def test_every_mistake_has_both_texts_and_each_is_a_sentence():
    found, counted = [], 0
    for path in sorted(ROOT.glob("*/test_*.py")):
        for case in () if path.parent.name in APART else _cases(path):
            for name, given in case.mistakes.items():
                mistake, counted = Mistake.of(given), counted + 1
                for text in (mistake.who, mistake.effect):
                    if not (text[:1].strip() and text.endswith(".") and len(text) > 15):
                        found.append(f"{case.__name__}, {name}: {text!r}")
    assert counted > 400
    assert not found, "\n".join(found)


def _cases(path):
    return cases_of(f"parity_tests.{path.parent.name}.{path.stem}")
