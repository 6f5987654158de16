"""A mistake of each chapter put through `compare`, which must answer with its name.

`parity score` asks about every mistake there is; here it is the last one of each chapter that
`compare` can be pointed at, so the sample moves on as mistakes come in. One that is described in
other words is passed over, for it has no name to answer with.
"""

from pathlib import Path

import pytest

from parity_tests.harness import Settings
from parity_tests.harness.discovery import cases_of
from parity_tests.harness.naming import DESCRIBED, NAMED, naming

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = (
    *("architectures", "layers", "losses", "normalization"),
    *("optimization", "regularization", "tuning"),
)


def of_the_last_mistake(chapter):
    """What the score makes of the last mistake that it can ask about by name."""
    for path in sorted((ROOT / chapter).glob("test_*.py"), reverse=True):
        for case in reversed(cases_of(f"parity_tests.{chapter}.{path.stem}")):
            for mistake in reversed(list(case.mistakes)):
                said = naming(case(), Settings(), mistake)
                if said is not None and said.verdict != DESCRIBED:
                    return said
    raise AssertionError(f"{chapter} has no mistake that compare names")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_last_mistake_of_a_chapter_is_named(chapter):
    said = of_the_last_mistake(chapter)
    assert said.verdict == NAMED, f"{said.mistake!r} is {said.verdict}: {said.text}"
    assert f"'{said.mistake}'" in said.text
