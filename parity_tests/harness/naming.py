"""Whether `compare`, held against torch, names a mistake that the suite declares.

Somebody makes the mistake, and what they are told must be that mistake, or another statement that
gives every number of theirs; never another declared mistake, and not "unknown".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity_tests.harness.case import Case, Settings
    from parity_tests.harness.compare.explain import Comparison

NAMED, DESCRIBED = "named", "described"
WRONG = "named another", "unknown", "not seen", "raised"


@dataclass(frozen=True)
class Naming:
    """What `compare` made of one mistake: a verdict in a word or two, and what it said."""

    mistake: str
    verdict: str
    text: str = ""

    @property
    def right(self) -> bool:
        """Whether it is the mistake's name, or says all that is wrong in other words."""
        return self.verdict in (NAMED, DESCRIBED)


def naming(case: Case, settings: Settings, mistake: str) -> Naming | None:
    """What `compare` says of a mistake, in the first call that shows it.

    None where `compare` takes nothing of the kind, or refuses it with what it lacks.
    """
    from parity_tests.harness.compare.entry import compare
    from parity_tests.harness.compare.mapping import Uncomparable

    stand_in = case.mistakes[mistake].stand_in
    result: Comparison | None = None
    try:
        for call in case.beside_torch(settings, stand_in):
            result = compare(**call)
            if not result:
                return judged(result, mistake, case.mistakes)
    except Uncomparable:
        return None
    except Exception as error:
        return Naming(mistake, "raised", f"{type(error).__name__}: {error}")
    return None if result is None else Naming(mistake, "not seen")


def judged(result: Comparison, mistake: str, known: Any) -> Naming:
    """Hold the causes of a comparison against the mistake that was made."""
    causes = [c.text for c in result.causes]
    also = [text for c in result.causes for text in c.also]
    text = "; ".join(causes) or result.cause
    if _named(mistake, causes):
        return Naming(mistake, NAMED, text)
    if any(_named(other, causes) for other in known) and not _named(mistake, also):
        return Naming(mistake, "named another", text)
    stopped = any(c.kind == "contract" and result.first in c.explains for c in result.causes)
    if not causes or result.unexplained and not stopped:
        return Naming(mistake, "unknown", text)
    return Naming(mistake, DESCRIBED, text)


def _named(mistake: str, texts: list[str]) -> bool:
    return any(f"the known mistake '{mistake}'" in text for text in texts)
